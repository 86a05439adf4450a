import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseIp } from '../../core/ip.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { type ReportOptions, runReport } from './reports.ts';
import { settleDays } from './settled-days.ts';

const TODAY = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const DAYS = [TODAY - 2 * DAY_MS, TODAY - DAY_MS, TODAY] as const;
const CAMPAIGNS = [1, 2] as const;

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let seq = 0;

/** Clicks of a campaign in one hour, each of a visitor of its own; every third one of a bot. */
async function insert(day: number, campaign: number, visitors: readonly number[]): Promise<void> {
  const clicks = visitors.map((visitor) =>
    clickRecord({
      seq: seq++,
      ts: day + HOUR_MS,
      campaign_id: campaign,
      program_id: 7,
      fingerprint: 7n,
      flags: visitor % 3 === 0 ? 1 : 0,
      ip: parseIp(`198.51.${visitor}.1`) ?? Buffer.alloc(0),
    }),
  );
  await warehouse.insertBytes({ sql: INSERT_CLICKS_SQL, data: [encodeClicks(clicks)], settings: {} });
}

const visitors = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

async function report(asked: Partial<ReportOptions> = {}) {
  const { rows, table } = await runReport(warehouse, {
    from: new Date(DAYS[0]),
    to: new Date(TODAY + DAY_MS),
    groupBy: ['day', 'campaign'],
    metrics: ['clicks', 'unique_ips', 'unique_visitors'],
    orderBy: [
      { by: 'day', descending: false },
      { by: 'campaign', descending: false },
    ],
    limit: 100,
    ...asked,
  });
  expect(table).toBe('campaigns_daily');
  return rows.map((row) => [row.clicks, row.unique_ips, row.unique_visitors]);
}

/** Adds a visitor to the states of a campaign's day without a click, which no click does: only states show it. */
async function addToStates(day: number, campaign: number): Promise<void> {
  await warehouse.command(
    `INSERT INTO campaigns_daily (day, program_id, campaign_id, ips, distinct_visitors)
     SELECT fromUnixTimestamp64Milli({day:Int64}), 7, {campaign:UInt32},
       uniqCombinedState(14)(toUInt32(1)), uniqCombinedState(14)(toUInt32(1))`,
    { day, campaign },
  );
}

beforeAll(async () => {
  warehouse = await freshWarehouse();
  for (const day of DAYS) for (const campaign of CAMPAIGNS) await insert(day, campaign, visitors(0, 9));
});
afterAll(async () => {
  await warehouse.drop();
});

const SAME = [9, 6, 6];

it('nothing is settled before the watermark passes a day', async () => {
  expect(await settleDays(warehouse)).toBe(0);
  await warehouse.insertRows('watermarks', [{ shard: 0, complete_to: timeText(DAYS[1] - 1) }]);
  expect(await settleDays(warehouse)).toBe(0);
  expect(await report()).toEqual(Array.from({ length: 6 }, () => SAME));
});

it('reports read numbers of settled days, and states of the others', async () => {
  await warehouse.insertRows('watermarks', [{ shard: 0, complete_to: timeText(TODAY + HOUR_MS) }]);
  expect(await settleDays(warehouse)).toBe(2);
  expect(await report()).toEqual(Array.from({ length: 6 }, () => SAME));
  await addToStates(DAYS[0], 1);
  await addToStates(TODAY, 2);
  expect(await report()).toEqual([SAME, SAME, SAME, SAME, SAME, [9, 7, 7]]);
  expect(await settleDays(warehouse)).toBe(0);
});

it('a click that comes later is counted at once, and its day is settled again', async () => {
  await insert(DAYS[0], 2, visitors(9, 12));
  const late = [SAME, [12, 8, 8], SAME, SAME, SAME, [9, 7, 7]];
  expect(await report()).toEqual(late);
  expect(await settleDays(warehouse)).toBe(1);
  // Its other campaign is counted again too, with what was added to its states.
  const settled = [[9, 7, 7], ...late.slice(1)];
  expect(await report()).toEqual(settled);
  await warehouse.command('OPTIMIZE TABLE campaigns_daily FINAL');
  expect(await report()).toEqual(settled);
  expect(await settleDays(warehouse)).toBe(0);
});

it('filters, orders, pages and conversions are as without', async () => {
  const ofOne = { filters: [{ dimension: 'campaign' as const, values: [2] }] };
  expect(await report(ofOne)).toEqual([[12, 8, 8], SAME, [9, 7, 7]]);
  expect(
    await report({ ...ofOne, metrics: ['clicks', 'unique_ips', 'unique_visitors', 'conversions'] }),
  ).toEqual([[12, 8, 8], SAME, [9, 7, 7]]);
  const first = { orderBy: [{ by: 'unique_visitors' as const, descending: true }], limit: 1 };
  expect(await report(first)).toEqual([[12, 8, 8]]);
  expect(await report({ ...first, offset: 1 })).toEqual([[9, 7, 7]]);
  // Another grain merges states: 0 to 11 without every third one, and the visitor that was added.
  expect(await report({ groupBy: ['campaign'], orderBy: [{ by: 'campaign', descending: false }] })).toEqual([
    [27, 7, 7],
    [30, 9, 9],
  ]);
});
