/** The URL of a database as libpq reads it: `postgres://user:password@a:5432,b:5433/afflux?target_session_attrs=read-write`. */

/** What a session must be able to do, by libpq's names; those for standbys are left out, because every process writes. */
export const SESSION_ATTRIBUTES = ['any', 'read-write', 'primary'] as const;
export type SessionAttributes = (typeof SESSION_ATTRIBUTES)[number];

const PARAMETER = 'target_session_attrs';
/** Scheme, login, hosts, the rest. The login ends at the last `@` before the path. */
const PARTS = /^(postgres(?:ql)?:\/\/)((?:[^/?#]*@)?)([^/?#]*)(.*)$/s;

/** A URL for each host that the text names, in its order, each with the login and the parameters of all; none when it is no such URL. */
export function hostUrls(text: string): string[] {
  const [, scheme, login, hosts, rest] = PARTS.exec(text) ?? [];
  return hosts === undefined ? [] : hosts.split(',').map((host) => `${scheme}${login}${host}${rest}`);
}

/** The servers of a database, each as the URL of one host without {@link PARAMETER}, and what a session there must be. */
export function readDatabaseUrl(text: string): { urls: string[]; attributes: SessionAttributes } {
  const all = hostUrls(text).map((url) => new URL(url));
  const given = all[0]?.searchParams.get(PARAMETER) as SessionAttributes | null | undefined;
  for (const { searchParams } of all) searchParams.delete(PARAMETER);
  // One name leads where its owner has it lead; of several hosts the primary is meant.
  return { urls: all.map(({ href }) => href), attributes: given ?? (all.length > 1 ? 'read-write' : 'any') };
}

/** Hosts and database of a URL, as messages show it. */
export function databasePlace(text: string): string {
  const all = hostUrls(text).map((url) => new URL(url));
  return `${all.map(({ host }) => host).join(',')}${all[0]?.pathname ?? ''}`;
}
