import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openPostgres } from '../core/postgres/postgres.ts';
import { createLogger } from '../core/service/log.ts';
import { type Engine, freePort } from './engine.ts';
import { startPostgres } from './postgres.ts';

const log = createLogger({ name: 'postgres', level: 'silent' });
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

async function start(port?: number): Promise<Engine> {
  const engine = await startPostgres({
    dataDir: join(folder, 'home', 'postgres'),
    port: port ?? (await freePort()),
    password: "p:'@/ü",
    database: 'afflux',
    log,
  });
  engines.push(engine);
  return engine;
}

async function query(engine: Engine, text: string): Promise<unknown[]> {
  const sql = openPostgres({ url: engine.url, max: 1, name: 'test', as: 'owner' });
  return await sql.unsafe(text).finally(() => sql.end());
}

test('makes a UTF-8 database that only this machine can reach, with a password', async () => {
  const engine = await start();
  const [row] = await query(
    engine,
    `SELECT current_database() AS database, current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync,
       current_setting('listen_addresses') AS addresses, current_setting('unix_socket_directories') AS sockets,
       (SELECT array_agg(x ORDER BY x) FROM unnest(ARRAY['b','a','B','ä']) AS x) AS sorted, lower('Ä') AS lower`,
  );
  expect(row).toEqual({
    database: 'afflux',
    encoding: 'UTF8',
    fsync: 'on',
    addresses: '127.0.0.1',
    sockets: '',
    sorted: ['B', 'a', 'b', 'ä'],
    lower: 'ä',
  });
  const wrong = openPostgres({
    url: engine.url.replace(/:[^:@]+@/, ':wrong@'),
    max: 1,
    name: 'test',
    as: 'owner',
  });
  await expect(wrong`SELECT 1`.finally(() => wrong.end())).rejects.toMatchObject({ code: '28P01' });
});

test('keeps its data over a stop and a kill', async () => {
  const first = await start();
  await query(first, 'CREATE TABLE kept (n int)');
  await query(first, 'INSERT INTO kept VALUES (1)');
  await first.stop();
  expect(await first.exited).toEqual({ code: 0, signal: null });
  const second = await start();
  await query(second, 'INSERT INTO kept VALUES (2)');
  process.kill(second.pid, 'SIGKILL');
  await second.exited;
  const third = await start();
  expect(await query(third, 'SELECT n FROM kept ORDER BY n')).toEqual([{ n: 1 }, { n: 2 }]);
});

test('goes on making a data folder where a crash left it', async () => {
  const dataDir = join(folder, 'home', 'postgres');
  mkdirSync(join(dataDir, 'unfinished', 'base'), { recursive: true });
  mkdirSync(join(dataDir, 'lost+found'));
  const first = await start();
  await query(first, 'CREATE TABLE kept (n int)');
  await first.stop();
  // As a crash leaves it while the files of a finished initdb are put in place.
  mkdirSync(join(dataDir, 'made'));
  for (const name of ['base', 'PG_VERSION']) renameSync(join(dataDir, name), join(dataDir, 'made', name));
  const second = await start();
  expect(await query(second, 'SELECT n FROM kept')).toEqual([]);
  const names = readdirSync(dataDir);
  expect(names).toEqual(expect.arrayContaining(['PG_VERSION', 'base', 'lost+found']));
  expect(names.filter((name) => ['made', 'unfinished'].includes(name))).toEqual([]);
});

test('refuses to make a data folder where there are data, and takes it again once it is whole', async () => {
  const dataDir = join(folder, 'home', 'postgres');
  const first = await start();
  await query(first, 'CREATE TABLE kept (n int)');
  await first.stop();
  renameSync(join(dataDir, 'PG_VERSION'), join(folder, 'PG_VERSION'));
  const before = readdirSync(dataDir).sort();
  await expect(start()).rejects.toThrow(
    /has no PG_VERSION, but other files \(base, global, .*put PG_VERSION back/,
  );
  expect(readdirSync(dataDir).sort()).toEqual(before);
  renameSync(join(folder, 'PG_VERSION'), join(dataDir, 'PG_VERSION'));
  // A second data folder beside it, as the versions before made one: nothing of it gets into the first.
  for (const name of ['base', 'second']) mkdirSync(join(dataDir, 'made', name), { recursive: true });
  await expect(start()).rejects.toThrow(/has its own base; delete .*made/);
  expect(readdirSync(dataDir).sort()).toEqual([...before, 'PG_VERSION', 'made'].sort());
  rmSync(join(dataDir, 'made'), { recursive: true });
  const second = await start();
  expect(await query(second, 'SELECT n FROM kept')).toEqual([]);
});

test('ends a server left over on its folder first, even on the same port', async () => {
  const leftover = await start();
  await query(leftover, 'CREATE TABLE kept (n int)');
  const next = await start(Number(new URL(leftover.url).port));
  expect(await leftover.exited).toEqual({ code: 0, signal: null });
  expect(await query(next, 'SELECT n FROM kept')).toEqual([]);
});

test('is not stopped by the pid file of a process that is somebody else', async () => {
  const first = await start();
  await first.stop();
  writeFileSync(
    join(folder, 'home', 'postgres', 'postmaster.pid'),
    `${process.pid}\n${join(folder, 'home', 'postgres')}\n`,
  );
  const second = await start();
  expect(await query(second, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('says clearly that its port is taken', async () => {
  const first = await start();
  const taken = startPostgres({
    dataDir: join(folder, 'other'),
    port: Number(new URL(first.url).port),
    password: 'x',
    database: 'afflux',
    log,
  });
  await expect(taken).rejects.toMatchObject({
    code: 'port_unavailable',
    message: expect.stringContaining('POSTGRES_PORT'),
  });
});
