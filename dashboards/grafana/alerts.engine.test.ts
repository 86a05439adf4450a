import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { type Answer, columnsOf, createAsker } from '../../test/support/grafana/answers.ts';
import {
  insertSampleData,
  publishWatermark,
  type SampleData,
} from '../../test/support/grafana/sample-data.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../../warehouse/clickhouse/client.ts';
import { ALERT_GROUPS, type Alert } from './alerts.ts';
import { CLICKHOUSE, POSTGRES } from './data-source-ids.ts';

/** The alerts over SQL, asked of the real engines, and made to fire. */

let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let asker: ReturnType<typeof createAsker>;
let sample: SampleData;
let behindBefore: Answer;

beforeAll(async () => {
  [books, warehouse] = await Promise.all([freshLedger({ max: 4 }), freshWarehouse()]);
  asker = createAsker({ books, warehouse });
  sample = await insertSampleData({ books, warehouse });
  await publishWatermark(warehouse, sample.now - HOUR_MS);
  behindBefore = await askAlert('loader-lag');
  await publishWatermark(warehouse, sample.now);
});
afterAll(async () => {
  await Promise.all([books?.close(), warehouse?.drop()]);
});

const ALERTS = ALERT_GROUPS.flatMap(({ alerts }) => alerts);
const SQL_ALERTS = ALERTS.filter(({ question }) => question.store !== 'prometheus');

async function askAlert(uid: string, toMs = Date.now()): Promise<Answer> {
  const question = ALERTS.find((alert) => alert.uid === uid)?.question;
  if (!question || question.store === 'prometheus') throw new Error(`no question of SQL: ${uid}`);
  const { store, sql, fromSeconds, toSeconds = 0 } = question;
  const range = {
    fromMs: toMs - fromSeconds * 1_000,
    toMs: toMs - toSeconds * 1_000,
    intervalS: 60,
    values: {},
  };
  return await asker.ask({ datasource: store === 'clickhouse' ? CLICKHOUSE : POSTGRES, rawSql: sql }, range);
}

/** The labels and values for which it fires. */
function firing(uid: string, answer: Answer): [label: string, value: number][] {
  const alert = ALERTS.find((each) => each.uid === uid) as Alert;
  const number = answer.columns.findIndex(({ kind }) => kind === 'number');
  const label = answer.columns.findIndex(({ kind }) => kind === 'text');
  return answer.rows
    .map((row): [string, number] => [String(row[label] ?? ''), Number(row[number])])
    .filter(([, value]) => value > alert.above);
}

test.each(SQL_ALERTS)('the alert $uid answers one number, for each text', async ({ uid, summary }) => {
  const answer = await askAlert(uid);
  expect(columnsOf(answer, 'number')).toHaveLength(1);
  expect(columnsOf(answer, 'time')).toEqual([]);
  const labels = columnsOf(answer, 'text');
  expect(labels.length).toBeLessThanOrEqual(1);
  expect([...summary.matchAll(/\$labels\.(\w+)/g)].map(([, name]) => name)).toEqual(labels);
  const texts = answer.rows.map((row) => row[answer.columns.findIndex(({ kind }) => kind === 'text')]);
  expect(labels.length === 0 ? answer.rows.length <= 1 : new Set(texts).size === texts.length).toBe(true);
});

