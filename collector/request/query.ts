import { unescape as lenientUnescape } from 'node:querystring';
import { TRAFFIC_COLUMN_COUNT } from '../../core/clicks/click-record.ts';

/** Positions among a row's traffic strings: referrer is 0, sub1–5 follow, the rest of the query is last. */
const UTM_INDEX: ReadonlyMap<string, number> = new Map([
  ['utm_source', 6],
  ['utm_medium', 7],
  ['utm_campaign', 8],
  ['utm_term', 9],
  ['utm_content', 10],
]);
export const REST_INDEX = TRAFFIC_COLUMN_COUNT - 1;

/** A parameter that has a traffic string of its own. */
export interface TrafficParameter {
  readonly name: string;
  /** Its position among the traffic strings. */
  readonly index: number;
}
export const TRAFFIC_PARAMETERS: readonly TrafficParameter[] = [
  ...[1, 2, 3, 4, 5].map((index) => ({ name: `sub${index}`, index })),
  ...Array.from(UTM_INDEX, ([name, index]) => ({ name, index })),
];

/**
 * Sorts a query string into a row's traffic strings `[referrer, sub1–5, UTM ×5, rest]`.
 * The first of a repeated parameter wins; every other parameter stays in `rest` unchanged.
 */
export function readTraffic(referrer: string, query: string): string[] {
  const traffic = [referrer, '', '', '', '', '', '', '', '', '', '', ''];
  let rest = '';
  let start = 0;
  while (start < query.length) {
    const next = query.indexOf('&', start);
    const end = next < 0 ? query.length : next;
    if (query.charCodeAt(start) === LOWER_A && query.startsWith(ESCAPED_AMPERSAND, start)) {
      start += ESCAPED_AMPERSAND.length;
    }
    const equals = query.indexOf('=', start);
    const index = equals < 0 || equals > end ? -1 : parameterIndex(query, start, equals);
    if (index > 0 && traffic[index] === '') traffic[index] = decodeText(query.slice(equals + 1, end));
    else if (end > start) rest += (rest === '' ? '' : '&') + query.slice(start, end);
    start = end + 1;
  }
  traffic[REST_INDEX] = rest;
  return traffic;
}

/** What is left of `&amp;` behind its `&`: the address was copied from HTML. */
const ESCAPED_AMPERSAND = 'amp;';
const LOWER_A = 0x61;
const LOWER_S = 0x73;
const LOWER_U = 0x75;
const LOWER_B = 0x62;
const DIGIT_0 = 0x30;

/** The position of the parameter whose name lies between `start` and `end`; -1: it has no column. */
function parameterIndex(query: string, start: number, end: number): number {
  if (end - start === 4 && query.charCodeAt(start) === LOWER_S) {
    const number = query.charCodeAt(start + 3) - DIGIT_0;
    const isSub = query.charCodeAt(start + 1) === LOWER_U && query.charCodeAt(start + 2) === LOWER_B;
    return isSub && number >= 1 && number <= 5 ? number : -1;
  }
  const name = query.slice(start, end);
  if (name.includes('%')) {
    const decoded = lenientUnescape(name);
    return decoded.includes('%') ? -1 : parameterIndex(decoded, 0, decoded.length);
  }
  return UTM_INDEX.get(name) ?? -1;
}

/** Percent-decodes; bytes that are not UTF-8 become U+FFFD instead of an error. */
export function decodeText(value: string): string {
  if (!value.includes('%') && !value.includes('+')) return value;
  return lenientUnescape(value.replaceAll('+', ' '));
}
