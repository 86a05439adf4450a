import { InputError } from '../../core/errors.ts';
import { MINUTE_MS } from '../../core/time.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';
import { WATERMARK_SQL } from '../watermark/watermark.ts';
import {
  isNetworkOnly,
  networkAround,
  type ProgramScope,
  parseAddress,
  parseFingerprint,
  parseSubnet,
  subnetSql,
} from './subjects.ts';
import { MAX_FAST_KEYS } from './velocity-list.ts';

/** The keys of the counts: an address, its network (/24 of IPv4, /64 of IPv6), or a fingerprint. */
export type VelocityKey = 'ip' | 'subnet' | 'fingerprint';

/** The spans that are counted, in minutes, by the name of their column. */
const SPANS = { m1: 1, m5: 5, m60: 60, h24: 1_440 } as const;
type Span = keyof typeof SPANS;

/** Clicks and conversions of the last 1, 5 and 60 minutes and 24 hours. */
export type SpanCounts = Readonly<Record<Span, number>>;

export interface Velocity {
  readonly clicks: SpanCounts;
  /** By the time of the order; of the winning click's address or fingerprint. */
  readonly conversions: SpanCounts;
  /** Distinct in the last 24 hours, of clicks and orders; user agents of clicks. */
  readonly campaigns: number;
  readonly userAgents: number;
  /** Within the last 24 hours; undefined when nothing was seen. */
  readonly firstSeen: Date | undefined;
  readonly lastSeen: Date | undefined;
  /** Every click before this is counted. */
  readonly completeTo: Date | undefined;
}

/** One key's rows are a few granules: a second thread only has to be waited for. */
const SETTINGS = { max_execution_time: 5, max_memory_usage: 1_000_000_000, max_threads: 1 } as const;

/** Where the last day's clicks are sorted by a key. */
export const VELOCITY_TABLES: Readonly<Record<VelocityKey, string>> = {
  ip: 'velocity_ip',
  subnet: 'velocity_ip',
  fingerprint: 'velocity_fingerprint',
};

/** The rows of one key in its table, and in conversions, which have the address only. */
const MATCHES: Readonly<Record<VelocityKey, { clicks: string; orders: string }>> = {
  ip: { clicks: `subnet = ${subnetSql('{key:IPv6}')} AND ip = {key:IPv6}`, orders: 'ip = {key:IPv6}' },
  subnet: {
    clicks: `subnet BETWEEN ${subnetSql('{first:IPv6}')} AND {last:IPv6} AND ip BETWEEN {first:IPv6} AND {last:IPv6}`,
    orders: 'ip BETWEEN {first:IPv6} AND {last:IPv6}',
  },
  fingerprint: { clicks: 'fingerprint = {key:UInt64}', orders: 'fingerprint = {key:UInt64}' },
};

/** The start of each span as a parameter, `from_m1` and so on: the engine then computes no times while it plans. */
const SPAN_STARTS = Object.keys(SPANS).map((name) => `{from_${name}:DateTime64(3, 'UTC')}`);
/** Columns made of the rows' times: the counts of each span, the first and the last. */
const seenBy = (time: string): string =>
  [
    ...Object.keys(SPANS).map((name, i) => `countIf(${time} >= ${SPAN_STARTS[i]}) AS ${name}`),
    `toUnixTimestamp64Milli(min(${time})) AS first_ms, toUnixTimestamp64Milli(max(${time})) AS last_ms`,
  ].join(', ');
const within = (time: string): string =>
  `${time} >= ${SPAN_STARTS.at(-1)} AND ${time} <= {now:DateTime64(3, 'UTC')}`;

/**
 * The rate of one key's clicks and conversions. `value`: an IPv4 or IPv6 address, for a subnet any address in it; a
 * fingerprint as a decimal number. @throws InputError `value`.
 */
