import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OperatingError } from '../../core/errors.ts';
import { parseIp } from '../../core/ip.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { planReport, type ReportOptions, runReport } from './reports.ts';
import { settleDays } from './settled-days.ts';

const TODAY = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const DAYS = [TODAY - 2 * DAY_MS, TODAY - DAY_MS, TODAY] as const;
const CAMPAIGNS = [1, 2] as const;
/** Twelve showed six to eight wrong reports when a query itself asked which days are settled. */
const ROUNDS = 8;

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
    limit: 1_000,
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
  // So is its other campaign, with what was added to its states.
  const settled = [[9, 7, 7], [12, 8, 8], SAME, SAME, SAME, [9, 7, 7]];
  expect(await report()).toEqual(settled);
  expect(await settleDays(warehouse)).toBe(1);
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

it('a page merges the states of its rows alone', async () => {
  const asked = {
    from: new Date(TODAY),
    to: new Date(TODAY + DAY_MS),
    groupBy: ['day', 'campaign'],
    metrics: ['clicks', 'unique_visitors'],
    orderBy: [{ by: 'clicks', descending: true }],
    limit: 1,
  } as const;
  const pages = [0, 1].map((offset) => report({ ...asked, offset }));
  expect(await Promise.all(pages)).toEqual([[[9, undefined, 6]], [[9, undefined, 7]]]);
  const ofPage = /IN \(SELECT day, campaign FROM/;
  expect(planReport(asked, 1)).toMatchObject({ unsettledSql: '', sql: expect.stringMatching(ofPage) });
  const days = [TODAY / 1_000];
  const long = (rows: number) =>
    planReport({ ...asked, limit: 1_000 }, 1_000, { unsettled: { days: rows > 0 ? days : [], rows } }).sql;
  expect(long(1_001)).toMatch(ofPage);
  // Where there are no more states than rows on the page, to look for these saves nothing.
  expect(long(1_000)).not.toMatch(ofPage);
  expect(long(0)).not.toMatch(ofPage);
});

it('a cluster reads no numbers: only one server of it would settle', async () => {
  await addToStates(DAYS[1], 1);
  const metrics = ['clicks', 'unique_ips', 'unique_visitors'] as const;
  const asked = {
    from: new Date(DAYS[1]),
    to: new Date(TODAY),
    groupBy: ['day', 'campaign'],
    limit: 1_000,
  } as const;
  const { rows } = await runReport({ ...warehouse, cluster: 'main' }, { ...asked, metrics });
  expect(rows).toContainEqual(expect.objectContaining({ campaign: 1, unique_visitors: 7 }));
  expect((await report(asked))[0]).toEqual(SAME);
  await expect(settleDays({ ...warehouse, cluster: 'main' })).rejects.toThrow('not settled');
});

it('a day that cannot be counted keeps no other from it', async () => {
  for (const day of DAYS.slice(0, 2)) await insert(day, 1, visitors(20, 23));
  const failing: Warehouse = {
    ...warehouse,
    async command(sql, params, settings) {
      if (params?.from === DAYS[1]) throw new OperatingError('clickhouse_refused', 'too many campaigns');
      await warehouse.command(sql, params, settings);
    },
  };
  await expect(settleDays(failing)).rejects.toThrow('too many campaigns');
  expect(await settleDays(warehouse)).toBe(1);
});

describe('clicks and settling while a report is asked', () => {
  const day = DAYS[1];
  const asked = {
    from: new Date(day),
    to: new Date(TODAY),
    groupBy: ['day', 'campaign'],
    metrics: ['clicks', 'unique_visitors'],
    limit: 1_000,
  } as const;
  let count = 0;
  /** A valid click of a visitor of its own. */
  const click = (campaign: number) => insert(day, campaign, [1 + 3 * count++]);
  const ofCampaign = (id: number) => ({ filters: [{ dimension: 'campaign' as const, values: [id] }] });

  it('leave it with the distinct of before or behind them, wherever they come', async () => {
    for (const [campaign, act] of [
      [3, () => click(3)],
      [4, () => settleDays(warehouse)],
      [5, () => click(5).then(() => settleDays(warehouse))],
    ] as const) {
      await click(campaign);
      if (campaign === 3) await settleDays(warehouse);
      // The watermark, the days that are not settled, the report.
      for (const at of [1, 2, 3]) {
        const ask = async () => (await runReport(acting, { ...asked, ...ofCampaign(campaign) })).rows[0];
        let calls = 0;
        const acting: Warehouse = {
          ...warehouse,
          async query(...call) {
            if (++calls === at) await act();
            return await warehouse.query(...call);
          },
        };
        const before = Number(
          (await runReport(warehouse, { ...asked, ...ofCampaign(campaign) })).rows[0]?.clicks,
        );
        const row = await ask();
        expect(calls).toBe(3);
        expect([before, Number(row?.clicks)]).toContain(row?.unique_visitors);
      }
    }
  });

  it('leave it so within its query', async () => {
    // As before version 25.12, where each part of a query sees the table as of a moment of its own.
    const separate: Warehouse = {
      ...warehouse,
      query: (sql, params, settings) =>
        warehouse.query(sql, params, { enable_shared_storage_snapshot_in_query: 0, ...settings }),
    };
    let begun = 0;
    let inserted = 0;
    let isDone = false;
    async function write(): Promise<void> {
      for (let i = 0; i < ROUNDS; i++) {
        begun++;
        await click(6);
        inserted++;
        await settleDays(warehouse);
      }
    }
    async function read(): Promise<unknown[]> {
      const wrong: unknown[] = [];
      while (!isDone) {
        const least = inserted;
        const { rows } = await runReport(separate, { ...asked, ...ofCampaign(6) });
        const unique = Number(rows[0]?.unique_visitors ?? 0);
        if (unique < least || unique > begun) wrong.push({ rows, least, most: begun });
      }
      return wrong;
    }
    const writing = write().finally(() => {
      isDone = true;
    });
    const found = await Promise.all([read(), read(), read(), writing]);
    expect(found.flat().filter(Boolean)).toEqual([]);
  });
});
