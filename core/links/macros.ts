import { InputError } from '../errors.ts';

/**
 * Macros: `{name}` in a landing or fallback URL is replaced by the percent-encoded value recorded with the click.
 */

/** The values that macros name: the click id, its time, and every recorded text. */
export const MACRO_NAMES = [
  'click_id',
  'ts',
  'program_id',
  'campaign_id',
  'affiliate_id',
  'link_id',
  'ip',
  'device',
  'os',
  'browser',
  'language',
  'user_agent',
  'referrer',
  'sub1',
  'sub2',
  'sub3',
  'sub4',
  'sub5',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'utm_term',
  'utm_content',
] as const;

export type MacroName = (typeof MACRO_NAMES)[number];

/** A URL cut at its macros: `literals[0]`, macro 0, `literals[1]`, macro 1, …, the last literal. */
export interface UrlTemplate {
  readonly literals: readonly string[];
  readonly macros: readonly MacroName[];
}

/** Long enough for any landing page, short enough that a redirect with all macros filled fits common limits. */
export const MAX_URL_LENGTH = 2_000;

const KNOWN: ReadonlySet<string> = new Set(MACRO_NAMES);

/**
 * Parses and checks a landing or fallback URL.
 * Refused: other schemes than http and https, credentials, spaces, control or non-ASCII characters (write them
 * percent-encoded), a macro in the host, an unknown macro.
 * @throws InputError naming `field`.
 */
export function parseUrlTemplate(url: string, field: string): UrlTemplate {
  if (url.length > MAX_URL_LENGTH)
    throw new InputError(field, `must not exceed ${MAX_URL_LENGTH} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what must be refused
  if (/[\x00-\x20\x7f-\uffff"<>\\^`|]/.test(url)) {
    throw new InputError(
      field,
      'must not contain spaces, control characters or unencoded special characters',
    );
  }
  if (!/^https?:\/\//i.test(url)) throw new InputError(field, 'must begin with http:// or https://');
  const literals: string[] = [];
  const macros: MacroName[] = [];
  let rest = 0;
  for (const match of url.matchAll(/\{([^{}]*)\}/g)) {
    const name = match[1] ?? '';
    if (!KNOWN.has(name)) {
      throw new InputError(field, `unknown macro {${name}}; known are ${MACRO_NAMES.join(', ')}`);
    }
    literals.push(url.slice(rest, match.index));
    macros.push(name as MacroName);
    rest = match.index + match[0].length;
  }
  literals.push(url.slice(rest));
  if (literals.some((literal) => /[{}]/.test(literal))) {
    throw new InputError(field, 'has an unbalanced { or }; write them percent-encoded as %7B and %7D');
  }
  const plain = literals.join('x');
  if (!URL.canParse(plain)) throw new InputError(field, 'is not a valid URL');
  const parsed = new URL(plain);
  if (parsed.username !== '' || parsed.password !== '') {
    throw new InputError(field, 'must not contain a user name or password');
  }
  const hostEnd = url.slice(url.indexOf('//') + 2).search(/[/?#]/);
  const host = hostEnd < 0 ? url : url.slice(0, url.indexOf('//') + 2 + hostEnd);
  if (host.includes('{')) throw new InputError(field, 'must not have a macro in the host');
  return { literals, macros };
}
