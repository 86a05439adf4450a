import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openPostgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { HOUR_MS, WEEK_MS } from '../../core/time.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { loadGeo } from '../../warehouse/geo/geo.ts';
import { velocityOf } from '../../warehouse/lookups/velocity.ts';
import { runReport } from '../../warehouse/reports/reports.ts';
import { atMost, type BenchRow, report, round } from '../bench.ts';
import { type BenchUnit, inUnits, measureInsert, measureSelect1, unitRow } from '../units.ts';
import { generateClicks } from '../warehouse/generate.ts';
import { settle } from '../warehouse/sizes.ts';
import { addIndexes, conventionalStore, loadConventional } from './postgres-side.ts';
import {
  type Answer,
  type Asked,
  compare,
  QUESTION_NAMES,
  QUESTIONS,
  type Store,
  time,
} from './questions.ts';

/**
 * `npm run bench:reports -- --rows 1000000,10000000`: the same questions, with the same answers, to the warehouse and
 * to PostgreSQL with the conventional design's tables, holding the same clicks.
 */

const { values } = parseArgs({
  options: { rows: { type: 'string', default: '1000000,10000000' }, seed: { type: 'string', default: '42' } },
});
const sizes = values.rows.split(',').map(Number);
const seed = Number(values.seed);

const PUBLISHED = 'PostgreSQL, as published';
const KEYS = 100;
/** Questions whose answers are compared. */
const COMPARED = 5;
/** An eighth of a machine of 24 GB, and more than 10 million clicks take. */
const POSTGRES_SETTINGS = {
  shared_buffers: '3GB',
  effective_cache_size: '12GB',
  maintenance_work_mem: '1GB',
  work_mem: '64MB',
  max_wal_size: '16GB',
};

const log = createLogger({ name: 'bench', level: 'error' });
const folder = mkdtempSync(join(tmpdir(), 'afflux-reports-'));
const engines: Engine[] = [];

try {
  await main();
} finally {
  for (const engine of engines.reverse()) await engine.stop();
  rmSync(folder, { recursive: true, force: true });
}

interface Measured {
  readonly row: BenchRow;
  readonly store: string;
  readonly question: string;
  readonly clicks: number;
  readonly p95Ms: number;
}

async function main(): Promise<void> {
  const database = await startPostgres({
    dataDir: join(folder, 'postgres'),
    port: await freePort(),
    password: 'bench',
    database: 'conventional',
    log,
    settings: POSTGRES_SETTINGS,
  });
  engines.push(database);
  const clickhouse = await startClickHouse({
    dataDir: join(folder, 'clickhouse'),
    port: await freePort(),
    password: 'bench',
    database: 'bench',
    log,
  });
  engines.push(clickhouse);
  const insert = await measureInsert(database.url);
  const measured: Measured[] = [];
  for (const clicks of sizes) {
    measured.push(
      ...(await measure({ postgresUrl: database.url, clickhouseUrl: clickhouse.url, clicks, insert })),
    );
  }
  report({
    name: 'reports',
    versions: { ...(await versionsOf(database.url, clickhouse.url)), seed: String(seed) },
    rows: [unitRow(insert), ...measured.map(({ row }) => row)],
    targets: targetsOf(measured),
    notes: notesOf(measured),
  });
}

async function measure(options: {
  postgresUrl: string;
  clickhouseUrl: string;
  clicks: number;
  insert: BenchUnit;
}): Promise<Measured[]> {
  const { postgresUrl, clickhouseUrl, clicks, insert } = options;
  const endMs = Date.now();
  const warehouse = await fillWarehouse(clickhouseUrl, clicks, endMs);
  const select1 = await measureSelect1(warehouse);
  const asked = await makeQuestions(warehouse, endMs);
  const sql = openPostgres({ url: postgresUrl, max: 1, name: 'bench', as: 'owner' });
  progress('copying the clicks to PostgreSQL');
  await loadConventional(postgresUrl, sql, warehouse);
  const measured: Measured[] = [];

  async function askStore(store: Store): Promise<void> {
    progress(`asking ${store.name}`);
    for (const question of QUESTION_NAMES) {
      const timing = await time((i) => store[question](asked[i % asked.length] as Asked));
      measured.push({
        store: store.name,
        question: QUESTIONS[question],
        clicks,
        p95Ms: timing.p95Ms,
        row: inUnits(
          inUnits(
            {
              clicks,
              question: QUESTIONS[question],
              store: store.name,
              p50_ms: round(timing.p50Ms),
              p95_ms: round(timing.p95Ms),
              asked: timing.asked,
              bytes_per_click: round(store.bytes / clicks),
            },
            select1,
          ),
          insert,
        ),
      });
    }
  }

  const ours = await warehouseStore(warehouse);
  await askStore(ours);
  const published = await conventionalStore(sql, PUBLISHED);
  await askStore(published);
  await compare([ours, published], asked.slice(0, COMPARED));
  progress('three more indexes');
  await addIndexes(sql);
  const indexed = await conventionalStore(sql, 'PostgreSQL, three more indexes');
  await askStore(indexed);
  await compare([ours, indexed], asked);

  await sql`drop schema public cascade`;
  await sql`create schema public`;
  await sql.end();
  await warehouse.command(`DROP DATABASE ${warehouse.database} SYNC`);
  await warehouse.close();
  return measured.toSorted((a, b) => a.question.localeCompare(b.question));
}

