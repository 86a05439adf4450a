/** Up to white space, a quotation mark, or the next URL of a list. */
const URL_IN_TEXT = /\b[a-z][a-z0-9+.-]*:\/\/[^\s"<>`\\]+?(?=,[a-z][a-z0-9+.-]*:\/\/|[\s"<>`\\]|$)/gi;

/**
 * A URL, or a text with URLs in it such as a library's error, as logs and messages show it: each URL without user, password and
 * query, any of which may be a secret (NATS takes a token as the user).
 */
export function withoutPassword(text: string): string {
  return text.replaceAll(URL_IN_TEXT, shown);
}

/**
 * Without the URL parser, which finds no password in a list of hosts, and a part of it in one that has an unencoded `/`:
 * everything before the last `@` can be secret.
 */
function shown(url: string): string {
  const start = url.indexOf('://') + 3;
  const place = url.slice(Math.max(start, url.lastIndexOf('@') + 1)).replace(/[?#].*$/, '');
  return `${url.slice(0, start)}${place.replace(/\/$/, '')}`;
}

/** The URLs of a list with commas between them. */
export function splitUrls(list: string): string[] {
  return list.split(',').map((url) => url.trim());
}

/** {@link splitUrls}, parsed; none for ''. */
export function urlsOf(list: string): URL[] {
  return list === '' ? [] : splitUrls(list).map((url) => new URL(url));
}

/** Whether its user and password are percent-encoded as a URL needs it. */
export function hasReadableLogin({ username, password }: URL): boolean {
  try {
    decodeURIComponent(`${username}:${password}`);
    return true;
  } catch {
    return false;
  }
}

// The URL of a database as libpq reads it: postgres://user:password@a:5432,b:5433/afflux?target_session_attrs=read-write

/** What a session must be able to do, by libpq's names; those for standbys are left out, because every process writes. */
export const SESSION_ATTRIBUTES = ['any', 'read-write', 'primary'] as const;
export type SessionAttributes = (typeof SESSION_ATTRIBUTES)[number];

const ATTRIBUTES_PARAMETER = 'target_session_attrs';
/** Scheme, login, hosts, the rest. The login ends at the last `@` before the path. */
const DATABASE_URL_PARTS = /^(postgres(?:ql)?:\/\/)((?:[^/?#]*@)?)([^/?#]*)(.*)$/s;

/** A URL for each host that the text names, in its order, each with the login and the parameters of all; none when it is no such URL. */
export function hostUrls(text: string): string[] {
  const [, scheme, login, hosts, rest] = DATABASE_URL_PARTS.exec(text) ?? [];
  return hosts === undefined ? [] : hosts.split(',').map((host) => `${scheme}${login}${host}${rest}`);
}

/** The servers of a database, each as the URL of one host without {@link ATTRIBUTES_PARAMETER}, and what a session there must be. */
export function readDatabaseUrl(text: string): { urls: string[]; attributes: SessionAttributes } {
  const all = hostUrls(text).map((url) => new URL(url));
  const given = all[0]?.searchParams.get(ATTRIBUTES_PARAMETER) as SessionAttributes | null | undefined;
  for (const { searchParams } of all) searchParams.delete(ATTRIBUTES_PARAMETER);
  // One name, too, can still lead to a standby after a failover, which answers a collector with links of before.
  return { urls: all.map(({ href }) => href), attributes: given ?? 'read-write' };
}

/** Hosts and database of a URL, as messages show it. */
export function databasePlace(text: string): string {
  const all = hostUrls(text).map((url) => new URL(url));
  return `${all.map(({ host }) => host).join(',')}${all[0]?.pathname ?? ''}`;
}
