import { InputError } from '../errors.ts';

/**
 * Macros: `{name}` in a landing or fallback URL is replaced by the percent-encoded value recorded with the click.
 */

/**
 * The values that macros name: the click id, its time, every recorded text; `query` is every parameter of the link's
 * address that the URL does not have itself, as `name=value&…`.
 */
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
  'query',
] as const;

export type MacroName = (typeof MACRO_NAMES)[number];

/** A URL cut at its macros: `literals[0]`, macro 0, `literals[1]`, macro 1, …, the last literal. */
export interface UrlTemplate<Name extends string = MacroName> {
  readonly literals: readonly string[];
  readonly macros: readonly Name[];
}

/** Long enough for any landing page, short enough that a redirect with all macros filled fits common limits. */
export const MAX_URL_LENGTH = 2_000;

/** Parses a landing or fallback URL. @throws InputError naming `field`. */
export function parseUrlTemplate(url: string, field: string): UrlTemplate {
  return parseTemplate(url, field, MACRO_NAMES);
}

/**
 * Parses a URL with macros of these names. It is validated, and sent, as the WHATWG parser of every browser makes it, not as it
 * is spelled: `https:///shop.test` and `HTTPS:\\shop.test` are `https://shop.test/`, an international host becomes
 * punycode, a space `%20`.
 * Refused: other schemes than http and https, credentials, control characters, an unknown macro, and a macro in scheme,
 * host or port.
 * @throws InputError naming `field`.
 */
export function parseTemplate<Name extends string>(
  url: string,
  field: string,
  names: readonly Name[],
): UrlTemplate<Name> {
  if (url.length > MAX_URL_LENGTH)
    throw new InputError(field, `must not exceed ${MAX_URL_LENGTH} characters`);
  // The parser drops some of them without a word: what is read would not be what is sent.
  if (/[\p{Cc}\p{Cs}]/u.test(url)) {
    throw new InputError(field, 'must not contain control characters or broken Unicode');
  }
  const { literals, macros } = cutAtMacros(url, field, names);
  // Each macro is a word while the URL is parsed: where the word comes to lie, there the value will.
  const mark = unusedWord(url);
  const spelled = literals.reduce((text, literal, i) => `${text}${mark}${i - 1}z${literal}`);
  const parsed = URL.canParse(spelled) ? new URL(spelled) : undefined;
  if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') {
    throw new InputError(field, 'must be a valid URL that begins with http:// or https://');
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw new InputError(field, 'must not contain a user name or password');
  }
  if (parsed.hostname.includes(mark)) throw new InputError(field, 'must not have a macro in the host');
  const template = cutAtMarks(parsed.href, mark, macros);
  if (!hasWholeQueries(template)) {
    throw new InputError(field, 'must have {query} behind a ? or &, and nothing but & or # behind it');
  }
  if (templateText(template).length > MAX_URL_LENGTH) {
    throw new InputError(field, `must not exceed ${MAX_URL_LENGTH} characters once it is percent-encoded`);
  }
  return template;
}

/** The URL of a template with its macros, as it is stored and shown; parsed again it gives the same template. */
export function templateText({ literals, macros }: UrlTemplate<string>): string {
  return literals.reduce((text, literal, i) => `${text}{${macros[i - 1]}}${literal}`);
}

/** A landing or fallback URL as it is stored and shown. @throws InputError naming `field`. */
export function normalizeUrl(url: string, field: string): string {
  return templateText(parseUrlTemplate(url, field));
}

/** The host of every URL that a template becomes: lower case, punycode, without the port. */
export function hostOf({ literals }: UrlTemplate): string {
  return new URL(literals[0] ?? '').hostname;
}

function cutAtMacros<Name extends string>(
  url: string,
  field: string,
  names: readonly Name[],
): UrlTemplate<Name> {
  const literals: string[] = [];
  const macros: Name[] = [];
  let rest = 0;
  for (const match of url.matchAll(/\{([^{}]*)\}/g)) {
    const name = names.find((known) => known === match[1]);
    if (name === undefined) {
      throw new InputError(field, `unknown macro {${match[1]}}; known are ${names.join(', ')}`);
    }
    literals.push(url.slice(rest, match.index));
    macros.push(name);
    rest = match.index + match[0].length;
  }
  literals.push(url.slice(rest));
  if (literals.some((literal) => /[{}]/.test(literal))) {
    throw new InputError(field, 'has an unbalanced { or }; write them percent-encoded as %7B and %7D');
  }
  return { literals, macros };
}

/** Whether `{query}`, which has `=` and `&` of its own, stands where parameters do: never in a path or in a value. */
function hasWholeQueries({ literals, macros }: UrlTemplate<string>): boolean {
  // A word for each other macro: `{query}{sub1}` is not whole.
  const url = literals.reduce((text, literal, i) => text + (macros[i - 1] === 'query' ? '{' : 'x') + literal);
  return !/[^?&]\{|\{[^&#]/.test(url) && !/^[^?#]*\{/.test(url);
}

/** A word of lower-case letters that is not in the URL, in any case. */
function unusedWord(url: string): string {
  const text = url.toLowerCase();
  let word = 'xm';
  while (text.includes(word)) word += 'm';
  return word;
}

/** A parsed URL cut at the marks that are left in it: `/{sub1}/..` has none. */
function cutAtMarks<Name extends string>(
  href: string,
  mark: string,
  macros: readonly Name[],
): UrlTemplate<Name> {
  // Every other part is the number that the mark carries.
  const parts = href.split(new RegExp(`${mark}(\\d+)z`));
  return {
    literals: parts.filter((_, i) => i % 2 === 0),
    macros: parts.flatMap((part, i) => (i % 2 === 1 ? macros.slice(Number(part), Number(part) + 1) : [])),
  };
}
