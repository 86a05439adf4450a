import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClickRecord } from '../../core/clicks/click-record.ts';
import { fromProject } from '../../core/config/paths.ts';
import { parseIp } from '../../core/ip.ts';
import { readMigrations } from '../../core/migrations.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import { freshClickHouseDatabase } from '../../test/support/engines.ts';
import { clickRecord, encodeClicks, quietLog } from '../../test/support/warehouse.ts';
import { connectWarehouse, timeText, type Warehouse } from '../clickhouse/client.ts';
import { migrateWarehouse, statementsOf } from '../clickhouse/migrate.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { exportReport } from './report-export.ts';
import type { ReportDimension } from './report-tables.ts';
import { type ReportOptions, runReport } from './reports.ts';

const MIGRATION = '0010_visitors.sql';
/** A day of the last week, so that every rollup has it; the clicks begin at its noon. */
const TODAY = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const DAY = TODAY - 3 * DAY_MS;
const OLD_DAY = TODAY - 100 * DAY_MS;

const IPHONE = 7_001n;
const [PHONES, OPTED_OUT, ANONYMISED, OLD, SAME_NETWORK] = [1, 2, 3, 4, 5];

const click = (campaign: number, ip: string, given: Partial<ClickRecord>): Partial<ClickRecord> => ({
  ts: DAY + 12 * HOUR_MS,
  campaign_id: campaign,
  affiliate_id: 10,
  link_id: 100,
  flags: 0,
  fingerprint: IPHONE,
  device: 'mobile',
  os: 'iOS',
  ip: parseIp(ip) ?? Buffer.alloc(0),
  ...given,
});
const times = (count: number) => Array.from({ length: count }, (_, i) => i);

/** 40 phones of one model in 40 networks, each with two clicks an hour apart, from two addresses of its network. */
const phones = times(40).flatMap((i) => [
  click(PHONES, `198.51.${i}.7`, {}),
  click(PHONES, `198.51.${i}.99`, { ts: DAY + 13 * HOUR_MS + MINUTE_MS }),
]);
const ipv6 = times(6).map((i) => click(PHONES, `2001:db8:${i % 3}:${i}::1`, {}));
const optedOut = times(10).map((i) => click(OPTED_OUT, `203.0.${i % 5}.0`, { fingerprint: 0n }));
const anonymised = times(12).map((i) =>
  click(ANONYMISED, `192.0.${i % 4}.0`, { fingerprint: BigInt(1 + (i % 3)) }),
);
const sameNetwork = times(9).map((i) =>
  click(SAME_NETWORK, `192.0.2.${i}`, { fingerprint: BigInt(1 + (i % 2)) }),
);
const old = times(5).map((i) => click(OLD, `100.64.${i}.1`, { ts: OLD_DAY + 12 * HOUR_MS }));

const RECENT = [...phones, ...ipv6, ...optedOut, ...anonymised, ...sameNetwork];
const VISITORS = [
  [PHONES, 43],
  [OPTED_OUT, 5],
  [ANONYMISED, 12],
  [SAME_NETWORK, 2],
];

/** Two of SAME_NETWORK are visitors of ANONYMISED as well. */
const ALL_VISITORS = 60;

const records = (clicks: readonly Partial<ClickRecord>[]) =>
  encodeClicks(clicks.map((given, seq) => clickRecord({ seq, ...given })));

/** A report that the table named answers. */
const QUESTIONS: readonly (readonly [string, readonly ReportDimension[], Partial<ReportOptions>])[] = [
  ['campaigns_daily', ['campaign'], {}],
  ['campaigns_hourly', ['campaign'], { to: new Date(DAY + 23 * HOUR_MS) }],
  ['clicks_hourly', ['campaign', 'affiliate'], {}],
  ['clicks_minutely', ['campaign'], { filters: [{ dimension: 'device', values: ['mobile'] }] }],
  ['clicks', ['campaign', 'os'], {}],
];

async function visitors(
  warehouse: Warehouse,
  groupBy: readonly ReportDimension[],
  asked: Partial<ReportOptions>,
) {
  const { rows, table } = await runReport(warehouse, {
    from: new Date(DAY),
    to: new Date(DAY + DAY_MS),
    groupBy,
    limit: 100,
    orderBy: [{ by: 'campaign', descending: false }],
    ...asked,
  });
  return { table, visitors: rows.map((row) => [row.campaign, row.unique_visitors]) };
}

let database: Awaited<ReturnType<typeof freshClickHouseDatabase>>;
let warehouse: Warehouse;
const insert = async (clicks: readonly Partial<ClickRecord>[]) =>
  await warehouse.insertBytes({ sql: INSERT_CLICKS_SQL, data: [records(clicks)], settings: {} });
const migrate = () => migrateWarehouse({ warehouse, log: quietLog });

async function connect(): Promise<void> {
  database = await freshClickHouseDatabase();
  warehouse = await connectWarehouse({ url: database.url, name: 'test' });
}
async function drop(): Promise<void> {
  await warehouse.close();
  await database.drop();
}

