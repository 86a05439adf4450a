import { InputError } from '../../core/errors.ts';
import { DAY_MS, MINUTE_MS } from '../../core/time.ts';
import { type QueryParams, timeText, type Warehouse } from '../clickhouse/client.ts';
import { plainAddress } from './explorer.ts';
import { visitorNetwork } from './lookups.ts';
import { type Network, type ProgramScope, parseSubnet, subnetSql } from './subjects.ts';

/** What clicks and orders of the last day are counted by. */
export const LISTED_KEYS = ['ip', 'subnet', 'asn', 'fingerprint', 'affiliate', 'link'] as const;
export type ListedKey = (typeof LISTED_KEYS)[number];

/**
 * `ratio`: orders for each click; an order without a click counts as if it had one. `first_seen`: those alone that were
 * not seen in 24 hours before the window, the newest first.
 */
export const VELOCITY_SORTS = ['clicks', 'orders', 'ratio', 'first_seen'] as const;
export type VelocitySort = (typeof VELOCITY_SORTS)[number];

export const MAX_FAST_KEYS = 1_000;
/** The velocity tables hold so much. */
const MAX_MINUTES = 1_440;
/** A longer text is no address and no name. */
export const MAX_VELOCITY_SEARCH = 200;

const SETTINGS = { max_execution_time: 5, max_memory_usage: 1_000_000_000, max_threads: 1 } as const;

/** Where a key's clicks of the last day are, and its expression there and in `conversions`. */
interface Source {
  readonly table: 'velocity_ip' | 'velocity_fingerprint' | 'clicks_minutely';
  readonly clicks: string;
  readonly orders: string;
  /** Leaves out what stands for several. */
  readonly isOne: (expression: string) => string;
  /** The type of the expressions. */
  readonly type: 'IPv6' | 'UInt32' | 'UInt64';
  /** Narrows the rows to an array of values by the table's own order. */
  readonly among?: (values: string) => string;
}

const ASN = "dictGet('asn', 'asn', ip)";
const UNKNOWN = "toIPv6('::')";
const IS_IPV4 = "ip BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255')";
/** A network by its first address, and a /48 of shortened addresses by its last: its first one names the first /64 in it. */
const listedSubnet = (subnet: string): string =>
  `if(ip = ${visitorNetwork('ip', 'first')} AND NOT (${IS_IPV4}), ${visitorNetwork('ip', 'last')}, ${subnet})`;
const isNotZero = (expression: string): string => `${expression} != 0`;
const SOURCES: Readonly<Record<ListedKey, Source>> = {
  ip: {
    table: 'velocity_ip',
    clicks: 'ip',
    orders: 'ip',
    isOne: (ip) => `${ip} != ${visitorNetwork(ip, 'first')}`,
    type: 'IPv6',
    among: (values) => `subnet IN arrayMap(at -> ${subnetSql('at')}, ${values})`,
  },
  subnet: {
    table: 'velocity_ip',
    clicks: listedSubnet('subnet'),
    orders: listedSubnet(subnetSql('ip')),
    isOne: () => `ip != ${UNKNOWN}`,
    type: 'IPv6',
    among: (values) =>
      `subnet IN arrayMap(at -> if(at = ${visitorNetwork('at', 'last')}, ${visitorNetwork('at', 'first')}, at), ${values})`,
  },
  asn: { table: 'velocity_ip', clicks: ASN, orders: ASN, isOne: isNotZero, type: 'UInt32' },
  fingerprint: {
    table: 'velocity_fingerprint',
    clicks: 'fingerprint',
    orders: 'fingerprint',
    isOne: isNotZero,
    type: 'UInt64',
  },
  affiliate: {
    table: 'clicks_minutely',
    clicks: 'affiliate_id',
    orders: 'affiliate_id',
    isOne: isNotZero,
    type: 'UInt32',
  },
  link: {
    table: 'clicks_minutely',
    clicks: 'link_id',
    orders: 'link_id',
    isOne: isNotZero,
    type: 'UInt32',
  },
};

