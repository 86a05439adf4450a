import { isIP } from 'node:net';
import type { TlsFiles } from '../tls.ts';
import { hasReadableLogin, hostUrls, SESSION_ATTRIBUTES, splitUrls, urlsOf } from '../url.ts';

/** How processes reach servers of one's own: what each URL may say, which settings exclude each other, what clients are given. */

/** The settings of servers, as core/config/config.ts parses them. */
export interface ServerSettings {
  readonly clickhouseUrl: string;
  readonly clickhouseCluster: string;
  readonly clickhouseCa: string;
  readonly clickhouseCert: string;
  readonly clickhouseKey: string;
  readonly natsUrl: string;
  readonly natsReplicas: number | undefined;
  readonly natsCreds: string;
  readonly natsNkey: string;
  readonly natsCa: string;
  readonly natsCert: string;
  readonly natsKey: string;
  readonly natsTlsFirst: boolean;
}

/** What a client of NATS is given, see `connectNats`. */
export function natsServer(config: ServerSettings): {
  url: string;
  creds: string;
  nkey: string;
  tls: TlsFiles;
  tlsFirst: boolean;
} {
  const { natsUrl, natsCreds, natsNkey, natsCa, natsCert, natsKey, natsTlsFirst } = config;
  return {
    url: natsUrl,
    creds: natsCreds,
    nkey: natsNkey,
    tls: { ca: natsCa, cert: natsCert, key: natsKey },
    tlsFirst: natsTlsFirst,
  };
}

/** What a client of ClickHouse is given, see `connectWarehouse`. */
export function clickhouseServer(config: ServerSettings): { url: string; cluster: string; tls: TlsFiles } {
  const { clickhouseUrl, clickhouseCluster, clickhouseCa, clickhouseCert, clickhouseKey } = config;
  return {
    url: clickhouseUrl,
    cluster: clickhouseCluster,
    tls: { ca: clickhouseCa, cert: clickhouseCert, key: clickhouseKey },
  };
}

/**
 * The database that is read: of a cluster one beside that of the tables, with tables of the same names over all shards;
 * of one server its own.
 */
export function readingDatabase(database: string, cluster: string): string {
  return cluster === '' ? database : `${database}_all`;
}

/** Why the settings do not fit each other; '' in a URL means the embedded engine. */
export function serverFaults(settings: ServerSettings): string[] {
  return [...natsFaults(settings), ...clickhouseFaults(settings)];
}

function natsFaults(settings: ServerSettings): string[] {
  const {
    natsUrl,
    natsReplicas = 1,
    natsCreds,
    natsNkey,
    natsCa,
    natsCert,
    natsKey,
    natsTlsFirst,
  } = settings;
  const urls = urlsOf(natsUrl);
  const isSecure =
    natsCa !== '' || natsCert !== '' || natsTlsFirst || urls.some(({ protocol }) => protocol === 'tls:');
  const logins = urls.flatMap(({ username, password }) =>
    username === '' && password === '' ? [] : [`${username}:${password}`],
  );
  const ways = [
    ...(logins.length > 0 ? ['the user or token in NATS_URL'] : []),
    ...(natsCreds ? ['NATS_CREDS'] : []),
    ...(natsNkey ? ['NATS_NKEY'] : []),
  ];
  const others = {
    NATS_CREDS: natsCreds,
    NATS_NKEY: natsNkey,
    ...tlsNames('NATS', natsCa, natsCert, natsKey),
  };
  return [
    ...(ways.length > 1 ? [`${ways.join(' and ')} exclude each other: keep one`] : []),
    ...(new Set(logins).size > 1 ? ['NATS_URL must have the same user and password for every server'] : []),
    ...(natsUrl === '' ? needing({ ...others, NATS_TLS_FIRST: natsTlsFirst }, 'NATS_URL') : []),
    ...(natsUrl === '' ? needing({ 'NATS_REPLICAS above 1': natsReplicas > 1 }, 'NATS_URL') : []),
    ...halfPair('NATS', natsCert, natsKey),
    ...(isSecure && urls.some(({ hostname }) => isIP(hostname.replace(/^\[|\]$/g, '')) !== 0)
      ? ['NATS_URL must have host names for TLS, not addresses: the client checks certificates against names']
      : []),
  ];
}

function clickhouseFaults(settings: ServerSettings): string[] {
  const { clickhouseUrl, clickhouseCluster, clickhouseCa, clickhouseCert, clickhouseKey } = settings;
  const files = tlsNames('CLICKHOUSE', clickhouseCa, clickhouseCert, clickhouseKey);
  const urls = urlsOf(clickhouseUrl);
  const same = (part: (url: URL) => string): boolean => new Set(urls.map(part)).size < 2;
  return [
    ...(urls.length > 1
      ? needing({ 'CLICKHOUSE_URL of several servers': clickhouseCluster === '' }, 'CLICKHOUSE_CLUSTER')
      : []),
    ...(clickhouseUrl === '' ? needing({ CLICKHOUSE_CLUSTER: clickhouseCluster }, 'CLICKHOUSE_URL') : []),
    ...(same(({ username, password }) => `${username}:${password}`)
      ? []
      : ['CLICKHOUSE_URL must have the same user and password for every server']),
    ...(same(({ protocol, pathname }) => `${protocol}${pathname}`)
      ? []
      : ['CLICKHOUSE_URL must have the same protocol and database for every server']),
    ...(clickhouseUrl.startsWith('https:') ? [] : needing(files, 'a CLICKHOUSE_URL with https')),
    ...halfPair('CLICKHOUSE', clickhouseCert, clickhouseKey),
  ];
}

