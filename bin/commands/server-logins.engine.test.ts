import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../core/config/config.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import { applicationUrl } from '../../core/login.ts';
import { openPostgres, type Postgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { connectDatabase } from '../../ledger/postgres/db.ts';
import { migrateLedger } from '../../ledger/postgres/migrate.ts';
import { migrateStores } from './migrate.ts';

/** Roles belong to a whole server, so these tests have one of their own. */

const log = createLogger({ name: 'test', level: 'silent' });

let folder: string;
let engine: Engine;
let root: Postgres;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-logins-'));
  chmodSync(folder, 0o711);
  engine = await startPostgres({
    dataDir: join(folder, 'pg'),
    port: await freePort(),
    password: 'p',
    database: 'afflux',
    log,
  });
  root = openPostgres({ url: engine.url, max: 1, name: 'test', as: 'owner' });
});
afterAll(async () => {
  await root?.end({ timeoutMs: 0 });
  await engine?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** An empty database that `owner` owns, by its URL. */
async function databaseOf(name: string, owner: string): Promise<string> {
  await root.unsafe(`create database ${name} owner ${owner}`);
  const url = new URL(engine.url);
  url.pathname = `/${name}`;
  if (owner !== 'postgres') Object.assign(url, { username: owner, password: owner });
  return url.href;
}

let granted = 0;

const connect = (url: string) => connectDatabase({ url, max: 1, name: 'test' });

test('a migration without the right to create roles says which ones it needs, and then needs no more', async () => {
  await root.unsafe(`create role plain login password 'plain'`);
  const url = await databaseOf('of_plain', 'plain');
  await expect(migrateLedger({ url, log })).rejects.toMatchObject({
    code: 'migration_failed',
    message: expect.stringMatching(
      /create role afflux_app login password '…';\n {2}create role afflux_grafana nologin;$/,
    ),
  });
  await root.unsafe(`create role afflux_app login password 'own'; create role afflux_grafana nologin`);
  await migrateLedger({ url, log });
  const ledger = await connect(applicationUrl(url, 'own'));
  expect(await ledger`select session_user as login`).toEqual([{ login: 'afflux_app' }]);
  await ledger.end();
});

test('a migration lets processes log in with the password it is given, whatever was set before', async () => {
  const url = await databaseOf('of_root', 'postgres');
  await root.unsafe('alter role afflux_app nologin');
  await migrateLedger({ url, log, appPassword: `it's "new"\\` });
  const appUrl = applicationUrl(url, `it's "new"\\`);
  await (await connect(appUrl)).end();
  await expect(connect(applicationUrl(url, 'own'))).rejects.toMatchObject({ code: 'postgres_login' });
});

test.each([
  ['grant somebody to afflux_app', 'is a member of somebody', 'revoke "somebody" from afflux_app;'],
  [
    'grant pg_write_all_data to afflux_app',
    'is a member of pg_write_all_data',
    'revoke "pg_write_all_data" from afflux_app;',
  ],
  [
    'alter role afflux_app createrole',
    'has rights over the server',
    'alter role afflux_app nosuperuser nocreaterole noreplication nobypassrls;',
  ],
  [
    'alter role afflux_app superuser',
    'has rights over the server',
    'alter role afflux_app nosuperuser nocreaterole noreplication nobypassrls;',
  ],
])(
  'a process refuses a login that could become the owner: %s',
  { tags: ['attack'] },
  async (grant, what, remedy) => {
    const url = await databaseOf(`granted_${++granted}`, 'postgres');
    await root.unsafe('drop role if exists somebody; create role somebody');
    await migrateLedger({ url, log, appPassword: 'own' });
    const appUrl = applicationUrl(url, 'own');
    await root.unsafe(grant);
    await expect(connect(appUrl)).rejects.toMatchObject({
      code: 'postgres_login',
      message: expect.stringContaining(what),
    });
    await root.unsafe(remedy);
    await (await connect(appUrl)).end();
  },
);

test('a database that was restored without its grants is refused with the reason', async () => {
  const url = await databaseOf('restored', 'postgres');
  await migrateLedger({ url, log });
  const owner = openPostgres({ url, max: 1, name: 'test', as: 'owner' });
  await owner.unsafe('revoke all on all tables in schema public from afflux_app');
  await owner.end();
  await expect(migrateLedger({ url, log })).rejects.toMatchObject({
    code: 'migration_failed',
    message: expect.stringContaining('it was restored before the role was there'),
  });
});

test('a migration of a server of its own needs the owner, and says so', async () => {
  const config = withGeneratedSecrets(
    loadConfig({ AFFLUX_HOME: join(folder, 'home'), DATABASE_URL: 'postgres://afflux_app:x@127.0.0.1:9/x' }),
  );
  await expect(migrateStores({ config, log })).rejects.toMatchObject({
    code: 'owner_unknown',
    message: expect.stringMatching(/^DATABASE_OWNER_URL is not set/),
  });
});
