import { createRequire } from 'node:module';
import { readingDatabase } from '../../core/config/servers.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';
import { quotedName } from '../clickhouse/cluster.ts';
import { type Owner, readShippedOwners } from './asn-list.ts';
import { type NetworkList, readMmdb, unreadable } from './mmdb.ts';

/** The list that comes with Afflux: country by network from the registries' own records, CC0. */
const SHIPPED_COUNTRIES = '@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb';
/** Sent in one part of the insert: a few hundred kilobytes. */
const LINES_A_PART = 10_000;

/** The lists of networks: by country, and by the autonomous system that announces them. */
export type GeoList = 'countries' | 'owners';

/** A loaded list: the number of its networks, its source, the time it was built. */
export interface GeoVersion {
  readonly list: GeoList;
  readonly source: string;
  readonly builtAt: Date;
  readonly networks: number;
}

/** A network's record in the two kinds of list: ip-location-db's, and MaxMind's GeoLite2 and GeoIP2. */
type CountryRecord = {
  readonly country_code?: string;
  readonly country?: { readonly iso_code?: string };
  readonly registered_country?: { readonly iso_code?: string };
};

/** MaxMind's GeoLite2-ASN and GeoIP2 ISP. */
type OwnerRecord = {
  readonly autonomous_system_number?: number;
  readonly autonomous_system_organization?: string;
};

/**
 * Replaces the networks that give clicks their country and owner, at once and without a restart; stored clicks keep
 * theirs. The files are MaxMind databases (.mmdb) with countries and with autonomous systems; by default the shipped
 * lists. Everything is read before anything is replaced.
 * @throws OperatingError `geo_unreadable` when a file is missing or is no such database.
 */
export async function loadGeo(
  warehouse: Warehouse,
  options: { countriesFile?: string | undefined; ownersFile?: string | undefined; now: number },
): Promise<Record<GeoList, GeoVersion>> {
  const countries = readCountries(options.countriesFile);
  const owners = readOwners(options.ownersFile);
  await replaceTable(warehouse, { name: 'geo_networks', orderBy: 'network' }, countries.lines);
  await replaceTable(warehouse, { name: 'asn_networks', orderBy: 'network' }, owners.lines);
  await replaceTable(warehouse, { name: 'asn_owners', orderBy: 'asn' }, owners.names);
  await reloadNetworks(warehouse);
  const versions = [countries.version, owners.version];
  await warehouse.insertRows(
    'geo_versions',
    versions.map(({ list, source, builtAt, networks }) => ({
      loaded_at: timeText(options.now),
      list,
      source,
      built_at: timeText(builtAt.getTime()).slice(0, 19),
      networks,
    })),
  );
  return { countries: countries.version, owners: owners.version };
}

/** Lets every server read the lists of networks from its tables now. */
export async function reloadNetworks(warehouse: Warehouse): Promise<void> {
  const { database, cluster } = warehouse;
  for (const dictionary of ['geo', 'asn', 'organisations']) {
    for (const place of new Set([database, readingDatabase(database, cluster)])) {
      await warehouse.everywhere(`SYSTEM RELOAD DICTIONARY ${quotedName(place)}.${dictionary}`);
    }
  }
}

/** The versions loaded last; empty when none was. */
export async function readGeoVersions(warehouse: Warehouse): Promise<Partial<Record<GeoList, GeoVersion>>> {
  const { rows } = await warehouse.query<{ list: GeoList; source: string; built: number; networks: string }>(
    `SELECT list, source, toUnixTimestamp(built_at) AS built, networks FROM geo_versions
     ORDER BY loaded_at DESC LIMIT 1 BY list`,
  );
  return Object.fromEntries(
    rows.map(({ list, source, built, networks }) => [
      list,
      { list, source, builtAt: new Date(built * 1_000), networks: Number(networks) },
    ]),
  );
}

/** A list as lines of tab separated values, in a few buffers. */
interface Lines {
  readonly lines: Buffer[];
  readonly version: GeoVersion;
}

function readCountries(given: string | undefined): Lines {
  const file = given ?? createRequire(import.meta.url).resolve(SHIPPED_COUNTRIES);
  const list = readMmdb(file, (record) => countryOf(record as CountryRecord | null));
  const lines = linesOf('countries', list, (country) => country);
  if (lines.version.networks === 0) throw unreadable(file, 'it has no countries');
  return lines;
}

function readOwners(file: string | undefined): Lines & { readonly names: Buffer[] } {
  const names = new Map<number, string>();
  const list =
    file === undefined
      ? readShippedOwners()
      : readMmdb(file, (record) => ownerOf(record as OwnerRecord | null));
  const lines = linesOf('owners', list, ({ asn, organisation }) => {
    names.set(asn, organisation);
    return String(asn);
  });
  if (lines.version.networks === 0) throw unreadable(list.source, 'it has no autonomous systems');
  const nameLines = [...names].map(([asn, organisation]) => `${asn}\t${escaped(organisation)}\n`);
  return { ...lines, names: [Buffer.from(nameLines.join(''))] };
}

function linesOf<Value>(list: GeoList, read: NetworkList<Value>, write: (value: Value) => string): Lines {
  const lines: Buffer[] = [];
  let part: string[] = [];
  let networks = 0;
  for (const { network, value } of read.networks) {
    part.push(`${network}\t${write(value)}\n`);
    networks++;
    if (part.length < LINES_A_PART) continue;
    lines.push(Buffer.from(part.join('')));
    part = [];
  }
  lines.push(Buffer.from(part.join('')));
  return { lines, version: { list, source: read.source, builtAt: read.builtAt, networks } };
}

function countryOf(record: CountryRecord | null): string | undefined {
  const code = record?.country_code ?? record?.country?.iso_code ?? record?.registered_country?.iso_code;
  return code !== undefined && /^[A-Z]{2}$/.test(code) ? code : undefined;
}

function ownerOf(record: OwnerRecord | null): Owner | undefined {
  const asn = record?.autonomous_system_number;
  return asn === undefined ? undefined : { asn, organisation: record?.autonomous_system_organization ?? '' };
}

/** Text as TabSeparated escapes it: https://clickhouse.com/docs/interfaces/formats/TabSeparated */
function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n');
}

/** Waits for every replica, for none must load the old rows into its dictionary. */
const WAIT = { alter_sync: 2 } as const;

/**
 * Readers see the old rows or the new ones, never fewer. The new ones lie in a table of the one server, from which a
 * replicated table takes them to all servers: a copy of its engine would have its place in Keeper.
 */
async function replaceTable(
  warehouse: Warehouse,
  table: { name: string; orderBy: string },
  lines: readonly Buffer[],
): Promise<void> {
  const { name, orderBy } = table;
  const server = await warehouse.server();
  await server.command(`DROP TABLE IF EXISTS ${name}_next SYNC`);
  await server.command(`CREATE TABLE ${name}_next AS ${name} ENGINE = MergeTree ORDER BY ${orderBy}`);
  await server.insertBytes({
    sql: `INSERT INTO ${name}_next FORMAT TabSeparated`,
    data: lines,
    settings: { async_insert: 0 },
  });
  await server.command(`ALTER TABLE ${name} REPLACE PARTITION tuple() FROM ${name}_next`, {}, WAIT);
  await server.command(`DROP TABLE ${name}_next SYNC`);
}
