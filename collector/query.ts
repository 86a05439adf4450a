import { unescape as lenientUnescape } from 'node:querystring';
import { TRAFFIC_COLUMN_COUNT } from '../core/click-record.ts';

/** Position of each named parameter among a row's traffic strings: referrer is 0, the rest of the query is last. */
const PARAMETER_INDEX: ReadonlyMap<string, number> = new Map([
  ['sub1', 1],
  ['sub2', 2],
  ['sub3', 3],
  ['sub4', 4],
  ['sub5', 5],
  ['utm_source', 6],
  ['utm_medium', 7],
  ['utm_campaign', 8],
  ['utm_term', 9],
  ['utm_content', 10],
]);
const REST_INDEX = TRAFFIC_COLUMN_COUNT - 1;

/**
 * Sorts a query string into a row's traffic strings `[referrer, sub1–5, UTM ×5, rest]`.
 * The first of a repeated parameter wins; what is not named stays in `rest` as it came.
 */
export function readTraffic(referrer: string, query: string): string[] {
  const traffic = [referrer, '', '', '', '', '', '', '', '', '', '', ''];
  if (query === '') return traffic;
  let rest = '';
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=');
    const index = equals < 0 ? undefined : PARAMETER_INDEX.get(pair.slice(0, equals));
    if (index !== undefined && traffic[index] === '') traffic[index] = decode(pair.slice(equals + 1));
    else if (pair !== '') rest = rest === '' ? pair : `${rest}&${pair}`;
  }
  traffic[REST_INDEX] = rest;
  return traffic;
}

/** Percent-decodes; bytes that are not UTF-8 become U+FFFD instead of an error. */
function decode(value: string): string {
  if (!value.includes('%') && !value.includes('+')) return value;
  return lenientUnescape(value.replaceAll('+', ' '));
}