/** Columns of the tables: when a row's clicks were, how many they are, and their user agent. */
const ROWS = {
  velocity_ip: { time: 'ts', count: 'count()', agents: 'uniqExact(agent)' },
  velocity_fingerprint: { time: 'ts', count: 'count()', agents: 'uniqExact(agent)' },
  clicks_minutely: { time: 'minute', count: "sumIf(clicks, flag_group != 'impression')", agents: '0' },
} as const;

/** Where a page of the list ended. */
export interface VelocityCursor {
  /** When the first page was read, Unix milliseconds: all pages count up to then. */
  readonly now: number;
  readonly by: number;
  readonly value: string;
}

export interface ListedVelocity {
  /** An address, the first address of a network, the last one of a /48 of shortened addresses, or a number. */
  readonly value: string;
  readonly clicks: number;
  readonly orders: number;
  readonly campaigns: number;
  /** Null where rows are counted without their user agents. */
  readonly userAgents: number | null;
  /** Within the last 24 hours, of clicks and orders. */
  readonly firstSeen: Date;
  readonly lastSeen: Date;
  /** Of an autonomous system: who runs it; else ''. */
  readonly organisation: string;
}

export interface VelocityListOptions {
  readonly key: ListedKey;
  readonly sort: VelocitySort;
  /** More than so many clicks, and more than so many orders; undefined: any. */
  readonly clicks?: number | undefined;
  readonly orders?: number | undefined;
  /** 1 to 1,440. */
  readonly minutes: number;
  readonly search?: string | undefined;
  /** Undefined: of every program. */
  readonly program?: ProgramScope | undefined;
  readonly limit: number;
  readonly now: Date;
  readonly after?: VelocityCursor | undefined;
}

/**
 * Keys by their clicks and orders of the last minutes, those with the most first. A page of the newest can have fewer rows
 * than `limit` and a next one.
 * @throws InputError naming `minutes`, `clicks`, `orders` or `limit`.
 */
export async function listVelocity(
  warehouse: Warehouse,
  options: VelocityListOptions,
): Promise<{ rows: ListedVelocity[]; next: VelocityCursor | undefined }> {
  const { minutes, limit, after } = options;
  checkNumber('minutes', minutes, 1, MAX_MINUTES);
  checkNumber('clicks', options.clicks ?? 0, 0, 1_000_000_000);
  checkNumber('orders', options.orders ?? 0, 0, 1_000_000_000);
  checkNumber('limit', limit, 1, MAX_FAST_KEYS);
  const now = after?.now ?? options.now.getTime();
  const found = await readKeys(warehouse, options, now);
  const facts = await readFacts(warehouse, options, { now, values: found.map(({ value }) => value) });
  const isListed = ({ value }: KeyRow) =>
    options.sort !== 'first_seen' || Number(facts.get(value)?.first ?? 0) >= now - minutes * MINUTE_MS;
  const listed = found.filter(isListed);
  const page = listed.slice(0, limit);
  const rows = page.map(({ value, clicks }): ListedVelocity => {
    const fact = facts.get(value);
    return {
      value: plainAddress(value),
      clicks: Number(clicks),
      orders: Number(fact?.orders ?? 0),
      campaigns: Number(fact?.campaigns ?? 0),
      userAgents: SOURCES[options.key].table === 'clicks_minutely' ? null : Number(fact?.agents ?? 0),
      firstSeen: new Date(Number(fact?.first ?? 0)),
      lastSeen: new Date(Number(fact?.last ?? 0)),
      organisation: fact?.organisation ?? '',
    };
  });
  // Of candidates that are all older the next page begins behind the last one.
  const last = listed.length > limit ? page.at(-1) : found.at(-1);
  const hasMore = listed.length > limit || found.length > candidates(options);
  return { rows, next: hasMore && last ? { now, by: last.by, value: last.value } : undefined };
}

/** Who is new is known of keys that were looked up in the whole day: of more than a page, since many are older. */
function candidates({ sort, limit }: VelocityListOptions): number {
  return sort === 'first_seen' ? MAX_FAST_KEYS : limit;
}

