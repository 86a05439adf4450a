import { connect, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../engines/engine.ts';
import { freshPostgresDatabase, waitFor } from '../../test/support/engines.ts';
import { type ServerPair, startServerPair } from '../../test/support/servers/standby.ts';
import { hostUrls } from '../url.ts';
import { openPostgres, type Postgres } from './postgres.ts';

/** A pool whose URL names several servers, against a primary with a standby. The tests follow each other: the last one promotes it. */

let pair: ServerPair;
const pools: Postgres[] = [];

beforeAll(async () => {
  pair = await startServerPair({ isSynchronous: false });
  await open(pair.primary.url)`create table notes (id integer primary key)`;
  await pair.caughtUp();
});
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.end({ timeoutMs: 0 })));
});
afterAll(async () => await pair?.close());

function open(url: string, max = 2): Postgres {
  const pool = openPostgres({ url, max, name: 'test', as: 'owner' });
  pools.push(pool);
  return pool;
}

/** The pair's hosts in this order, and what a session must be. */
function urlOf(order: readonly (string | number)[], attributes?: string): string {
  const [head, tail] = pair.url.split(/(?<=@).*(?=\/afflux)/) as [string, string];
  const hosts = order.map((host) => (typeof host === 'number' ? `127.0.0.1:${host}` : host));
  return `${head}${hosts.join(',')}${tail}${attributes ? `?target_session_attrs=${attributes}` : ''}`;
}

const ports = (): [number, number] =>
  [pair.primary.url, pair.standby.url].map((url) => Number(new URL(url).port)) as [number, number];

async function portOf(pool: Postgres): Promise<number | undefined> {
  const [row] = await pool<{ port: number }[]>`select inet_server_port() as port`;
  return row?.port;
}

test('each host has the login and the parameters of all', () => {
  expect(hostUrls('postgres://u:p,@q@a:1,[::1],%2Frun/x?sslmode=require')).toEqual([
    'postgres://u:p,@q@a:1/x?sslmode=require',
    'postgres://u:p,@q@[::1]/x?sslmode=require',
    'postgres://u:p,@q@%2Frun/x?sslmode=require',
  ]);
  expect(hostUrls('mysql://a/x')).toEqual([]);
});

test('the primary is found behind a standby and behind a server that is gone', async () => {
  const [primary, standby] = ports();
  const gone = await freePort();
  expect(await portOf(open(urlOf([standby, gone, primary])))).toBe(primary);
  expect(await portOf(open(urlOf([standby, primary], 'primary')))).toBe(primary);
  expect(await portOf(open(urlOf([standby, primary], 'any')))).toBe(standby);
  expect(await portOf(open(urlOf([standby], 'any')))).toBe(standby);
});

test('without a primary every server is named, and no password', async () => {
  const [, standby] = ports();
  const gone = await freePort();
  const refused = open(urlOf([standby, gone]))`select 1`.catch((error: unknown) => error);
  expect(await refused).toMatchObject({
    code: 'NO_PRIMARY',
    message: expect.stringMatching(
      new RegExp(`127.0.0.1:${standby}: it is a standby; 127.0.0.1:${gone}: (?!.*p@ss).*ECONNREFUSED`),
    ),
  });
  const one = open(urlOf([standby]))`select 1`.catch((error: unknown) => error);
  expect(await one).toMatchObject({ code: 'NO_PRIMARY', message: 'it is a standby' });
});

test('what a server that answers refuses is said, and not that the other one is gone', async () => {
  const [primary] = ports();
  const wrong = urlOf([await freePort(), primary]).replace('p%40ss', 'wrong');
  await expect(open(wrong)`select 1`).rejects.toMatchObject({ code: '28P01' });
});

