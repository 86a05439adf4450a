import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLICK_COLUMN_LIST, ClickFlag, type ClickRecord } from '../core/click-record.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../test/support/warehouse.ts';
import { timeText } from './client.ts';
import { campaignReport, REPORT_DIMENSIONS, type ReportDimension } from './reports.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

const NOON = Date.UTC(2026, 10, 22, 12);
const HOUR = 3_600_000;
const visitor = (last: number): Pick<ClickRecord, 'ip' | 'fingerprint'> => ({
  ip: Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, last]),
  fingerprint: BigInt(last),
});

/** Twelve clicks of two campaigns over two days. */
const CLICKS: ClickRecord[] = [
  ...[1, 1, 2].map((who) => ({ ts: NOON, campaign_id: 1, ...visitor(who), flags: 0 })),
  { ts: NOON + 10, campaign_id: 1, ...visitor(3), flags: ClickFlag.bot },
  { ts: NOON + 20, campaign_id: 1, ...visitor(1), flags: ClickFlag.repeat },
  { ts: NOON + 30, campaign_id: 1, ...visitor(4), flags: ClickFlag.paused | ClickFlag.fallback },
  ...[1, 2, 3].map((who) => ({ ts: NOON + HOUR, campaign_id: 1, ...visitor(who), flags: 0 })),
  ...[7, 8].map((who) => ({ ts: NOON, campaign_id: 2, ...visitor(who), flags: 0 })),
  { ts: NOON + 24 * HOUR, campaign_id: 2, ...visitor(9), flags: 0 },
].map((given, seq) => clickRecord({ affiliate_id: 10, link_id: 100, device: 'desktop', seq, ...given }));

beforeAll(async () => {
  warehouse = await freshWarehouse();
  await warehouse.insertBytes({
    sql: `INSERT INTO clicks ${CLICK_COLUMN_LIST} FORMAT RowBinary`,
    data: [encodeClicks(CLICKS)],
    settings: {},
  });
});
afterAll(() => warehouse.drop());

const day = { from: new Date(NOON - 12 * HOUR), to: new Date(NOON + 12 * HOUR), limit: 100 };

describe('the campaign report', () => {
  it('counts clicks, valid clicks and distinct visitors by campaign', async () => {
    const report = await campaignReport(warehouse, { ...day, groupBy: ['campaign'] });
    expect(report.rows).toEqual([
      { campaign: 1, clicks: 9, validClicks: 7, uniqueIps: 3, uniqueVisitors: 3 },
      { campaign: 2, clicks: 2, validClicks: 2, uniqueIps: 2, uniqueVisitors: 2 },
    ]);
    expect(report.table).toBe('clicks_hourly');
  });

  it('gives hours and days in order of time', async () => {
    const hours = await campaignReport(warehouse, { ...day, campaignId: 1, groupBy: ['hour'] });
    expect(hours.rows.map(({ hour, clicks }) => [hour, clicks])).toEqual([
      ['2026-11-22T12:00:00Z', 6],
      ['2026-11-22T13:00:00Z', 3],
    ]);
    const two = { ...day, to: new Date(NOON + 48 * HOUR) };
    const days = await campaignReport(warehouse, { ...two, groupBy: ['day', 'campaign', 'affiliate'] });
    expect(
      days.rows.map(({ day: date, campaign, affiliate, clicks }) => [date, campaign, affiliate, clicks]),
    ).toEqual([
      ['2026-11-22', 1, 10, 9],
      ['2026-11-22', 2, 10, 2],
      ['2026-11-23', 2, 10, 1],
    ]);
  });

  it('totals without dimensions, and filters by program, campaign and affiliate', async () => {
    const total = await campaignReport(warehouse, { ...day, groupBy: [] });
    expect(total.rows).toEqual([{ clicks: 11, validClicks: 9, uniqueIps: 5, uniqueVisitors: 5 }]);
    const none = await campaignReport(warehouse, {
      ...day,
      programId: 1,
      affiliateId: 99,
      groupBy: ['campaign'],
    });
    expect(none.rows).toEqual([]);
  });

  it('covers whole hours, and says so', async () => {
    const inside = { from: new Date(NOON + HOUR + 60_000), to: new Date(NOON + HOUR + 120_000), limit: 10 };
    const report = await campaignReport(warehouse, { ...inside, groupBy: [] });
    expect(report.rows[0]?.clicks).toBe(3);
    expect([report.from, report.to]).toEqual([new Date(NOON + HOUR), new Date(NOON + 2 * HOUR)]);
  });

  it('says how fresh it is', async () => {
    const before = await campaignReport(warehouse, { ...day, groupBy: [] });
    expect(before.completeTo).toBeUndefined();
    const shards = [NOON + 5, NOON + 3].map((ms, shard) => ({ shard, complete_to: timeText(ms) }));
    await warehouse.insertRows('watermarks', shards);
    const after = await campaignReport(warehouse, { ...day, groupBy: [] });
    expect(after.completeTo).toEqual(new Date(NOON + 3));
  });

  it('answers for every subset of its dimensions', async () => {
    for (let bits = 0; bits < 2 ** REPORT_DIMENSIONS.length; bits++) {
      const groupBy = REPORT_DIMENSIONS.filter((_, i) => bits & (1 << i));
      const { rows } = await campaignReport(warehouse, { ...day, groupBy });
      expect(rows.reduce((sum, row) => sum + row.clicks, 0)).toBe(11);
      for (const row of rows) expect(Object.keys(row)).toEqual(expect.arrayContaining([...groupBy]));
    }
  });

  it.each([
    ['groupBy', { ...day, groupBy: ['campaign_id) --' as ReportDimension] }],
    ['groupBy', { ...day, groupBy: ['toString' as ReportDimension] }],
    ['limit', { ...day, groupBy: [], limit: 0 }],
    ['limit', { ...day, groupBy: [], limit: 1.5 }],
    ['from', { ...day, groupBy: [], to: day.from }],
    ['from', { ...day, groupBy: [], from: new Date(Number.NaN) }],
  ] as const)('refuses a wrong %s', async (field, options) => {
    await expect(campaignReport(warehouse, options)).rejects.toMatchObject({ code: 'invalid_input', field });
  });
});