function tlsNames(prefix: string, ca: string, cert: string, key: string): Record<string, string> {
  return { [`${prefix}_CA`]: ca, [`${prefix}_CERT`]: cert, [`${prefix}_KEY`]: key };
}

function needing(given: Readonly<Record<string, unknown>>, what: string): string[] {
  return Object.entries(given).flatMap(([name, value]) => (value ? [`${name} needs ${what}`] : []));
}

function halfPair(prefix: string, cert: string, key: string): string[] {
  if ((cert === '') === (key === '')) return [];
  return [`${prefix}_CERT and ${prefix}_KEY belong together: set both or none`];
}

/** What is wrong with `100%` as a password. */
export const UNREADABLE_LOGIN = 'must have a % in its user or password written as %25';

/** Why a NATS_URL cannot be used; '' when it can. */
export function natsUrlFault(list: string): string {
  const isFit = (url: string): boolean =>
    URL.canParse(url) && ['nats:', 'tls:'].includes(new URL(url).protocol) && new URL(url).host !== '';
  if (!splitUrls(list).every(isFit))
    return 'must be URLs starting with nats:// or tls://, separated by commas';
  return urlsOf(list).every(hasReadableLogin) ? '' : UNREADABLE_LOGIN;
}

/** Why a CLICKHOUSE_URL cannot be used; '' when it can. */
export function clickhouseUrlFault(list: string): string {
  const isFit = (url: string): boolean =>
    URL.canParse(url) && ['http:', 'https:'].includes(new URL(url).protocol) && new URL(url).host !== '';
  if (!splitUrls(list).every(isFit)) {
    return 'must be a URL starting with http:// or https://, for a cluster one for each server, separated by commas';
  }
  return urlsOf(list).every(hasReadableLogin) ? '' : UNREADABLE_LOGIN;
}

/** What a DATABASE_URL may set; everything else is refused rather than ignored, for it can be meant to protect. */
const DATABASE_PARAMETERS: ReadonlySet<string> = new Set([
  'host',
  'port',
  'user',
  'password',
  'options',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslnegotiation',
  'target_session_attrs',
]);
const SSL_MODES: readonly string[] = ['disable', 'require', 'verify-ca', 'verify-full'];

/** Why a DATABASE_URL cannot be used; '' when it can. */
export function databaseUrlFault(text: string): string {
  if (!/^postgres(ql)?:\/\//.test(text)) return 'must be a URL starting with postgres:// or postgresql://';
  const urls = hostUrls(text);
  const isFit = (url: string): boolean =>
    URL.canParse(url) && (urls.length === 1 || new URL(url).host !== '');
  const [first] = urls;
  if (first === undefined || !urls.every(isFit)) {
    return 'must be a URL such as postgres://user:password@host:5432/database, several hosts with commas between them; with a Unix socket its folder is the host, percent-encoded: postgres://user:password@%2Frun%2Fpostgresql/database';
  }
  if (!hasReadableLogin(new URL(first))) return UNREADABLE_LOGIN;
  const { search, searchParams } = new URL(first);
  const unknown = [...searchParams.keys()].filter((name) => !DATABASE_PARAMETERS.has(name));
  if (unknown.length > 0) {
    // With an unencoded `?` in a password its rest is what is read as parameters.
    const names = search.includes('@') ? '' : ` ${unknown.join(', ')}`;
    return `must not have the parameter${names}: supported are ${[...DATABASE_PARAMETERS].join(', ')}`;
  }
  return hostFault(urls, searchParams) || sslFault(searchParams);
}

function hostFault(urls: readonly string[], given: URLSearchParams): string {
  const isList = (name: string): boolean => given.get(name)?.includes(',') ?? false;
  if (isList('host') || isList('port') || (urls.length > 1 && (given.has('host') || given.has('port')))) {
    return 'must name several hosts before the path, and not as parameters: postgres://user:password@a:5432,b:5432/database';
  }
  const attributes = given.get('target_session_attrs');
  if (attributes === null || (SESSION_ATTRIBUTES as readonly string[]).includes(attributes)) return '';
  return `must have one of ${SESSION_ATTRIBUTES.join(', ')} as target_session_attrs: every process writes`;
}

function sslFault(given: URLSearchParams): string {
  const mode = given.get('sslmode');
  const ssl = ['sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation'].filter((name) => given.has(name));
  if (mode === null) return ssl.length > 0 ? `must have sslmode, as it has ${ssl.join(', ')}` : '';
  if (!SSL_MODES.includes(mode)) return `must have one of ${SSL_MODES.join(', ')} as sslmode`;
  if (mode === 'verify-ca' && !given.has('sslrootcert')) return 'must have sslrootcert for sslmode=verify-ca';
  if (given.has('sslcert') !== given.has('sslkey')) return 'must have both sslcert and sslkey, or none';
  return '';
}
