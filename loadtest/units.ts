import { spawn } from 'node:child_process';
import { request } from 'undici';
import { fromProject } from '../core/config/paths.ts';
import { openPostgres } from '../core/postgres/postgres.ts';
import { freePort } from '../engines/engine.ts';
import type { Warehouse } from '../warehouse/clickhouse/client.ts';
import { atMost, type BenchRow, type BenchTarget, isTime, round, TIME } from './bench.ts';
import { isTrueWithin } from './wait.ts';

export const SELECT_1 = 'SELECT 1';
export const ONE_INSERT = 'one INSERT';
export const BARE_UWS = 'bare uWebSockets.js';
type UnitName = typeof SELECT_1 | typeof ONE_INSERT | typeof BARE_UWS;

/**
 * The least that a store or server does for a request, measured in the same run: machines differ by more than goals do, and
 * a time as a multiple of it can be compared between them. Milliseconds.
 */
export interface BenchUnit {
  readonly name: UnitName;
  /** Median of all requests, before and after what is measured in it. */
  readonly ms: number;
  readonly p95Ms: number;
  /** Medians of those before and those after: how far apart they are is how far the multiples can be trusted. */
  readonly beforeMs: number;
  readonly afterMs: number;
}

/** Times of requests, one after the other, milliseconds. */
export interface UnitTimes {
  readonly name: UnitName;
  readonly timesMs: readonly number[];
}

/**
 * What `SELECT 1` is taken to have needed on the machine by whose figures the goals in milliseconds were set: a goal of
 * 15 ms is one of 13.6 times `SELECT 1` as well. No committed measurement shows it. The medians that are committed, of
 * 24 November 2026 (commits b55d0f06 and 2f245ea6) on two cores that did other work too, are 3.2 and 3.9 ms, of a version
 * that lacked the kept sessions, with which it takes 0.6 to 0.9 of that: 1.9 to 3.5 ms. If the machine of the goals was
 * like that one, the goals in multiples are 1.7 to 3.2 times as generous as those in milliseconds. A multiple that is
 * missed is therefore a fault for sure; one that is met says little where the goal in milliseconds is missed.
 */
const REFERENCE_SELECT_1_MS = 1.1;

/**
 * What one INSERT is taken to have needed there, of which there is no measurement either: the lower decile, 0.6 to 0.7 ms,
 * of three series of {@link TIMES} on two cores that did other work too, on 30 November 2026. A disk that syncs in 3 ms
 * makes the goals in multiples four times as generous.
 */
const REFERENCE_INSERT_MS = 0.7;

/** No goal is set in multiples of the bare server: the collector's compare it at the same load. */
const REFERENCE_MS: Readonly<Partial<Record<UnitName, number>>> = {
  [SELECT_1]: REFERENCE_SELECT_1_MS,
  [ONE_INSERT]: REFERENCE_INSERT_MS,
};

/** The median of the next 200 was 3.1 ms after 50 requests to an engine that had just started, and 0.9 ms later. */
const WARM_UP = 500;
const TIMES = 200;
const START_MS = 10_000;

/** The warehouse's layer and the engine's parser, and nothing read. */
export async function timeSelect1(warehouse: Warehouse): Promise<UnitTimes> {
  return await timed(SELECT_1, async () => void (await warehouse.query('SELECT 1 AS one')));
}

/** One row, committed and synced, over one connection. `ownerUrl` may create a table, which is dropped. */
export async function timeInsert(ownerUrl: string): Promise<UnitTimes> {
  const sql = openPostgres({ url: ownerUrl, max: 1, name: 'bench', as: 'owner' });
  try {
    await sql`create table bench_unit (n bigint primary key, text text not null)`;
    let n = 0;
    return await timed(ONE_INSERT, async () => {
      await sql`insert into bench_unit (n, text) values (${n++}, 'a row of a usual length, as orders have')`;
    });
  } finally {
    await sql`drop table if exists bench_unit`;
    await sql.end();
  }
}

