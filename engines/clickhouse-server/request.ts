import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { CLICKHOUSE_USER } from '../../core/config/secrets.ts';
import { type AnswerEncoding, chooseEncoding } from './bodies/encodings.ts';
import { TABLE_SUFFIXES } from './bodies/form.ts';
import { QueryError } from './errors.ts';
import type { QueryContext } from './sessions/context.ts';
import type { SessionRequest } from './sessions/sessions.ts';
import { findUser, type Passwords, requireRole, type User } from './users/users.ts';

/** A request with everything that its URL, headers and form say; the body is still unread. */
export interface QueryRequest {
  readonly user: User;
  /** The query of the URL, or ''. The body follows it. */
  readonly query: string;
  readonly queryId: string;
  readonly context: QueryContext;
  readonly session: SessionRequest | undefined;
  readonly defaultFormat: string;
  /** The answer starts only when the query has ended, so that its status is final. */
  readonly waitForEnd: boolean;
  /** Version of the native protocol whose blocks the client reads; 0: none. */
  readonly revision: number;
  /** Content-Encoding of the answer. */
  readonly encoding: AnswerEncoding | undefined;
  /** Whether the answer's bytes are in the native protocol's compressed frames, and whether the body's are. */
  readonly framedAnswer: boolean;
  readonly framedBody: boolean;
}

const CANNOT_PARSE_NUMBER = 72;
const BAD_SETTING = 115;
const INVALID_SESSION_TIMEOUT = 374;
const AUTHENTICATION_FAILED = 516;
const SETTING_NAME = /^[A-Za-z_][\w.]*$/;
const PARAMETER_PREFIX = 'param_';
/** As a server's default_session_timeout and max_session_timeout. */
const SESSION_TIMEOUT_S = { default: 60, max: 3_600 } as const;

/** URL parameters of the HTTP interface itself; everything else is a setting. */
const OWN = new Set([
  'query',
  'query_id',
  'database',
  'default_format',
  'user',
  'password',
  'quota_key',
  'role',
  'stacktrace',
  'wait_end_of_query',
  'buffer_size',
  'session_check',
  'session_timeout',
  'compress',
  'decompress',
  'session_id',
  'client_protocol_version',
  'enable_http_compression',
  'http_zlib_compression_level',
]);

/** Whether a parameter of the URL is set to yes. */
export function isOn(value: string | null | undefined): boolean {
  return value === '1' || value === 'true';
}

/**
 * @param given the parameters of the URL, and of the form that the body may be.
 * @param tables names of tables in the body, whose descriptions are no settings.
 * @throws QueryError for what is given wrongly.
 */
export function readRequest(
  message: IncomingMessage,
  given: URLSearchParams,
  tables: readonly string[],
  user: User,
): QueryRequest {
  const descriptions = new Set(tables.flatMap((name) => TABLE_SUFFIXES.map((suffix) => name + suffix)));
  const settings = new Map<string, string>();
  const parameters = new Map<string, string>();
  for (const [name, value] of given) {
    if (name.startsWith(PARAMETER_PREFIX)) parameters.set(name.slice(PARAMETER_PREFIX.length), value);
    else if (!OWN.has(name) && !descriptions.has(name)) settings.set(name, value);
  }
  for (const name of [...settings.keys(), ...parameters.keys()]) {
    if (!SETTING_NAME.test(name))
      throw new QueryError(BAD_SETTING, `Unknown setting '${name}'`, 'UNKNOWN_SETTING');
  }
  if (settings.has('additional_table_filters')) {
    throw new QueryError(
      BAD_SETTING,
      'The embedded engine takes additional_table_filters in the query only',
      'UNKNOWN_SETTING',
    );
  }
  if (settings.has('profile')) {
    throw new QueryError(BAD_SETTING, 'The embedded engine gives each user its profile', 'UNKNOWN_SETTING');
  }
  const role = given.get('role') ?? undefined;
  requireRole(user, role);
  // As ClickHouse does: GET is read-only. A browser sends it for an image; the URL can only forbid more.
  if (message.method !== 'POST' && settings.get('readonly') !== '1') settings.set('readonly', '2');
  return {
    user,
    query: given.get('query') ?? '',
    queryId: given.get('query_id') || randomUUID(),
    context: {
      database: given.get('database') ?? header(message, 'x-clickhouse-database'),
      role,
      settings,
      parameters,
    },
    session: readSession(given),
    defaultFormat: given.get('default_format') ?? header(message, 'x-clickhouse-format') ?? 'TabSeparated',
    waitForEnd: isOn(given.get('wait_end_of_query')),
    revision: readRevision(given.get('client_protocol_version')),
    encoding: isOn(given.get('enable_http_compression')) ? chooseEncoding(message.headers) : undefined,
    framedAnswer: isOn(given.get('compress')),
    framedBody: isOn(given.get('decompress')),
  };
}

