import { execFile } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { fromProject } from '../../core/config/paths.ts';
import { errorText } from '../../core/errors.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { fingerprintOf, type Span, selectClicks } from './conventional-rows.ts';
import { POSTGRES_SETTINGS } from './postgres-side.ts';
import type { Answer, Store } from './questions.ts';

/** The same rows in a file of DuckDB, which runs in the process that asks. */

/** 70 MB that only this benchmark needs: below .afflux, once. */
const FOLDER = fromProject('.afflux/reports-duckdb');
const PACKAGE = '@duckdb/node-api';
const VERSION = '1.5.6-r.1';
/** What {@link FOLDER} holds, written when it is whole. */
const INSTALLED = join(FOLDER, 'installed.txt');
const INSTALL_TIMEOUT_MS = 300_000;

/** As much memory as PostgreSQL and the kernel's cache together have by {@link POSTGRES_SETTINGS}; by default it takes 80 %. */
export const DUCKDB_SETTINGS = {
  memory_limit: POSTGRES_SETTINGS.effective_cache_size,
  threads: String(availableParallelism()),
};

/** What is used of {@link PACKAGE}. */
interface DuckDb {
  readonly DuckDBInstance: {
    create(path: string): Promise<{ connect(): Promise<Connection>; closeSync(): void }>;
  };
}
type Value = string | number;
interface Connection {
  run(sql: string): Promise<unknown>;
  runAndReadAll(
    sql: string,
    values?: Readonly<Record<string, Value>>,
  ): Promise<{ getRowsJson(): readonly (readonly Value[])[] }>;
  closeSync(): void;
}

export interface DuckDbStore extends Store {
  readonly version: string;
  close(): void;
}

/** DuckDB could not be installed, and why. */
export class NoDuckDb extends Error {}

/** @throws NoDuckDb when there is no package for this machine, or no registry. */
export async function installDuckDb(): Promise<DuckDb> {
  const manifest = join(FOLDER, 'package.json');
  try {
    if (!existsSync(INSTALLED) || readFileSync(INSTALLED, 'utf8') !== VERSION) {
      rmSync(FOLDER, { recursive: true, force: true });
      mkdirSync(FOLDER, { recursive: true });
      writeFileSync(manifest, JSON.stringify({ private: true, dependencies: { [PACKAGE]: VERSION } }));
      await promisify(execFile)('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], {
        cwd: FOLDER,
        timeout: INSTALL_TIMEOUT_MS,
      });
      writeFileSync(INSTALLED, VERSION);
    }
    return createRequire(manifest)(PACKAGE) as DuckDb;
  } catch (cause) {
    rmSync(FOLDER, { recursive: true, force: true });
    throw new NoDuckDb(`npm cannot install ${PACKAGE}: ${errorText(cause)}`, { cause });
  }
}

/** Loads the clicks in order of time, by which its row groups are then skipped; its manual advises against indexes for it. */
export async function duckDbStore(
  duckDb: DuckDb,
  options: { folder: string; warehouse: Warehouse; days: readonly Span[] },
): Promise<DuckDbStore> {
  const { folder, warehouse, days } = options;
  const home = join(folder, 'duckdb');
  mkdirSync(home);
  const file = join(home, 'clicks.duckdb');
  const instance = await duckDb.DuckDBInstance.create(file);
  const connection = await instance.connect();
  for (const [name, value] of Object.entries(DUCKDB_SETTINGS))
    await connection.run(`set ${name} = '${value}'`);
  await connection.run(`set timezone = 'UTC'; set temp_directory = '${home}/spill'; create table clicks (
    id uuid default uuid(), affiliate_id uuid, link_id uuid, ip varchar, user_agent varchar, referrer varchar,
    fingerprint varchar, created_at timestamp_ms, campaign_id integer)`);
  for (const day of days) {
    const parquet = join(home, 'day.parquet');
    const rows = await warehouse.stream(selectClicks(day, 'ts', ', toUInt32(campaign_id) AS campaign_id'), {
      format: 'Parquet',
      settings: { output_format_parquet_string_as_string: 1 },
    });
    await pipeline(rows, createWriteStream(parquet));
    await connection.run(`insert into clicks by name select * from read_parquet('${parquet}')`);
    rmSync(parquet);
  }
  await connection.run('checkpoint');
  const ask = async (sql: string, values?: Readonly<Record<string, Value>>) =>
    (await connection.runAndReadAll(sql, values)).getRowsJson();
  const version = String((await ask('select version()'))[0]?.[0]);
  return {
    ...questions(ask),
    name: 'DuckDB',
    bytes: statSync(file).size,
    version,
    select1: () => ask('select 1'),
    close() {
      connection.closeSync();
      instance.closeSync();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

type Ask = (sql: string, values?: Readonly<Record<string, Value>>) => Promise<readonly (readonly Value[])[]>;

function questions(ask: Ask): Omit<Store, 'name' | 'bytes' | 'select1'> {
  const utc = (date: Date): string => date.toISOString().replace('Z', '');
  const counts = (rows: readonly (readonly Value[])[]): Answer =>
    rows.map(([key, clicks]) => [String(key), Number(clicks)]);
  async function recent(who: string, value: string, now: Date): Promise<Answer> {
    const [row] = await ask(
      `select count(*) filter (where created_at >= $now::timestamp_ms - interval 5 minutes),
        count(*) filter (where created_at >= $now::timestamp_ms - interval 1 hour), count(*)
       from clicks where ${who} = $value and created_at >= $now::timestamp_ms - interval 24 hours
         and created_at <= $now::timestamp_ms`,
      { value, now: utc(now) },
    );
    return counts(['5 minutes', '1 hour', '24 hours'].map((span, i) => [span, row?.[i] ?? Number.NaN]));
  }
  return {
    clicksByHour: async ({ campaign, from, to }) =>
      counts(
        await ask(
          `select strftime(date_trunc('hour', created_at), '%Y-%m-%dT%H:%M:%SZ') as hour, count(*) from clicks
           where campaign_id = $campaign and created_at >= $from::timestamp_ms and created_at < $to::timestamp_ms
           group by 1 order by 1`,
          { campaign, from: utc(from), to: utc(to) },
        ),
      ),
    clicksByDay: async ({ from, to }) =>
      counts(
        await ask(
          `select strftime(date_trunc('day', created_at), '%Y-%m-%d') as day, count(*) from clicks
           where created_at >= $from::timestamp_ms and created_at < $to::timestamp_ms group by 1 order by 1`,
          { from: utc(from), to: utc(to) },
        ),
      ),
    clicksOfIp: ({ ip, now }) => recent('ip', ip, now),
    clicksOfFingerprint: ({ fingerprint, now }) => recent('fingerprint', fingerprintOf(fingerprint), now),
  };
}