describe('an alert fires', () => {
  test('for the address and the affiliate that became fast, and for no other', async () => {
    const { shop, now } = sample;
    const later = now + 1_000;
    expect(firing('velocity-address', await askAlert('velocity-address', later)).map(([who]) => who)).toEqual(
      ['198.51.100.9'],
    );
    // The minute of the burst may have begun before it.
    const minutes = [0, 1].map((n) => askAlert('velocity-affiliate', later + 30_000 + n * 60_000));
    const fast = (await Promise.all(minutes)).flatMap((answer) =>
      firing('velocity-affiliate', answer).map(([who]) => who),
    );
    expect(new Set(fast)).toEqual(new Set([`affiliate (${shop.chain[0]})`]));
  });

  test('when the watermark is behind, and is over when it has caught up', async () => {
    expect(firing('loader-lag', behindBefore)).toHaveLength(1);
    await publishWatermark(warehouse, Date.now());
    expect(firing('loader-lag', await askAlert('loader-lag'))).toEqual([]);
  });

  test('for the lease with a gap, and the one with a click twice', async () => {
    expect(firing('gap', await askAlert('gap'))).toEqual([]);
    const at = Date.now() - 60_000;
    const row = (node: number, seq: number) => ({
      ts: timeText(at + seq),
      node,
      seq,
      campaign_id: 900 + node,
    });
    await warehouse.insertRows('clicks', [
      row(70, 0),
      row(70, 3),
      row(71, 0),
      row(71, 0),
      row(72, 5),
      row(72, 6),
    ]);
    await publishWatermark(warehouse, Date.now());
    expect(firing('gap', await askAlert('gap'))).toEqual([
      ['70', 2],
      ['71', 1],
    ]);
  });

  test('when a quarter of an hour has no clicks but had some on other days', async () => {
    const at = Date.now() + 3 * HOUR_MS;
    expect(firing('no-clicks', await askAlert('no-clicks', at))).toEqual([]);
    const days = [1, 2, 3, 4, 5, 6].map((day) => ({
      minute: timeText(at - day * DAY_MS - 5 * 60_000).slice(0, 19),
      campaign_id: 800,
      clicks: 100,
    }));
    await warehouse.insertRows('clicks_minutely', days);
    expect(firing('no-clicks', await askAlert('no-clicks', at))).toEqual([['', expect.any(Number)]]);
  });

  test('for the campaign whose clicks stopped to bring orders', async () => {
    expect(firing('conversion-rate', await askAlert('conversion-rate'))).toEqual([]);
    const now = Math.floor(Date.now() / 1_000);
    await warehouse.command(
      `INSERT INTO campaigns_hourly (hour, campaign_id, clicks, valid_clicks)
       SELECT toDateTime(${now} - 3600 - number * 86400), 801, 1000, 1000 FROM numbers(14)`,
    );
    await warehouse.command(
      `INSERT INTO conversions (conversion_id, version, campaign_id, state, currency, occurred_at)
       SELECT 1000000 + number, 1, 801, 'attributed', 'EUR', toDateTime64(${now} - 90000 - number * 2500, 3) FROM numbers(400)`,
    );
    const [fired] = firing('conversion-rate', await askAlert('conversion-rate'));
    expect(fired?.[0]).toBe('801 (801)');
  });

  test('for the shop whose calls are refused, and the webhook that lost something', async () => {
    const { programId } = sample.shop;
    expect(firing('postbacks-refused', await askAlert('postbacks-refused'))).toEqual([
      [`Shop (${programId})`, 6 / 7],
    ]);
    expect(firing('webhook-dead', await askAlert('webhook-dead'))).toEqual([
      [expect.stringMatching(/^Shop: hook\.example \(\d+\)$/), 1],
    ]);
    await books.owner`update webhook_deliveries set done_at = now() - interval '2 hours' where state = 'dead'`;
    expect(firing('webhook-dead', await askAlert('webhook-dead'))).toEqual([]);
  });

  test('for payouts without an outcome, and for a proof that fails', async () => {
    expect(firing('payout-unknown', await askAlert('payout-unknown'))).toMatchObject([
      ['test', expect.any(Number)],
    ]);
    // Two of three payouts that failed have a later one.
    const [failed] = await books.owner<{ n: number }[]>`
      select count(*)::integer as n from payouts where state = 'failed'`;
    expect(failed?.n).toBeGreaterThan(1);
    expect(firing('payout-failed', await askAlert('payout-failed'))).toEqual([['test', 1]]);
    expect(firing('audit-fails', await askAlert('audit-fails'))).toEqual([['ledger: balances_agree', 1]]);
    expect(firing('audit-stale', await askAlert('audit-stale'))).toEqual([]);
  });
});