/** A way to a server that stops carrying anything, in either direction, while both ends keep their connections. */
async function layCable(to: number): Promise<{
  port: number;
  cut(): void;
  /** Whether new connections are ended at once. */
  refuse(isShut: boolean): void;
  /** Ends the connections that are open. */
  drop(): void;
  close(): Promise<void>;
}> {
  const sockets = new Set<Socket>();
  let isCut = false;
  let isShut = false;
  const server = createServer((near) => {
    if (isShut) {
      near.destroy();
      return;
    }
    sockets.add(near);
    if (isCut) return;
    const far = connect(to, '127.0.0.1');
    near.on('close', () => isCut || far.destroy());
    far.on('close', () => isCut || near.destroy());
    sockets.add(far);
    near.on('data', (bytes) => isCut || far.write(bytes)).on('error', () => undefined);
    far.on('data', (bytes) => isCut || near.write(bytes)).on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    cut: () => {
      isCut = true;
    },
    refuse(shut) {
      isShut = shut;
    },
    drop() {
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('a server that dies without a word is left, with every connection to it', async () => {
  const [primary] = ports();
  const cable = await layCable(primary);
  // The processes' login, whose statements are answered in time or never.
  const owner = open(pair.primary.url, 1);
  await owner.unsafe(`create role afflux_app login password 'p@ss'; revoke temporary on database afflux from public;
    revoke create on schema public from public`);
  const url = urlOf([cable.port, primary]).replace('//postgres:', '//afflux_app:');
  const pool = openPostgres({ url, max: 3, name: 'test', as: 'application', answerTimeoutMs: 500 });
  pools.push(pool);
  try {
    await Promise.all([1, 2, 3].map(() => pool`select pg_sleep(0.05)`.execute()));
    cable.cut();
    await expect(pool`select 1`).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    // The other two are not tried: the next statement is answered by the next host.
    expect(await pool`select 1 as one`).toEqual([{ one: 1 }]);
    const through =
      await owner`select from pg_stat_activity where application_name = 'test' and usename = 'afflux_app'`;
    expect(through.length).toBeGreaterThan(0);
  } finally {
    await pool.end({ timeoutMs: 0 });
    await cable.close();
  }
});

describe('a change of the primary', () => {
  test('whose old one stays, read-only: the pool leaves it', async () => {
    const [primary, standby] = ports();
    const pool = open(pair.url, 3);
    // Three connections, of which two are idle when the third is refused.
    await Promise.all(
      [1, 2, 3].map((id) => pool`insert into notes select ${id} from pg_sleep(0.05)`.execute()),
    );
    expect(await portOf(pool)).toBe(primary);
    const owner = open(pair.primary.url, 1);
    await pair.caughtUp();
    await owner.unsafe('alter system set default_transaction_read_only = on');
    await owner`select pg_reload_conf()`;
    const refused = async () =>
      await pool`insert into notes values (4)`.then(
        () => '',
        (error: unknown) => (error as { code?: string }).code ?? '',
      );
    await waitFor(async () => ['25006', 'NO_PRIMARY'].includes(await refused()), {
      deadlineMs: 10_000,
      what: 'the first server to be read-only',
    });
    expect(await refused()).toBe('NO_PRIMARY');
    await pair.promote();
    await Promise.all(
      [5, 6, 7].map((id) => pool`insert into notes select ${id} from pg_sleep(0.05)`.execute()),
    );
    expect(await portOf(pool)).toBe(standby);
  });
});

describe('an old primary that comes back', () => {
  beforeAll(async () => {
    const owner = open(`${pair.primary.url}?target_session_attrs=any`, 1);
    await owner.unsafe('alter system reset default_transaction_read_only');
    await owner`select pg_reload_conf()`;
    const isWritable = async () =>
      (await owner<{ off: boolean }[]>`select current_setting('transaction_read_only') = 'off' as off`)[0]
        ?.off;
    await waitFor(async () => (await isWritable()) === true, {
      deadlineMs: 10_000,
      what: 'the old primary to be writable',
    });
  });

  const codeOf = async (statement: PromiseLike<unknown>) =>
    await Promise.resolve(statement).then(
      () => '',
      (error: unknown) => (error as { code?: string }).code ?? '',
    );

  test('is left by every session of a pool once one is opened at the newer server', async () => {
    const [old, promoted] = ports();
    const [way, newer] = [await layCable(old), await layCable(promoted)];
    try {
      newer.refuse(true);
      const pool = open(urlOf([way.port, newer.port]), 3);
      expect(await portOf(pool)).toBe(old);
      newer.refuse(false);
      const held = pool.begin(async (tx) => {
        await tx`insert into notes values (101)`;
        way.refuse(true);
        await pool`insert into notes values (102)`;
        await tx`insert into notes values (103)`;
      });
      expect(await codeOf(held)).toBe('CONNECTION_CLOSED');
      way.refuse(false);
      await Promise.all(
        [104, 105].map((id) => pool`insert into notes select ${id} from pg_sleep(0.05)`.execute()),
      );
      const notesAt = async (url: string) =>
        (await open(url, 1)<{ id: number }[]>`select id from notes where id > 100 order by id`).map(
          ({ id }) => id,
        );
      expect(await notesAt(pair.primary.url)).toEqual([]);
      expect(await notesAt(pair.standby.url)).toEqual([102, 104, 105]);
    } finally {
      await Promise.all([way.close(), newer.close()]);
    }
  });

  test('is not taken by a pool that starts, nor by one that has lost the newer server', async () => {
    const [old, promoted] = ports();
    const errors: object[] = [];
    const log = { error: (fields: object) => void errors.push(fields) };
    const newer = await layCable(promoted);
    try {
      const pool = openPostgres({ url: urlOf([old, newer.port]), max: 2, name: 'test', as: 'owner', log });
      pools.push(pool);
      expect(await portOf(pool)).toBe(promoted);
      expect(errors).toEqual([{ taken: `127.0.0.1:${newer.port}`, left: `127.0.0.1:${old}` }]);
      newer.refuse(true);
      newer.drop();
      // The first statement can meet the session that is just ending.
      await waitFor(async () => (await codeOf(pool`insert into notes values (106)`)) === 'NO_PRIMARY', {
        deadlineMs: 10_000,
        what: 'the pool to look for a server',
      });
      await expect(pool`insert into notes values (106)`).rejects.toThrow(
        `127.0.0.1:${old}: it is an old primary (timeline 1, and 2 was seen)`,
      );
    } finally {
      await newer.close();
    }
  });

  test('two databases that have nothing to do with each other are refused', async () => {
    const database = await freshPostgresDatabase();
    try {
      const { username, password, host, pathname } = new URL(database.url);
      const owner = open(pair.standby.url, 1);
      await owner.unsafe(`create role ${username}_twin superuser login password '${password}'`);
      await owner.unsafe(`create database ${pathname.slice(1)}`);
      const there = open(database.url, 1);
      await there.unsafe(`create role ${username}_twin superuser login password '${password}'`);
      const [, promoted] = ports();
      const both = `postgres://${username}_twin:${password}@${host},127.0.0.1:${promoted}${pathname}`;
      try {
        await expect(open(both)`select 1`).rejects.toThrow('can both be written to');
      } finally {
        await there.unsafe(`drop role ${username}_twin`);
      }
    } finally {
      await database.drop();
    }
  });
});
