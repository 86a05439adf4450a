import { spawn } from 'node:child_process';
import { request } from 'undici';
import { fromProject } from '../core/config/paths.ts';
import { openPostgres } from '../core/postgres/postgres.ts';
import { freePort } from '../engines/engine.ts';
import type { Warehouse } from '../warehouse/clickhouse/client.ts';
import { atMost, type BenchRow, type BenchTarget, round } from './bench.ts';
import { isTrueWithin } from './wait.ts';

/**
 * The least that a store or server does for a request, measured in the same run: machines differ by more than goals do, and
 * a time as a multiple of it can be compared between them.
 */
export interface BenchUnit {
  readonly name: string;
  /** Median of {@link TIMES} requests, one after the other. */
  readonly ms: number;
}

export const SELECT_1 = 'SELECT 1';
export const ONE_INSERT = 'one INSERT';
export const BARE_UWS = 'bare uWebSockets.js';

/**
 * What `SELECT 1` took on the idle machine by whose figures the goals in milliseconds were set
 * (docs/decisions/0002-clickhouse-client.md): a goal of 15 ms is one of 13.6 times `SELECT 1` as well.
 */
const REFERENCE_SELECT_1_MS = 1.1;

const WARM_UP = 50;
const TIMES = 200;
const START_MS = 10_000;

/** The warehouse's layer and the engine's parser, and nothing read. */
export async function measureSelect1(warehouse: Warehouse): Promise<BenchUnit> {
  return await measured(SELECT_1, async () => void (await warehouse.query('SELECT 1 AS one')));
}

/** One row, committed and synced, over one connection. `ownerUrl` may create a table, which is dropped. */
export async function measureInsert(ownerUrl: string): Promise<BenchUnit> {
  const sql = openPostgres({ url: ownerUrl, max: 1, name: 'bench', as: 'owner' });
  try {
    await sql`create table bench_unit (n bigint primary key, text text not null)`;
    let n = 0;
    return await measured(ONE_INSERT, async () => {
      await sql`insert into bench_unit (n, text) values (${n++}, 'a row of a usual length, as orders have')`;
    });
  } finally {
    await sql`drop table if exists bench_unit`;
    await sql.end();
  }
}

/** The server's floor: the same answer as the collector's, and nothing done for it. */
export async function measureBareUws(): Promise<BenchUnit> {
  const port = await freePort();
  const server = spawn(process.execPath, [fromProject('dist/loadtest/collector/bare-uws.js'), String(port)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  const ask = async (): Promise<void> => {
    const { body } = await request(`http://127.0.0.1:${port}/`);
    await body.dump();
  };
  try {
    const answers = (): Promise<boolean> =>
      ask().then(
        () => true,
        () => false,
      );
    if (!(await isTrueWithin(START_MS, answers))) throw new Error('bare uWebSockets.js does not answer');
    return await measured(BARE_UWS, ask);
  } finally {
    server.kill();
    await ended;
  }
}

async function measured(name: string, ask: () => Promise<void>): Promise<BenchUnit> {
  const times: number[] = [];
  for (let i = -WARM_UP; i < TIMES; i++) {
    const startedAt = performance.now();
    await ask();
    if (i >= 0) times.push(performance.now() - startedAt);
  }
  return { name, ms: times.toSorted((a, b) => a - b)[TIMES / 2] ?? Number.NaN };
}

/** A row of the unit itself. */
export function unitRow({ name, ms }: BenchUnit): BenchRow {
  return { what: `${name}, the unit`, p50_ms: round(ms) };
}

/** A name that ends in milliseconds: `p95_ms`, `p50 ms`, `redirect p99, ms`. */
const TIME = /[_, ]+ms$/;

/**
 * Every time of a row also as a multiple of a unit: of `p95_ms` a column `p95 ÷ SELECT 1`; of a row whose `what` says that its
 * `value` is a time, a column `÷ SELECT 1`.
 */
export function inUnits(row: BenchRow, { name, ms }: BenchUnit): BenchRow {
  const multiples = Object.entries(row).flatMap(([key, value]): [string, number][] => {
    if (typeof value !== 'number') return [];
    if (TIME.test(key)) return [[`${key.replace(TIME, '')} ÷ ${name}`, round(value / ms)]];
    if (key === 'seconds') return [[`seconds ÷ ${name}`, round((1_000 * value) / ms)]];
    return key === 'value' && TIME.test(String(row.what)) ? [[`÷ ${name}`, round(value / ms)]] : [];
  });
  return { ...row, ...Object.fromEntries(multiples) };
}

/** A goal of a time, in milliseconds and in the multiples of `SELECT 1` that they were on the machine of the goals. */
export function atMostSelect1(name: string, ms: number, boundMs: number, unit: BenchUnit): BenchTarget[] {
  return [
    atMost(`${name} ms`, ms, boundMs),
    atMost(`${name} ÷ ${SELECT_1}`, ms / unit.ms, round(boundMs / REFERENCE_SELECT_1_MS)),
  ];
}
