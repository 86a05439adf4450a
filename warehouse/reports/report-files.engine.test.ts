import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataType, type Field, tableFromIPC } from 'apache-arrow';
import { parse } from 'csv-parse/sync';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { reportMissing } from '../../test/support/programs.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { type ExportFormat, exportReport } from './report-export.ts';
import {
  dimensionKind,
  idPrefix,
  isOfClicks,
  REPORT_DIMENSIONS,
  REPORT_METRICS,
  type ReportDimension,
  type ReportMetric,
} from './report-tables.ts';
import { type ReportOptions, runReport } from './reports.ts';

/**
 * A report is the same rows in JSON, CSV, Arrow and Parquet. Arrow is read by apache-arrow, Parquet by the engine itself; in
 * the long run both also by pyarrow, polars and duckdb: `AFFLUX_TEST_CLIENTS=1 npx vitest run warehouse/reports/report-files`.
 */
const isLong = Number(process.env.AFFLUX_TEST_CLIENTS ?? 0) > 0;
const PYPI = ['pyarrow==26.0.1', 'polars==2.1.0', 'duckdb==2.0.1'];
const CLIENTS_MS = 400_000;

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let folder: string;

/** Clocks were changed on this day in New York and St. John's, and four weeks before on Lord Howe Island. */
const FROM = Date.UTC(2026, 9, 1);
const TO = Date.UTC(2026, 10, 5);
const NAMES = [
  'line\nfeed',
  '🎉 party',
  'a "quote", and \'one\'',
  '',
  'back\\slash\ttab',
  '=1+1',
  'null',
  '\\N',
];
const CURRENCIES = ['EUR', 'JPY', 'KWD', 'CLF'];
/** More than a number of JavaScript tells apart. */
const HUGE = 2n ** 60n + 1n;

beforeAll(async () => {
  warehouse = await freshWarehouse();
  folder = mkdtempSync(join(tmpdir(), 'afflux-report-files-'));
  const clicks = Array.from({ length: 400 }, (_, seq) =>
    clickRecord({
      seq,
      ts: FROM + Math.floor((seq * (TO - FROM)) / 400),
      program_id: 1 + (seq % 4),
      campaign_id: 1 + (seq % 5),
      sub1: NAMES[seq % NAMES.length] ?? '',
      utm_campaign: NAMES[(seq * 3) % NAMES.length] ?? '',
      browser: NAMES[(seq * 5) % NAMES.length] ?? '',
    }),
  );
  await warehouse.insertBytes({ sql: INSERT_CLICKS_SQL, data: [encodeClicks(clicks)], settings: {} });
  await warehouse.insertRows(
    'conversions',
    Array.from({ length: 60 }, (_, i) => ({
      conversion_id: i + 1,
      version: 1,
      program_id: 1 + (i % 4),
      campaign_id: 1 + (i % 4),
      affiliate_id: 10,
      link_id: 100,
      state: i % 9 === 0 ? 'review' : 'attributed',
      currency: CURRENCIES[i % 4],
      amount_minor: i === 0 ? '0' : i % 10 === 0 ? '999999999999' : String(i * 12_345),
      refunded_minor: '1',
      commission_minor: String(i * 101),
      own_commission_minor: String(i * 99),
      occurred_at: timeText(FROM + Math.floor((i * (TO - FROM)) / 60)),
      received_at: timeText(FROM),
      click_ts: i % 7 === 0 ? null : timeText(FROM - 1_234),
      coupon: NAMES[i % NAMES.length],
      sub1: NAMES[i % NAMES.length],
    })),
  );
});
afterAll(async () => {
  await warehouse.drop();
  rmSync(folder, { recursive: true, force: true });
});

type Texts = Record<string, string | null>;
const range = { from: new Date(FROM), to: new Date(TO), limit: 10_000 };
/** Floats of JSON, decimals of four digits in files. */
const CUT: readonly string[] = ['epc_minor', 'own_epc_minor'];
const NUMBERS: readonly string[] = ['conversion_rate', 'seconds_to_convert'];

/** A value as one text, however it was written: decimals without the zeros at their end. */
function plain(name: string, value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (NUMBERS.includes(name)) return String(Number(value));
  const text = CUT.includes(name) ? cutText(String(value)) : String(value);
  return /^-?\d+\.\d+$/.test(text) ? text.replace(/\.?0+$/, '') : text;
}

function cutText(text: string): string {
  return text.includes('.') ? text.slice(0, text.indexOf('.') + 5) : text;
}

