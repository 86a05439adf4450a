import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openPostgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { DAY_MS, MINUTE_MS, WEEK_MS } from '../../core/time.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { atMost, type BenchRow, report, round } from '../bench.ts';
import { fillWarehouse, makeQuestions, warehouseStore } from './afflux-side.ts';
import { spansUpTo } from './conventional-rows.ts';
import { duckDbStore, installDuckDb, NoDuckDb } from './duckdb-side.ts';
import { addIndexes, conventionalStore, loadConventional, POSTGRES_SETTINGS } from './postgres-side.ts';
import { tunedStore } from './postgres-tuned.ts';
import { answersOf, QUESTION_NAMES, QUESTIONS, type Store, time, timeOfNothing } from './questions.ts';

/**
 * `npm run bench:reports -- --rows 1000000,10000000`: the same questions, with the same answers, to the warehouse, to
 * PostgreSQL with the conventional design's tables and with tuned ones, and to DuckDB, holding the same clicks.
 */

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000,10000000' },
    seed: { type: 'string', default: '42' },
    /** A run that takes longer ends with an error before its next step, and leaves no result. */
    minutes: { type: 'string', default: '60' },
  },
});
const sizes = values.rows.split(',').map(Number);
const seed = Number(values.seed);
const endsAtMs = performance.now() + Number(values.minutes) * MINUTE_MS;

const OURS = 'Afflux';
const PUBLISHED = 'PostgreSQL, as published';
const INDEXED = 'PostgreSQL, three more indexes';
const TUNED = 'PostgreSQL, partitions, BRIN, covering indexes';

const HOW =
  "All hold the same clicks of 60 days in order of time, and every answer that was timed is the same as that of Afflux. A slow store is asked less often. ÷ SELECT 1: the median over that of the same store's SELECT 1 in this run. Bytes: clicks with their indexes; of Afflux every table, with columns, filters and rollups that the others do not have. The others compute each answer from the clicks: a rollup of their own would answer the reports as quickly, and would have to be kept equal to them.";
const POSTGRES_NOTE = `PostgreSQL: ${Object.entries(POSTGRES_SETTINGS)
  .map(([name, value]) => `${name} ${value}`)
  .join(
    ', ',
  )}; VACUUM before, asked over one connection with its caches warm. "As published": primary key and (affiliate_id, created_at desc). The three more indexes are on (link_id, created_at), (ip, created_at) and (fingerprint, created_at). "${TUNED.replace('PostgreSQL, ', '')}": a partition a week, the campaign's number in the row, BRIN on created_at, and (campaign_id, created_at), (ip, created_at), (fingerprint, created_at), which answer without the table.`;
const DUCKDB_NOTE =
  "DuckDB: the same columns with the campaign's number, without indexes, in the process that asks. It saves the way to a server, and one process at a time can write to its file.";

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

/** What every size is measured with. */
interface Bench {
  readonly postgresUrl: string;
  readonly clickhouseUrl: string;
  readonly duckDb: Awaited<ReturnType<typeof installDuckDb>> | NoDuckDb;
}

async function main(): Promise<void> {
  const duckDb = await installDuckDb().catch((error: unknown) => {
    if (error instanceof NoDuckDb) return error;
    throw error;
  });
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
  const versions = await versionsOf(database.url, clickhouse.url);
  const bench = { postgresUrl: database.url, clickhouseUrl: clickhouse.url, duckDb };
  const measured: Measured[] = [];
  for (const clicks of sizes) measured.push(...(await measure(bench, clicks, versions)));
  report({
    name: 'reports',
    versions: { ...versions, seed: String(seed) },
    rows: measured.map(({ row }) => row),
    targets: targetsOf(measured),
    notes: notesOf(measured, duckDb),
  });
}

