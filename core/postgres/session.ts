import pg, { escapeIdentifier } from 'pg';
import { OperatingError } from '../errors.ts';
import { APP_ROLE } from '../login.ts';
import type { SessionAttributes } from '../url.ts';
import { type Connection, ConnectionError } from './connection.ts';

/** A statement touches one batch at the most; what runs longer is stuck, and must not hold its locks. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** Longest wait for somebody else's lock before the statement fails and its command is tried again. */
const LOCK_TIMEOUT_MS = 10_000;
/** A process that holds a transaction open and does nothing keeps the collectors' link polls from advancing. */
const IDLE_TRANSACTION_TIMEOUT_MS = 60_000;

/** The application's settings; the owner of the schema may take as long as a migration takes. */
const APP_SETTINGS: Readonly<Record<string, string>> = {
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

const SESSION = `select pg_backend_pid() as pid, session_user as login, current_user as role, current_database() as database,
  pg_is_in_recovery() as is_standby, extract(epoch from pg_postmaster_start_time())::text as started,
  current_setting('default_transaction_read_only')::boolean as is_read_only,
  rolsuper or rolcreaterole or rolreplication or rolbypassrls as is_privileged,
  array(select pg_get_userbyid(roleid) from pg_auth_members where member = r.oid) as roles,
  exists (
    select from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = r.oid and deptype = 'o'
      and dbid in (0, (select oid from pg_database where datname = current_database()))
  ) as owns,
  has_database_privilege(current_database(), 'TEMPORARY') or has_schema_privilege('public', 'CREATE') as creates,
  extract(epoch from current_setting('statement_timeout')::interval)::float8 * 1000 as statement_timeout,
  extract(epoch from current_setting('lock_timeout')::interval)::float8 * 1000 as lock_timeout,
  extract(epoch from current_setting('idle_in_transaction_session_timeout')::interval)::float8 * 1000 as idle_timeout
  from pg_roles r where rolname = session_user`;

const HISTORY = `select system_identifier::text as system,
  case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_lsn()), 8) end as timeline
  from pg_control_system()`;

/** `insufficient_privilege`, `undefined_function`, `feature_not_supported`: a managed service that keeps this to itself. */
const UNTOLD: ReadonlySet<string | undefined> = new Set(['42501', '42883', '0A000']);

interface Session {
  readonly pid: number;
  readonly login: string;
  readonly role: string;
  readonly database: string;
  readonly isStandby: boolean;
  /** Unix time, to the microsecond. */
  readonly started: string;
  readonly isReadOnly: boolean;
  readonly isPrivileged: boolean;
  /** That the login is a member of. */
  readonly roles: readonly string[];
  readonly owns: boolean;
  /** Whether it can put tables of its own in front of the platform's. */
  readonly creates: boolean;
  readonly statementTimeout: number;
  readonly lockTimeout: number;
  readonly idleTimeout: number;
}

/** What a session has been opened at. */
export interface Server {
  /** The same of a primary and its standbys; '' when it does not tell. */
  readonly system: string;
  /** When it was started: two names with the same one lead to one server. */
  readonly started: string;
  /** Undefined of a standby, and when it does not tell. A standby that is promoted begins a higher one. */
  readonly timeline: number | undefined;
}

/**
 * Makes sure that a new connection is a session of PostgreSQL with what was asked for: a connection pooler in between
 * may drop time-outs in silence and let locks outlive us, and a URL may log in as a role that could edit the books.
 * @throws OperatingError `postgres_pooled`, `postgres_login` or `postgres_session`; ConnectionError for a server that is not
 *   what `attributes` says.
 */
export async function checkSession(
  connection: Connection,
  { kind, attributes }: { kind: SessionKind; attributes: SessionAttributes },
): Promise<Server> {
  const { rows } = await connection.query({ text: SESSION, parameters: [] }, { isPrepared: true });
  const session = rows[0] as Session;
  if (session.pid !== connection.pid) throw pooled();
  checkAttributes(session, attributes);
  if (kind === 'application') {
    checkLogin(session);
    checkTimeouts(session);
  }
  return { started: session.started, ...(await readHistory(connection)) };
}

async function readHistory(connection: Connection): Promise<Pick<Server, 'system' | 'timeline'>> {
  try {
    const { rows } = await connection.query({ text: HISTORY, parameters: [] }, { isPrepared: true });
    // The timeline is hexadecimal. The control file would tell a new one only after the next checkpoint.
    const { system, timeline } = rows[0] as { system: string; timeline: string | null };
    return { system, timeline: timeline === null ? undefined : Number.parseInt(timeline, 16) };
  } catch (error) {
    if (error instanceof pg.DatabaseError && UNTOLD.has(error.code))
      return { system: '', timeline: undefined };
    throw error;
  }
}

function checkAttributes({ isStandby, isReadOnly }: Session, attributes: SessionAttributes): void {
  if (attributes === 'any') return;
  if (isStandby) throw new ConnectionError('it is a standby', { code: 'NO_PRIMARY' });
  if (isReadOnly && attributes === 'read-write') {
    throw new ConnectionError('its transactions are read-only', { code: 'NO_PRIMARY' });
  }
}

/** What the login could do to the books, each with the statement of the owner that ends it. */
function checkLogin(session: Session): void {
  const { login, role, database, isPrivileged, roles, owns, creates } = session;
  if (login !== APP_ROLE || role !== APP_ROLE) {
    throw new OperatingError(
      'postgres_login',
      `DATABASE_URL logs in as ${login}${role === login ? '' : ` with the role ${role}`}, and a process works as ${APP_ROLE} only, which cannot ` +
        'edit the books. Set DATABASE_OWNER_URL to the owner of the schema and run "afflux migrate", then as the owner:\n' +
        `  alter role ${APP_ROLE} login password '…';\nand set DATABASE_URL to postgres://${APP_ROLE}:…@host/${database}`,
    );
  }
  const faults: string[][] = [];
  if (isPrivileged) {
    const attributes = 'nosuperuser nocreaterole noreplication nobypassrls';
    faults.push(['has rights over the server', `alter role ${APP_ROLE} ${attributes};`]);
  }
  for (const name of roles) {
    faults.push([`is a member of ${name}`, `revoke ${escapeIdentifier(name)} from ${APP_ROLE};`]);
  }
  if (owns) faults.push(['owns something', `reassign owned by ${APP_ROLE} to …;`]);
  if (creates) {
    const revoke = `revoke temporary on database ${escapeIdentifier(database)} from public, ${APP_ROLE};`;
    faults.push(['can create tables', `${revoke} revoke create on schema public from public, ${APP_ROLE};`]);
  }
  if (faults.length === 0) return;
  throw new OperatingError(
    'postgres_login',
    `the role ${APP_ROLE} ${faults.map(([what]) => what).join(' and ')}, so that a process could edit the books. As the owner:\n` +
      faults.map(([, statement]) => `  ${statement}`).join('\n'),
  );
}

function checkTimeouts({ statementTimeout, lockTimeout, idleTimeout }: Session): void {
  for (const [name, actual, wanted] of [
    ['statement_timeout', statementTimeout, STATEMENT_TIMEOUT_MS],
    ['lock_timeout', lockTimeout, LOCK_TIMEOUT_MS],
    ['idle_in_transaction_session_timeout', idleTimeout, IDLE_TRANSACTION_TIMEOUT_MS],
  ] as const) {
    if (actual === wanted) continue;
    const what = `its ${name} is ${actual} ms and not ${wanted} ms`;
    throw new OperatingError('postgres_session', `the session of PostgreSQL is not as it must be: ${what}`);
  }
}

function pooled(cause?: unknown): OperatingError {
  return new OperatingError(
    'postgres_pooled',
    'DATABASE_URL leads to a connection pooler (such as PgBouncer), behind which neither the time-outs nor ' +
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
