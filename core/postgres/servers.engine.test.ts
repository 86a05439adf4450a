import { connect, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../engines/engine.ts';
import { waitFor } from '../../test/support/engines.ts';
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
  expect(await portOf(open(urlOf([standby])))).toBe(standby);
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
  const one = open(urlOf([standby], 'read-write'))`select 1`.catch((error: unknown) => error);
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
  test('whose old one stays, read-only: the pool leaves it', { timeout: 60_000 }, async () => {
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

describe('an old primary that was not fenced', () => {
  let other: ServerPair;
  let way: Awaited<ReturnType<typeof layCable>>;
  /** The old primary, behind a way that can be shut, and the promoted standby. */
  let url: string;

  beforeAll(async () => {
    other = await startServerPair({ isSynchronous: false });
    await open(other.primary.url)`create table notes (id integer primary key, at integer)`;
    await other.caughtUp();
    way = await layCable(Number(new URL(other.primary.url).port));
    url = other.url.replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${way.port}`);
  });
  afterAll(async () => {
    await way?.close();
    await other?.close();
  });

  test('is left by every session, and never taken again', async () => {
    const early = open(url, 2);
    await early`select 1`;
    await other.promote();
    const [old, promoted] = [other.primary.url, other.standby.url].map((one) => Number(new URL(one).port));
    // A session is held at the old primary, and another one is refused there, so that it goes to the promoted server.
    const held = early.begin(async (tx) => {
      await tx`insert into notes values (1, inet_server_port())`;
      way.refuse(true);
      await early`insert into notes values (2, inet_server_port())`;
      await tx`insert into notes values (3, inet_server_port())`;
    });
    await expect(held).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    way.refuse(false);
    await Promise.all(
      [4, 5].map((id) =>
        early`insert into notes select ${id}, inet_server_port() from pg_sleep(0.05)`.execute(),
      ),
    );
    const notesAt = async (one: string) => await open(one, 1)`select id, at from notes order by id`;
    expect(await notesAt(other.primary.url)).toEqual([]);
    expect(await notesAt(other.standby.url)).toEqual([2, 4, 5].map((id) => ({ id, at: promoted })));
    // A new pool asks both, whatever their order.
    const errors: object[] = [];
    const late = openPostgres({
      ...{ url, max: 1, name: 'test', as: 'owner' },
      log: { error: (fields: object) => void errors.push(fields) } as never,
    });
    pools.push(late);
    expect(await portOf(late)).toBe(promoted);
    expect(errors).toEqual([{ taken: `127.0.0.1:${promoted}`, left: `127.0.0.1:${way.port}` }]);
    // With the promoted one out of the way nothing is written to the old one.
    const [head, tail] = url.split(/(?<=@).*(?=\/afflux)/) as [string, string];
    const next = await layCable(promoted as number);
    try {
      const pool = open(`${head}127.0.0.1:${next.port},127.0.0.1:${old}${tail}`, 2);
      expect(await portOf(pool)).toBe(promoted);
      next.refuse(true);
      next.drop();
      const message = expect.stringMatching(/it is an old primary \(timeline 1, and 2 was seen\)/);
      const fault = async () =>
        await pool`insert into notes values (6)`.then(
          () => undefined,
          (error: unknown) => error,
        );
      // The first one can meet the session that is just ending.
      const isRefused = async () => ((await fault()) as { code?: string }).code === 'NO_PRIMARY';
      await waitFor(isRefused, { deadlineMs: 10_000, what: 'the pool to look for a server' });
      expect(await fault()).toMatchObject({ code: 'NO_PRIMARY', message });
    } finally {
      await next.close();
    }
  });

  test('two databases that have nothing to do with each other are refused', async () => {
    const hosts = [other.standby.url, pair.standby.url].map((one) => new URL(one).host).join(',');
    const both = other.url.replace(/(?<=@).*(?=\/afflux)/, hosts);
    await expect(open(both)`select 1`).rejects.toMatchObject({
      code: 'NO_PRIMARY',
      message: expect.stringContaining('can both be written to'),
    });
  });
});
