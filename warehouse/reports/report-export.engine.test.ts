import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOUR_MS } from '../../core/time.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { exportReport } from './report-export.ts';
import type { ReportOptions } from './reports.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

/** The minutes of the last days are kept. */
const END = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
const HOURS = 40;

beforeAll(async () => {
  warehouse = await freshWarehouse();
  const clicks = Array.from({ length: 300 }, (_, seq) =>
    clickRecord({
      seq,
      // Some hours are full and some have none.
      ts: END - HOURS * HOUR_MS + ((seq * seq * 7_919) % (HOURS * 60)) * 60_000,
      campaign_id: 1 + (seq % 5),
      affiliate_id: 1 + (seq % 3),
      sub1: seq % 2 === 0 ? '=1+1' : `line\n${seq}`,
      fingerprint: BigInt(seq % 20),
    }),
  );
  await warehouse.insertBytes({ sql: INSERT_CLICKS_SQL, data: [encodeClicks(clicks)], settings: {} });
});
afterAll(() => warehouse.drop());

async function csv(options: Partial<ReportOptions>, pieceRows: number) {
  const requests: string[] = [];
  const counting = {
    ...warehouse,
    stream: (...args: Parameters<typeof warehouse.stream>) => {
      requests.push(args[1].format);
      return warehouse.stream(...args);
    },
  };
  const range = { from: new Date(END - HOURS * HOUR_MS), to: new Date(END), limit: 100_000 };
  const { stream, table } = await exportReport(counting, {
    ...range,
    groupBy: ['hour', 'campaign', 'affiliate'],
    ...options,
    format: 'csv',
    pieceRows,
  });
  const text = Buffer.concat(await stream.toArray()).toString();
  return { text, table, requests };
}

describe('a CSV in the order of time', () => {
  it.each<[string, Partial<ReportOptions>, string]>([
    ['by hour', {}, 'clicks_hourly'],
    [
      'by day and hour',
      { groupBy: ['day', 'hour', 'campaign'], timeZone: 'Europe/Berlin' },
      'campaigns_hourly',
    ],
    ['by hour behind others', { groupBy: ['campaign', 'hour'] }, 'campaigns_hourly'],
    ['by minute', { groupBy: ['minute', 'campaign'] }, 'clicks_minutely'],
    ['of the raw clicks', { groupBy: ['hour', 'sub1'] }, 'clicks'],
    [
      'with conversions',
      { groupBy: ['hour', 'campaign'], metrics: ['clicks', 'conversions'] },
      'campaigns_hourly',
    ],
    ['of one campaign', { filters: [{ dimension: 'campaign', values: [2] }] }, 'clicks_hourly'],
  ])('%s is made in pieces, and is what it is in one', async (_name, options, table) => {
    const [whole, pieces] = [await csv(options, 1e9), await csv(options, 10)];
    expect([whole.requests, pieces.table]).toEqual([['CSVWithNames'], table]);
    expect(pieces.requests.length).toBeGreaterThan(5);
    expect(pieces.text).toBe(whole.text);
    expect(whole.text.split('\n').length).toBeGreaterThan(20);
  });

  it.each<[string, Partial<ReportOptions>]>([
    ['from the last hour to the first', { orderBy: [{ by: 'hour', descending: true }] }],
    ['where hours begin at half past', { timeZone: 'Asia/Kolkata' }],
    ['by the clicks', { orderBy: [{ by: 'clicks', descending: true }] }],
    ['by days, which may begin within a piece', { groupBy: ['day', 'campaign'] }],
    [
      'by campaign within the day',
      { groupBy: ['day', 'campaign', 'hour'], orderBy: [{ by: 'day', descending: false }] },
    ],
  ])('%s is made in one', async (_name, options) => {
    expect((await csv(options, 10)).requests).toEqual(['CSVWithNames']);
  });

  it('ends its queries when its reader closes the stream', async () => {
    const range = { from: new Date(END - HOURS * HOUR_MS), to: new Date(END), limit: 100_000 };
    const groupBy = ['hour', 'campaign'] as const;
    const { stream } = await exportReport(warehouse, { ...range, groupBy, format: 'csv', pieceRows: 1 });
    const first = await new Promise<Buffer>((resolve) => stream.once('data', resolve));
    expect(first.toString()).toMatch(/^"hour","campaign_id"/);
    const closed = new Promise((resolve) => stream.once('close', resolve));
    stream.destroy();
    await closed;
    expect((await csv({}, 1e9)).text).not.toBe('');
  });
});

describe('an export with more rows than there may be', () => {
  const range = { from: new Date(END - HOURS * HOUR_MS), to: new Date(END) };

  it.each(['csv', 'arrow', 'parquet'] as const)('as %s fails, and is not cut off', async (format) => {
    const read = async (limit: number) => {
      const options = { ...range, groupBy: ['campaign'] as const, limit, format };
      return await (await exportReport(warehouse, options)).stream.toArray();
    };
    await expect(read(4)).rejects.toMatchObject({ code: 'clickhouse_refused', clickhouseCode: 396 });
    expect((await read(5)).length).toBeGreaterThan(0);
  });
});
