import { tableFromIPC } from 'apache-arrow';
import { parquetMetadata } from 'hyparquet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClickFlag, type ClickRecord } from '../../core/clicks/click-record.ts';
import { HOUR_MS } from '../../core/time.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { exportReport } from './report-export.ts';
import {
  REPORT_DIMENSIONS,
  REPORT_METRICS,
  type ReportDimension,
  type ReportMetric,
} from './report-tables.ts';
import { previousPeriod, type ReportOptions, reportTotals, runReport } from './reports.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

const NOON = Date.UTC(2026, 10, 22, 12);
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
  ...[1, 2, 3].map((who) => ({ ts: NOON + HOUR_MS, campaign_id: 1, ...visitor(who), flags: 0 })),
  ...[7, 8].map((who) => ({ ts: NOON, campaign_id: 2, ...visitor(who), flags: 0 })),
  { ts: NOON + 24 * HOUR_MS, campaign_id: 2, ...visitor(9), flags: 0 },
].map((given, seq) => clickRecord({ affiliate_id: 10, link_id: 100, device: 'desktop', seq, ...given }));

/** No click has a coupon. */
const OF_CLICKS = REPORT_DIMENSIONS.filter((name) => name !== 'coupon');

/** A row of the mirror. */
const conversion = (given: object) => ({
  version: 1,
  program_id: 1,
  campaign_id: 1,
  affiliate_id: 10,
  link_id: 100,
  state: 'attributed',
  currency: 'EUR',
  amount_minor: '10000',
  refunded_minor: '0',
  commission_minor: '800',
  own_commission_minor: '700',
  occurred_at: timeText(NOON + 60_000),
  received_at: timeText(NOON + 60_000),
  click_ts: timeText(NOON),
  ...given,
});

beforeAll(async () => {
  warehouse = await freshWarehouse();
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(CLICKS)],
    settings: {},
  });
});
afterAll(() => warehouse.drop());

const day = { from: new Date(NOON - 12 * HOUR_MS), to: new Date(NOON + 12 * HOUR_MS), limit: 100 };

