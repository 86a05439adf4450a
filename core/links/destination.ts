import { InputError } from '../errors.ts';
import { hostOf, parseUrlTemplate, templateText } from './macros.ts';

/**
 * Where a link may lead: the hosts that its campaign allows. The redirect domain would otherwise lend its good name to
 * every page that an affiliate, or who has an affiliate's key, writes into a link.
 */

/** A pattern that allows every host. */
export const ANY_HOST = '*';
/** A campaign with more shops than this is several campaigns. */
export const MAX_ALLOWED_HOSTS = 100;
/** RFC 1035: a name has at most 253 characters; two more for `*.`. */
export const MAX_HOST_PATTERN_LENGTH = 255;

const CLICK_ID_PARAMETER = 'click_id';
const WILDCARD = '*.';
const WWW = 'www.';

/**
 * A host pattern in its stored form: a host such as `shop.test`, `*.shop.test` for all names below it, or `*` for all
 * hosts. @throws InputError naming `field`.
 */
export function parseHostPattern(text: string, field: string): string {
  if (text === ANY_HOST) return text;
  const isWildcard = text.startsWith(WILDCARD);
  const name = isWildcard ? text.slice(WILDCARD.length) : text;
  const host = hostOfName(name);
  if (host === undefined || (isWildcard && !host.includes('.'))) {
    throw new InputError(field, 'must be a host such as shop.example, *.shop.example, or * for every host');
  }
  return isWildcard ? WILDCARD + host : host;
}

/** The host that a bare name is to the URL parser; undefined when it is more than a host, or none. */
function hostOfName(name: string): string | undefined {
  if (/[\s/\\?#@:*]|\p{Cc}/u.test(name) || !URL.canParse(`https://${name}/`)) return undefined;
  return new URL(`https://${name}/`).hostname;
}

/** Whether a host, as {@link hostOf} gives it, fits one of the patterns; `www.` in front of a host makes no difference. */
export function isAllowedHost(host: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => {
    if (pattern === ANY_HOST) return true;
    if (pattern.startsWith(WILDCARD)) return host.endsWith(pattern.slice(1)) && host.length >= pattern.length;
    return withoutWww(host) === withoutWww(pattern);
  });
}

function withoutWww(host: string): string {
  return host.startsWith(WWW) ? host.slice(WWW.length) : host;
}

/** The URL of a link's destination as it is stored, and the host that it leads to. */
export interface Destination {
  readonly url: string;
  readonly host: string;
}

/**
 * Checks the URL of a link's destination. Beside what {@link parseUrlTemplate} refuses: a host that the campaign does
 * not allow, and a `click_id` of its own, which the shop could read instead of the one of the click.
 * @throws InputError naming `field`.
 */
export function parseDestination(
  url: string,
  { field, allowedHosts }: { field: string; allowedHosts: readonly string[] },
): Destination {
  const template = parseUrlTemplate(url, field);
  const host = hostOf(template);
  if (!isAllowedHost(host, allowedHosts)) {
    throw new InputError(
      field,
      allowedHosts.length === 0
        ? 'leads to a host, and the campaign allows none: an operator gives it a landing_url or allowed_hosts'
        : `leads to ${host}; the campaign allows ${allowedHosts.join(', ')}`,
    );
  }
  const text = templateText(template);
  const [name] = [...new URL(text).searchParams].find(isOwnClickId) ?? [];
  if (name === undefined) return { url: text, host };
  throw new InputError(
    field,
    'must not have a click_id of its own: it is added to the URL, or write {click_id}',
  );
}

/** Also a name that a macro makes up, since a visitor or affiliate chooses its value. */
function isOwnClickId([name, value]: readonly [name: string, value: string]): boolean {
  if (name === CLICK_ID_PARAMETER) return value !== `{${CLICK_ID_PARAMETER}}`;
  return name.includes('{') && value !== '';
}
