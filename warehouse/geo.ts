import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { Reader, type Response } from 'mmdb-lib';
import { OperatingError } from '../core/errors.ts';
import { timeText, type Warehouse } from './client.ts';

/** The list that comes with Afflux: country by network from the registries' own records, CC0. */
const SHIPPED = '@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb';
/** A MaxMind database keeps IPv4 in the lowest 32 bits of the IPv6 space: ::/96. */
const IPV4_DEPTH = 96;
const IPV6_BITS = 128;
/** Sent in one part of the insert: a few hundred kilobytes. */
const LINES_A_PART = 10_000;

/** What was loaded: how many networks, from where, built when. */
export interface GeoVersion {
  readonly source: string;
  readonly builtAt: Date;
  readonly networks: number;
}

/** What the two kinds of list say of a network: ip-location-db's, and MaxMind's GeoLite2 and GeoIP2. */
type CountryRecord = {
  readonly country_code?: string;
  readonly country?: { readonly iso_code?: string };
  readonly registered_country?: { readonly iso_code?: string };
};

/**
 * Replaces the networks that countries are told by, at once and without a restart; clicks that are stored keep the
 * country they were given. `file` is a MaxMind database (.mmdb) with countries; by default the one that is shipped.
 * @throws OperatingError `geo_unreadable` when the file is missing or is no such database.
 */
export async function loadGeo(
  warehouse: Warehouse,
  options: { file?: string | undefined; now: number },
): Promise<GeoVersion> {
  const file = options.file ?? createRequire(import.meta.url).resolve(SHIPPED);
  const { lines, networks, builtAt } = readNetworks(file);
  await warehouse.command('DROP TABLE IF EXISTS geo_networks_next SYNC');
  await warehouse.command('CREATE TABLE geo_networks_next AS geo_networks');
  await warehouse.insertBytes({
    sql: 'INSERT INTO geo_networks_next FORMAT TabSeparated',
    data: lines,
    settings: { async_insert: 0 },
  });
  await warehouse.command('ALTER TABLE geo_networks REPLACE PARTITION tuple() FROM geo_networks_next');
  await warehouse.command('DROP TABLE geo_networks_next SYNC');
  await warehouse.command('SYSTEM RELOAD DICTIONARY geo');
  const version = { source: basename(file), builtAt, networks };
  await warehouse.insertRows('geo_versions', [
    {
      loaded_at: timeText(options.now),
      source: version.source,
      built_at: timeText(builtAt.getTime()).slice(0, 19),
      networks,
    },
  ]);
  return version;
}

/** The version that was loaded last; undefined when none was. */
export async function readGeoVersion(warehouse: Warehouse): Promise<GeoVersion | undefined> {
  const { rows } = await warehouse.query<{ source: string; built: number; networks: string }>(
    'SELECT source, toUnixTimestamp(built_at) AS built, networks FROM geo_versions ORDER BY loaded_at DESC LIMIT 1',
  );
  const row = rows[0];
  return row && { source: row.source, builtAt: new Date(row.built * 1_000), networks: Number(row.networks) };
}

/** Every network of a database that has a country, as `network<TAB>country` lines in a few buffers. */
function readNetworks(file: string): { lines: Buffer[]; networks: number; builtAt: Date } {
  if (!existsSync(file)) throw unreadable(file, 'there is no such file');
  const bytes = readFileSync(file);
  const reader = openDatabase(file, bytes);
  const lines: Buffer[] = [];
  let part: string[] = [];
  let networks = 0;
  for (const { network, country } of walk(reader, bytes)) {
    part.push(`${network}\t${country}\n`);
    networks++;
    if (part.length < LINES_A_PART) continue;
    lines.push(Buffer.from(part.join('')));
    part = [];
  }
  lines.push(Buffer.from(part.join('')));
  if (networks === 0) throw unreadable(file, 'it has no countries');
  return { lines, networks, builtAt: reader.metadata.buildEpoch };
}

