import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { QueryError } from './errors.ts';

/** A request with everything that its URL and headers say; the body is still unread. */
export interface QueryRequest {
  /** The query of the URL, or ''. The body follows it. */
  readonly query: string;
  readonly queryId: string | undefined;
  readonly database: string | undefined;
  readonly defaultFormat: string;
  /** Settings of the engine by name. */
  readonly settings: ReadonlyMap<string, string>;
  /** Values of `{name:Type}` in the query. */
  readonly parameters: ReadonlyMap<string, string>;
  /** The answer starts only when the query has ended, so that its status is final. */
  readonly waitForEnd: boolean;
  readonly compressAnswer: boolean;
}

/** The only account that is accepted. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

const NOT_IMPLEMENTED = 48;
const BAD_SETTING = 115;
const AUTHENTICATION_FAILED = 516;
const SETTING_NAME = /^[A-Za-z_][\w.]*$/;
const PARAMETER_PREFIX = 'param_';

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

function isOn(value: string | null): boolean {
  return value === '1' || value === 'true';
}

/** @throws QueryError for features that the embedded engine lacks: HTTP sessions and the native protocol's compression. */
export function readRequest(message: IncomingMessage, url: URL): QueryRequest {
  const given = url.searchParams;
  const settings = new Map<string, string>();
  const parameters = new Map<string, string>();
  for (const [name, value] of given) {
    if (name.startsWith(PARAMETER_PREFIX)) parameters.set(name.slice(PARAMETER_PREFIX.length), value);
    else if (!OWN.has(name)) settings.set(name, value);
  }
  for (const name of [...settings.keys(), ...parameters.keys()]) {
    if (!SETTING_NAME.test(name))
      throw new QueryError(BAD_SETTING, `Unknown setting '${name}'`, 'UNKNOWN_SETTING');
  }
  for (const name of ['session_id', 'compress', 'decompress']) {
    const value = given.get(name);
    if (value && value !== '0') {
      throw new QueryError(NOT_IMPLEMENTED, `The embedded engine has no '${name}'`, 'NOT_IMPLEMENTED');
    }
  }
  // As ClickHouse does: GET is read-only.
  if (message.method !== 'POST' && !settings.has('readonly')) settings.set('readonly', '2');
  return {
    query: given.get('query') ?? '',
    queryId: given.get('query_id') ?? undefined,
    database: given.get('database') ?? header(message, 'x-clickhouse-database'),
    defaultFormat: given.get('default_format') ?? header(message, 'x-clickhouse-format') ?? 'TabSeparated',
    settings,
    parameters,
    waitForEnd: isOn(given.get('wait_end_of_query')),
    compressAnswer:
      isOn(given.get('enable_http_compression')) && /\bgzip\b/.test(header(message, 'accept-encoding') ?? ''),
  };
}

function header(message: IncomingMessage, name: string): string | undefined {
  const value = message.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/**
 * Checks the user and password of the Authorization header, the X-ClickHouse headers or the URL, in this order.
 * @throws QueryError 516 when they are not the configured ones.
 */
export function authenticate(message: IncomingMessage, url: URL, wanted: Credentials | undefined): void {
  if (wanted === undefined) return;
  const given = readCredentials(message, url);
  const matches = [isSame(given.user, wanted.user), isSame(given.password, wanted.password)];
  if (matches.includes(false)) {
    throw new QueryError(
      AUTHENTICATION_FAILED,
      `${given.user}: Authentication failed: password is incorrect, or there is no user with such name`,
      'AUTHENTICATION_FAILED',
    );
  }
}

function readCredentials(message: IncomingMessage, url: URL): Credentials {
  const basic = /^Basic +(.+)$/i.exec(header(message, 'authorization') ?? '')?.[1];
  if (basic !== undefined) {
    const text = Buffer.from(basic, 'base64').toString();
    const colon = text.indexOf(':');
    return {
      user: colon < 0 ? text : text.slice(0, colon),
      password: colon < 0 ? '' : text.slice(colon + 1),
    };
  }
  return {
    user: header(message, 'x-clickhouse-user') ?? url.searchParams.get('user') ?? 'default',
    password: header(message, 'x-clickhouse-key') ?? url.searchParams.get('password') ?? '',
  };
}

function isSame(given: string, wanted: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(wanted);
  return a.length === b.length && timingSafeEqual(a, b);
}
