import type { MacroName, UrlTemplate } from '../../core/links/macros.ts';

/** The parts of a URL before, between and behind its click ids: the id is known only when its batch is durable. */
export type UrlPieces = readonly string[];

/** A landing or fallback URL ready to be filled. */
export interface RedirectUrl {
  /** Its {@link UrlPieces} when nothing but the click id varies, else undefined. */
  readonly constant: UrlPieces | undefined;
  /** Empty when there is a constant. */
  readonly template: UrlTemplate;
}

const NO_TEMPLATE: UrlTemplate = { literals: [], macros: [] };

/** Prepares a template; without a `{click_id}` of its own, `click_id` is appended to the query on request. */
export function compileRedirectUrl(template: UrlTemplate, options: { appendClickId: boolean }): RedirectUrl {
  const complete =
    options.appendClickId && !template.macros.includes('click_id') ? appendClickId(template) : template;
  const constant = complete.macros.every((macro) => macro === 'click_id') ? complete.literals : undefined;
  return { constant, template: constant === undefined ? complete : NO_TEMPLATE };
}

/** Adds `click_id={click_id}` at the end of the query, before a fragment. */
function appendClickId(template: UrlTemplate): UrlTemplate {
  const hash = template.literals.findIndex((literal) => literal.includes('#'));
  const at = hash < 0 ? template.literals.length - 1 : hash;
  const literal = template.literals[at] ?? '';
  const cut = hash < 0 ? literal.length : literal.indexOf('#');
  const before = literal.slice(0, cut);
  const path = template.literals.slice(0, at).join('') + before;
  const separator = !path.includes('?') ? '?' : /[?&]$/.test(path) ? '' : '&';
  return {
    literals: [
      ...template.literals.slice(0, at),
      `${before}${separator}click_id=`,
      literal.slice(cut),
      ...template.literals.slice(at + 1),
    ],
    macros: [...template.macros.slice(0, at), 'click_id', ...template.macros.slice(at)],
  };
}

/** Fills every macro but the click id; values are percent-encoded, so no value can change the URL around it. */
export function fillRedirectUrl(
  url: RedirectUrl,
  value: (macro: Exclude<MacroName, 'click_id'>) => string,
): UrlPieces {
  if (url.constant !== undefined) return url.constant;
  const { literals, macros } = url.template;
  const pieces: string[] = [];
  let piece = literals[0] ?? '';
  for (let i = 0; i < macros.length; i++) {
    const macro = macros[i] ?? 'click_id';
    if (macro === 'click_id') {
      pieces.push(piece);
      piece = '';
    } else piece += encodeURIComponent(value(macro).toWellFormed());
    piece += literals[i + 1] ?? '';
  }
  pieces.push(piece);
  return pieces;
}

/** Joins the parts with the click id. */
export function withClickId(pieces: UrlPieces, clickId: string): string {
  let url = pieces[0] ?? '';
  for (let i = 1; i < pieces.length; i++) url += clickId + (pieces[i] ?? '');
  return url;
}
