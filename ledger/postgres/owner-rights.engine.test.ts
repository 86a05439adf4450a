import { execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPostgres, type Postgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { freePort } from '../../engines/engine.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { waitFor } from '../../test/support/engines.ts';
import { reportMissing } from '../../test/support/programs.ts';
import { connectDatabase } from './db.ts';
import { migrateLedger } from './migrate.ts';

/** Owners of the schema who may not create roles, on the embedded PostgreSQL and on Debian 12's, whose rules of membership are older. */

const log = createLogger({ name: 'test', level: 'silent' });
const PASSWORD = 'secret';
const DEBIAN = '/usr/lib/postgresql/15/bin';
const isInstalled = existsSync(join(DEBIAN, 'postgres'));
if (!isInstalled) reportMissing('postgresql-15', 'an owner without CREATEROLE on PostgreSQL 15');

interface Server {
  /** Of the superuser. */
  readonly url: string;
  stop(): Promise<void>;
}

async function startEmbedded(folder: string): Promise<Server> {
  const dataDir = join(folder, 'postgres');
  const common = { dataDir, port: await freePort(), password: PASSWORD, database: 'postgres', log };
  return await startPostgres({ ...common, settings: { fsync: 'off' } });
}

async function startDebian(folder: string): Promise<Server> {
  const isRoot = process.getuid?.() === 0;
  const idOf = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  const user = isRoot ? { uid: idOf('-u'), gid: idOf('-g') } : {};
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
  const [dataDir, passwordFile] = [join(folder, 'data'), join(folder, 'password')];
  writeFileSync(passwordFile, PASSWORD, { mode: 0o644 });
  const make = ['-D', dataDir, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`, '-N'];
  execFileSync(join(DEBIAN, 'initdb'), [...make, '-E', 'UTF8', '--locale=C'], { ...user, stdio: 'ignore' });
  const port = await freePort();
  const settings = ['listen_addresses=127.0.0.1', `port=${port}`, 'unix_socket_directories=', 'fsync=off'];
  const args = ['-D', dataDir, ...settings.flatMap((one) => ['-c', one])];
  const child = spawn(join(DEBIAN, 'postgres'), args, { ...user, stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const url = `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`;
  async function answers(): Promise<boolean> {
    const sql = openPostgres({ url, max: 1, name: 'test', as: 'owner' });
    return await sql`select 1`
      .then(
        () => true,
        () => false,
      )
      .finally(() => sql.end());
  }
  await waitFor(answers, { deadlineMs: 30_000, what: 'PostgreSQL 15' });
  return {
    url,
    async stop() {
      child.kill('SIGQUIT');
      await exited;
    },
  };
}

describe.each([
  { name: 'the embedded PostgreSQL', start: startEmbedded, isThere: true },
  { name: 'PostgreSQL 15', start: startDebian, isThere: isInstalled },
])('on $name', ({ start, isThere }) => {
  let folder: string;
  let server: Server;
  let admin: Postgres;
  beforeAll(async () => {
    if (!isThere) return;
    folder = mkdtempSync(join(tmpdir(), 'afflux-owner-'));
    server = await start(folder);
    admin = openPostgres({ url: server.url, max: 1, name: 'test', as: 'owner' });
  });
  afterAll(async () => {
    if (!isThere) return;
    await admin?.end();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const urlOf = (login: string, database: string): string => {
    const url = new URL(server.url);
    url.username = login;
    url.pathname = `/${database}`;
    return url.href;
  };

  test.skipIf(!isThere)(
    'what the owner lacks is said in statements that help',
    { timeout: 60_000 },
    async () => {
      await admin.unsafe(`create role plain login password '${PASSWORD}'`);
      await admin`create database first`;
      const url = urlOf('plain', 'first');
      const refused = await migrateLedger({ url, log }).catch((error: unknown) => error);
      expect(refused).toMatchObject({
        code: 'migration_failed',
        message: expect.stringMatching(
          /^the owner of the schema lacks rights\. As the server's administrator, in this database, then migrate again:\n {2}create role afflux_app login password '…';\n {2}create role afflux_grafana nologin;\n {2}alter database first owner to plain;$/,
        ),
      });
      const statements = (refused as Error).message.split('\n').slice(1);
      for (const statement of statements) await admin.unsafe(statement.replace('…', PASSWORD));
      expect((await migrateLedger({ url, log })).applied.length).toBeGreaterThan(50);
      const ledger = await connectDatabase({ url: urlOf('afflux_app', 'first'), max: 1, name: 'test' });
      expect(await ledger`select from programs`).toEqual([]);
      await ledger.end();
      // And again, as after an upgrade.
      expect(await migrateLedger({ url, log })).toEqual({ applied: [] });
    },
  );

  test.skipIf(!isThere)(
    'an owner with CREATEROLE whose roles an administrator made needs nothing',
    async () => {
      await admin.unsafe(`create role maker login createrole password '${PASSWORD}'`);
      await admin`create database second owner maker`;
      const url = urlOf('maker', 'second');
      expect((await migrateLedger({ url, log })).applied.length).toBeGreaterThan(50);
    },
  );
});
