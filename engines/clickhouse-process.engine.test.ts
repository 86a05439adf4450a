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
  folder = mkdtempSync(join(tmpdir(), "afflux it's a "));
});
afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
  rmSync(folder, { recursive: true, force: true });
});

async function start(credentials?: { user: string; password: string }): Promise<Engine> {
  const engine = await startClickHouse({
    dataDir: join(folder, 'clickhouse'),
    port: await freePort(),
    database: 'afflux',
    log,
    ...(credentials ? { credentials } : {}),
  });
  engines.push(engine);
  return engine;
}

async function ask(engine: Engine, query: string, headers: Record<string, string> = {}): Promise<Response> {
  const url = new URL('/', engine.url);
  url.username = '';
  url.password = '';
  return await fetch(url, { method: 'POST', body: query, headers });
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
  expect(readdirSync(join(folder, 'clickhouse')).sort()).toEqual(['engine', 'server.pid']);
});

test('lets in only those with the password, when there is one', async () => {
  const credentials = { user: 'grafana', password: "p:'@/" };
  const engine = await start(credentials);
  const basic = (user: string, password: string): Record<string, string> => ({
    Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
  });
  expect((await ask(engine, 'SELECT 1', basic('grafana', "p:'@/"))).status).toBe(200);
  const keys = { 'X-ClickHouse-User': 'grafana', 'X-ClickHouse-Key': "p:'@/" };
  expect((await ask(engine, 'SELECT 1', keys)).status).toBe(200);
  for (const headers of [
    {},
    basic('grafana', 'p'),
    basic('default', "p:'@/"),
    { 'X-ClickHouse-User': 'grafana' },
  ]) {
    const refused = await ask(engine, 'SELECT 1', headers);
    expect([refused.status, refused.headers.get('x-clickhouse-exception-code')]).toEqual([403, '516']);
  }
  expect(new URL(engine.url).username).toBe('grafana');
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
    database: 'afflux',
    log,
  });
  await expect(taken).rejects.toMatchObject({
    code: 'port_unavailable',
    message: expect.stringContaining('CLICKHOUSE_PORT'),
  });
});