describe('distinct visitors', () => {
  beforeAll(async () => {
    await connect();
    await migrate();
    await insert(RECENT);
  });
  afterAll(drop);

  it.each(QUESTIONS)('are fingerprints in networks, by %s', async (table, groupBy, asked) => {
    expect(await visitors(warehouse, groupBy, asked)).toEqual({
      table: table === 'clicks_minutely' ? 'clicks_hourly' : table,
      visitors: VISITORS,
    });
  });

  it('are not known of raw clicks whose addresses are gone, beside conversions too', async () => {
    const gone = old.map((given) => ({ ...given, ip: Buffer.alloc(16) }));
    await insert(gone);
    const asked = { from: new Date(OLD_DAY), to: new Date(OLD_DAY + DAY_MS), limit: 10 };
    const { rows } = await runReport(warehouse, { ...asked, groupBy: ['campaign', 'os'] });
    expect(rows).toEqual([
      { campaign: OLD, os: 'iOS', clicks: 5, valid_clicks: 5, unique_ips: null, unique_visitors: null },
    ]);
  });
});

/** The schema of the version before, with a click of every kind counted by it. */
async function connectToVersionBefore(): Promise<void> {
  await connect();
  const migrations = readMigrations(fromProject('warehouse/migrations')).filter(
    ({ name }) => name < MIGRATION,
  );
  for (const { text } of migrations) {
    for (const statement of statementsOf(text)) {
      await warehouse.command(statement.replace('/*credentials*/', ''));
    }
  }
  await warehouse.command(
    'CREATE TABLE migrations (number UInt32, name String, checksum String, applied_at DateTime64(3)) ENGINE = ReplacingMergeTree ORDER BY number',
  );
  await warehouse.insertRows(
    'migrations',
    migrations.map(({ name, checksum }) => ({
      number: Number(name.slice(0, 4)),
      name: name.slice(5, -4),
      checksum,
      applied_at: timeText(Date.now()),
    })),
  );
}

describe('distinct visitors of clicks from before they were counted', () => {
  beforeAll(async () => {
    await connectToVersionBefore();
    await insert([...RECENT, ...old]);
    await migrate();
  });
  afterAll(drop);

  const all = { from: new Date(OLD_DAY), to: new Date(DAY + DAY_MS), limit: 10 };

  it.each(QUESTIONS)(
    'are counted from the clicks that have an address, by %s',
    async (_table, groupBy, asked) => {
      expect((await visitors(warehouse, groupBy, asked)).visitors).toEqual(VISITORS);
    },
  );

  it.each([
    ['campaigns_daily', all, ['day']],
    ['campaigns_hourly', { ...all, to: new Date(DAY + 23 * HOUR_MS) }, ['day']],
    ['clicks_hourly', all, ['day', 'affiliate']],
  ] as const)('are null before, by %s, and other figures are there', async (table, range, groupBy) => {
    const report = await runReport(warehouse, { ...range, groupBy });
    expect(report.table).toBe(table);
    expect(report.rows.map((row) => [row.day, row.clicks, row.unique_ips, row.unique_visitors])).toEqual([
      [new Date(OLD_DAY).toISOString().slice(0, 10), 5, 5, null],
      [new Date(DAY).toISOString().slice(0, 10), RECENT.length, expect.any(Number), ALL_VISITORS],
    ]);
    const total = await runReport(warehouse, {
      ...range,
      groupBy: [],
      metrics: ['clicks', 'unique_visitors', 'conversions'],
    });
    expect(total.rows).toEqual([{ clicks: RECENT.length + 5, unique_visitors: null, conversions: 0 }]);
  });

  it('are the null of an export', async () => {
    const { stream } = await exportReport(warehouse, {
      ...all,
      groupBy: ['day'],
      metrics: ['clicks', 'unique_visitors'],
      format: 'csv',
    });
    const lines = Buffer.concat(await stream.toArray())
      .toString()
      .trim()
      .split('\n');
    expect(lines.map((line) => line.split(',').slice(1))).toEqual([
      ['"clicks"', '"unique_visitors"'],
      ['5', ''],
      [String(RECENT.length), String(ALL_VISITORS)],
    ]);
  });

  it('stay the same when the migration runs again, and clicks are counted once', async () => {
    await warehouse.command('DELETE FROM migrations WHERE number = 10');
    expect(await migrate()).toEqual({ applied: 1 });
    for (const [, groupBy, asked] of QUESTIONS) {
      expect((await visitors(warehouse, groupBy, asked)).visitors).toEqual(VISITORS);
    }
    const counted = await runReport(warehouse, { ...all, groupBy: [], metrics: ['clicks', 'valid_clicks'] });
    expect(counted.rows).toEqual([{ clicks: RECENT.length + 5, valid_clicks: RECENT.length + 5 }]);
  });
});
