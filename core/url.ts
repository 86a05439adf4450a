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
