import { ALL_PARAMETERS, parameterKey } from '../../core/links/passed-parameters.ts';
import { decodeText, REST_INDEX, TRAFFIC_PARAMETERS, type TrafficParameter } from './query.ts';

/**
 * What a redirect passes on may have this many characters: with the longest landing page and the other headers it fits
 * the 4 KB that nginx takes as the head of an answer (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffer_size).
 * A parameter that does not fit is left out whole.
 */
export const MAX_PASSED_LENGTH = 1_500;

/** The names that a program or link passes on, ready for the click path. */
export interface PassedParameters {
  readonly isAll: boolean;
  readonly names: ReadonlySet<string>;
  /** Those that have a traffic string of their own. */
  readonly columns: readonly TrafficParameter[];
}

/** Compiles a list as `parsePassedParameters` stores it. */
export function compilePassed(list: readonly string[]): PassedParameters {
  const names = new Set(list);
  const isAll = names.has(ALL_PARAMETERS);
  return { isAll, names, columns: TRAFFIC_PARAMETERS.filter(({ name }) => isAll || names.has(name)) };
}

/** What `{query}` stands for. */
export const EVERY_PARAMETER = compilePassed([ALL_PARAMETERS]);

/**
 * The parameters of a click that are passed on, as `name=value&…`; '' when there are none. Those whose `parameterKey` is
 * among `taken` are left out: the landing page has them itself.
 */
export function passedQuery(
  traffic: readonly string[],
  { isAll, names, columns }: PassedParameters,
  taken: ReadonlySet<string>,
): string {
  const rest = traffic[REST_INDEX] ?? '';
  if (rest === '' && columns.length === 0) return '';
  let passed = '';
  function pass(name: string, pair: string): void {
    if (taken.has(parameterKey(name))) return;
    const separator = passed === '' ? '' : '&';
    if (passed.length + separator.length + pair.length <= MAX_PASSED_LENGTH) passed += separator + pair;
  }
  for (const { name, index } of columns) {
    const value = traffic[index] ?? '';
    if (value !== '') pass(name, `${name}=${encodeURIComponent(value.toWellFormed())}`);
  }
  for (const pair of rest === '' ? [] : rest.split('&')) {
    const equals = pair.indexOf('=');
    const name = decodeText(equals < 0 ? pair : pair.slice(0, equals));
    if (isAll || names.has(name)) pass(name, escapePair(pair));
  }
  return passed;
}

/**
 * A pair as the visitor's browser sent it, with everything percent-encoded that could end it somewhere: `#`, quotes, a
 * `;`, which some frameworks read as `&`.
 */
function escapePair(pair: string): string {
  return pair
    .toWellFormed()
    .replace(/[^\w.~!$()*,/:@?%+=-]/gu, encodeURIComponent)
    .replaceAll("'", '%27');
}