const SORT_SQL: Readonly<Record<VelocitySort, string>> = {
  clicks: 'clicks',
  orders: 'orders',
  ratio: 'orders / greatest(clicks, 1)',
  first_seen: 'first_ms',
};

interface KeyRow {
  readonly value: string;
  readonly clicks: string;
  readonly by: number;
}

/**
 * The keys of a page by their figures of the window, and one more. Those that need clicks to be listed and are sorted by
 * them are found without the orders, which are counted for the page.
 */
async function readKeys(warehouse: Warehouse, options: VelocityListOptions, now: number): Promise<KeyRow[]> {
  const { key, sort, clicks, orders, minutes, after } = options;
  const source = SOURCES[key];
  const { time, count } = ROWS[source.table];
  const conditions = (at: string, expression: string) =>
    `${at} >= {from:DateTime64(3, 'UTC')} AND ${at} <= {now:DateTime64(3, 'UTC')} AND ${source.isOne(expression)} ${searched(options, expression)}`;
  const ofClicks = `SELECT ${source.clicks} AS key, ${count} AS c, 0 AS o, toUnixTimestamp64Milli(toDateTime64(min(${time}), 3, 'UTC')) AS first
       FROM ${source.table} WHERE ${conditions(time, source.clicks)} ${ofProgram(options, source.table)} GROUP BY key`;
  const ofOrders = `SELECT ${source.orders} AS key, 0, count(), toUnixTimestamp64Milli(min(occurred_at))
       FROM conversions FINAL WHERE ${conditions('occurred_at', source.orders)} ${ofProgram(options, 'conversions')} GROUP BY key`;
  const byClicks = sort === 'clicks' && clicks !== undefined && orders === undefined;
  const { rows } = await warehouse.query<KeyRow>(
    `SELECT toString(key) AS value, sum(c) AS clicks, sum(o) AS orders, min(first) AS first_ms, toFloat64(${SORT_SQL[sort]}) AS by
     FROM (${byClicks ? ofClicks : `${ofClicks} UNION ALL ${ofOrders}`})
     GROUP BY key
     HAVING (clicks > 0 OR orders > 0)
       ${clicks === undefined ? '' : 'AND clicks > {clicks:UInt64}'} ${orders === undefined ? '' : 'AND orders > {orders:UInt64}'}
       ${after ? 'AND (by < {by:Float64} OR (by = {by:Float64} AND value > {value:String}))' : ''}
     ORDER BY by DESC, value LIMIT {limit:UInt32}`,
    {
      now: timeText(now),
      from: timeText(now - minutes * MINUTE_MS),
      limit: candidates(options) + 1,
      ...(clicks !== undefined && { clicks }),
      ...(orders !== undefined && { orders }),
      ...(after && { by: after.by, value: after.value }),
      ...searchParams(options),
      ...programParams(options),
    },
    SETTINGS,
  );
  return rows;
}

interface FactRow {
  readonly value: string;
  /** Of the window. */
  readonly orders: string;
  readonly campaigns: string;
  readonly agents: string;
  readonly first: string;
  readonly last: string;
  readonly organisation: string;
}