export async function velocityOf(
  warehouse: Warehouse,
  options: { key: VelocityKey; value: string; now: Date; program?: ProgramScope | undefined },
): Promise<Velocity> {
  const { key, now, program } = options;
  const matches = MATCHES[key];
  const ofProgram = program
    ? { clicks: 'AND campaign_id IN {campaigns:Array(UInt32)}', orders: 'AND program_id = {program:UInt32}' }
    : { clicks: '', orders: '' };
  interface Seen extends Record<Span, string> {
    readonly part: 'watermark' | 'clicks' | 'orders';
    readonly first_ms: string;
    readonly last_ms: string;
    readonly campaigns: readonly number[];
    readonly agents: string;
  }
  // One query, because three would take three times as long, and a union, because subqueries are planned and run one by
  // one. The watermark stands first, so that the counts hold everything that it covers.
  const { rows } = await warehouse.query<Seen>(
    `SELECT 'watermark' AS part, 0 AS m1, 0 AS m5, 0 AS m60, 0 AS h24, complete_to AS first_ms,
       complete_to AS last_ms, emptyArrayUInt32() AS campaigns, 0 AS agents FROM (${WATERMARK_SQL})
     UNION ALL
     SELECT 'clicks', ${seenBy('ts')}, groupUniqArray(campaign_id), uniqExact(agent)
     FROM ${VELOCITY_TABLES[key]} WHERE ${matches.clicks} AND ${within('ts')} ${ofProgram.clicks}
     UNION ALL
     SELECT 'orders', ${seenBy('occurred_at')}, groupUniqArrayIf(campaign_id, campaign_id != 0), 0
     FROM conversions FINAL WHERE ${matches.orders} AND ${within('occurred_at')} ${ofProgram.orders}`,
    {
      ...keyParams(key, options.value),
      ...(program && { program: program.id, campaigns: program.campaignIds }),
      now: timeText(now.getTime()),
      ...Object.fromEntries(
        Object.entries(SPANS).map(([name, minutes]) => [
          `from_${name}`,
          timeText(now.getTime() - minutes * MINUTE_MS),
        ]),
      ),
    },
    SETTINGS,
  );
  const parts = new Map(rows.map((row) => [row.part, row]));
  const clicks = parts.get('clicks');
  const completeTo = Number(parts.get('watermark')?.first_ms ?? 0);
  const known = clicks !== undefined && clicks.h24 !== '0';
  return {
    clicks: spanCounts(clicks),
    conversions: spanCounts(parts.get('orders')),
    campaigns: new Set(rows.flatMap(({ campaigns }) => campaigns)).size,
    userAgents: Number(clicks?.agents ?? 0),
    firstSeen: known ? new Date(Number(clicks.first_ms)) : undefined,
    lastSeen: known ? new Date(Number(clicks.last_ms)) : undefined,
    completeTo: completeTo > 0 ? new Date(completeTo) : undefined,
  };
}

/** Upper ends of the classes of time from click to order, seconds; the last class is open. */
const DELAY_CLASSES_S = [10, 30, 60, 300, 3_600, 86_400, 604_800] as const;

export interface DelayClass {
  /** Undefined for the last class: all that took longer. */
  readonly upToSeconds: number | undefined;
  readonly conversions: number;
}

/** The times from click to order of an affiliate's visitors: people seldom order within seconds. */
export async function timeToConvert(
  warehouse: Warehouse,
  options: { affiliateId: number; from: Date; to: Date },
): Promise<DelayClass[]> {
  const { rows } = await warehouse.query<{ class: number; conversions: string }>(
    `SELECT toUInt8(arrayCount(x -> x <= seconds, [${DELAY_CLASSES_S.join(', ')}])) AS class, count() AS conversions
     FROM (
       SELECT dateDiff('second', assumeNotNull(click_ts), occurred_at) AS seconds FROM conversions FINAL
       WHERE affiliate_id = {affiliateId:UInt32} AND isNotNull(click_ts)
         AND occurred_at >= fromUnixTimestamp64Milli({from:Int64}) AND occurred_at < fromUnixTimestamp64Milli({to:Int64})
     )
     GROUP BY class`,
    { affiliateId: options.affiliateId, from: options.from.getTime(), to: options.to.getTime() },
    SETTINGS,
  );
  const counts = new Map(rows.map((row) => [row.class, Number(row.conversions)]));
  return [...DELAY_CLASSES_S, undefined].map((upToSeconds, i) => ({
    upToSeconds,
    conversions: counts.get(i) ?? 0,
  }));
}