describe('the campaign report', () => {
  it('counts clicks, valid clicks and distinct visitors by campaign', async () => {
    const report = await runReport(warehouse, { ...day, groupBy: ['campaign'] });
    expect(report.rows).toEqual([
      { campaign: 1, clicks: 9, valid_clicks: 7, unique_ips: 3, unique_visitors: 3 },
      { campaign: 2, clicks: 2, valid_clicks: 2, unique_ips: 2, unique_visitors: 2 },
    ]);
    expect(report.table).toBe('campaigns_daily');
  });

  it('gives hours and days in order of time', async () => {
    const hours = await runReport(warehouse, {
      ...day,
      filters: [{ dimension: 'campaign', values: [1] }],
      groupBy: ['hour'],
    });
    expect(hours.rows.map(({ hour, clicks }) => [hour, clicks])).toEqual([
      ['2026-11-22T12:00:00Z', 6],
      ['2026-11-22T13:00:00Z', 3],
    ]);
    const two = { ...day, to: new Date(NOON + 48 * HOUR_MS) };
    const days = await runReport(warehouse, { ...two, groupBy: ['day', 'campaign', 'affiliate'] });
    expect(
      days.rows.map(({ day: date, campaign, affiliate, clicks }) => [date, campaign, affiliate, clicks]),
    ).toEqual([
      ['2026-11-22', 1, 10, 9],
      ['2026-11-22', 2, 10, 2],
      ['2026-11-23', 2, 10, 1],
    ]);
  });

  it('totals without dimensions, and filters by program, campaign and affiliate', async () => {
    const total = await runReport(warehouse, { ...day, groupBy: [] });
    expect(total.rows).toEqual([{ clicks: 11, valid_clicks: 9, unique_ips: 5, unique_visitors: 5 }]);
    const none = await runReport(warehouse, {
      ...day,
      filters: [
        { dimension: 'program', values: [1] },
        { dimension: 'affiliate', values: [99] },
      ],
      groupBy: ['campaign'],
    });
    expect(none.rows).toEqual([]);
  });

  it('covers whole hours, and says so', async () => {
    const inside = {
      from: new Date(NOON + HOUR_MS + 60_000),
      to: new Date(NOON + HOUR_MS + 120_000),
      limit: 10,
    };
    const report = await runReport(warehouse, { ...inside, groupBy: [] });
    expect(report.rows[0]?.clicks).toBe(3);
    expect([report.from, report.to]).toEqual([new Date(NOON + HOUR_MS), new Date(NOON + 2 * HOUR_MS)]);
  });

  it('says how fresh it is', async () => {
    const before = await runReport(warehouse, { ...day, groupBy: [] });
    expect(before.completeTo).toBeUndefined();
    const shards = [NOON + 5, NOON + 3].map((ms, shard) => ({ shard, complete_to: timeText(ms) }));
    await warehouse.insertRows('watermarks', shards);
    const after = await runReport(warehouse, { ...day, groupBy: [] });
    expect(after.completeTo).toEqual(new Date(NOON + 3));
  });

  it('gives the same counts from every table', async () => {
    const partOfTheDay = { ...day, to: new Date(NOON + 11 * HOUR_MS) };
    const asked: { groupBy: ReportDimension[]; from: Date; to: Date; limit: number }[] = [
      { ...day, groupBy: ['campaign'] },
      { ...partOfTheDay, groupBy: ['campaign'] },
      { ...day, groupBy: ['campaign', 'affiliate'] },
      { ...day, groupBy: ['campaign', 'device'] },
      { ...day, groupBy: ['campaign', 'os'] },
    ];
    const reports = await Promise.all(asked.map((options) => runReport(warehouse, options)));
    expect(reports.map(({ table }) => table)).toEqual([
      'campaigns_daily',
      'campaigns_hourly',
      'clicks_hourly',
      'clicks_hourly',
      'clicks',
    ]);
    const counts = reports.map(({ rows }) =>
      rows.map((row) => [row.campaign, row.clicks, row.valid_clicks, row.unique_ips, row.unique_visitors]),
    );
    for (const other of counts) expect(other).toEqual(counts[0]);
  });

  it('counts by the days of UTC only where these are the days asked for', async () => {
    const byDay = { ...day, groupBy: ['day'] as const };
    expect(await runReport(warehouse, byDay)).toMatchObject({ table: 'campaigns_daily' });
    expect(await runReport(warehouse, { ...byDay, timeZone: 'Etc/GMT' })).toMatchObject({
      table: 'campaigns_daily',
    });
    // London's days are those of UTC in winter, and not in summer.
    expect(await runReport(warehouse, { ...byDay, timeZone: 'Europe/London' })).toMatchObject({
      table: 'campaigns_hourly',
    });
    const fromOne = { ...byDay, from: new Date(NOON - 11 * HOUR_MS) };
    expect(await runReport(warehouse, fromOne)).toMatchObject({
      table: 'campaigns_hourly',
      from: fromOne.from,
    });
  });

  it('gives pages that are parts of the whole, whatever the order', async () => {
    const orders: ReportOptions['orderBy'][] = [
      undefined,
      [{ by: 'valid_clicks', descending: false }],
      [{ by: 'unique_visitors', descending: true }],
    ];
    for (const orderBy of orders) {
      const options = {
        ...day,
        to: new Date(NOON + 48 * HOUR_MS),
        groupBy: ['day', 'campaign'] as const,
        ...(orderBy && { orderBy }),
      };
      const { rows } = await runReport(warehouse, options);
      expect(rows).toHaveLength(3);
      for (const offset of [0, 1, 2, 3]) {
        const page = await runReport(warehouse, { ...options, limit: 1, offset });
        expect(page.rows).toEqual(rows.slice(offset, offset + 1));
      }
    }
  });

  it('groups and filters by every pair of dimensions', async () => {
    for (const [i, first] of OF_CLICKS.entries()) {
      const second = OF_CLICKS[(i * 7 + 3) % OF_CLICKS.length] ?? 'day';
      const groupBy = [...new Set<ReportDimension>([first, second])];
      const { rows } = await runReport(warehouse, { ...day, groupBy });
      expect(rows.reduce((sum, row) => sum + Number(row.clicks), 0)).toBe(11);
      for (const row of rows) expect(Object.keys(row)).toEqual(expect.arrayContaining(groupBy));
    }
  });

  it('cuts days in the time zone that is asked for, also one off by half an hour', async () => {
    const days = async (timeZone: string): Promise<unknown[]> => {
      const { rows } = await runReport(warehouse, { ...day, timeZone, groupBy: ['day'] });
      return rows.map((row) => [row.day, row.clicks]);
    };
    expect(await days('Europe/Berlin')).toEqual([['2026-11-22', 11]]);
    expect(await days('Pacific/Auckland')).toEqual([['2026-11-23', 11]]);
    const india = await runReport(warehouse, { ...day, timeZone: 'Asia/Kolkata', groupBy: ['day', 'hour'] });
    expect(india.rows.map((row) => [row.day, row.hour, row.clicks])).toEqual([
      ['2026-11-22', '2026-11-22T11:30:00Z', 8],
      ['2026-11-22', '2026-11-22T12:30:00Z', 3],
    ]);
    expect(india.table).not.toContain('hourly');
  });

  it('orders, limits, excludes, totals and compares', async () => {
    const options = { ...day, groupBy: ['campaign'] as const, limit: 1 };
    const fewest = await runReport(warehouse, { ...options, orderBy: [{ by: 'clicks', descending: false }] });
    expect(fewest.rows.map((row) => row.campaign)).toEqual([2]);
    const filters = [{ dimension: 'campaign', values: [2], exclude: true }] as const;
    const rest = await runReport(warehouse, { ...options, filters });
    expect(rest.rows.map((row) => row.campaign)).toEqual([1]);
    expect(await reportTotals(warehouse, options)).toMatchObject({ clicks: 11, unique_ips: 5 });
    const tomorrow = { from: day.to, to: new Date(NOON + 36 * HOUR_MS) };
    expect(await reportTotals(warehouse, { ...options, ...tomorrow })).toMatchObject({ clicks: 1 });
    expect(previousPeriod(tomorrow)).toEqual({ from: day.from, to: day.to });
  });

  it('joins conversions: counts by state, revenue, commission, rate, time to convert', async () => {
    await warehouse.insertRows('conversions', [
      conversion({ conversion_id: 1, state: 'review' }),
      conversion({ conversion_id: 1, version: 2 }),
      conversion({ conversion_id: 2, state: 'partially_refunded', refunded_minor: '2500' }),
      conversion({ conversion_id: 3, state: 'rejected', commission_minor: '0', own_commission_minor: '0' }),
      conversion({ conversion_id: 4, campaign_id: 2, currency: 'USD' }),
    ]);
    const metrics = [...REPORT_METRICS];
    const { rows } = await runReport(warehouse, { ...day, groupBy: ['campaign'], metrics });
    expect(rows[0]).toEqual({
      campaign: 1,
      clicks: 9,
      valid_clicks: 7,
      unique_ips: 3,
      unique_visitors: 3,
      conversions: 3,
      conversions_attributed: 2,
      conversions_in_review: 0,
      conversions_rejected: 1,
      conversions_refunded: 0,
      conversions_open: 0,
      conversion_rate: 2 / 7,
      revenue: '175.00',
      revenue_minor: 17_500,
      commission: '16.00',
      commission_minor: 1_600,
      epc: '2.28571428',
      epc_minor: 1_600 / 7,
      own_commission: '14.00',
      own_commission_minor: 1_400,
      own_epc: '2.00',
      own_epc_minor: 200,
      seconds_to_convert: 60,
      currency: 'EUR',
    });
    const total = await reportTotals(warehouse, { ...day, groupBy: [], metrics });
    expect(total).toMatchObject({ conversions: 4, revenue_minor: null, currency: 'mixed' });
    // Of one event, with all clicks.
    await warehouse.insertRows('conversions', [
      conversion({ conversion_id: 5, event_name: 'lead', amount_minor: '0' }),
    ]);
    const ofEvent = (eventName: string) =>
      runReport(warehouse, { ...day, eventName, groupBy: ['campaign'], metrics });
    expect((await ofEvent('sale')).rows[0]).toEqual(rows[0]);
    expect((await ofEvent('lead')).rows[0]).toMatchObject({
      clicks: 9,
      conversions: 1,
      conversion_rate: 1 / 7,
      revenue_minor: 0,
    });
  });

  it('counts orders by the code that credits them, with the figures of every other report', async () => {
    const coded = { event_name: 'coded', campaign_id: 3 };
    await warehouse.insertRows('conversions', [
      conversion({ ...coded, conversion_id: 20, coupon: 'Spoken10', amount_minor: '5000' }),
      conversion({
        ...coded,
        conversion_id: 21,
        coupon: 'Spoken10',
        amount_minor: '3000',
        refunded_minor: '1000',
      }),
      conversion({ ...coded, conversion_id: 22, coupon: '=1+1', amount_minor: '700' }),
      conversion({ ...coded, conversion_id: 23, amount_minor: '200' }),
    ]);
    const ofCodes = { ...day, eventName: 'coded', groupBy: ['coupon'] } satisfies Partial<ReportOptions>;
    const metrics = ['conversions', 'conversions_attributed', 'revenue_minor', 'commission_minor'] as const;
    const report = await runReport(warehouse, { ...ofCodes, metrics });
    expect(report.table).toBe('conversions');
    expect(
      report.rows.map(({ coupon, conversions, revenue_minor }) => [coupon, conversions, revenue_minor]),
    ).toEqual([
      ['Spoken10', 2, 7_000],
      ['', 1, 200],
      ['=1+1', 1, 700],
    ]);
    // The sum of the codes is what a report without them counts.
    const total = await reportTotals(warehouse, { ...ofCodes, metrics });
    for (const name of metrics) {
      expect([name, report.rows.reduce((sum, row) => sum + Number(row[name]), 0)]).toEqual([
        name,
        total[name],
      ]);
    }
    const filters = [{ dimension: 'coupon', values: ['spoken10'] }] as const;
    const byDay = await runReport(warehouse, { ...ofCodes, groupBy: ['day'], metrics, filters });
    expect(byDay.rows).toMatchObject([{ conversions: 2, revenue_minor: 7_000 }]);
    const { stream } = await exportReport(warehouse, { ...ofCodes, metrics: ['conversions'], format: 'csv' });
    const csv = Buffer.concat(await stream.toArray()).toString();
    expect(csv).toBe('"coupon","conversions"\n"Spoken10",2\n"",1\n"\'=1+1",1\n');
  });

  it.each(['csv', 'arrow', 'parquet'] as const)('exports %s', async (format) => {
    const { stream, table } = await exportReport(warehouse, { ...day, groupBy: ['campaign'], format });
    const bytes = Buffer.concat(await stream.toArray());
    expect(table).toBe('campaigns_daily');
    const text = bytes.toString('latin1');
    const expected = {
      csv: '"campaign_id","clicks","valid_clicks","unique_ips","unique_visitors"\n"cmp_1",9,7,3,3\n"cmp_2",2,2,2,2\n',
      arrow: 'campaign_id',
      parquet: 'PAR1',
    };
    expect(text).toContain(expected[format]);
  });

  it('counts orders and money by the sub ids of their clicks, beside the clicks themselves', async () => {
    const own = { campaign_id: 4, affiliate_id: 11 };
    const clicks = ['banner', 'banner', 'mail'].map((sub1, i) =>
      clickRecord({ ...own, seq: 60 + i, ts: NOON, flags: 0, sub1, sub5: `=${sub1}` }),
    );
    await warehouse.insertBytes({ sql: INSERT_CLICKS_SQL, data: [encodeClicks(clicks)], settings: {} });
    await warehouse.insertRows('conversions', [
      conversion({ ...own, conversion_id: 30, sub1: 'banner', sub5: '=banner' }),
      conversion({ ...own, conversion_id: 31, sub1: 'mail', sub5: '=mail', refunded_minor: '2500' }),
      conversion({ ...own, conversion_id: 32 }),
    ]);
    const ofAffiliate = { ...day, filters: [{ dimension: 'affiliate', values: [11] }] } as const;
    const metrics = [
      'clicks',
      'conversions',
      'revenue_minor',
      'own_commission_minor',
      'conversion_rate',
    ] as const;
    const report = await runReport(warehouse, { ...ofAffiliate, groupBy: ['sub1'], metrics });
    expect(report.rows).toEqual([
      {
        sub1: 'banner',
        clicks: 2,
        conversions: 1,
        revenue_minor: 10_000,
        own_commission_minor: 700,
        conversion_rate: 0.5,
      },
      {
        sub1: 'mail',
        clicks: 1,
        conversions: 1,
        revenue_minor: 7_500,
        own_commission_minor: 700,
        conversion_rate: 1,
      },
      {
        sub1: '',
        clicks: 0,
        conversions: 1,
        revenue_minor: 10_000,
        own_commission_minor: 700,
        conversion_rate: null,
      },
    ]);
    const total = await reportTotals(warehouse, { ...ofAffiliate, groupBy: ['sub1'], metrics });
    for (const name of ['clicks', 'conversions', 'revenue_minor', 'own_commission_minor'] as const) {
      expect([name, report.rows.reduce((sum, row) => sum + Number(row[name]), 0)]).toEqual([
        name,
        total[name],
      ]);
    }
    const filters = [...ofAffiliate.filters, { dimension: 'sub5', values: ['=mail'] }] as const;
    const byDay = await runReport(warehouse, { ...day, groupBy: ['day'], metrics, filters });
    expect(byDay.rows).toMatchObject([{ clicks: 1, conversions: 1, revenue_minor: 7_500 }]);
    const { stream } = await exportReport(warehouse, {
      ...ofAffiliate,
      groupBy: ['sub5'],
      metrics: ['clicks', 'own_commission_minor'],
      format: 'csv',
    });
    const csv = Buffer.concat(await stream.toArray()).toString();
    expect(csv).toContain('"\'=banner",2,700');
  });

  it('writes times as times, and no amount as a float', async () => {
    const groupBy = ['hour', 'day', 'week', 'month', 'campaign'] as const;
    const metrics = ['clicks', 'revenue_minor', 'own_commission_minor', 'own_epc_minor'] as const;
    const bytesOf = async (format: 'arrow' | 'parquet') => {
      const { stream } = await exportReport(warehouse, { ...day, groupBy, metrics, format });
      return Buffer.concat(await stream.toArray());
    };
    const { schema } = tableFromIPC(await bytesOf('arrow'));
    expect(Object.fromEntries(schema.fields.map(({ name, type }) => [name, String(type)]))).toEqual({
      hour: 'Timestamp<MILLISECOND, UTC>',
      day: 'Date32<DAY>',
      week: 'Date32<DAY>',
      month: 'Date32<DAY>',
      campaign_id: 'Dictionary<Int32, Utf8>',
      clicks: 'Uint64',
      revenue_minor: 'Int64',
      own_commission_minor: 'Int64',
      own_epc_minor: 'Decimal[38e+4]',
    });
    const parquet = await bytesOf('parquet');
    const { schema: columns } = parquetMetadata(Uint8Array.from(parquet).buffer);
    const kinds = columns
      .slice(1)
      .map(({ name, type, logical_type: logical }) => [name, logical?.type ?? type]);
    expect(Object.fromEntries(kinds)).toEqual({
      hour: 'TIMESTAMP',
      day: 'DATE',
      week: 'DATE',
      month: 'DATE',
      campaign_id: 'STRING',
      clicks: 'INTEGER',
      revenue_minor: 'INT64',
      own_commission_minor: 'INT64',
      own_epc_minor: 'DECIMAL',
    });
    // The hours are those of JSON.
    const { rows } = await runReport(warehouse, { ...day, groupBy, metrics });
    const hours = tableFromIPC(await bytesOf('arrow')).getChild('hour');
    expect([...(hours ?? [])].map((at) => new Date(Number(at)).toISOString().replace('.000', ''))).toEqual(
      rows.map(({ hour }) => hour),
    );
  });

  it('takes hostile text as text', async () => {
    const hostile = [
      "'",
      "') OR 1=1 --",
      '\\',
      "\\') OR (1=1",
      '{limit:UInt32}',
      "x' UNION ALL SELECT 1 --",
      '`',
      '"',
      '\n\t\r',
      '[]',
      "'],['",
      '𝄞é',
    ];
    for (const dimension of OF_CLICKS.slice(9)) {
      const { rows } = await runReport(warehouse, {
        ...day,
        groupBy: ['campaign'],
        filters: [{ dimension, values: hostile }],
      });
      expect(rows).toEqual([]);
    }
    const marked = clickRecord({ seq: 50, ts: NOON, campaign_id: 77, sub1: hostile.join('|') });
    await warehouse.insertBytes({
      sql: INSERT_CLICKS_SQL,
      data: [encodeClicks([marked])],
      settings: { async_insert: 0 },
    });
    const { rows } = await runReport(warehouse, {
      ...day,
      groupBy: ['sub1'],
      filters: [{ dimension: 'sub1', values: [hostile.join('|')] }],
    });
    expect(rows.map((row) => row.sub1)).toEqual([hostile.join('|')]);
  });

  it.each([
    ['groupBy', { ...day, groupBy: ['campaign_id) --' as ReportDimension] }],
    ['groupBy', { ...day, groupBy: ['toString' as ReportDimension] }],
    ['metrics', { ...day, groupBy: [], metrics: ['clicks, 1' as ReportMetric] }],
    ['metrics', { ...day, groupBy: ['os'], metrics: ['conversions'] }],
    ['metrics', { ...day, groupBy: ['coupon'] }],
    ['metrics', { ...day, groupBy: ['coupon'], metrics: ['conversions', 'conversion_rate'] }],
    ['metrics', { ...day, groupBy: [], filters: [{ dimension: 'coupon', values: ['x'] }] }],
    ['orderBy', { ...day, groupBy: [], orderBy: [{ by: 'campaign', descending: true }] }],
    ['timeZone', { ...day, groupBy: [], timeZone: "UTC') --" }],
    ['timeZone', { ...day, groupBy: [], timeZone: '+01:00' }],
    ['filters', { ...day, groupBy: [], filters: [{ dimension: 'day', values: ['2026-11-22'] }] }],
    ['filters', { ...day, groupBy: [], filters: [{ dimension: 'campaign', values: ['1) --'] }] }],
    ['filters', { ...day, groupBy: [], filters: [{ dimension: 'sub1', values: [] }] }],
    ['limit', { ...day, groupBy: [], limit: 0 }],
    ['limit', { ...day, groupBy: [], limit: 1.5 }],
    ['from', { ...day, groupBy: [], to: day.from }],
    ['from', { ...day, groupBy: [], from: new Date(Number.NaN) }],
  ] as const)('refuses a wrong %s', async (field, options) => {
    await expect(runReport(warehouse, options)).rejects.toMatchObject({ code: 'invalid_input', field });
  });
});
