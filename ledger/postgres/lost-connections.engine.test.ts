import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openPostgres, type Postgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { waitFor } from '../../test/support/engines.ts';
import { killServer } from '../../test/support/servers/standby.ts';

/**
 * Connections that end while they are used, and one that is used by very many: queries in
 * flight are rejected, nothing of them is written, nothing crashes (vitest fails a run in which something was thrown
 * outside a promise), and every connection is usable afterwards.
 */

const log = createLogger({ name: 'test', level: 'silent' });
/** The error codes that a caller gets; see CONNECTION_CODES and PASSING_SQLSTATE of the API. */
const LOST = /^(CONNECTION_(CLOSED|DESTROYED)|CONNECT_TIMEOUT|ECONN(RESET|REFUSED)|EPIPE|57P0[123])$/;
const ROUNDS = Number(process.env.AFFLUX_TEST_ROUNDS ?? 10);

let folder: string;
let port: number;
let engine: Engine;
let killer: Postgres;
let pair = 0;
const pools: Postgres[] = [];

/** A server of its own, because some of these kill it, and the log of the others is not to be filled. */
const start = (): Promise<Engine> =>
  startPostgres({ dataDir: join(folder, 'pg'), port, password: 'p', database: 'afflux', log });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-lost-'));
  port = await freePort();
  engine = await start();
  killer = openPostgres({ url: engine.url, max: 1, name: 'killer', as: 'owner' });
  await killer`create table halves (pair int not null, half int not null)`;
});
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.end({ timeoutMs: 0 })));
});
afterAll(async () => {
  await killer?.end({ timeoutMs: 0 });
  await engine?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function open(max: number, url = engine.url): Postgres {
  const pool = openPostgres({ url, max, name: 'victim', as: 'owner' });
  pools.push(pool);
  return pool;
}

async function terminate(pid?: number): Promise<void> {
  await killer`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'victim' and datname = current_database() and (${pid ?? null}::int is null or pid = ${pid ?? null}::int)`;
}

/** Settles when `max` transactions of the pool were open at the same time: none of its connections is out of use. */
async function useAll(pool: Postgres, max: number): Promise<void> {
  let open = 0;
  let allAreOpen = (): void => undefined;
  const meeting = new Promise<void>((resolve) => {
    allAreOpen = resolve;
  });
  const uses = Array.from({ length: max }, () =>
    pool.begin(async (tx) => {
      const rows = await tx<{ n: number }[]>`select n from generate_series(1, 3) n`;
      expect([...rows]).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
      if (++open === max) allAreOpen();
      await meeting;
    }),
  );
  await within(Promise.all(uses), 8_000, 'the connections of the pool');
}

function codeOf(error: unknown): string {
  return String((error as { code?: string }).code ?? error);
}

async function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Callers that write two rows in a transaction, over and over, and ask something beside it, also when it failed. */
function startCallers(
  pool: Postgres,
  callers: number,
): { stop(): Promise<{ done: number; codes: Set<string> }> } {
  let isRunning = true;
  let done = 0;
  const codes = new Set<string>();

  async function attempt(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
      done++;
    } catch (error) {
      codes.add(codeOf(error));
    }
  }
  async function writePair(): Promise<void> {
    const own = ++pair;
    await pool.begin(async (tx) => {
      await tx`insert into halves values (${own}, 1)`;
      // Work that is no query: the connection may be lost while the transaction asks nothing.
      if (own % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      await Promise.all([tx`select ${own}::int`, tx`select pg_sleep(0.001)`]);
      await tx`insert into halves values (${own}, 2)`;
    });
  }
  async function ask(): Promise<void> {
    const rows = await pool`select n from generate_series(1, 50) n`;
    if (rows.length !== 50) codes.add(`${rows.length} rows instead of 50`);
  }
  async function askByCursor(): Promise<void> {
    let rows = 0;
    await pool.begin(async (tx) => {
      const cursor = tx`select n from generate_series(1, 50) n`.cursor(20);
      for await (const some of cursor) {
        rows += some.length;
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    if (rows !== 50) codes.add(`${rows} rows instead of 50 by cursor`);
  }
  const loops = Array.from({ length: callers }, async () => {
    while (isRunning) {
      await attempt(writePair);
      await attempt(ask);
      await attempt(askByCursor);
      // Refused at once, it would leave no time for anything else.
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  return {
    async stop() {
      isRunning = false;
      await within(Promise.all(loops), 15_000, 'every caller to be answered');
      return { done, codes };
    },
  };
}

/** Pairs of which one half is there. */
async function halves(sql: Postgres): Promise<unknown[]> {
  return [...(await sql`select pair, count(*) from halves group by pair having count(*) <> 2`)];
}

test('backends that are ended under load: callers get errors, transactions are whole, the pool is usable', async () => {
  const pool = open(8);
  await useAll(pool, 8);
  for (let round = 0; round < ROUNDS; round++) {
    const callers = startCallers(pool, 24);
    for (let i = 0; i < 4; i++) {
      await terminate();
      await killer`select pg_sleep(0.02)`;
    }
    const { codes } = await callers.stop();
    for (const code of codes) expect(code).toMatch(LOST);
    await useAll(pool, 8);
  }
  expect(await halves(killer)).toEqual([]);
});

test('a transaction whose connection is gone writes nothing into the next one on it', async () => {
  const pool = open(1);
  await killer`truncate halves`;
  const [first] = await pool<{ pid: number }[]>`select pg_backend_pid() as pid`;
  let goOn = (): void => undefined;
  const paused = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const codes: string[] = [];
  let ended: Promise<void> | undefined;
  const lost = pool
    .begin(async (tx) => {
      await tx`insert into halves values (1, 1)`;
      ended = paused.then(async () => {
        for (const half of [2, 3]) {
          await tx`insert into halves values (1, ${half})`.catch((error: unknown) =>
            codes.push(codeOf(error)),
          );
        }
      });
      await ended;
    })
    .catch(codeOf);
  await waitFor(() => ended !== undefined, { deadlineMs: 5_000, what: 'the first transaction' });
  await terminate(first?.pid ?? 0);
  expect(await lost).toBe('CONNECTION_CLOSED');
  await pool.begin(async (tx) => {
    await tx`insert into halves values (2, 1)`;
    goOn();
    await ended;
    await tx`insert into halves values (2, 2)`;
  });
  expect(codes).toEqual(['CONNECTION_CLOSED', 'CONNECTION_CLOSED']);
  expect([...(await pool`select pair, half from halves order by half`)]).toEqual([
    { pair: 2, half: 1 },
    { pair: 2, half: 2 },
  ]);
});

test('a query that was ended leaves neither its error nor its rows to the next', async () => {
  const pool = open(1);
  for (let round = 0; round < ROUNDS; round++) {
    const slow = pool`select n, pg_sleep(0.01) from generate_series(1, 1000) n`.catch(codeOf);
    await waitFor(
      async () =>
        (
          await killer`select 1 from pg_stat_activity
            where application_name = 'victim' and state = 'active' and query like '%pg_sleep%'`
        ).length > 0,
      { deadlineMs: 5_000, what: 'the query to run' },
    );
    await terminate();
    expect(await slow).toMatch(LOST);
    expect([...(await pool`select 1 as one`)]).toEqual([{ one: 1 }]);
  }
});

test('a transaction that is asked for under the greatest load has its connection for itself', async () => {
  const pool = open(1);
  await pool`select 1`;
  // The client sends a hundred queries ahead; the transaction is the one after that.
  const ahead = Array.from({ length: 100 }, (_, i) => pool.unsafe<{ i: number }[]>(`select ${i}::int as i`));
  const written = pool
    .begin(async (tx) => {
      await tx`insert into halves values (0, 1)`;
      throw new Error('taken back');
    })
    .catch((error) => error.message);
  const behind = pool`insert into halves values (0, 2) returning half`.execute();
  expect((await Promise.all(ahead)).map((rows) => rows[0]?.i)).toEqual(
    Array.from({ length: 100 }, (_, i) => i),
  );
  expect(await written).toBe('taken back');
  expect([...(await behind)]).toEqual([{ half: 2 }]);
  expect([...(await killer`select half from halves where pair = 0`)]).toEqual([{ half: 2 }]);
  await killer`delete from halves where pair = 0`;
});

test('a reserved connection that is gone is not given back to somebody who has it', async () => {
  const pool = open(1);
  const reserved = await pool.reserve();
  const [own] = await reserved<{ pid: number }[]>`select pg_backend_pid() as pid`;
  await terminate(own?.pid ?? 0);
  await waitFor(async () => (await reserved`select 1`.catch(codeOf)) === 'CONNECTION_CLOSED', {
    deadlineMs: 5_000,
    what: 'the loss to be noticed',
  });
  let outside: Promise<{ id: string }[]> | undefined;
  const inside = await pool.begin(async (tx) => {
    const [row] = await tx<{ id: string }[]>`select txid_current()::text as id`;
    reserved.release();
    // Were the connection free now, this would be asked in the midst of the transaction.
    outside = Promise.resolve(pool<{ id: string }[]>`select txid_current()::text as id`);
    await tx`select pg_sleep(0.01)`;
    return row;
  });
  expect((await outside)?.[0]?.id).not.toBe(inside?.id);
  await useAll(pool, 1);
});

test('connections that are reset: the same', async () => {
  const cable = await layCable(engine.url);
  try {
    await killer`truncate halves`;
    const pool = open(4, cable.url);
    for (let round = 0; round < ROUNDS; round++) {
      const callers = startCallers(pool, 12);
      for (let i = 0; i < 4; i++) {
        await killer`select pg_sleep(0.02)`;
        cable.reset();
      }
      const { codes } = await callers.stop();
      for (const code of codes) expect(code).toMatch(LOST);
      // The connections that a loss left behind must not run out one by one.
      await useAll(pool, 4);
      await useAll(pool, 4);
    }
    expect(await halves(killer)).toEqual([]);
  } finally {
    await cable.cut();
  }
});

test('a server that is killed: the same, once it is back', async () => {
  const pool = open(8);
  for (let round = 0; round < 3; round++) {
    await killer`truncate halves`;
    const callers = startCallers(pool, 24);
    await waitFor(() => halvesSeen(pool), { deadlineMs: 10_000, what: 'callers to write' });
    killServer(engine.pid);
    await engine.exited;
    engine = await waitFor(start, { deadlineMs: 20_000, what: 'PostgreSQL to start again' });
    const { codes } = await callers.stop();
    expect(codes.size).toBeGreaterThan(0);
    for (const code of codes) expect(code).toMatch(LOST);
    await useAll(pool, 8);
    expect(await halves(pool)).toEqual([]);
  }
});

async function halvesSeen(pool: Postgres): Promise<boolean> {
  return (await pool`select 1 from halves limit 1`).length > 0;
}

/** A way to PostgreSQL that can be reset: the client gets ECONNRESET, as from a failover or a firewall. */
async function layCable(target: string): Promise<{ url: string; reset(): void; cut(): Promise<void> }> {
  const { hostname, port } = new URL(target);
  const near = new Set<Socket>();
  const server: Server = createServer((socket) => {
    const far = connect(Number(port), hostname);
    near.add(socket);
    socket.pipe(far);
    far.pipe(socket);
    socket.on('error', () => far.destroy()).on('close', () => far.destroy());
    far.on('error', () => socket.destroy()).on('close', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(target);
  url.port = String((server.address() as { port: number }).port);
  function reset(): void {
    for (const socket of near) socket.resetAndDestroy();
    near.clear();
  }
  return {
    url: url.href,
    reset,
    async cut() {
      reset();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
