import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../core/service/log.ts';
import { startClickHouse } from './clickhouse.ts';
import { type Engine, freePort } from './engine.ts';

const log = createLogger({ name: 'clickhouse', level: 'silent' });
let folder: string;
const engines: Engine[] = [];

beforeEach(() => {
  // Only its owner may enter it: as root this is the case of a checkout below /root.
  folder = mkdtempSync(join(tmpdir(), "afflux it's a "));
});
afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
  rmSync(folder, { recursive: true, force: true });
});

const PASSWORD = "p:'@/ü%";

async function start(): Promise<Engine> {
  const engine = await startClickHouse({
    dataDir: join(folder, 'home', 'clickhouse'),
    port: await freePort(),
    password: PASSWORD,
    database: 'afflux',
    log,
  });
  engines.push(engine);
  return engine;
}

const basic = (user: string, password: string) => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

async function ask(
  engine: Engine,
  query: string,
  headers: Record<string, string> = basic('default', PASSWORD),
): Promise<Response> {
  const { origin } = new URL(engine.url);
  return await fetch(new URL('/', origin), { method: 'POST', body: query, headers });
}

const CREATE =
  'CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1';

test('keeps what it has acknowledged when it is killed', async () => {
  const killed = await start();
  expect((await ask(killed, CREATE)).status).toBe(200);
  for (let i = 0; i < 20; i++) expect((await ask(killed, `INSERT INTO kept VALUES (${i})`)).status).toBe(200);
  process.kill(killed.pid, 'SIGKILL');
  expect(await killed.exited).toMatchObject({ signal: 'SIGKILL' });
  const again = await start();
  expect(await (await ask(again, 'SELECT count(), sum(n) FROM kept')).text()).toBe('20\t190\n');
});

test('finishes what runs when it is stopped, refuses what comes later, and leaves no files behind', async () => {
  const engine = await start();
  await ask(engine, CREATE);
  const inserting = ask(
    engine,
    'INSERT INTO kept SELECT number FROM numbers(3000000) WHERE NOT ignore(sipHash64(number))',
  );
  const reading = ask(engine, 'SELECT sleep(0.5)');
  // Both are with the server once a later request has been answered.
  await ask(engine, 'SELECT 1');
  await engine.stop();
  expect([(await inserting).status, (await reading).status]).toEqual([200, 200]);
  expect(await engine.exited).toEqual({ code: 0, signal: null });
  await expect(ask(engine, 'SELECT 1')).rejects.toThrow('fetch failed');
  expect(readdirSync(join(folder, 'home', 'clickhouse')).sort()).toEqual(['engine', 'server.pid']);
});

test('answers only /ping without the password', { tags: ['attack'] }, async () => {
  const engine = await start();
  expect(new URL(engine.url).username).toBe('default');
  expect((await ask(engine, 'SELECT 1')).status).toBe(200);
  const { origin } = new URL(engine.url);
  expect(await (await fetch(`${origin}/ping`)).text()).toBe('Ok.\n');
  for (const headers of [
    {},
    basic('default', ''),
    basic('default', 'p'),
    basic('afflux', PASSWORD),
    { 'X-ClickHouse-User': 'default' },
    { 'X-ClickHouse-User': 'default', 'X-ClickHouse-Key': 'x' },
  ]) {
    const refused = await ask(engine, 'SELECT 1', headers);
    expect([refused.status, refused.headers.get('x-clickhouse-exception-code')]).toEqual([403, '516']);
  }
  for (const path of ['/', '/replicas_status', '/?query=SELECT+1', '/ping/', '/?user=default&password=x']) {
    expect([path, (await fetch(`${origin}${path}`)).status]).toEqual([path, 403]);
  }
  const key = encodeURIComponent(PASSWORD);
  expect((await fetch(`${origin}/?query=SELECT+1&password=${key}`)).status).toBe(200);
});

test('two servers never open one data folder', async () => {
  const first = await start();
  await ask(first, CREATE);
  await ask(first, 'INSERT INTO kept VALUES (1)');
  // The second takes the first for one left over by a killed supervisor, and ends it in good order.
  const second = await start();
  expect(await first.exited).toEqual({ code: 0, signal: null });
  expect(await (await ask(second, 'SELECT sum(n) FROM kept')).text()).toBe('1\n');
});

test('says clearly that its port is taken', async () => {
  const first = await start();
  const taken = startClickHouse({
    dataDir: join(folder, 'other'),
    port: Number(new URL(first.url).port),
    password: PASSWORD,
    database: 'afflux',
    log,
  });
  await expect(taken).rejects.toMatchObject({
    code: 'port_unavailable',
    message: expect.stringContaining('CLICKHOUSE_PORT'),
  });
});
