import { fromProject } from '../../core/config/paths.ts';
import { errorText, OperatingError } from '../../core/errors.ts';
import { APP_ROLE } from '../../core/login.ts';
import {
  type AppliedMigration,
  type Migration,
  pendingMigrations,
  readMigrations,
} from '../../core/migrations.ts';
import { DatabaseError } from '../../core/postgres/connection.ts';
import type { Logger } from '../../core/service/log.ts';
import { connectOwner, type Database, type DatabaseSql, type DatabaseTransaction } from './db.ts';

/** The SQL files are read from the sources also when the code runs from dist/. */
const MIGRATIONS_FOLDER = 'ledger/migrations';

/** "afflux" in ASCII: each transaction of a migration holds this advisory lock of the database. */
const MIGRATION_LOCK = 0x6166666c7578n;
/** Longest wait for another process that migrates; beyond one file's time a person should look. */
const LOCK_TIMEOUT_MS = 60_000;
/** `lock_not_available` */
const LOCK_TIMED_OUT = '55P03';
const DISCONNECT_TIMEOUT_MS = 5_000;

interface LedgerMigrationOptions {
  /** Of the schema's owner, who may create roles, unless both roles of docs/operations.md are there. */
  readonly url: string;
  /** The store's name in messages to a person. */
  readonly store?: string | undefined;
  readonly folder?: string | undefined;
}

/**
 * Checks, without a change, that the database was migrated by these files or an older release of them, or not at all.
 * @throws OperatingError `postgres_unreachable`, and those of {@link pendingMigrations}.
 */
export async function checkLedgerMigrations(options: LedgerMigrationOptions): Promise<void> {
  const owner = await connectOwner({ url: options.url, name: 'afflux-migrate' });
  try {
    await findPending(owner, options);
  } finally {
    await owner.end({ timeoutMs: DISCONNECT_TIMEOUT_MS });
  }
}

/**
 * Brings the database to the newest schema: every numbered file once, in order, each in its own transaction, so that a
 * run that was killed is continued by the next one. Safe to run by many processes at once.
 * @throws OperatingError `postgres_unreachable`, `migration_locked`, `migration_failed`, and those of
 *   {@link pendingMigrations}.
 */
export async function migrateLedger(
  options: LedgerMigrationOptions & {
    log: Logger;
    lockTimeoutMs?: number;
    /** Lets processes log in with this password; undefined: the server's administrator does (docs/operations.md). */
    appPassword?: string | undefined;
  },
): Promise<{ applied: string[] }> {
  const { log, lockTimeoutMs = LOCK_TIMEOUT_MS, appPassword } = options;
  const owner = await connectOwner({ url: options.url, name: 'afflux-migrate' });
  try {
    const pending = await findPending(owner, options);
    await inLockedTransaction(owner, lockTimeoutMs, prepare);
    const applied: string[] = [];
    for (const migration of pending) {
      const isApplied = await inLockedTransaction(owner, lockTimeoutMs, (tx) => apply(tx, migration));
      if (!isApplied) continue;
      log.info({ migration: migration.name }, 'ledger migrated');
      applied.push(migration.name);
    }
    if (appPassword !== undefined) {
      await inLockedTransaction(owner, lockTimeoutMs, (tx) => setPassword(tx, appPassword));
    }
    return { applied };
  } finally {
    await owner.end({ timeoutMs: DISCONNECT_TIMEOUT_MS });
  }
}

/**
 * Makes, in an empty database, the schema that had these migrations; in a transaction of the caller, so that nothing of it
 * is seen before its data are.
 * @throws OperatingError `migration_failed`, and those of {@link pendingMigrations}: `store` names where they come from.
 */
export async function createSchema(
  tx: DatabaseTransaction,
  { store, applied }: { store: string; applied: readonly AppliedMigration[] },
): Promise<void> {
  const migrations = readMigrations(fromProject(MIGRATIONS_FOLDER));
  const later = new Set(pendingMigrations({ store, migrations, applied }));
  await prepare(tx);
  for (const migration of migrations) if (!later.has(migration)) await apply(tx, migration);
}

async function findPending(sql: DatabaseSql, options: LedgerMigrationOptions): Promise<Migration[]> {
  const { store = 'the PostgreSQL database', folder = fromProject(MIGRATIONS_FOLDER) } = options;
  const applied = await readApplied(sql);
  return pendingMigrations({ store, migrations: readMigrations(folder), applied });
}

/** What the database was migrated by. */
export async function readApplied(sql: DatabaseSql): Promise<AppliedMigration[]> {
  const [table] = await sql<{ exists: boolean }[]>`
    select to_regclass('schema_migrations') is not null as exists`;
  if (!table?.exists) return [];
  return await sql<AppliedMigration[]>`select name, checksum from schema_migrations`;
}

/**
 * Runs `work` while no other process migrates. The lock is the transaction's, so that it ends with it in any case.
 * @throws OperatingError `migration_locked` when another process keeps the lock.
 */
async function inLockedTransaction<T>(
  owner: Database,
  lockTimeoutMs: number,
  work: (tx: DatabaseTransaction) => Promise<T>,
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

async function lockedError(tx: DatabaseTransaction, lockTimeoutMs: number): Promise<OperatingError> {
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

/** `insufficient_privilege` */
const NOT_ALLOWED = '42501';

async function prepare(tx: DatabaseTransaction): Promise<void> {
  try {
    // Roles belong to the whole server: another database's migration may create this one at the same moment.
    await tx.unsafe(`
      do $$
      begin
        if not exists (select from pg_roles where rolname = '${APP_ROLE}') then
          create role ${APP_ROLE} nologin;
        end if;
      exception when duplicate_object or unique_violation then null;
      end $$`);
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== NOT_ALLOWED) throw error;
    throw new OperatingError(
      'migration_failed',
      "the owner of the schema may not create roles. As the server's administrator, then migrate again:\n" +
        `  create role ${APP_ROLE} login password '…';\n  create role afflux_grafana nologin;`,
      { cause: error },
    );
  }
  await tx`
    create table if not exists schema_migrations (
      name text primary key,
      checksum text not null,
      applied_at timestamptz not null default clock_timestamp()
    )`;
  await checkGrants(tx);
}

/** A database restored into a server without the roles has its tables, and none of the grants. */
async function checkGrants(tx: DatabaseTransaction): Promise<void> {
  const [grants] = await tx<{ areMissing: boolean }[]>`
    select exists (select from schema_migrations) and not has_table_privilege(${APP_ROLE}, 'schema_migrations', 'SELECT')
      as are_missing`;
  if (!grants?.areMissing) return;
  throw new OperatingError(
    'migration_failed',
    `the database has its tables, but ${APP_ROLE} has no rights to them: it was restored before the role was there. ` +
      `Create the roles ${APP_ROLE} and afflux_grafana, and restore it again into an empty database (docs/operations.md)`,
  );
}

async function setPassword(tx: DatabaseTransaction, password: string): Promise<void> {
  await tx`select set_config('afflux.password', ${password}, true)`;
  await tx.unsafe(`
    do $$ begin
      execute format('alter role ${APP_ROLE} login password %L', current_setting('afflux.password'));
    end $$`);
}

/** Returns whether it was applied here: another process may have been the first. */
async function apply(tx: DatabaseTransaction, migration: Migration): Promise<boolean> {
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