/** The server's floor: the same answer as the collector's, and nothing done for it. */
export async function timeBareUws(): Promise<UnitTimes> {
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
    return await timed(BARE_UWS, ask);
  } finally {
    server.kill();
    await ended;
  }
}

async function timed(name: UnitName, ask: () => Promise<void>): Promise<UnitTimes> {
  const timesMs: number[] = [];
  for (let i = -WARM_UP; i < TIMES; i++) {
    const startedAt = performance.now();
    await ask();
    if (i >= 0) timesMs.push(performance.now() - startedAt);
  }
  return { name, timesMs };
}

/** Does `work`, and times each unit before it and after it: what else the machine does changes within minutes. */
export async function measureBetween<T, const U extends readonly (() => Promise<UnitTimes>)[]>(
  timeUnits: U,
  work: () => Promise<T>,
): Promise<{ done: T; units: { [K in keyof U]: BenchUnit } }> {
  const timeAll = async (): Promise<UnitTimes[]> => {
    const all: UnitTimes[] = [];
    for (const time of timeUnits) all.push(await time());
    return all;
  };
  const before = await timeAll();
  const done = await work();
  const after = await timeAll();
  const units = before.map((times, i) => unitOf(times, after[i] ?? times));
  return { done, units: units as { [K in keyof U]: BenchUnit } };
}

export function unitOf({ name, timesMs: before }: UnitTimes, { timesMs: after }: UnitTimes): BenchUnit {
  const at = (share: number, times: readonly number[]): number =>
    times.toSorted((a, b) => a - b)[Math.floor(share * times.length)] ?? Number.NaN;
  const all = [...before, ...after];
  return {
    name,
    ms: at(0.5, all),
    p95Ms: at(0.95, all),
    beforeMs: at(0.5, before),
    afterMs: at(0.5, after),
  };
}

/** The row of the unit itself, with its spread. */
export function unitRow({ name, ms, p95Ms, beforeMs, afterMs }: BenchUnit): BenchRow {
  return {
    what: `${name}, the unit`,
    p50_ms: round(ms),
    p95_ms: round(p95Ms),
    before_ms: round(beforeMs),
    after_ms: round(afterMs),
  };
}

/**
 * Every time of a row also as a multiple of a unit: of `p95_ms` a column `p95 ÷ SELECT 1`; of a row whose `what` says that its
 * `value` is a time, a column `÷ SELECT 1`.
 */
export function inUnits(row: BenchRow, { name, ms }: BenchUnit): BenchRow {
  const multiples = Object.entries(row).flatMap(([key, value]): [string, number][] => {
    if (typeof value !== 'number') return [];
    if (isTime(key)) return [[`${key.replace(TIME, '')} ÷ ${name}`, round(value / ms)]];
    if (key === 'seconds') return [[`seconds ÷ ${name}`, round((1_000 * value) / ms)]];
    return key === 'value' && isTime(String(row.what)) ? [[`÷ ${name}`, round(value / ms)]] : [];
  });
  return { ...row, ...Object.fromEntries(multiples) };
}

/** A goal of a time, in milliseconds and in the multiples of the unit that they were on the machine of the goals. */
export function atMostInUnits(name: string, ms: number, boundMs: number, unit: BenchUnit): BenchTarget[] {
  return [atMost(`${name} ms`, ms, boundMs), atMostUnits(name, ms, boundMs, unit)];
}

/** Its second half, where there is the goal in milliseconds already. */
export function atMostUnits(name: string, ms: number, boundMs: number, unit: BenchUnit): BenchTarget {
  const reference = REFERENCE_MS[unit.name];
  if (reference === undefined) throw new Error(`no goal is set in ${unit.name}`);
  return atMost(`${name} ÷ ${unit.name}`, ms / unit.ms, round(boundMs / reference));
}
