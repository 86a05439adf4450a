import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import { freePort } from '../../engines/engine.ts';
import { waitFor } from '../../test/support/engines.ts';
import { freshLedger } from '../../test/support/ledger.ts';
import { reportMissing } from '../../test/support/programs.ts';
import { connectDatabase } from './db.ts';
import { migrateLedger } from './migrate.ts';

/** A real PgBouncer between a process and PostgreSQL. */

const log = createLogger({ name: 'test', level: 'silent' });
const isInstalled = spawnSync('pgbouncer', ['--version']).status === 0;
if (!isInstalled) reportMissing('pgbouncer', 'a process behind a connection pooler');

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** Starts PgBouncer in front of a database and returns its URL. */
async function startPooler(target: string, settings: Readonly<Record<string, string>>): Promise<string> {
  const { hostname, port, pathname, username, password } = new URL(target);
  const folder = mkdtempSync(join(tmpdir(), 'afflux-pooler-'));
  undo.push(() => rmSync(folder, { recursive: true }));
  // As root it changes to another account, which has to read its file.
  chmodSync(folder, 0o755);
  const own = await freePort();
  const lines = {
    listen_addr: '127.0.0.1',
    listen_port: own,
    unix_socket_dir: '',
    auth_type: 'any',
    ...settings,
  };
  const database = `host=${hostname} port=${port} user=${username} password=${decodeURIComponent(password)}`;
  writeFileSync(
    join(folder, 'pgbouncer.ini'),
    `[databases]\n${pathname.slice(1)} = ${database}\n[pgbouncer]\n${Object.entries(lines)
      .map(([name, value]) => `${name} = ${value}`)
      .join('\n')}\n`,
  );
  const account = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child: ChildProcess = spawn('pgbouncer', ['-q', ...account, join(folder, 'pgbouncer.ini')], {
    stdio: 'ignore',
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  undo.push(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  await waitFor(() => answers(own), { deadlineMs: 10_000, what: 'PgBouncer to listen' });
  const url = new URL(target);
  url.port = String(own);
  return url.href;
}

async function answers(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function database() {
  const books = await freshLedger({ max: 1 });
  undo.push(() => books.close());
  return books;
}

describe.skipIf(!isInstalled)('behind PgBouncer a process says so and stops', () => {
  const refused = {
    code: 'postgres_pooled',
    message: expect.stringMatching(/^DATABASE_URL leads to a connection pooler/),
  };

  test.each([
    ['in transaction mode', { pool_mode: 'transaction' }],
    ['in session mode', { pool_mode: 'session' }],
    [
      'that ignores what a session starts with',
      { pool_mode: 'transaction', ignore_startup_parameters: 'options' },
    ],
    [
      'whose own sessions have the time-outs',
      {
        pool_mode: 'transaction',
        ignore_startup_parameters: 'options',
        server_reset_query_always: '1',
        server_reset_query: `set statement_timeout = '30s'; set lock_timeout = '10s'; set idle_in_transaction_session_timeout = '60s'`,
      },
    ],
  ])('%s', async (_what, settings) => {
    const { appUrl } = await database();
    const pooled = await startPooler(appUrl, settings);
    await expect(connectDatabase({ url: pooled, max: 1, name: 'test' })).rejects.toMatchObject(refused);
  });

  test('and so does a migration, which leaves no lock behind', async () => {
    const { url, owner } = await database();
    const pooled = await startPooler(url, { pool_mode: 'transaction' });
    await expect(migrateLedger({ url: pooled, log })).rejects.toMatchObject(refused);
    expect(
      await owner`select from pg_locks where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())`,
    ).toEqual([]);
    expect(await migrateLedger({ url, log })).toEqual({ applied: [] });
  });
});

describe('a session that is not as it must be', () => {
  test('is what a URL with settings of its own does not give', async () => {
    const { appUrl } = await database();
    const own = `${appUrl}?options=${encodeURIComponent('-c statement_timeout=0 -c work_mem=5MB')}`;
    const ledger = await connectDatabase({ url: own, max: 1, name: 'test' });
    undo.push(() => ledger.end());
    const [row] = await ledger`
      select current_user as role, current_setting('statement_timeout') as timeout, current_setting('work_mem') as memory`;
    expect(row).toEqual({ role: 'afflux_app', timeout: '30s', memory: '5MB' });
  });
});

test('a migration that cannot have its lock names who holds it', async () => {
  const { url, owner } = await database();
  const [own] = await owner<{ pid: number }[]>`select pg_backend_pid() as pid`;
  await owner.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(${0x6166666c7578n})`;
    await expect(migrateLedger({ url, log, lockTimeoutMs: 200 })).rejects.toMatchObject({
      code: 'migration_locked',
      message: expect.stringMatching(
        new RegExp(`not ended within 0\\.2 s: PostgreSQL's process ${own?.pid} \\(test-owner of \\w+\\)`),
      ),
    });
  });
  expect(await migrateLedger({ url, log })).toEqual({ applied: [] });
});
