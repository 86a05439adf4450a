import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parse } from 'csv-parse/sync';
import { groups, type NetworkList } from './mmdb.ts';

/**
 * The autonomous system that announces each network: the list that comes with Afflux, `@ip-location-db/asn`, from the RouteViews project,
 * DB-IP.com and the NRO (CC BY 4.0). Two CSV files of `first,last,asn,organisation`, addresses as whole numbers.
 */
const PACKAGE = '@ip-location-db/asn';
const IPV4_BITS = 32;
const IPV6_BITS = 128;

/** An autonomous system. */
export interface Owner {
  readonly asn: number;
  readonly organisation: string;
}

export function readShippedOwners(): NetworkList<Owner> {
  const { resolve } = createRequire(import.meta.url);
  const rows = (name: string): string[][] => parse(readFileSync(resolve(`${PACKAGE}/${name}`)));
  function* networks(): Generator<{ network: string; value: Owner }> {
    for (const [name, bits] of [
      ['asn-ipv4-num.csv', IPV4_BITS],
      ['asn-ipv6-num.csv', IPV6_BITS],
    ] as const) {
      // In order of address; where two ranges overlap, the first counts.
      let next = 0n;
      for (const [first = '', last = '', asn, organisation = ''] of rows(name)) {
        const value = { asn: Number(asn), organisation };
        const from = BigInt(first) < next ? next : BigInt(first);
        const to = BigInt(last);
        for (const network of networksOfRange(from, to, bits)) yield { network, value };
        if (to >= next) next = to + 1n;
      }
    }
  }
  const { version } = JSON.parse(readFileSync(resolve(`${PACKAGE}/package.json`), 'utf8')) as {
    version: string;
  };
  return { networks: networks(), builtAt: dateOfVersion(version), source: `${PACKAGE} ${version}` };
}

/** 2.3.2026061719 was made on 17 June 2026 at 19 hours. */
function dateOfVersion(version: string): Date {
  const [, year, month, day, hour] = /\.(\d{4})(\d\d)(\d\d)(\d\d)$/.exec(version) ?? [];
  return new Date(Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour)));
}

/** The fewest networks that make up a range of addresses, both ends inside. */
export function* networksOfRange(first: bigint, last: bigint, bits: 32 | 128): Generator<string> {
  for (let at = first; at <= last; ) {
    // The largest network that begins here and does not reach beyond the end.
    let free = at === 0n ? bits : trailingZeros(at);
    while (at + (1n << BigInt(free)) - 1n > last) free--;
    yield bits === 32
      ? `::ffff:${dotted(Number(at))}/${IPV6_BITS - free}`
      : `${groups(Buffer.from(at.toString(16).padStart(32, '0'), 'hex'))}/${bits - free}`;
    at += 1n << BigInt(free);
  }
}

function trailingZeros(value: bigint): number {
  let zeros = 0;
  for (let rest = value; (rest & 1n) === 0n; rest >>= 1n) zeros++;
  return zeros;
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}
