import { expect, test } from 'vitest';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { freshLedger } from '../../test/support/ledger.ts';
import type { Won } from '../decide/choose.ts';
import { gatherHistories } from './history.ts';
import { createCampaignSales } from './kept/campaign-sales.ts';
import { createClickTimes } from './kept/click-times.ts';
import { createOrderCounts } from './kept/order-counts.ts';
import { withinTime } from './kept/within-time.ts';

/** Orders of the campaign a day; more by AFFLUX_TEST_ORDERS. */
const A_DAY = Number(process.env.AFFLUX_TEST_ORDERS ?? 20_000);
const AFFILIATES = 200;
const BATCH = 1_000;

/** Of a campaign with many orders, each decided by a click of one of five hours and one of 200 affiliates. */
function batchOf(now: number): Won[] {
  return Array.from({ length: BATCH }, (_, i): Won => {
    const click = { ts: now - (i % 5) * HOUR_MS, affiliateId: 1 + (i % AFFILIATES), campaignId: 1 };
    const conversion = {
      ...{ id: BigInt(i), programId: 1, customerId: null, clickId: 'x', source: 'api', fraudRules: {} },
      receivedAt: new Date(now),
    };
    return { conversion, winner: { source: 'click_id', click } } as unknown as Won;
  });
}

test('a batch of a campaign with many orders reads them once', { timeout: 300_000 }, async () => {
  const books = await freshLedger({ max: 4 });
  const { owner, ledger } = books;
  const now = Date.now();
  await owner.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`set local statement_timeout = 0`;
    await tx`
      insert into affiliates (id, program_id, name, email, ref_code, status, change_xid) overriding system value
      select i, 1, 'a', 'a' || i || '@example.test', 'a' || i, 'active', pg_current_xact_id() from generate_series(1, ${AFFILIATES + 1}) i`;
    const columns = tx`program_id, currency, order_id, amount_minor, payload_hash, state, source, occurred_at,
      received_at, decided_at, click_ts, click_node, click_seq, click_ip, campaign_id, affiliate_id, link_id, terms_id,
      next_attempt_at`;
    await tx`
      insert into conversions (${columns})
      select 1, 'EUR', 'a' || i, 100, decode(repeat('ab', 32), 'hex'), 'attributed', 'postback', t, t, t,
        t - interval '10 minutes', 1, i, '1.2.3.4', 1, 1 + i % ${AFFILIATES}, 1, 1, null
      from (
        select i, ${new Date(now - 2 * DAY_MS)}::timestamptz + make_interval(secs => i * 86400.0 / ${A_DAY}::integer) as t
        from generate_series(1, ${2 * A_DAY}::integer) i
      ) s`;
    // One affiliate whose coupon brings as many in 28 days as the campaign in two.
    await tx`
      insert into conversions (${columns})
      select 1, 'EUR', 'b' || i, 100, decode(repeat('ab', 32), 'hex'), 'attributed', 'postback', t, t, t,
        t, null, null, null, 1, ${AFFILIATES + 1}::integer, null, 1, null
      from (
        select i, ${new Date(now - 28 * DAY_MS)}::timestamptz
          + make_interval(secs => i * 28 * 86400.0 / ${2 * A_DAY}::integer) as t
        from generate_series(1, ${2 * A_DAY}::integer) i
      ) s`;
  });
  await owner`analyze conversions`;
  const traffic = async (questions: readonly object[]) =>
    questions.map(() => ({ clicks: 100, forced: 0, byAffiliate: new Map([[1, 100]]) }));
  const sources = {
    sql: ledger,
    counts: createOrderCounts(),
    sales: createCampaignSales(),
    times: createClickTimes(),
    clicks: { traffic },
  } as never;
  const took = async (won: readonly Won[], what: string) => {
    const startMs = performance.now();
    const histories = await gatherHistories(sources, won, () => 0);
    const ms = performance.now() - startMs;
    process.stdout.write(`${what}: ${Math.round(ms)} ms\n`);
    return { ms, histories };
  };
  const first = await took(batchOf(now), `the first batch of a campaign with ${A_DAY} orders a day`);
  // Each order with a question of its own took 50 times as long.
  expect(first.ms).toBeLessThan(5_000);
  // What is not counted in the time is counted by the batches that follow.
  let batch = first;
  for (let i = 0; i < 20 && batch.histories.get(0n)?.basis?.unread.length !== 0; i++) {
    batch = await took(batchOf(now), 'the next one');
  }
  const history = batch.histories.get(0n);
  expect(history?.basis).toMatchObject({ complete: true, unread: [] });
  expect(history?.sales?.own.orders).toBeGreaterThan((0.9 * A_DAY) / AFFILIATES);
  expect(history?.affiliateDays?.before.slice(-1)[0]).toBeCloseTo(A_DAY / AFFILIATES, -1);
  const lone = batchOf(now).slice(0, 1);
  for (const { winner } of lone) Object.assign(winner.click, { affiliateId: AFFILIATES + 1 });
  await took(lone, `a lone order of an affiliate with ${2 * A_DAY} orders`);
  const next = [];
  for (let i = 0; i < 5; i++) next.push((await took(lone, 'the next one')).ms);
  // It reads nothing that grows with the orders of its campaign.
  expect(Math.min(...next)).toBeLessThan(first.ms / 10);
  await books.close();
});

test('what takes longer than its limit is not read, and nothing else fails', async () => {
  const books = await freshLedger({ max: 1 });
  const { ledger } = books;
  expect(await withinTime(ledger, 30, async (tx) => await tx`select pg_sleep(20)`)).toBeUndefined();
  expect(await withinTime(ledger, 1_000, async (tx) => await tx`select 1 as one`)).toEqual([{ one: 1 }]);
  await expect(withinTime(ledger, 1_000, async (tx) => await tx`select 1 / 0`)).rejects.toThrow('zero');
  expect(await ledger`show statement_timeout`).toEqual([{ statementTimeout: '30s' }]);
  await books.close();
});
