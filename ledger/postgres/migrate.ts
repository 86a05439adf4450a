import { setTimeout as delay } from 'node:timers/promises';
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
/**
 * Longest wait of a migration for a table that somebody uses. What comes behind it waits too, so it is well below the
 * processes' own lock_timeout of 10 s; between two tries that queue is served.
 */
const TABLE_TIMEOUT_MS = 4_000;
const TABLE_PAUSE_MS = 8_000;
/** Some four minutes: a report has 30 s, a dump by the hour is a matter for a person. */
const TABLE_TRIES = 20;
/** So often somebody looks for who stands in the way of a migration. */
const WATCH_MS = 500;
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
 * @throws OperatingError `postgres_unreachable`, `migration_locked` (also for a table that stays in use), `migration_failed`, and those of
 *   {@link pendingMigrations}.
 */
export async function migrateLedger(
  options: LedgerMigrationOptions & {
    log: Logger;
    lockTimeoutMs?: number;
    /** For a table that is in use. */
    tableWait?: TableWait;
    /** Lets processes log in with this password; undefined: the server's administrator does (docs/operations.md). */
    appPassword?: string | undefined;
  },
): Promise<{ applied: string[] }> {
  const { log, lockTimeoutMs = LOCK_TIMEOUT_MS, appPassword } = options;
  const { tableWait = { tries: TABLE_TRIES, timeoutMs: TABLE_TIMEOUT_MS, pauseMs: TABLE_PAUSE_MS } } =
    options;
  // The second connection looks who stands in the way of the first.
  const owner = await connectOwner({ url: options.url, name: 'afflux-migrate', max: 2 });
  try {
    const pending = await findPending(owner, options);
    await inLockedTransaction(owner, lockTimeoutMs, prepare);
    const applied: string[] = [];
    for (const migration of pending) {
      const isApplied = await withTables({ owner, log, migration, tableWait }, (watch) =>
        inLockedTransaction(owner, lockTimeoutMs, (tx) => applyWatched(tx, { migration, tableWait, watch })),
      );
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
 * is seen before its data are. @returns the migrations that came later, for {@link applyAll}.
 * @throws OperatingError `migration_failed`, and those of {@link pendingMigrations}: `store` names where they come from.
 */
export async function createSchema(
  tx: DatabaseTransaction,
  { store, applied }: { store: string; applied: readonly AppliedMigration[] },
): Promise<readonly Migration[]> {
  const migrations = readMigrations(fromProject(MIGRATIONS_FOLDER));
  const later = pendingMigrations({ store, migrations, applied });
  await prepare(tx);
  await applyAll(
    tx,
    migrations.filter((migration) => !later.includes(migration)),
  );
  return later;
}

/** In tables that no other session uses. @throws OperatingError `migration_failed`. */
export async function applyAll(tx: DatabaseTransaction, migrations: readonly Migration[]): Promise<void> {
  for (const migration of migrations) await apply(tx, migration);
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

async function prepare(tx: DatabaseTransaction): Promise<void> {
  await checkRights(tx);
  // Roles belong to the whole server: another database's migration may create this one at the same moment.
  await tx.unsafe(`
    do $$
    begin
      if not exists (select from pg_roles where rolname = '${APP_ROLE}') then
        create role ${APP_ROLE} nologin;
      end if;
    exception when duplicate_object or unique_violation then null;
    end $$`);
  await tx`
    create table if not exists schema_migrations (
      name text primary key,
      checksum text not null,
      applied_at timestamptz not null default clock_timestamp()
    )`;
  await checkGrants(tx);
}

/** The roles that the grants of migrations name, with what an administrator makes them by. */
const ROLES: Readonly<Record<string, string>> = {
  [APP_ROLE]: `create role ${APP_ROLE} login password '…';`,
  afflux_grafana: 'create role afflux_grafana nologin;',
};

/** Everything at once that the owner lacks to make the schema, as statements for the server's administrator. */
async function checkRights(tx: DatabaseTransaction): Promise<void> {
  const [rights] = await tx<
    [{ createsRoles: boolean; createsTables: boolean; missing: string[]; schemaGrant: string }]
  >`
    select rolsuper or rolcreaterole as creates_roles, has_schema_privilege('public', 'CREATE') as creates_tables,
      array(select name from unnest(${Object.keys(ROLES)}::text[]) name
        where not exists (select from pg_roles where rolname = name)) as missing,
      format('alter database %I owner to %I;', current_database(), rolname) as schema_grant
    from pg_roles where rolname = current_user`;
  const statements = [
    ...(rights.createsRoles
      ? []
      : Object.keys(ROLES).flatMap((name) => (rights.missing.includes(name) ? (ROLES[name] ?? []) : []))),
    ...(rights.createsTables ? [] : [rights.schemaGrant]),
  ];
  if (statements.length === 0) return;
  throw new OperatingError(
    'migration_failed',
    `the owner of the schema lacks rights. As the server's administrator, in this database, then migrate again:\n  ${statements.join('\n  ')}`,
  );
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

interface TableWait {
  readonly tries: number;
  readonly timeoutMs: number;
  readonly pauseMs: number;
}

/** Notes who stands in the way of a session, by its process in PostgreSQL, until it is stopped. */
type Watch = (pid: number) => { stop(): Promise<void> };

/**
 * Runs a migration, and again when a table that it locks was in use for too long: each try leaves the table to the others.
 * @throws OperatingError `migration_locked` after the last one, which names who uses it.
 */
async function withTables(
  {
    owner,
    log,
    migration,
    tableWait,
  }: { owner: Database; log: Logger; migration: Migration; tableWait: TableWait },
  run: (watch: Watch) => Promise<boolean>,
): Promise<boolean> {
  const seconds = tableWait.timeoutMs / 1_000;
  for (let attempt = 1; ; attempt++) {
    let blocker = 'a session that has ended since';
    try {
      return await run((pid) => watchBlockers(owner, pid, (found) => (blocker = found)));
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.code !== LOCK_TIMED_OUT) throw error;
      const what = `${migration.name} could not lock a table within ${seconds} s, because of ${blocker}`;
      if (attempt >= tableWait.tries) {
        throw new OperatingError(
          'migration_locked',
          `${what}. It was tried ${attempt} times, and nothing of it was done. Wait for that session, or end it with pg_terminate_backend, and migrate again`,
          { cause: error },
        );
      }
      log.warn({ attempt, of: tableWait.tries }, `${what}; trying again`);
      await delay(tableWait.pauseMs);
    }
  }
}

function watchBlockers(
  owner: Database,
  pid: number,
  note: (blocker: string) => void,
): { stop(): Promise<void> } {
  const stopped = new AbortController();
  async function look(): Promise<void> {
    while (!stopped.signal.aborted) {
      const blocker = await describeBlocker(owner, pid);
      if (blocker !== undefined) note(blocker);
      await delay(WATCH_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  }
  // A server that is gone ends the migration itself.
  const looking = look().catch(() => undefined);
  return {
    async stop() {
      stopped.abort();
      await looking;
    },
  };
}

/** The oldest session that this one waits for. A stranger's query is shown to members of pg_read_all_stats only. */
async function describeBlocker(owner: Database, pid: number): Promise<string | undefined> {
  const [row] = await owner<{ blocker: string }[]>`
    select format('PostgreSQL''s process %s (%s of %s), in a transaction for %s s: %s', a.pid,
      coalesce(nullif(application_name, ''), 'no name'), usename,
      coalesce(extract(epoch from clock_timestamp() - xact_start)::int::text, 'unknown'),
      left(regexp_replace(query, '\\s+', ' ', 'g'), 200)) as blocker
    from unnest(pg_blocking_pids(${pid})) as b (pid) join pg_stat_activity a using (pid)
    order by xact_start nulls last limit 1`;
  return row?.blocker;
}

/** Returns whether it was applied here: another process may have been the first. */
async function applyWatched(
  tx: DatabaseTransaction,
  { migration, tableWait, watch }: { migration: Migration; tableWait: TableWait; watch: Watch },
): Promise<boolean> {
  const known = await tx`select from schema_migrations where name = ${migration.name}`;
  if (known.length > 0) return false;
  const [own] = await tx<[{ pid: number }]>`
    select pg_backend_pid() as pid, set_config('lock_timeout', ${String(tableWait.timeoutMs)}, true)`;
  const watching = watch(own.pid);
  try {
    await apply(tx, migration);
    return true;
  } finally {
    await watching.stop();
  }
}

async function apply(tx: DatabaseTransaction, migration: Migration): Promise<void> {
  try {
    await tx.unsafe(migration.text);
    await tx`insert into schema_migrations (name, checksum) values (${migration.name}, ${migration.checksum})`;
  } catch (error) {
    if (error instanceof DatabaseError && error.code === LOCK_TIMED_OUT) throw error;
    throw new OperatingError('migration_failed', `${migration.name}: ${errorText(error)}`, { cause: error });
  }
}