async function ofJson(options: ReportOptions): Promise<Texts[]> {
  const { rows } = await runReport(warehouse, options);
  return rows.map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => {
        const dimension = name as ReportDimension;
        const isId = REPORT_DIMENSIONS.includes(dimension) && dimensionKind(dimension) === 'id';
        return isId ? [`${name}_id`, `${idPrefix(dimension)}_${value}`] : [name, plain(name, value)];
      }),
    ),
  );
}

async function bytesOf(options: ReportOptions, format: ExportFormat): Promise<Buffer> {
  return Buffer.concat(await (await exportReport(warehouse, { ...options, format })).stream.toArray());
}

async function ofCsv(options: ReportOptions): Promise<Texts[]> {
  const texts = new Set<string>([...REPORT_DIMENSIONS, 'currency']);
  const rows = parse(await bytesOf(options, 'csv'), { columns: true }) as Record<string, string>[];
  return rows.map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => {
        if (texts.has(name)) return [name, value.replace(/^'(?=[=+@\t\r\n-])/, '')];
        return [name, value === '' ? null : plain(name, value)];
      }),
    ),
  );
}

function ofArrow(bytes: Buffer): Texts[] {
  const table = tableFromIPC(bytes);
  return Array.from({ length: table.numRows }, (_, at) =>
    Object.fromEntries(
      table.schema.fields.map((field) => [field.name, arrowText(field, table.getChild(field.name)?.get(at))]),
    ),
  );
}

function arrowText({ name, type }: Field, value: unknown): string | null {
  if (value === null) return null;
  if (DataType.isTimestamp(type)) return new Date(Number(value)).toISOString().replace('.000', '');
  if (DataType.isDate(type)) return new Date(Number(value)).toISOString().slice(0, name === 'month' ? 7 : 10);
  if (DataType.isDecimal(type)) return plain(name, decimalText(value as Uint32Array, type.scale));
  return plain(name, value);
}

/** 128 bits in four words, the lowest first, in two's complement. */
function decimalText(words: Uint32Array, scale: number): string {
  const unsigned = words.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n);
  const value = BigInt.asIntN(128, unsigned);
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, '0');
  return `${value < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** By the engine, with the types that the columns are to have. */
async function ofParquet(bytes: Buffer, names: readonly string[]): Promise<Texts[]> {
  const columns = names.map((name) => `\`${name}\` ${TYPES[name] ?? 'Nullable(String)'}`);
  await warehouse.command(`CREATE OR REPLACE TABLE parquet (${columns.join(', ')}) ENGINE = Memory`);
  await warehouse.insertBytes({ sql: 'INSERT INTO parquet FORMAT Parquet', data: [bytes], settings: {} });
  const { rows } = await warehouse.query<Texts>(
    'SELECT * FROM parquet',
    {},
    {
      output_format_json_quote_decimals: 1,
      date_time_output_format: 'iso',
    },
  );
  return rows.map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => {
        if (name === 'hour' || name === 'minute') return [name, String(value).replace('.000', '')];
        return [name, name === 'month' ? String(value).slice(0, 7) : plain(name, value)];
      }),
    ),
  );
}

const TYPES: Readonly<Record<string, string>> = {
  minute: "DateTime64(3, 'UTC')",
  hour: "DateTime64(3, 'UTC')",
  day: 'Date32',
  week: 'Date32',
  month: 'Date32',
  ...Object.fromEntries(
    ['revenue', 'commission', 'own_commission'].map((name) => [name, 'Nullable(Decimal(38, 4))']),
  ),
  ...Object.fromEntries(['epc', 'own_epc'].map((name) => [name, 'Nullable(Decimal(38, 8))'])),
  ...Object.fromEntries(CUT.map((name) => [name, 'Nullable(Decimal(38, 4))'])),
  ...Object.fromEntries(NUMBERS.map((name) => [name, 'Nullable(Float64)'])),
};

async function expectSame(options: ReportOptions): Promise<Texts[]> {
  const expected = await ofJson(options);
  expect(await ofCsv(options)).toEqual(expected);
  const arrow = await bytesOf(options, 'arrow');
  expect(ofArrow(arrow)).toEqual(expected);
  const names = tableFromIPC(arrow).schema.fields.map(({ name }) => name);
  expect(await ofParquet(await bytesOf(options, 'parquet'), names)).toEqual(expected);
  return expected;
}

