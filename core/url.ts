/**
 * A URL as messages and tables show it: without password and query, either of which may be a secret. A user name without
 * a password is left out too, because NATS takes a token in that place.
 */
export function withoutPassword(url: string): string {
  if (!URL.canParse(url)) return 'an unreadable URL';
  const { protocol, username, password, host, pathname } = new URL(url);
  const user = username !== '' && password !== '' ? `${username}@` : '';
  return `${protocol}//${user}${host}${pathname === '/' ? '' : pathname}`;
}
