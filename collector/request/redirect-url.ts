import type { MacroName, UrlTemplate } from '../../core/links/macros.ts';
import { parameterKey } from '../../core/links/passed-parameters.ts';
import { decodeText } from './query.ts';

/** The parts of a URL before, between and behind its click ids: the id is known only when its batch is durable. */
export type UrlPieces = readonly string[];

/** A landing or fallback URL ready to be filled. */
export interface RedirectUrl {
  readonly template: UrlTemplate;
  /** Whether it has no macro but the click id. */
  readonly isConstant: boolean;
  /** Whether it has `{query}`, where every parameter goes; the passed ones of any other URL go to `passAt`. */
  readonly takesAll: boolean;
  readonly passAt: QueryEnd;
  /** The `parameterKey` of its own parameters, and of the platform's. */
  readonly taken: ReadonlySet<string>;
}

/** Where a parameter can be added: in one of the literals, before a fragment. */
interface QueryEnd {
  readonly literal: number;
  readonly at: number;
  /** What has to stand in front of it: `?`, `&` or nothing. */
  readonly separator: string;
}

const CLICK_ID = 'click_id';
/** Of a URL without parameters of its own: nearly all. */
const ONLY_CLICK_ID: ReadonlySet<string> = new Set([CLICK_ID]);

/** Prepares a template; without a `{click_id}` of its own, `click_id` is appended to the query on request. */
export function compileRedirectUrl(template: UrlTemplate, options: { appendClickId: boolean }): RedirectUrl {
  const complete =
    options.appendClickId && !template.macros.includes(CLICK_ID) ? appendClickId(template) : template;
  return {
    template: complete,
    isConstant: complete.macros.every((macro) => macro === CLICK_ID),
    takesAll: complete.macros.includes('query'),
    passAt: queryEnd(complete),
    taken: ownParameters(complete),
  };
}

function queryEnd({ literals }: UrlTemplate): QueryEnd {
  const hash = literals.findIndex((literal) => literal.includes('#'));
  const literal = hash < 0 ? literals.length - 1 : hash;
  const text = literals[literal] ?? '';
  const at = hash < 0 ? text.length : text.indexOf('#');
  // A letter for each macro: a URL does not end with `?` when a value follows it.
  const before = [...literals.slice(0, literal), text.slice(0, at)].join('x');
  return { literal, at, separator: !before.includes('?') ? '?' : /[?&]$/.test(before) ? '' : '&' };
}

/** Adds `click_id={click_id}` at the end of the query. */
function appendClickId(template: UrlTemplate): UrlTemplate {
  const { literals, macros } = template;
  const { literal, at, separator } = queryEnd(template);
  const text = literals[literal] ?? '';
  return {
    literals: [
      ...literals.slice(0, literal),
      `${text.slice(0, at)}${separator}${CLICK_ID}=`,
      text.slice(at),
      ...literals.slice(literal + 1),
    ],
    macros: [...macros.slice(0, literal), CLICK_ID, ...macros.slice(literal)],
  };
}

function ownParameters({ literals }: UrlTemplate): ReadonlySet<string> {
  const [, query = ''] = /\?([^#]*)/.exec(literals.join('x')) ?? [];
  const keys = query
    .split('&')
    .map((pair) => parameterKey(decodeText(pair.split('=', 1)[0] ?? '')))
    .filter((key) => key !== '' && key !== CLICK_ID);
  return keys.length === 0 ? ONLY_CLICK_ID : new Set([CLICK_ID, ...keys]);
}

/**
 * Fills every macro but the click id, and adds the parameters that are passed on. Values are percent-encoded, so no value
 * can change the URL around it; `passed` comes so.
 */
export function fillRedirectUrl(
  url: RedirectUrl,
  passed: string,
  value: (macro: Exclude<MacroName, 'click_id' | 'query'>) => string,
): UrlPieces {
  const { literals, macros } = url.template;
  if (url.isConstant && passed === '') return literals;
  const pieces: string[] = [];
  let piece = literalOf(url, 0, passed);
  for (let i = 0; i < macros.length; i++) {
    const macro = macros[i] ?? CLICK_ID;
    if (macro === CLICK_ID) {
      pieces.push(piece);
      piece = '';
    } else piece += macro === 'query' ? passed : encodeURIComponent(value(macro).toWellFormed());
    piece += literalOf(url, i + 1, passed);
  }
  pieces.push(piece);
  return pieces;
}

/** A literal with what is passed on, if that goes there. */
function literalOf({ template, takesAll, passAt }: RedirectUrl, index: number, passed: string): string {
  const literal = template.literals[index] ?? '';
  if (passed === '' || takesAll || index !== passAt.literal) return literal;
  return literal.slice(0, passAt.at) + passAt.separator + passed + literal.slice(passAt.at);
}

/** Joins the parts with the click id. */
export function withClickId(pieces: UrlPieces, clickId: string): string {
  let url = pieces[0] ?? '';
  for (let i = 1; i < pieces.length; i++) url += clickId + (pieces[i] ?? '');
  return url;
}
