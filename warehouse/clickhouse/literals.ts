import { isIP } from 'node:net';
import { assert, InputError } from '../../core/errors.ts';

/**
 * Arrays in the text of a query, for lists that no URL parameter has room for. Each is one element of the parsed query
 * whatever its length: ClickHouse refuses a query of more than 50,000 elements, and counts a common table expression
 * again wherever it is named.
 */

/** Whole numbers as an array of the ClickHouse type `type`. */
export function numbers(type: string, values: readonly (number | bigint)[]): string {
  for (const value of values) {
    assert(typeof value === 'bigint' || Number.isSafeInteger(value), `${value} is a whole number`);
  }
  return `[${values.join(',')}]::Array(${type})`;
}

/** Addresses as an array of strings. @throws InputError `ip` when one is not an address. */
export function addresses(values: readonly string[]): string {
  return `[${values.map((ip) => `'${checkedIp(ip)}'`).join(',')}]`;
}

/** Texts of somebody's input as a list of string literals, without brackets. */
export function texts(values: readonly string[]): string {
  return values.map((value) => `'${value.replace(/[\\']/g, (sign) => `\\${sign}`)}'`).join(',');
}

function checkedIp(ip: string): string {
  // A zone ("%eth0") passes isIP, and only an address must reach the query's text.
  if (isIP(ip) === 0 || !/^[0-9a-fA-F.:]+$/.test(ip))
    throw new InputError('ip', 'must be an IPv4 or IPv6 address');
  return ip;
}
