import { fromProject } from '../../core/config/paths.ts';
import { errorText, OperatingError } from '../../core/errors.ts';
import {
  type AppliedMigration,
  type Migration,
  pendingMigrations,
  readMigrations,
} from '../../core/migrations.ts';
import { APP_ROLE } from '../../core/postgres.ts';
import type { Logger } from '../../core/service/log.ts';
import { connectOwner, type Ledger } from './db.ts';
import { installTasks } from './tasks.ts';

/** The SQL files are read from the sources also when the code runs from dist/. */
const MIGRATIONS_FOLDER = 'ledger/migrations';

/** "afflux" in ASCII: the process that migrates holds this advisory lock of the database. */
const MIGRATION_LOCK = 0x6166666c7578n;
/** Longest wait for another process that migrates; one that builds an index on a large table takes longer. */
const MIGRATION_LOCK_TIMEOUT_MS = 60_000;

interface LedgerMigrationOptions {
  /** Of the schema's owner, who may create roles. */
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
    await owner.end({ timeout: 5 });
  }
}

/**
 * Brings the database to the newest schema: every numbered file once, in order, each in its own transaction, so that a
 * run that was killed is continued by the next one. Safe to run by many processes at once.
 * @throws OperatingError `postgres_unreachable`, `migration_locked`, `migration_failed`, and those of
 *   {@link pendingMigrations}.
 */
export async function migrateLedger(
  options: LedgerMigrationOptions & { log: Logger; lockTimeoutMs?: number },
): Promise<{ applied: string[] }> {
  const owner = await connectOwner({ url: options.url, name: 'afflux-migrate' });
  try {
    await takeLock(owner, options.lockTimeoutMs ?? MIGRATION_LOCK_TIMEOUT_MS);
    const pending = await findPending(owner, options);
    await prepare(owner);
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

/** `lock_not_available`: the lock's time limit has passed. */
const LOCK_NOT_AVAILABLE = '55P03';

/** A session lock, so that it spans the files; it ends with the connection, also when the process is killed. */
async function takeLock(owner: Ledger, timeoutMs: number): Promise<void> {
  try {
    await owner.unsafe(`set lock_timeout = ${timeoutMs}`);
    await owner`select pg_advisory_lock(${MIGRATION_LOCK})`;
    await owner.unsafe('reset lock_timeout');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === LOCK_NOT_AVAILABLE)) throw error;
    throw new OperatingError(
      'migration_locked',
      `another process has been migrating PostgreSQL for ${timeoutMs / 1000} s. Wait until it has ended, then run "afflux migrate" again`,
      { cause: error },
    );
  }
}

async function findPending(owner: Ledger, options: LedgerMigrationOptions): Promise<Migration[]> {
  const { store = 'the PostgreSQL database', folder = fromProject(MIGRATIONS_FOLDER) } = options;
  const applied = await readApplied(owner);
  return pendingMigrations({ store, migrations: readMigrations(folder), applied });
}

async function readApplied(owner: Ledger): Promise<AppliedMigration[]> {
  const [table] = await owner<{ exists: boolean }[]>`
    select to_regclass('schema_migrations') is not null as exists`;
  if (!table?.exists) return [];
  return await owner<AppliedMigration[]>`select name, checksum from schema_migrations`;
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