/** All that can be counted by these. */
function metricsOf(groupBy: readonly ReportDimension[]): ReportMetric[] {
  const ofOrders = new Set<string>([
    'program',
    'campaign',
    'affiliate',
    'link',
    'country',
    'sub1',
    'sub5',
    'coupon',
  ]);
  const isOfOrders = groupBy.every((name) => ofOrders.has(name) || dimensionKind(name) === 'time');
  if (groupBy.includes('coupon')) return REPORT_METRICS.filter((name) => !isOfClicks(name));
  return isOfOrders ? [...REPORT_METRICS] : ['clicks', 'valid_clicks', 'unique_ips', 'unique_visitors'];
}

const GROUPINGS: readonly (readonly ReportDimension[])[] = [
  [],
  ...REPORT_DIMENSIONS.map((name) => [name]),
  ...REPORT_DIMENSIONS.slice(0, 9).map((name) => [name, 'sub1'] as const),
  ['day', 'campaign', 'affiliate', 'link', 'country'],
  ['month', 'coupon'],
];

describe('a report is the same in JSON, CSV, Arrow and Parquet', () => {
  it.each(GROUPINGS.map((groupBy) => [groupBy.join(', '), groupBy] as const))('by %s', async (_, groupBy) => {
    const rows = await expectSame({ ...range, groupBy, metrics: metricsOf(groupBy) });
    expect(rows.length).toBeGreaterThan(0);
  });

  it.each(['Europe/Berlin', 'Asia/Kolkata', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'America/St_Johns'])(
    'in %s',
    async (timeZone) => {
      for (const groupBy of [['hour'], ['day', 'hour', 'campaign'], ['week'], ['month']] as const) {
        await expectSame({ ...range, groupBy, timeZone, metrics: metricsOf(groupBy) });
      }
    },
  );

  it('without rows', async () => {
    const filters = [{ dimension: 'campaign', values: [99] }] as const;
    const options = { ...range, groupBy: ['hour', 'campaign'] as const, filters };
    expect(await expectSame({ ...options, metrics: metricsOf(options.groupBy) })).toEqual([]);
  });

  it('with counts beyond 2^53', async () => {
    const ts = timeText(Date.UTC(2025, 0, 1));
    const row = { day: ts.slice(0, 19), program_id: 1, campaign_id: 1 };
    await warehouse.insertRows('campaigns_daily', [{ ...row, clicks: String(HUGE), valid_clicks: '3' }]);
    const day = { from: new Date(Date.UTC(2025, 0, 1)), to: new Date(Date.UTC(2025, 0, 2)), limit: 10 };
    const rows = await expectSame({ ...day, groupBy: ['campaign'], metrics: ['clicks', 'valid_clicks'] });
    expect(rows).toEqual([{ campaign_id: 'cmp_1', clicks: String(HUGE), valid_clicks: '3' }]);
  });

  it('with the digits of each currency, and none where currencies are mixed', async () => {
    await warehouse.insertRows('conversions', [
      ...['EUR', 'JPY', 'KWD', 'CLF'].map((currency, i) => ({
        conversion_id: 1_000 + i,
        version: 1,
        program_id: 50 + i,
        campaign_id: 50,
        state: 'attributed',
        currency,
        amount_minor: '123456789012',
        refunded_minor: '0',
        commission_minor: '-7',
        occurred_at: timeText(Date.UTC(2025, 1, 1)),
      })),
    ]);
    const february = { from: new Date(Date.UTC(2025, 1, 1)), to: new Date(Date.UTC(2025, 1, 2)), limit: 10 };
    const metrics = ['revenue', 'commission'] as const;
    const orderBy = [{ by: 'program', descending: false }] as const;
    const { rows } = await runReport(warehouse, { ...february, groupBy: ['program'], metrics, orderBy });
    expect(rows).toEqual([
      { program: 50, revenue: '1234567890.12', commission: '-0.07', currency: 'EUR' },
      { program: 51, revenue: '123456789012', commission: '-7', currency: 'JPY' },
      { program: 52, revenue: '123456789.012', commission: '-0.007', currency: 'KWD' },
      { program: 53, revenue: '12345678.9012', commission: '-0.0007', currency: 'CLF' },
    ]);
    await expectSame({ ...february, groupBy: ['program'], metrics, orderBy });
    expect(await expectSame({ ...february, groupBy: ['campaign'], metrics })).toEqual([
      { campaign_id: 'cmp_50', revenue: null, commission: null, currency: 'mixed' },
    ]);
    // By amount, not by text.
    const byRevenue = {
      groupBy: ['program'],
      metrics,
      orderBy: [{ by: 'revenue', descending: true }],
    } as const;
    const ordered = await runReport(warehouse, { ...february, ...byRevenue });
    expect(ordered.rows.map(({ program }) => program)).toEqual([51, 50, 52, 53]);
  });

  it('with more names than one block of rows has', async () => {
    const ts = Date.UTC(2025, 5, 1);
    const clicks = Array.from({ length: 150_000 }, (_, seq) =>
      clickRecord({ seq, ts, sub1: `click-${seq}` }),
    );
    await warehouse.insertBytes({ sql: INSERT_CLICKS_SQL, data: [encodeClicks(clicks)], settings: {} });
    const june = { from: new Date(ts), to: new Date(ts + 3_600_000), limit: 1_000_000 };
    const table = tableFromIPC(
      await bytesOf({ ...june, groupBy: ['sub1', 'country'], metrics: ['clicks'] }, 'arrow'),
    );
    expect(table.batches.length).toBeGreaterThan(1);
    expect(new Set(table.getChild('sub1')).size).toBe(clicks.length);
  });

  it('has types of its columns that do not depend on what it holds', async () => {
    const groupBy = ['hour', 'day', 'month', 'campaign', 'country', 'sub1'] as const;
    const metrics = [...REPORT_METRICS];
    const zone = { timeZone: 'Asia/Kathmandu' };
    const bytes = await bytesOf({ ...range, ...zone, groupBy, metrics }, 'arrow');
    const { schema } = tableFromIPC(bytes);
    const types = Object.fromEntries(schema.fields.map(({ name, type }) => [name, String(type)]));
    expect(types).toMatchObject({
      hour: 'Timestamp<MILLISECOND, Asia/Kathmandu>',
      day: 'Date32<DAY>',
      month: 'Date32<DAY>',
      campaign_id: 'Dictionary<Int32, Utf8>',
      country: 'Dictionary<Int32, Utf8>',
      sub1: 'Dictionary<Int32, Utf8>',
      clicks: 'Uint64',
      conversions: 'Uint64',
      revenue_minor: 'Int64',
      revenue: 'Decimal[38e+4]',
      epc: 'Decimal[38e+8]',
      currency: 'Dictionary<Int32, Utf8>',
    });
    const filters = [{ dimension: 'campaign', values: [99] }] as const;
    const empty = tableFromIPC(await bytesOf({ ...range, ...zone, groupBy, metrics, filters }, 'arrow'));
    expect(Object.fromEntries(empty.schema.fields.map(({ name, type }) => [name, String(type)]))).toEqual(
      types,
    );
  });
});

