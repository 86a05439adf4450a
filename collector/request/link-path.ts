import { unescape as lenientUnescape } from 'node:querystring';

/** What the address of a link says. */
export interface LinkPath {
  /** '': it is no link's address. What cannot be a code is as it was sent. */
  readonly code: string;
  readonly query: string;
}

/** A code as it is published. */
export const CODE = /^[A-Za-z0-9_-]+$/;

/** Where the parameters begin that were appended without a `?`, or with one that was percent-encoded. */
const PARAMETERS = /[&?]|%26|%3F/i;
/** A code with what mails, chats, PDFs and print leave around it: blanks, quotes, brackets, punctuation, slashes. */
const SURROUNDED_CODE = /^[\s\p{Cf}\p{Pi}\p{Ps}"'<]*([A-Za-z0-9_-]+)[^\p{L}\p{N}_-]*$/u;

/**
 * Reads the address of a link in its harmless spellings: percent-encoded letters, doubled and trailing slashes,
 * punctuation and blanks at its end, `&sub1=x` without `?`, `/C/`. Path and query as they were sent.
 */
export function readLinkPath(path: string, query: string): LinkPath {
  const [, rest = ''] = /^\/+c\/+(.*)$/is.exec(path) ?? [];
  const cut = PARAMETERS.exec(rest);
  const [, code] = SURROUNDED_CODE.exec(lenientUnescape(cut ? rest.slice(0, cut.index) : rest)) ?? [];
  if (code === undefined) return { code: rest, query };
  if (!cut) return { code, query };
  const delimiter = cut[0];
  const appended = rest.slice(cut.index + delimiter.length);
  // A tool that encoded the delimiter encoded what follows it.
  const parameters = delimiter.length > 1 ? lenientUnescape(appended) : appended;
  return { code, query: query === '' ? parameters : `${parameters}&${query}` };
}