/** Orders of the window, and what the whole day says: for the keys of a page, not for all. */
async function readFacts(
  warehouse: Warehouse,
  options: VelocityListOptions,
  { now, values }: { now: number; values: readonly string[] },
): Promise<ReadonlyMap<string, FactRow>> {
  if (values.length === 0) return new Map();
  const { key, minutes } = options;
  const source = SOURCES[key];
  const { time, agents } = ROWS[source.table];
  const wanted = `CAST({values:Array(String)} AS Array(${source.type}))`;
  const within = (at: string) =>
    `${at} >= {day:DateTime64(3, 'UTC')} AND ${at} <= {now:DateTime64(3, 'UTC')}`;
  const { rows } = await warehouse.query<FactRow>(
    `SELECT toString(key) AS value, sum(o) AS orders, length(groupUniqArrayArray(c)) AS campaigns, max(a) AS agents, min(f) AS first, max(l) AS last,
       ${key === 'asn' ? "dictGet('organisations', 'organisation', key)" : "''"} AS organisation
     FROM (
       SELECT ${source.clicks} AS key, 0 AS o, groupUniqArray(campaign_id) AS c, ${agents} AS a,
         toUnixTimestamp64Milli(toDateTime64(min(${time}), 3, 'UTC')) AS f, toUnixTimestamp64Milli(toDateTime64(max(${time}), 3, 'UTC')) AS l
       FROM ${source.table} PREWHERE ${source.clicks} IN ${wanted}
       WHERE ${within(time)} ${source.among ? `AND indexHint(${source.among(wanted)})` : ''} ${ofProgram(options, source.table)}
       GROUP BY key
       UNION ALL
       SELECT ${source.orders} AS key, countIf(occurred_at >= {from:DateTime64(3, 'UTC')}), groupUniqArrayIf(campaign_id, campaign_id != 0), 0,
         toUnixTimestamp64Milli(min(occurred_at)), toUnixTimestamp64Milli(max(occurred_at))
       FROM conversions FINAL WHERE ${within('occurred_at')} AND ${source.orders} IN ${wanted} ${ofProgram(options, 'conversions')}
       GROUP BY key
     ) GROUP BY key`,
    {
      now: timeText(now),
      day: timeText(now - DAY_MS),
      from: timeText(now - minutes * MINUTE_MS),
      values,
      ...programParams(options),
    },
    SETTINGS,
  );
  return new Map(rows.map((row) => [row.value, row]));
}

/** The velocity tables know campaigns alone. */
function ofProgram({ program }: VelocityListOptions, table: string): string {
  if (!program) return '';
  return table.startsWith('velocity_')
    ? 'AND campaign_id IN {campaigns:Array(UInt32)}'
    : 'AND program_id = {program:UInt32}';
}

function programParams({ program }: VelocityListOptions): QueryParams {
  return program ? { program: program.id, campaigns: program.campaignIds } : {};
}

/** What is typed: the beginning of an address, a network, a number, or a part of a name. */
function searched({ key, search, program }: VelocityListOptions, expression: string): string {
  if (search === undefined) return '';
  const isId = key === 'affiliate' || key === 'link';
  if (isId) {
    const own = program ? 'AND program_id = {program:UInt32}' : '';
    return `AND (toString(${expression}) = {digits:String} OR ${expression} IN (
      SELECT id FROM names FINAL WHERE kind = '${key}' AND positionCaseInsensitiveUTF8(name, {search:String}) > 0 ${own}))`;
  }
  if (key === 'asn') {
    return `AND (startsWith(toString(${expression}), {digits:String})
      OR positionCaseInsensitiveUTF8(dictGet('organisations', 'organisation', ${expression}), {search:String}) > 0)`;
  }
  if (key === 'fingerprint') return `AND startsWith(toString(${expression}), {search:String})`;
  if (networkOfSearch(search)) return 'AND ip BETWEEN {first:IPv6} AND {last:IPv6}';
  return `AND startsWith(replaceRegexpOne(toString(${expression}), '^::ffff:([0-9]+[.])', '\\\\1'), {search:String})`;
}

/** A network that is typed as one. */
function networkOfSearch(search: string): Network | undefined {
  if (!search.includes('/')) return undefined;
  try {
    return parseSubnet(search);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

function searchParams({ key, search }: VelocityListOptions): QueryParams {
  if (search === undefined) return {};
  const network = key === 'ip' || key === 'subnet' ? networkOfSearch(search) : undefined;
  // "aff_12", "AS680" or the number alone; '-' begins no number.
  const digits = /^(?:as|aff_|lnk_)?(\d+)$/i.exec(search)?.[1] ?? '-';
  return {
    search: search.toLowerCase(),
    digits,
    ...(network && { first: network.first, last: network.last }),
  };
}

function checkNumber(field: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new InputError(field, `must be a whole number from ${min} to ${max}`);
}
