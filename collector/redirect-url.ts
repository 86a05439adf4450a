import type { MacroName, UrlTemplate } from '../core/macros.ts';

/** Stands for the click id, which is known only when the batch is encrypted; it cannot occur in a URL. */
const CLICK_ID_MARK = '\u0000';

/** A landing or fallback URL ready to be filled. */
export interface RedirectUrl {
  /** The whole URL when nothing but the click id varies, else undefined. */
  readonly constant: string | undefined;
  /** Empty when there is a constant, which says it all. */
  readonly template: UrlTemplate;
}

const NO_TEMPLATE: UrlTemplate = { literals: [], macros: [] };

/** Prepares a template; without a `{click_id}` of its own, `click_id` is appended to the query when asked. */
export function compileRedirectUrl(template: UrlTemplate, options: { appendClickId: boolean }): RedirectUrl {
  const whole =
    options.appendClickId && !template.macros.includes('click_id') ? appendClickId(template) : template;
  const constant = whole.macros.every((macro) => macro === 'click_id')
    ? whole.literals.join(CLICK_ID_MARK)
    : undefined;
  return { constant, template: constant === undefined ? whole : NO_TEMPLATE };
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

/** Fills every macro but the click id; values are percent-encoded, so nothing a visitor sends can leave its place. */
export function fillRedirectUrl(
  url: RedirectUrl,
  value: (macro: Exclude<MacroName, 'click_id'>) => string,
): string {
  if (url.constant !== undefined) return url.constant;
  const { literals, macros } = url.template;
  let filled = literals[0] ?? '';
  for (const [i, macro] of macros.entries()) {
    filled += macro === 'click_id' ? CLICK_ID_MARK : encodeURIComponent(value(macro).toWellFormed());
    filled += literals[i + 1] ?? '';
  }
  return filled;
}

/** Puts the click id where it belongs. */
export function withClickId(filled: string, clickId: string): string {
  const at = filled.indexOf(CLICK_ID_MARK);
  if (at < 0) return filled;
  const rest = filled.slice(at + 1);
  return filled.slice(0, at) + clickId + (rest.includes(CLICK_ID_MARK) ? withClickId(rest, clickId) : rest);
}