/** Every design with the same clicks, one after the other: each has the machine, and the disk, to itself. */
async function measure(bench: Bench, clicks: number, versions: Record<string, string>): Promise<Measured[]> {
  const endMs = Date.now();
  const days = spansUpTo(endMs, DAY_MS);
  progress(`making ${clicks} clicks`);
  const warehouse = await fillWarehouse(bench.clickhouseUrl, { rows: clicks, seed, endMs, log });
  const asked = await makeQuestions(warehouse, endMs);
  const ours = await warehouseStore(warehouse);
  const expected = await answersOf(ours, asked);
  const measured: Measured[] = [];

  async function askStore(store: Store): Promise<void> {
    progress(`asking ${store.name}`);
    const nothing = await timeOfNothing(store);
    for (const question of QUESTION_NAMES) {
      const timing = await time(store, question, { asked, expected });
      measured.push({
        store: store.name,
        question: QUESTIONS[question],
        clicks,
        p95Ms: timing.p95Ms,
        row: {
          clicks,
          question: QUESTIONS[question],
          store: store.name,
          p50_ms: round(timing.p50Ms),
          p95_ms: round(timing.p95Ms),
          '÷ SELECT 1': round(timing.p50Ms / nothing.p50Ms),
          asked: timing.asked,
          bytes_per_click: round(store.bytes / clicks),
        },
      });
    }
  }

  await askStore(ours);
  if (!(bench.duckDb instanceof NoDuckDb)) {
    progress('copying the clicks to DuckDB');
    const store = await duckDbStore(bench.duckDb, { folder, warehouse, days });
    versions.duckdb = store.version;
    await askStore(store).finally(() => store.close());
  }
  progress('copying the clicks to PostgreSQL');
  const sql = openPostgres({ url: bench.postgresUrl, max: 1, name: 'bench', as: 'owner' });
  await loadConventional(bench.postgresUrl, sql, { warehouse, days });
  await askStore(await conventionalStore(sql, PUBLISHED));
  progress('three more indexes');
  await addIndexes(sql);
  await askStore(await conventionalStore(sql, INDEXED));
  progress('moving the clicks to partitions');
  await askStore(await tunedStore(sql, TUNED, spansUpTo(endMs, WEEK_MS)));

  await sql`drop schema public cascade`;
  await sql`create schema public`;
  await sql.end();
  await warehouse.command(`DROP DATABASE ${warehouse.database} SYNC`);
  await warehouse.close();
  return measured.toSorted((a, b) => a.question.localeCompare(b.question));
}

/** The warehouse answers at least as quickly as the other design does as it is published. */
function targetsOf(measured: readonly Measured[]) {
  return measured
    .filter(({ store }) => store === OURS)
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

/** Where another is the quicker one, in words, and what was measured how. */
function notesOf(measured: readonly Measured[], duckDb: Bench['duckDb']): string[] {
  const quicker = measured
    .filter(({ store }) => store === OURS)
    .flatMap((ours) => {
      const ahead = measured.filter(
        (one) => one.clicks === ours.clicks && one.question === ours.question && one.p95Ms < ours.p95Ms,
      );
      const list = ahead.map(({ store, p95Ms }) => `${store} ${round(p95Ms)}`);
      return ahead.length === 0
        ? []
        : [`${ours.question}, ${ours.clicks} clicks: Afflux ${round(ours.p95Ms)}, ${list.join(', ')}`];
    });
  return [
    quicker.length === 0
      ? 'No other store is quicker than Afflux in any of them.'
      : `Where others are quicker than Afflux, p95 in ms: ${quicker.join('; ')}.`,
    HOW,
    POSTGRES_NOTE,
    duckDb instanceof NoDuckDb ? `DuckDB was not run: ${duckDb.message}.` : DUCKDB_NOTE,
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

/** @throws Error when there is no time left for the step that `text` names. */
function progress(text: string): void {
  if (performance.now() > endsAtMs)
    throw new Error(`${values.minutes} minutes are over before "${text}": --minutes N allows more`);
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}
