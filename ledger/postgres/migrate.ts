import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromProject } from '../../core/config/paths.ts';
import { errorText, OperatingError } from '../../core/errors.ts';
import { DatabaseError } from '../../core/postgres/connection.ts';
import { APP_ROLE } from '../../core/postgres/session.ts';
import type { Logger } from '../../core/service/log.ts';
import { connectOwner, type Ledger, type LedgerTransaction } from './db.ts';

/** The SQL files are read from the sources also when the code runs from dist/. */
const MIGRATIONS_FOLDER = 'ledger/migrations';
const FILE_NAME = /^\d{4}_[a-z0-9_]+\.sql$/;

/** "afflux" in ASCII: each transaction of a migration holds this advisory lock of the database. */
const MIGRATION_LOCK = 0x6166666c7578n;
/** One file of another process's migration takes as long at the most; beyond that a person should look. */
const LOCK_TIMEOUT_MS = 60_000;
/** `lock_not_available` */
const LOCK_TIMED_OUT = '55P03';

interface Migration {
  readonly name: string;
  readonly text: string;
  readonly checksum: string;
}

/**
 * Brings the database to the newest schema: every numbered file once, in order, each in its own transaction.
 * Safe to run by many processes at once. `url` is the schema's owner, who may create roles.
 * @throws OperatingError `postgres_unreachable`, `migration_locked`, `migration_changed`, `migration_unknown`,
 * `migration_failed`.
 */
export async function migrateLedger(options: {
  url: string;
  log: Logger;
  folder?: string | undefined;
  lockTimeoutMs?: number;
}): Promise<{ applied: string[] }> {
  const { log, lockTimeoutMs = LOCK_TIMEOUT_MS } = options;
  const migrations = await readMigrations(options.folder ?? fromProject(MIGRATIONS_FOLDER));
  const owner = await connectOwner({ url: options.url, name: 'afflux-migrate' });
  try {
    await inLockedTransaction(owner, lockTimeoutMs, prepare);
    const applied: string[] = [];
    for (const migration of await findPending(owner, migrations)) {
      const isApplied = await inLockedTransaction(owner, lockTimeoutMs, (tx) => apply(tx, migration));
      if (!isApplied) continue;
      log.info({ migration: migration.name }, 'ledger migrated');
      applied.push(migration.name);
    }
    return { applied };
  } finally {
    await owner.end({ timeoutMs: 5_000 });
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

/**
 * Runs `work` while no other process migrates. The lock is the transaction's, so that it ends with it in any case.
 * @throws OperatingError `migration_locked` when another process keeps the lock.
 */
async function inLockedTransaction<T>(
  owner: Ledger,
  lockTimeoutMs: number,
  work: (tx: LedgerTransaction) => Promise<T>,
): Promise<T> {
  return await owner.begin(async (tx) => {
    await tx.unsafe(`set local lock_timeout = ${lockTimeoutMs}`);
    try {
      await tx.savepoint((point) => point`select pg_advisory_xact_lock(${MIGRATION_LOCK})`.execute());
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.code !== LOCK_TIMED_OUT) throw error;
      throw await lockedError(tx, lockTimeoutMs);
    }
    await tx`set local lock_timeout = 0`;
    return await work(tx);
  });
}

async function lockedError(tx: LedgerTransaction, lockTimeoutMs: number): Promise<OperatingError> {
  const holders = await tx<{ holder: string }[]>`
    select format('process %s (%s of %s), %s since %s', a.pid, coalesce(nullif(application_name, ''), 'no name'), usename,
      state, to_char(coalesce(xact_start, state_change) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')) as holder
    from pg_locks l join pg_stat_activity a using (pid)
    where locktype = 'advisory' and granted and l.database = (select oid from pg_database where datname = current_database())
      and (classid::bigint << 32) | objid::bigint = ${MIGRATION_LOCK}`;
  const [{ holder } = { holder: 'a process that has just ended' }] = holders;
  return new OperatingError(
    'migration_locked',
    `another migration of the database has not ended within ${lockTimeoutMs / 1_000} s: PostgreSQL's ${holder}; ` +
      'wait for it, or end it with pg_terminate_backend and migrate again',
  );
}

async function prepare(tx: LedgerTransaction): Promise<void> {
  // Roles belong to the whole server: another database's migration may create this one at the same moment.
  await tx.unsafe(`
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

/** Returns whether it was applied here: another process may have been the first. */
async function apply(tx: LedgerTransaction, migration: Migration): Promise<boolean> {
  const known = await tx`select from schema_migrations where name = ${migration.name}`;
  if (known.length > 0) return false;
  try {
    await tx.unsafe(migration.text);
    await tx`insert into schema_migrations (name, checksum) values (${migration.name}, ${migration.checksum})`;
    return true;
  } catch (error) {
    throw new OperatingError('migration_failed', `${migration.name}: ${errorText(error)}`, { cause: error });
  }
}