export interface SharedAddresses {
  readonly affiliates: readonly [number, number];
  /** Addresses from which valid clicks of both came. */
  readonly addresses: number;
  readonly clicks: number;
}

/** An address with more affiliates than this is a proxy or a provider's gateway, and no evidence against any of them. */
const MAX_AFFILIATES_AN_ADDRESS = 20;

/**
 * Pairs of affiliates that share addresses, those with the most first: the same person behind two accounts.
 * Reads the raw clicks of the range, hours rather than months.
 */
export async function affiliatesSharingAddresses(
  warehouse: Warehouse,
  options: { programId: number; from: Date; to: Date; minAddresses: number; limit: number },
): Promise<SharedAddresses[]> {
  checkNumber('limit', options.limit, 1, MAX_FAST_KEYS);
  const { rows } = await warehouse.query<{ pair: [number, number]; addresses: string; total: string }>(
    `SELECT (affiliates[i], affiliates[j]) AS pair, count() AS addresses, sum(clicks) AS total
     FROM (
       SELECT ip, arraySort(groupUniqArray(${MAX_AFFILIATES_AN_ADDRESS + 1})(affiliate_id)) AS affiliates, count() AS clicks
       FROM clicks
       WHERE program_id = {programId:UInt32} AND bitAnd(flags, 15223) = 0 AND ip != toIPv6('::')
         AND ts >= fromUnixTimestamp64Milli({from:Int64}) AND ts < fromUnixTimestamp64Milli({to:Int64})
       GROUP BY ip HAVING length(affiliates) BETWEEN 2 AND ${MAX_AFFILIATES_AN_ADDRESS}
     )
     ARRAY JOIN arrayEnumerate(affiliates) AS i
     ARRAY JOIN range(i + 1, length(affiliates) + 1) AS j
     GROUP BY pair HAVING addresses >= {minAddresses:UInt32}
     ORDER BY addresses DESC, pair LIMIT {limit:UInt32}`,
    {
      programId: options.programId,
      minAddresses: options.minAddresses,
      limit: options.limit,
      from: options.from.getTime(),
      to: options.to.getTime(),
    },
    { max_execution_time: 15, max_memory_usage: 2_000_000_000 },
  );
  return rows.map((row) => ({
    affiliates: row.pair,
    addresses: Number(row.addresses),
    clicks: Number(row.total),
  }));
}

function spanCounts(row: Readonly<Record<Span, string>> | undefined): SpanCounts {
  return {
    m1: Number(row?.m1 ?? 0),
    m5: Number(row?.m5 ?? 0),
    m60: Number(row?.m60 ?? 0),
    h24: Number(row?.h24 ?? 0),
  };
}

/** The key as the query's parameters. */
function keyParams(key: VelocityKey, value: string): Record<string, string> {
  if (key === 'fingerprint') return { key: parseFingerprint(value) };
  if (key === 'ip') return { key: parseWholeAddress(value) };
  const { first, last } = parseSubnet(value);
  return { first, last };
}

function parseWholeAddress(value: string): string {
  const ip = parseAddress(value);
  if (!isNetworkOnly(ip)) return ip;
  throw new InputError('value', `is a shortened address: ask for its network ${networkAround(ip).text}`);
}

function checkNumber(field: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new InputError(field, `must be a whole number from ${min} to ${max}`);
}
