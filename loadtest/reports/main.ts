import { openPostgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { DAY_MS, MINUTE_MS, WEEK_MS } from '../../core/time.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { atMost, type BenchRow, report, round } from '../bench.ts';
import { carryOut, type Run } from '../ending.ts';
import { ownEngines } from '../engines.ts';
import { above0, readOptions, whole, wholes } from '../options.ts';
import { measureBetween, SELECT_1, unitRow } from '../units.ts';
import { fillWarehouse, makeQuestions, warehouseStore } from './afflux-side.ts';
import { spansUpTo } from './conventional-rows.ts';
import { DUCKDB_SETTINGS, duckDbStore, installDuckDb, NoDuckDb } from './duckdb-side.ts';
import { addIndexes, conventionalStore, loadConventional, POSTGRES_SETTINGS } from './postgres-side.ts';
import { tunedStore } from './postgres-tuned.ts';
import {
  type Asked,
  answersOf,
  type ComparedTiming,
  countKeys,
  type Expected,
  QUESTION_NAMES,
  QUESTIONS,
  type Question,
  type Store,
  time,
  timeSelect1,
} from './questions.ts';

/**
 * `npm run bench:reports -- --rows 1000000,10000000`: the same questions, with the same answers, to the warehouse, to
 * PostgreSQL with the conventional design's tables and with tuned ones, and to DuckDB, holding the same clicks.
 */

const { values } = readOptions({
  rows: wholes([1_000_000, 10_000_000]),
  seed: whole(42, 0),
  /** A run that takes longer ends with an error before its next step, and leaves no result. */
  minutes: above0(60),
});
const { rows: sizes, seed } = values;
const endsAtMs = performance.now() + values.minutes * MINUTE_MS;

const OURS = 'Afflux';
const PUBLISHED = 'PostgreSQL, as published';
const INDEXED = 'PostgreSQL, three more indexes';
const TUNED = 'PostgreSQL, partitions, BRIN, covering indexes';

const HOW =
  "All hold the same clicks of 60 days in order of time, and every answer that was timed is the same as that of Afflux. A slow store is asked less often, and so of fewer keys: a campaign, an address, a fingerprint; the column says of how many out of how many the answers were compared. ÷ SELECT 1: the median over that of the same store's SELECT 1, asked before and after its questions. Bytes: clicks with their indexes; of Afflux every table, with columns, filters and rollups that the others do not have. The others compute each answer from the clicks: a rollup of their own would answer the reports as quickly, and would have to be kept equal to them.";
const POSTGRES_NOTE = `PostgreSQL: ${settingsText(POSTGRES_SETTINGS)}; VACUUM before, asked over one connection with its caches warm. "As published": primary key and (affiliate_id, created_at desc). The three more indexes are on (link_id, created_at), (ip, created_at) and (fingerprint, created_at). "${TUNED.replace('PostgreSQL, ', '')}": a partition a week, the campaign's number in the row, BRIN on created_at, and (campaign_id, created_at), (ip, created_at), (fingerprint, created_at), which answer without the table.`;
const DUCKDB_NOTE = `DuckDB: ${settingsText(DUCKDB_SETTINGS)}; the same columns with the campaign's number, without indexes, in the process that asks. It saves the way to a server, and one process at a time can write to its file.`;

const log = createLogger({ name: 'bench', level: 'error' });

await carryOut(main);

interface Measured {
  readonly row: BenchRow;
  readonly store: string;
  readonly question: string;
  readonly clicks: number;
  readonly p95Ms: number;
}

/** What every size is measured with. */
interface Bench {
  readonly folder: string;
  readonly postgresUrl: string;
  readonly clickhouseUrl: string;
  readonly duckDb: Awaited<ReturnType<typeof installDuckDb>> | NoDuckDb;
}

async function main(run: Run): Promise<void> {
  const duckDb = await installDuckDb().catch((error: unknown) => {
    if (error instanceof NoDuckDb) return error;
    throw error;
  });
  const folder = run.makeFolder('afflux-reports-');
  const engines = ownEngines(run, { folder, log });
  const database = await engines.postgres({ database: 'conventional', settings: POSTGRES_SETTINGS });
  const clickhouse = await engines.clickhouse();
  const versions = await versionsOf(database.url, clickhouse.url);
  const bench = { folder, postgresUrl: database.url, clickhouseUrl: clickhouse.url, duckDb };
  const measured: Measured[] = [];
  const units: BenchRow[] = [];
  for (const clicks of sizes) {
    const of = await measure(bench, clicks, versions);
    measured.push(...of.measured);
    units.push(...of.units);
  }
  report({
    name: 'reports',
    versions: { ...versions, seed: String(seed) },
    rows: [...measured.map(({ row }) => row), ...units],
    targets: targetsOf(measured),
    notes: notesOf(measured, duckDb),
  });
}

/** Every design with the same clicks, one after the other: each has the machine, and the disk, to itself. */
async function measure(
  bench: Bench,
  clicks: number,
  versions: Record<string, string>,
): Promise<{ measured: Measured[]; units: BenchRow[] }> {
  const endMs = Date.now();
  const days = spansUpTo(endMs, DAY_MS);
  progress(`making ${clicks} clicks`);
  const warehouse = await fillWarehouse(bench.clickhouseUrl, { rows: clicks, seed, endMs, log });
  const asked = await makeQuestions(warehouse, endMs);
  const ours = await warehouseStore(warehouse);
  const expected = await answersOf(ours, asked);
  const measured: Measured[] = [];
  const units: BenchRow[] = [];

  async function askStore(store: Store): Promise<void> {
    progress(`asking ${store.name}`);
    const of = await ask(store, { clicks, asked, expected });
    measured.push(...of.measured);
    units.push(of.unit);
  }

  await askStore(ours);
  if (!(bench.duckDb instanceof NoDuckDb)) {
    progress('copying the clicks to DuckDB');
    const store = await duckDbStore(bench.duckDb, { folder: bench.folder, warehouse, days });
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
  return { measured: measured.toSorted((a, b) => a.question.localeCompare(b.question)), units };
}

/** Asks one store every question, and `SELECT 1` before and after. */
async function ask(
  store: Store,
  { clicks, asked, expected }: { clicks: number; asked: readonly Asked[]; expected: Expected },
): Promise<{ measured: Measured[]; unit: BenchRow }> {
  const { done: timings, units } = await measureBetween([() => timeSelect1(store)], async () => {
    const all: [Question, ComparedTiming][] = [];
    for (const question of QUESTION_NAMES)
      all.push([question, await time(store, question, { asked, expected })]);
    return all;
  });
  const [select1] = units;
  const { what, ...unit } = unitRow(select1);
  const measured = timings.map(([name, { timesMs, keys, p50Ms, p95Ms }]): Measured => {
    const of = { clicks, question: QUESTIONS[name], store: store.name };
    const row = {
      ...of,
      p50_ms: round(p50Ms),
      p95_ms: round(p95Ms),
      [`÷ ${SELECT_1}`]: round(p50Ms / select1.ms),
      asked: timesMs.length,
      'keys compared': `${keys} of ${countKeys(name, asked)}`,
      bytes_per_click: round(store.bytes / clicks),
    };
    return { ...of, p95Ms, row };
  });
  return { measured, unit: { clicks, question: what ?? '', store: store.name, ...unit } };
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

function settingsText(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
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
