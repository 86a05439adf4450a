import { afterEach, beforeEach, expect, test } from 'vitest';
import { openPostgres, type Postgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { waitFor } from '../../test/support/engines.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { connectDatabase } from './db.ts';

/** A server that takes no more connections (53300), by the limit of the database, which does not hold for its superuser. */

let books: TestLedger;
const pools: Postgres[] = [];
beforeEach(async () => {
  books = await freshLedger({ max: 1 });
  await books.ledger.end();
});
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.end({ timeoutMs: 0 })));
  await books?.close();
});

function open(max: number): Postgres {
  const pool = openPostgres({ url: books.appUrl, max, name: 'test', as: 'application' });
  pools.push(pool);
  return pool;
}

const limit = (connections: number) =>
  books.owner.unsafe(
    `alter database ${new URL(books.url).pathname.slice(1)} connection limit ${connections}`,
  );

/** Sessions of the database but the owner's. */
async function sessions(): Promise<number> {
  const [row] = await books.owner<{ count: number }[]>`
    select count(*)::int from pg_stat_activity where datname = current_database() and application_name = 'test'`;
  return row?.count ?? 0;
}

test('a pool makes do with the connections that it has', async () => {
  // The ended pool's session must be gone before it counts.
  await waitFor(async () => (await sessions()) === 0, { deadlineMs: 10_000, what: 'no session' });
  // Of which the owner has one.
  await limit(3);
  const pool = open(8);
  await pool`select 1`;
  const answers = await Promise.all(
    Array.from(
      { length: 24 },
      (_, n) => pool<{ n: number }[]>`select ${n}::int as n from pg_sleep(0.02)`,
    ).map((one) => one.execute()),
  );
  expect(answers.map(([row]) => row?.n)).toEqual(Array.from({ length: 24 }, (_, n) => n));
  expect(await sessions()).toBe(2);
});

test('who waits gets a new connection once the server takes it, though none is given back', async () => {
  const pool = open(2);
  const held = await pool.reserve();
  await held`select 1`;
  await limit(1);
  const waiting = pool`select 1 as one`.execute();
  const first = await Promise.race([waiting, held`select pg_sleep(0.3)`.then(() => 'still waiting')]);
  expect(first).toBe('still waiting');
  await limit(-1);
  expect(await waiting).toEqual([{ one: 1 }]);
  held.release();
});

test('a pool that has none says so at once', async () => {
  await limit(0);
  await expect(open(2)`select 1`).rejects.toMatchObject({ code: '53300' });
  await expect(connectDatabase({ url: books.appUrl, max: 1, name: 'test' })).rejects.toMatchObject({
    code: 'postgres_unreachable',
    message: expect.stringMatching(/^PostgreSQL at \S+ has no connection free: .*max_connections/),
  });
});

test('a process that starts waits for one, and says so', async () => {
  await limit(0);
  const lines: string[] = [];
  const log = createLogger({ name: 'test', level: 'warn', write: (line) => void lines.push(line) });
  const starting = connectDatabase({ url: books.appUrl, max: 1, name: 'test', log });
  await waitFor(() => lines.length > 0, { deadlineMs: 10_000, what: 'a line of the log' });
  expect(lines[0]).toMatch(/PostgreSQL has no connection free; waiting for one/);
  await limit(-1);
  const ledger = await starting;
  pools.push(ledger);
  expect(await ledger`select 1 as one`).toEqual([{ one: 1 }]);
});