function readSession(given: URLSearchParams): SessionRequest | undefined {
  const id = given.get('session_id');
  if (!id) return undefined;
  const text = given.get('session_timeout') ?? String(SESSION_TIMEOUT_S.default);
  if (!/^\d{1,9}$/.test(text)) {
    throw new QueryError(
      INVALID_SESSION_TIMEOUT,
      `Invalid session timeout: '${text}'`,
      'INVALID_SESSION_TIMEOUT',
    );
  }
  if (Number(text) > SESSION_TIMEOUT_S.max) {
    throw new QueryError(
      INVALID_SESSION_TIMEOUT,
      `Session timeout '${text}' is larger than max_session_timeout: ${SESSION_TIMEOUT_S.max}`,
      'INVALID_SESSION_TIMEOUT',
    );
  }
  return { id, timeoutMs: Number(text) * 1_000, mustExist: isOn(given.get('session_check')) };
}

function readRevision(text: string | null): number {
  if (!text) return 0;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new QueryError(
    CANNOT_PARSE_NUMBER,
    `Cannot parse client_protocol_version '${text}': it is not a number`,
    'CANNOT_PARSE_NUMBER',
  );
}

function header(message: IncomingMessage, name: string): string | undefined {
  const value = message.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/**
 * Names of this machine's loopback interface; the server listens on nothing else. Docker leads the last one there from a container
 * where it runs in a machine of its own, and a web page can lead it nowhere.
 */
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]|host\.docker\.internal)(?::\d{1,5})?$/i;

/**
 * Refuses what a web page sends: a page of another site has an Origin, and one whose name has been led to this machine
 * has that name as Host.
 * @throws QueryError 516.
 */
export function requireLocal({ headers }: IncomingMessage): void {
  if (headers.origin === undefined && LOOPBACK.test(headers.host ?? '')) return;
  throw new QueryError(
    AUTHENTICATION_FAILED,
    'The embedded engine answers requests to localhost or 127.0.0.1 only, and none of a web page (Origin)',
    'AUTHENTICATION_FAILED',
  );
}

/**
 * Reads the user and password of the Authorization header, the X-ClickHouse headers or the URL, in this order.
 * @throws QueryError 516 when there is no such user.
 */
export function authenticate(message: IncomingMessage, url: URL, passwords: Passwords): User {
  return findUser(passwords, readCredentials(message, url));
}

function readCredentials(message: IncomingMessage, url: URL): { name: string; password: string } {
  const basic = /^Basic +(.+)$/i.exec(header(message, 'authorization') ?? '')?.[1];
  if (basic !== undefined) {
    const text = Buffer.from(basic, 'base64').toString();
    const colon = text.indexOf(':');
    return {
      name: colon < 0 ? text : text.slice(0, colon),
      password: colon < 0 ? '' : text.slice(colon + 1),
    };
  }
  return {
    name: header(message, 'x-clickhouse-user') ?? url.searchParams.get('user') ?? CLICKHOUSE_USER,
    password: header(message, 'x-clickhouse-key') ?? url.searchParams.get('password') ?? '',
  };
}
