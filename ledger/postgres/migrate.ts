import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromProject } from '../../core/config/paths.ts';
import { errorText, OperatingError } from '../../core/errors.ts';
import { APP_ROLE } from '../../core/postgres.ts';
import type { Logger } from '../../core/service/log.ts';
import { connectOwner, type Ledger } from './db.ts';
import { installTasks } from './tasks.ts';

/** The SQL files are read from the sources also when the code runs from dist/. */
const MIGRATIONS_FOLDER = 'ledger/migrations';
const FILE_NAME = /^\d{4}_[a-z0-9_]+\.sql$/;

/** "afflux" in ASCII: whoever migrates holds this advisory lock of the database. */
const MIGRATION_LOCK = 0x6166666c7578n;

interface Migration {
  readonly name: string;
  readonly text: string;
  readonly checksum: string;
}

/**
 * Brings the database to the newest schema: every numbered file once, in order, each in its own transaction.
 * Safe to run by many processes at once. `url` is the schema's owner, who may create roles.
 * @throws OperatingError `postgres_unreachable`, `migration_changed`, `migration_unknown`, `migration_failed`.
 */
export async function migrateLedger(options: {
  url: string;
  log: Logger;
  folder?: string | undefined;
}): Promise<{ applied: string[] }> {
  const migrations = await readMigrations(options.folder ?? fromProject(MIGRATIONS_FOLDER));
  const owner = await connectOwner({ url: options.url, name: 'afflux-migrate' });
  try {
    // A session lock, so that it spans the files; it ends with the connection, also when the process is killed.
    await owner`select pg_advisory_lock(${MIGRATION_LOCK})`;
    await prepare(owner);
    const pending = await findPending(owner, migrations);
    for (const migration of pending) {
      await apply(owner, migration);
      options.log.info({ migration: migration.name }, 'ledger migrated');
    }
    await installTasks(owner);
    return { applied: pending.map(({ name }) => name) };
  } finally {
    await owner.end({ timeout: 5 });
  }
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => FILE_NAME.test(name)).sort();
  return await Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(folder, name), 'utf8');
      return { name, text, checksum: createHash('sha256').update(text).digest('hex') };
    }),
  );
}

async function prepare(owner: Ledger): Promise<void> {
  // Roles belong to the whole server: another database's migration may create this one at the same moment.
  await owner.unsafe(`
    do $$
    begin
      if not exists (select from pg_roles where rolname = '${APP_ROLE}') then
        create role ${APP_ROLE} nologin;
      end if;
      if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant ${APP_ROLE} to %I', current_user);
      end if;
    exception when duplicate_object or unique_violation then null;
    end $$;
    create table if not exists schema_migrations (
      name text primary key,
      checksum text not null,
      applied_at timestamptz not null default clock_timestamp()
    )`);
}

async function findPending(owner: Ledger, migrations: readonly Migration[]): Promise<Migration[]> {
  const rows = await owner<{ name: string; checksum: string }[]>`
    select name, checksum from schema_migrations order by name`;
  const applied = new Map(rows.map((row) => [row.name, row.checksum]));
  const known = new Set(migrations.map(({ name }) => name));
  const unknown = rows.find(({ name }) => !known.has(name));
  if (unknown) {
    throw new OperatingError(
      'migration_unknown',
      `the database has migration ${unknown.name}, which this version does not know: run the version that made it`,
    );
  }
  const changed = migrations.find(({ name, checksum }) => (applied.get(name) ?? checksum) !== checksum);
  if (changed) {
    throw new OperatingError(
      'migration_changed',
      `${changed.name} was edited after it had been applied: restore it and write a new numbered file`,
    );
  }
  return migrations.filter(({ name }) => !applied.has(name));
}

async function apply(owner: Ledger, migration: Migration): Promise<void> {
  try {
    await owner.begin(async (tx) => {
      await tx.unsafe(migration.text);
      await tx`insert into schema_migrations (name, checksum) values (${migration.name}, ${migration.checksum})`;
    });
  } catch (error) {
    throw new OperatingError('migration_failed', `${migration.name}: ${errorText(error)}`, { cause: error });
  }
}