function openDatabase(file: string, bytes: Buffer): Reader<Response> {
  try {
    return new Reader<Response>(bytes);
  } catch (cause) {
    throw unreadable(file, 'it is no MaxMind database', cause);
  }
}

function unreadable(file: string, why: string, cause?: unknown): OperatingError {
  return new OperatingError('geo_unreadable', `cannot read countries from ${file}: ${why}`, { cause });
}

/**
 * Every network of the search tree with its record. https://maxmind.github.io/MaxMind-DB/: two records a node, each
 * the number of another node, or node count (nothing), or beyond (data).
 */
function* walk(reader: Reader<Response>, bytes: Buffer): Generator<{ network: string; country: string }> {
  // Few records stand behind many networks: each is decoded once.
  const countries = new Map<number, string>();
  const { nodeCount, recordSize, ipVersion } = reader.metadata;
  const child = nodeReader(bytes, recordSize);
  const ipv4Root = ipVersion === 6 ? descend(child, IPV4_DEPTH, nodeCount) : 0;
  const startDepth = ipVersion === 6 ? 0 : IPV4_DEPTH;
  const stack: { node: number; depth: number; address: Buffer }[] = [
    { node: 0, depth: startDepth, address: Buffer.alloc(16) },
  ];
  for (let next = stack.pop(); next; next = stack.pop()) {
    const { node, depth, address } = next;
    for (const bit of [1, 0] as const) {
      const target = child(node, bit);
      if (target === nodeCount) continue;
      const at = withBit(address, depth, bit);
      const inIpv4 = at.subarray(0, 12).every((byte) => byte === 0);
      // Databases of MaxMind point from other prefixes, such as 2002::/16, to the same IPv4 networks.
      if (target === ipv4Root && depth + 1 !== startDepth && !(inIpv4 && depth + 1 === IPV4_DEPTH)) continue;
      if (target < nodeCount) {
        stack.push({ node: target, depth: depth + 1, address: at });
        continue;
      }
      const ipv4 = inIpv4 && depth + 1 >= IPV4_DEPTH;
      const text = ipv4 ? at.subarray(12).join('.') : groups(at);
      const country = countries.get(target) ?? countryOf(reader.get(text) as CountryRecord | null);
      countries.set(target, country);
      if (country !== '') yield { network: `${ipv4 ? '::ffff:' : ''}${text}/${depth + 1}`, country };
    }
  }
}

function countryOf(record: CountryRecord | null): string {
  const code = record?.country_code ?? record?.country?.iso_code ?? record?.registered_country?.iso_code;
  return code !== undefined && /^[A-Z]{2}$/.test(code) ? code : '';
}

/** The eight groups of an IPv6 address, none left out: quick to write half a million times. */
function groups(address: Buffer): string {
  return address.toString('hex').replace(/.{4}(?=.)/g, '$&:');
}

type Child = (node: number, bit: 0 | 1) => number;

/** Reads a node's record: two of 24, 28 or 32 bits; at 28 the middle byte holds the high bits of both. */
function nodeReader(bytes: Buffer, recordSize: number): Child {
  const nodeBytes = recordSize / 4;
  return (node, bit) => {
    const at = node * nodeBytes;
    if (recordSize === 24) return bytes.readUIntBE(at + 3 * bit, 3);
    if (recordSize === 32) return bytes.readUInt32BE(at + 4 * bit);
    const middle = bytes[at + 3] ?? 0;
    const high = bit === 0 ? middle >> 4 : middle & 0x0f;
    return high * 2 ** 24 + bytes.readUIntBE(at + 4 * bit, 3);
  };
}

/** The node that `depth` zeros lead to. */
function descend(child: Child, depth: number, nodeCount: number): number {
  let node = 0;
  for (let i = 0; i < depth && node < nodeCount; i++) node = child(node, 0);
  return node;
}

function withBit(address: Buffer, position: number, bit: 0 | 1): Buffer {
  const copy = Buffer.from(address);
  if (bit === 1 && position < IPV6_BITS) {
    const at = position >> 3;
    copy[at] = (copy[at] ?? 0) | (0x80 >> (position & 7));
  }
  return copy;
}
