import { type AddressInfo, connect, createServer } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshPostgresDatabase } from '../../test/support/engines.ts';
import { openPostgres, type Postgres, type PostgresTransaction } from './postgres.ts';

/** What the code sees of a statement, and transactions. Connections that end: ledger/postgres/lost-connections. */

let sql: Postgres;
let url: string;
let drop: () => Promise<void>;

beforeAll(async () => {
  const database = await freshPostgresDatabase();
  ({ url, drop } = database);
  sql = openPostgres({ url, max: 4, name: 'test', as: 'owner' });
  await sql`create table items (id integer primary key, note text)`;
});
afterAll(async () => {
  await sql?.end();
  await drop?.();
});

async function ids(): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`select id from items order by id`;
  return rows.map(({ id }) => id);
}

test('values come back as what they are', async () => {
  const at = new Date('2026-02-03T04:05:06.789Z');
  const bytes = Buffer.from([0, 1, 255]);
  const [row] = await sql`
    select ${9_007_199_254_740_993n} as big, ${7}::int as small, 1.5::float8 as real, 1.50::numeric as exact,
      ${true} as yes, ${at} as at, ${bytes} as bytes, ${sql.json({ a: [1, null, 'x'] })}::jsonb as json_value,
      ${null}::text as nothing, '10.0.0.1'::inet as ip, ${'ä"\\'}::text as words, array[1, 2]::bigint[] as bigs,
      array[[1, 2], [3, null]]::int[] as nested, '[0:1]={a,b}'::text[] as bounded, '{}'::text[] as empty,
      array[${at}::timestamptz] as times, array['{"a": "}"}']::jsonb[] as documents`;
  expect(row).toEqual({
    big: 9_007_199_254_740_993n,
    small: 7,
    real: 1.5,
    exact: '1.50',
    yes: true,
    at,
    bytes,
    jsonValue: { a: [1, null, 'x'] },
    nothing: null,
    ip: '10.0.0.1',
    words: 'ä"\\',
    bigs: [1n, 2n],
    nested: [
      [1, 2],
      [3, null],
    ],
    bounded: ['a', 'b'],
    empty: [],
    times: [at],
    documents: [{ a: '}' }],
  });
});

test('arrays of any text go there and back', async () => {
  const anyText = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', ''));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(anyText)), async (texts) => {
      const [row] = await sql<[{ texts: (string | null)[] }]>`select ${texts}::text[] as texts`;
      expect(row.texts).toEqual(texts);
    }),
  );
});

test('a statement is sent once, when it is awaited', async () => {
  const insert = sql`insert into items values (1) returning id`;
  expect(await ids()).toEqual([]);
  expect(await insert).toEqual([{ id: 1 }]);
  expect(await insert).toEqual([{ id: 1 }]);
  expect(await sql`update items set note = 'x'`.affected()).toBe(1);
  expect(await sql`delete from items`.affected()).toBe(1);
});

test('rows come in portions', async () => {
  const portions = await sql.begin(async (tx) => {
    const sizes: number[] = [];
    const rows = tx<{ n: number }[]>`select n from generate_series(1, ${7}::int) n where n <> ${0}`;
    for await (const some of rows.cursor(3)) sizes.push(some.length);
    return sizes;
  });
  expect(portions).toEqual([3, 3, 1]);
});