async function fillWarehouse(clickhouseUrl: string, rows: number, endMs: number): Promise<Warehouse> {
  const url = new URL(clickhouseUrl);
  url.pathname = `/clicks_${rows}`;
  const warehouse = await connectWarehouse({ url: url.href, name: 'bench' });
  await migrateWarehouse({ warehouse, log });
  await loadGeo(warehouse, { now: endMs });
  progress(`making ${rows} clicks`);
  await generateClicks({ warehouse, rows, seed, endMs, progress: () => undefined });
  await settle(warehouse);
  return warehouse;
}

async function warehouseStore(warehouse: Warehouse): Promise<Store> {
  const { rows } = await warehouse.query<{ bytes: string }>(
    `SELECT sum(bytes_on_disk) AS bytes FROM system.parts
     WHERE active AND database = currentDatabase() AND NOT startsWith(table, 'geo')`,
  );
  const recent = async (key: 'ip' | 'fingerprint', value: string, now: Date): Promise<Answer> => {
    const { clicks } = await velocityOf(warehouse, { key, value, now });
    return [
      ['5 minutes', clicks.m5],
      ['1 hour', clicks.m60],
      ['24 hours', clicks.h24],
    ];
  };
  return {
    name: 'Afflux',
    bytes: Number(rows[0]?.bytes),
    async clicksByHour({ campaign, from, to }) {
      const filters = [{ dimension: 'campaign' as const, values: [campaign] }];
      const hours = await runReport(warehouse, {
        from,
        to,
        groupBy: ['hour'],
        metrics: ['clicks'],
        filters,
        limit: 1_000,
      });
      return hours.rows.map(({ hour, clicks }): [string, number] => [String(hour), Number(clicks)]);
    },
    clicksOfIp: ({ ip, now }) => recent('ip', ip, now),
    clicksOfFingerprint: ({ fingerprint, now }) => recent('fingerprint', fingerprint, now),
  };
}

/** The busiest campaigns first and most: that is what is looked at. Keys that were seen in the last day. */
async function makeQuestions(warehouse: Warehouse, endMs: number): Promise<Asked[]> {
  const keys = async (key: 'ip' | 'fingerprint'): Promise<string[]> => {
    const { rows } = await warehouse.query<{ value: string }>(
      `SELECT toString(${key}) AS value FROM velocity_${key} WHERE ts >= fromUnixTimestamp64Milli({from:Int64})
       GROUP BY ${key} ORDER BY cityHash64(${key}) LIMIT ${KEYS}`,
      { from: endMs - 24 * HOUR_MS },
    );
    return rows.map(({ value }) => value.replace(/^::ffff:(?=\d+\.)/, ''));
  };
  const ips = await keys('ip');
  const fingerprints = await keys('fingerprint');
  const to = Math.floor(endMs / HOUR_MS) * HOUR_MS;
  return ips.map((ip, i) => ({
    campaign: Math.max(1, Math.floor(1_000 ** ((i % 50) / 50))),
    from: new Date(to - WEEK_MS),
    to: new Date(to),
    ip,
    fingerprint: fingerprints[i % fingerprints.length] ?? '0',
    now: new Date(endMs),
  }));
}

/** The warehouse answers at least as quickly as the other design does as it is published. */
function targetsOf(measured: readonly Measured[]) {
  return measured
    .filter(({ store }) => store === 'Afflux')
    .map((ours) => {
      const theirs = measured.find(
        (one) => one.store === PUBLISHED && one.clicks === ours.clicks && one.question === ours.question,
      );
      return atMost(
        `${ours.question}, ${ours.clicks} clicks: p95 ÷ PostgreSQL's as published`,
        ours.p95Ms / (theirs?.p95Ms ?? Number.NaN),
        1,
      );
    });
}

/** Where PostgreSQL is the quicker one, in words. */
function notesOf(measured: readonly Measured[]): string[] {
  const quicker = measured
    .filter(({ store }) => store !== 'Afflux')
    .flatMap(({ store, question, clicks, p95Ms }) => {
      const ours = measured.find(
        (one) => one.store === 'Afflux' && one.clicks === clicks && one.question === question,
      );
      if (!ours || p95Ms >= ours.p95Ms) return [];
      return [`${store}, ${question}, at ${clicks} (p95 ${round(p95Ms)} against ${round(ours.p95Ms)} ms)`];
    });
  return [
    quicker.length === 0
      ? 'PostgreSQL is quicker than Afflux in none of them.'
      : `PostgreSQL is quicker than Afflux in: ${quicker.join('; ')}.`,
    'Both hold the same clicks of 60 days, and every answer that was compared is the same. PostgreSQL: shared_buffers 3 GB, VACUUM ANALYZE, asked over one connection with its caches warm. "As published": primary key and (affiliate_id, created_at desc). The three more indexes are on (link_id, created_at), (ip, created_at) and (fingerprint, created_at). Bytes: clicks with their indexes; of Afflux every table, with columns, filters and rollups that the other design does not have.',
  ];
}

async function versionsOf(postgresUrl: string, clickhouseUrl: string): Promise<Record<string, string>> {
  const sql = openPostgres({ url: postgresUrl, max: 1, name: 'bench', as: 'owner' });
  const [row] = await sql`select split_part(current_setting('server_version'), ' ', 1) as version`;
  await sql.end();
  const warehouse = await connectWarehouse({ url: clickhouseUrl, name: 'bench' });
  const { rows } = await warehouse.query<{ version: string }>('SELECT version() AS version');
  await warehouse.close();
  return { clickhouse: rows[0]?.version ?? '', postgres: String(row?.version) };
}

function progress(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}
