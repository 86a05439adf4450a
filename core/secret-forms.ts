/**
 * Secrets that are known by their form: API keys (`afx_<role>_<random>`) and signing secrets (`whsec_<base64>`). Text that
 * is kept or logged passes through here, because a secret can stand under any name, in a URL, a header or an error.
 */

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
const DIGITS = '0123456789';

/** One of the characters: as it is, percent-encoded (also more than once), or as an escape of JSON. */
function oneOf(characters: string): string {
  const codes = [...characters].map((character) => character.charCodeAt(0).toString(16)).join('|');
  return `(?:[${characters.replace(/[-\\\]]/g, '\\$&')}]|(?:%(?:25){0,4}|\\\\{1,8}u00)(?:${codes}))`;
}

const literally = (text: string): string => [...text].map(oneOf).join('');
const anyOf = (characters: string, most: number): string => `${oneOf(characters)}{1,${most}}`;

/** Far longer than any secret: what follows is not part of one. */
const MAX_SECRET_LENGTH = 400;
const SECRETS = new RegExp(
  [
    `(${literally('afx_')}${anyOf(LETTERS, 20)}${literally('_')})${anyOf(`${LETTERS}${LETTERS.toUpperCase()}${DIGITS}_-`, MAX_SECRET_LENGTH)}`,
    `(${literally('whsec_')})${anyOf(`${LETTERS}${LETTERS.toUpperCase()}${DIGITS}+/=_-`, MAX_SECRET_LENGTH)}`,
  ].join('|'),
  'gi',
);

/** The text with `[hidden]` instead of what is secret of each key and signing secret in it. */
export function hideSecrets(text: string): string {
  return text.replace(SECRETS, (_, key?: string, signing?: string) => `${key ?? signing}[hidden]`);
}

/**
 * Text from outside as it is kept: without what PostgreSQL cannot store (NUL, halves of surrogate pairs), because one such
 * text would refuse everything that is written with it, and with its secrets hidden. At most `maxLength` UTF-16 units.
 */
export function keptText(text: string, maxLength = Number.POSITIVE_INFINITY): string {
  // Made well-formed at the end: a cut can halve a pair.
  return hideSecrets(text.replaceAll('\0', '')).slice(0, maxLength).toWellFormed();
}

/** A value of JSON with {@link keptText} applied to each text and each name in it. */
export function keptJson<Value>(value: Value): Value {
  return keptIn(value) as Value;
}

function keptIn(value: unknown): unknown {
  if (typeof value === 'string') return keptText(value);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (Array.isArray(value)) return value.map(keptIn);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [keptText(name), keptIn(member)]));
}