test('a transaction is whole or not there', async () => {
  const failing = sql.begin(async (tx) => {
    await tx`insert into items values (1)`;
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(await ids()).toEqual([]);
  expect(await sql.begin(async (tx) => await tx`insert into items values (1) returning id`)).toEqual([
    { id: 1 },
  ]);
  expect(await ids()).toEqual([1]);
});

test('a transaction fails with a statement that failed in it, also when the caller ignores it', async () => {
  const careless = sql.begin(async (tx) => {
    await tx`insert into items values (2)`;
    await tx`select 1 / 0`.catch(() => undefined);
    return 'done';
  });
  await expect(careless).rejects.toMatchObject({ code: '22012' });
  expect(await ids()).toEqual([1]);
});

test('a savepoint undoes its own part', async () => {
  await sql.begin(async (tx) => {
    await tx`insert into items values (2)`;
    const failing = tx.savepoint(async (point) => {
      await point`insert into items values (3)`;
      await point.savepoint(async (inner) => await inner`insert into items values (4)`);
      await point`insert into items values (2)`;
    });
    await expect(failing).rejects.toMatchObject({ code: '23505', constraint: 'items_pkey' });
    await tx.savepoint(async (point) => await point`insert into items values (5)`);
  });
  expect(await ids()).toEqual([1, 2, 5]);
});

test('what a transaction sends after its end is refused', async () => {
  let kept: PostgresTransaction | undefined;
  await sql.begin(async (tx) => {
    kept = tx;
  });
  await expect(kept?.unsafe('insert into items values (9)')).rejects.toThrow('before it ends');
  // What goes on beside the statement that failed.
  let late: Promise<unknown> | undefined;
  const failing = sql.begin(async (tx) => {
    late = new Promise((resolve) => setImmediate(resolve)).then(() => tx`insert into items values (9)`);
    late.catch(() => undefined);
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  await expect(late).rejects.toThrow('before it ends');
  expect(await ids()).toEqual([1, 2, 5]);
});

test('a session ends with its settings', async () => {
  const session = await sql.reserve();
  await session`set application_name = 'mine'`;
  await session`select pg_advisory_lock(5)`;
  session.release();
  session.release();
  await expect(session.unsafe('select 1')).rejects.toThrow('before it is released');
  const rows = await Promise.all(
    Array.from(
      { length: 8 },
      () => sql<{ name: string }[]>`select current_setting('application_name') as name`,
    ),
  );
  expect(new Set(rows.map(([row]) => row?.name))).toEqual(new Set(['test']));
});

test('more callers than connections are all served, and at the end those who still come are refused', async () => {
  const pool = openPostgres({ url: url, max: 2, name: 'test', as: 'owner' });
  const answers = Promise.all(
    Array.from({ length: 50 }, (_, n) => pool<{ n: number }[]>`select ${n}::int as n`.execute()),
  );
  const [last] = await Promise.all([answers, pool.end()]);
  expect(last.map(([row]) => row?.n)).toEqual(Array.from({ length: 50 }, (_, n) => n));
  await expect(pool`select 1`).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
});

test('a connection that is still being opened at the end is of no use to a statement', async () => {
  const target = new URL(url);
  const upstream = { host: target.hostname, port: Number(target.port) };
  const delayed = createServer((client) => {
    setTimeout(() => {
      const server = connect(upstream);
      client.pipe(server).pipe(client);
      for (const socket of [client, server]) socket.on('error', () => socket.destroy());
    }, 500);
  });
  await new Promise<void>((resolve) => delayed.listen(0, '127.0.0.1', resolve));
  const { port } = delayed.address() as AddressInfo;
  target.host = `127.0.0.1:${port}`;
  const pool = openPostgres({ url: target.href, max: 1, name: 'test', as: 'owner' });
  const slow = pool`select pg_sleep(60)`.catch((error: unknown) => error);
  await pool.end({ timeoutMs: 100 });
  expect(await slow).toMatchObject({ code: 'CONNECTION_CLOSED' });
  delayed.close();
});

test('an end does not wait for ever', async () => {
  const pool = openPostgres({ url: url, max: 1, name: 'test', as: 'owner' });
  const slow = pool`select pg_sleep(60)`.catch((error: unknown) => error);
  const queued = pool`select 1`.catch((error: unknown) => error);
  await pool.end({ timeoutMs: 100 });
  expect(await slow).toMatchObject({ code: 'CONNECTION_CLOSED' });
  expect(await queued).toMatchObject({ code: 'CONNECTION_CLOSED' });
});
