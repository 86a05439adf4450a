import pg from 'pg';
import { OperatingError } from '../errors.ts';
import type { Connection } from './connection.ts';

/** The role of every process but the migrations: it owns no table, so it can neither edit nor empty the books. */
export const APP_ROLE = 'afflux_app';

/** A statement touches one batch at the most; what runs longer is stuck, and must not hold its locks. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** Longest wait for somebody else's lock before the statement fails and its command is tried again. */
const LOCK_TIMEOUT_MS = 10_000;
/** A process that holds a transaction open and does nothing keeps the collectors' link polls from advancing. */
const IDLE_TRANSACTION_TIMEOUT_MS = 60_000;

/** The application's settings; the owner of the schema may take as long as a migration takes. */
const APP_SETTINGS: Readonly<Record<string, string>> = {
  role: APP_ROLE,
  statement_timeout: `${STATEMENT_TIMEOUT_MS}ms`,
  lock_timeout: `${LOCK_TIMEOUT_MS}ms`,
  idle_in_transaction_session_timeout: `${IDLE_TRANSACTION_TIMEOUT_MS}ms`,
};

export type SessionKind = 'application' | 'owner';

/** The database's URL as the client reads it, with the settings that a session of this kind starts with behind its own. */
export function withSettings(url: string, kind: SessionKind): string {
  const target = new URL(url);
  const { searchParams } = target;
  const socket = target.hostname.startsWith('%2') || searchParams.get('host')?.startsWith('/');
  // A Unix socket has no TLS, as with libpq. Without a mode the client would take PGSSLMODE.
  if (socket || !searchParams.has('sslmode')) searchParams.set('sslmode', 'disable');
  // As libpq reads sslmode and sslrootcert, and as the next version of the client will.
  searchParams.set('uselibpqcompat', 'true');
  if (kind === 'owner') return target.href;
  const settings = Object.entries(APP_SETTINGS).map(([name, value]) => `-c ${name}=${value}`);
  searchParams.set('options', [searchParams.get('options') ?? '', ...settings].join(' ').trim());
  return target.href;
}

const SESSION = `select pg_backend_pid() as pid, current_user as role,
  exists (
    select from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = current_user::regrole and deptype = 'o'
      and dbid in (0, (select oid from pg_database where datname = current_database()))
  ) or (select rolsuper from pg_roles where rolname = current_user) as owns,
  extract(epoch from current_setting('statement_timeout')::interval)::float8 * 1000 as statement_timeout,
  extract(epoch from current_setting('lock_timeout')::interval)::float8 * 1000 as lock_timeout,
  extract(epoch from current_setting('idle_in_transaction_session_timeout')::interval)::float8 * 1000 as idle_timeout`;

interface Session {
  readonly pid: number;
  readonly role: string;
  readonly owns: boolean;
  readonly statementTimeout: number;
  readonly lockTimeout: number;
  readonly idleTimeout: number;
}

/**
 * Makes sure that a new connection is a session of PostgreSQL with what was asked for, which a connection pooler in
 * between may drop in silence: the owner's rights instead of the application's, no time-outs, locks that outlive us.
 * @throws OperatingError `postgres_pooled` or `postgres_session`.
 */
export async function checkSession(connection: Connection, kind: SessionKind): Promise<void> {
  const { rows } = await connection.query({ text: SESSION, parameters: [] }, { isPrepared: true });
  const session = rows[0] as Session;
  if (session.pid !== connection.pid) throw pooled();
  if (kind === 'application') checkApplication(session);
}

function checkApplication(session: Session): void {
  const { role, owns, statementTimeout, lockTimeout, idleTimeout } = session;
  if (role !== APP_ROLE) throw unfit(`its role is ${role} and not ${APP_ROLE}`);
  if (owns)
    throw unfit(`the role ${APP_ROLE} owns something or is a superuser, so that it could edit the books`);
  for (const [name, actual, wanted] of [
    ['statement_timeout', statementTimeout, STATEMENT_TIMEOUT_MS],
    ['lock_timeout', lockTimeout, LOCK_TIMEOUT_MS],
    ['idle_in_transaction_session_timeout', idleTimeout, IDLE_TRANSACTION_TIMEOUT_MS],
  ] as const) {
    if (actual !== wanted) throw unfit(`its ${name} is ${actual} ms and not ${wanted} ms`);
  }
}

function unfit(what: string): OperatingError {
  return new OperatingError('postgres_session', `the session of PostgreSQL is not as it must be: ${what}`);
}

function pooled(cause?: unknown): OperatingError {
  return new OperatingError(
    'postgres_pooled',
    'DATABASE_URL leads to a connection pooler (such as PgBouncer), behind which neither the role, the time-outs nor ' +
      'the locks of a session hold: let it lead to PostgreSQL itself; every process keeps a small pool of its own',
    { cause },
  );
}

/** `protocol_violation`: what a pooler answers that knows none of the settings a session starts with. */
const UNSUPPORTED_SETTING = '08P01';

/** The error of a connection attempt, or `postgres_pooled` when a pooler gave it. */
export function explainRefusal(error: unknown): unknown {
  const isPooler = error instanceof pg.DatabaseError && error.code === UNSUPPORTED_SETTING;
  return isPooler ? pooled(error) : error;
}