describe.runIf(isLong)('in the long run', () => {
  it('pyarrow, polars and duckdb read what JSON says', { timeout: CLIENTS_MS }, async ({ skip }) => {
    if (spawnSync('python3', ['--version']).status !== 0) {
      reportMissing('python3', 'files of reports with pyarrow, polars and duckdb');
      skip('no python3');
    }
    const run = (command: string, args: readonly string[]): string => {
      const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, maxBuffer: 2 ** 28 });
      if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.toString().slice(-4_000)}`);
      return stdout.toString();
    };
    run('python3', ['-m', 'venv', 'venv']);
    run('venv/bin/pip', ['install', '--quiet', ...PYPI]);
    for (const timeZone of ['UTC', 'Asia/Kathmandu', 'Australia/Lord_Howe']) {
      for (const groupBy of [
        [],
        ['hour', 'sub1'],
        ['day', 'campaign'],
        ['coupon'],
        ['program'],
        ['browser'],
      ] as const) {
        const options = { ...range, timeZone, groupBy, metrics: metricsOf(groupBy) };
        const expected = await ofJson(options);
        for (const format of ['arrow', 'parquet'] as const) {
          writeFileSync(join(folder, `report.${format}`), await bytesOf(options, format));
        }
        const said = JSON.parse(
          run('venv/bin/python', [fromProject('test/fixtures/report-files/main.py'), 'report', timeZone]),
        );
        expect(Object.keys(said)).toHaveLength(6);
        for (const [reader, rows] of Object.entries(said as Record<string, Texts[]>)) {
          const texts = rows.map((row) =>
            Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(name, value)])),
          );
          expect([reader, texts]).toEqual([reader, expected]);
        }
      }
    }
  });
});

it.skipIf(isLong)(
  'pyarrow, polars and duckdb are tried in the long run: AFFLUX_TEST_CLIENTS=1',
  ({ skip }) => {
    skip('it installs them');
  },
);
