import type { ClickIdentity } from '../../core/clicks/click-id.ts';
import { assert } from '../../core/errors.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS } from '../../core/time.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';
import { RAW_FLAG_GROUP } from '../reports/report-tables.ts';
import { hasWholeHours } from '../reports/reports.ts';
import { WATERMARK_SQL } from '../watermark/watermark.ts';
import { atTimes, LOOKUP_SETTINGS } from './lookups.ts';
import { EXPLORED_DAYS, type Selection } from './subjects.ts';

/**
 * Everything that the clicks say about one key. Clicks of addresses and fingerprints are counted by projections of
 * `clicks`, those of affiliates and links by the rollups, and those of autonomous systems by the time alone.
 */

/** A carrier's gateway has a million clicks: what one reads of each is read of the newest. */
export const SAMPLED_CLICKS = 200;
/** Orders whose sums are read from the books. */
export const SUMMED_ORDERS = 5_000;

const SETTINGS = { ...LOOKUP_SETTINGS, max_execution_time: 10, max_memory_usage: 2_000_000_000 } as const;

const FROM = "{from:DateTime64(3, 'UTC')}";

function daysBefore(now: Date, days: number): string {
  return timeText(now.getTime() - days * DAY_MS);
}

export interface ClickTotals {
  /** By flag group, such as "ok", "bot" or "repeat"; loads of the pixel are `impression`, and no clicks. */
  readonly byFlagGroup: Readonly<Record<string, number>>;
  /** Of affiliates and links the hour. */
  readonly firstSeen: Date | undefined;
  /** Every click before this is counted. */
  readonly completeTo: Date | undefined;
}

/** How many clicks a key has in its counted days, exactly. */
export async function clickTotals(
  warehouse: Warehouse,
  options: { selection: Selection; now: Date },
): Promise<ClickTotals> {
  const { selection, now } = options;
  // The watermark stands first, so that the counts hold everything that it covers.
  const { rows } = await warehouse.query<{ name: string; clicks: string; first: string }>(
    `SELECT '' AS name, 0 AS clicks, complete_to AS first FROM (${WATERMARK_SQL})
     UNION ALL
     SELECT name, sum(count), toUnixTimestamp64Milli(min(toDateTime64(at, 3, 'UTC')))
     FROM (${counted(selection, 'hour')}) GROUP BY name`,
    { ...selection.params, from: daysBefore(now, selection.countedDays) },
    SETTINGS,
  );
  const groups = rows.filter(({ name }) => name !== '');
  const completeTo = Number(rows.find(({ name }) => name === '')?.first ?? 0);
  return {
    byFlagGroup: Object.fromEntries(groups.map(({ name, clicks }) => [name, Number(clicks)])),
    firstSeen:
      groups.length === 0 ? undefined : new Date(Math.min(...groups.map(({ first }) => Number(first)))),
    completeTo: completeTo > 0 ? new Date(completeTo) : undefined,
  };
}

/** Clicks of a key since `from`: when they were, how many, and of which flag group; one by one, or by hour or minute. */
function counted({ clicks, times, isRolledUp }: Selection, step: TimelineStep | 'click'): string {
  if (isRolledUp && step !== 'click') {
    return `SELECT ${step} AS at, clicks AS count, toString(flag_group) AS name, flag_group != 'impression' AS is_click FROM clicks_${step}ly
      WHERE ${clicks} AND ${step} >= toStartOf${step === 'hour' ? 'Hour' : 'Minute'}(${FROM})`;
  }
  const all = times === undefined ? `${clicks} AND ts >= ${FROM}` : `${atTimes(times)} AND ${clicks}`;
  return `SELECT ts AS at, 1 AS count, ${RAW_FLAG_GROUP} AS name, bitAnd(flags, 256) = 0 AS is_click FROM clicks WHERE ${all}`;
}

/** What a click leads on by. */
export interface ClickKeys extends ClickIdentity {
  readonly affiliateId: number;
  readonly linkId: number;
  /** Dotted IPv4 or IPv6; "::" where it is not known. */
  readonly ip: string;
  readonly asn: number;
  readonly organisation: string;
  readonly fingerprint: string;
}

/** A click as it is shown. */
export interface ExploredClick extends ClickKeys {
  readonly programId: number;
  readonly campaignId: number;
  readonly country: string;
  /** Bits of `ClickFlag`. */
  readonly flags: number;
  readonly userAgent: string;
  readonly referrer: string;
}

interface ClicksWanted {
  readonly selection: Selection;
  readonly now: Date;
  readonly limit: number;
  readonly before?: ClickIdentity | undefined;
}

type ClickRow = Readonly<Record<string, string | number>>;

/** The newest clicks of a key, those before `before`; the newest first. */
export async function newestClicks(warehouse: Warehouse, wanted: ClicksWanted): Promise<ExploredClick[]> {
  const columns = 'program_id, campaign_id, country, flags, user_agent, referrer';
  const rows = await newestRows(warehouse, columns, wanted);
  return rows.map((row) => ({
    ...clickKeys(row),
    programId: Number(row.program_id),
    campaignId: Number(row.campaign_id),
    country: String(row.country),
    flags: Number(row.flags),
    userAgent: String(row.user_agent),
    referrer: String(row.referrer),
  }));
}

/**
 * Keys of the newest clicks, the newest first. Each click is read from another place of the table, where the texts take
 * most of the time.
 */
export async function sampleClicks(warehouse: Warehouse, wanted: ClicksWanted): Promise<ClickKeys[]> {
  return (await newestRows(warehouse, '', wanted)).map(clickKeys);
}

function clickKeys(row: ClickRow): ClickKeys {
  return {
    ts: Number(row.ts_ms),
    node: Number(row.node),
    seq: Number(row.seq),
    affiliateId: Number(row.affiliate_id),
    linkId: Number(row.link_id),
    ip: plainAddress(String(row.address)),
    asn: Number(row.asn),
    organisation: String(row.organisation),
    fingerprint: String(row.print),
  };
}

/** The newest clicks with what {@link clickKeys} reads, and more columns. */
async function newestRows(warehouse: Warehouse, more: string, wanted: ClicksWanted): Promise<ClickRow[]> {
  const { selection, limit, before } = wanted;
  assert(limit >= 1 && limit <= SAMPLED_CLICKS, `at most ${SAMPLED_CLICKS} clicks at once`);
  const times = selection.times ?? (await newestTimes(warehouse, wanted));
  if (times.length === 0) return [];
  const { rows } = await warehouse.query<ClickRow>(
    `SELECT toUnixTimestamp64Milli(ts) AS ts_ms, node, seq, affiliate_id, link_id, toString(ip) AS address, asn,
       dictGet('organisations', 'organisation', asn) AS organisation, toString(fingerprint) AS print ${more && `, ${more}`}
     FROM clicks
     WHERE ${atTimes(times)} AND ${selection.clicks}
       ${before ? 'AND (toUnixTimestamp64Milli(ts), node, seq) < ({beforeMs:Int64}, {node:UInt16}, {seq:UInt32})' : ''}
     ORDER BY ts DESC, node DESC, seq DESC LIMIT {limit:UInt32}`,
    {
      ...selection.params,
      limit,
      ...(before && { beforeMs: before.ts, node: before.node, seq: before.seq }),
    },
    SETTINGS,
  );
  return rows;
}

/** IPv4 as people write it. */
export function plainAddress(text: string): string {
  return text.replace(/^::ffff:(?=\d+\.)/, '');
}

/** A common key fills its page from the last hour; the clicks of a rare one are few in all days. */
const WINDOWS_MS = [HOUR_MS, DAY_MS, WEEK_MS, EXPLORED_DAYS * DAY_MS];

function windowsOf({ isSorted, ofAffiliates }: Selection): readonly number[] {
  if (isSorted) return WINDOWS_MS.slice(-1);
  // Behind the last hour a rollup says where the clicks of an affiliate are.
  return ofAffiliates ? [HOUR_MS, EXPLORED_DAYS * DAY_MS] : WINDOWS_MS;
}

/**
 * The times of the newest clicks, Unix milliseconds: of `limit` before the time of `before`, and of `before` itself. Which
 * ones share the last time does not matter: only the clicks themselves tell those of one millisecond apart. (WITH TIES
 * would read every click of the key.)
 */
async function newestTimes(
  warehouse: Warehouse,
  { selection, now, limit, before }: ClicksWanted,
): Promise<number[]> {
  const oldestMs = now.getTime() - EXPLORED_DAYS * DAY_MS;
  const endMs = before?.ts ?? now.getTime();
  let times: number[] = [];
  for (const windowMs of windowsOf(selection)) {
    const fromMs = Math.max(oldestMs, endMs - windowMs);
    const places =
      selection.ofAffiliates && windowMs > HOUR_MS
        ? await newestHours(warehouse, { selection, now, limit, before })
        : '';
    const { rows } = await warehouse.query<{ ms: string }>(
      `SELECT toUnixTimestamp64Milli(ts) AS ms FROM clicks
       WHERE ${selection.clicks} ${places} AND ts >= ${FROM} ${before ? "AND ts < {before:DateTime64(3, 'UTC')}" : ''}
       ORDER BY ts DESC LIMIT {limit:UInt32}`,
      { ...selection.params, from: timeText(fromMs), limit, ...(before && { before: timeText(before.ts) }) },
      SETTINGS,
    );
    // A rollup may not have yet what was inserted just now: what the last hour gave stays.
    const found = new Set([...times, ...rows.map(({ ms }) => Number(ms))]);
    times = [...found].sort((a, b) => b - a).slice(0, limit);
    if (rows.length >= limit || fromMs === oldestMs) break;
  }
  return before ? [before.ts, ...times] : times;
}

/**
 * A condition for the campaigns and hours that hold the newest clicks of affiliates, so many before the hour of `before`, by
 * the rollup that is sorted by affiliate: the table has each hour of each campaign in a place of its own, and an affiliate of
 * a thousand campaigns who has a click a day was looked for in all of them, in every hour of 90 days.
 */
async function newestHours(
  warehouse: Warehouse,
  { selection, now, limit, before }: ClicksWanted,
): Promise<string> {
  const endMs = before?.ts ?? Number.POSITIVE_INFINITY;
  const { rows } = await warehouse.query<{ hour: number; campaigns: number[]; counted: string }>(
    `SELECT toUnixTimestamp(hour) AS hour, groupUniqArray(campaign_id) AS campaigns, sum(clicks) AS counted FROM clicks_hourly
     WHERE ${selection.clicks} AND hour >= toStartOfHour(${FROM}) ${before ? "AND hour <= {before:DateTime64(3, 'UTC')}" : ''}
     GROUP BY hour HAVING counted > 0 ORDER BY hour DESC LIMIT {hours:UInt32}`,
    {
      ...selection.params,
      from: daysBefore(now, EXPLORED_DAYS),
      // That of `before`, and a click in each further one.
      hours: limit + 1,
      ...(before && { before: timeText(before.ts) }),
    },
    SETTINGS,
  );
  const places: string[] = [];
  let clicks = 0;
  for (const { hour, campaigns, counted } of rows) {
    if (clicks >= limit) break;
    places.push(...campaigns.map((campaign) => `(${campaign}, ${hour})`));
    // Of the last hour some can be later than `before`.
    if (hour * 1_000 + HOUR_MS <= endMs) clicks += Number(counted);
  }
  return places.length === 0
    ? 'AND false'
    : `AND (campaign_id, toUnixTimestamp(toStartOfHour(ts))) IN (${places.join()})`;
}

/** The orders of a key by id, the newest first: those before `before`, of the explorer's days. */
export async function orderIds(
  warehouse: Warehouse,
  options: { selection: Selection; now: Date; limit: number; before?: bigint | undefined },
): Promise<bigint[]> {
  const { selection, now, limit, before } = options;
  const { rows } = await warehouse.query<{ id: string }>(
    `SELECT conversion_id AS id FROM conversions FINAL
     WHERE ${selection.orders} AND occurred_at >= ${FROM} ${before === undefined ? '' : 'AND conversion_id < {before:UInt64}'}
     ORDER BY conversion_id DESC LIMIT {limit:UInt32}`,
    {
      ...selection.params,
      from: daysBefore(now, EXPLORED_DAYS),
      limit,
      ...(before !== undefined && { before: String(before) }),
    },
    SETTINGS,
  );
  return rows.map(({ id }) => BigInt(id));
}

/** The steps of a timeline: the last day by minute, the counted days by hour. */
export const TIMELINE_STEPS = ['minute', 'hour'] as const;
export type TimelineStep = (typeof TIMELINE_STEPS)[number];

/** Between two starts of hours, in every zone, lies a multiple of this. */
const GRID_MS = 15 * MINUTE_MS;

const STEPS = {
  minute: { gridMs: MINUTE_MS, start: 'toStartOfMinute' },
  hour: { gridMs: GRID_MS, start: 'toStartOfHour' },
} as const;

export interface TimelinePoint {
  /** When the step begins. */
  readonly at: Date;
  readonly clicks: number;
  readonly orders: number;
}

/**
 * Clicks and orders by step, the first one first and none left out. Hours are those of the clocks in `timeZone`, by its
 * canonical name.
 */
export async function timeline(
  warehouse: Warehouse,
  options: { selection: Selection; step: TimelineStep; timeZone: string; now: Date },
): Promise<TimelinePoint[]> {
  const { selection, now, timeZone: zone } = options;
  const { gridMs, start } = STEPS[options.step];
  const spanMs = options.step === 'minute' ? DAY_MS : selection.countedDays * DAY_MS;
  const firstMs = Math.floor((now.getTime() - spanMs) / gridMs) * gridMs;
  // The rollup's hours are those of UTC.
  const isWholeHours = options.step === 'minute' || hasWholeHours(zone, { from: new Date(firstMs), to: now });
  const startOf = (time: string) => `toUnixTimestamp(${start}(toTimeZone(${time}, {zone:String})))`;
  const { rows } = await warehouse.query<{ at: number; clicks: string; orders: string }>(
    `SELECT at, sum(c) AS clicks, sum(o) AS orders FROM (
       SELECT ${startOf(`fromUnixTimestamp64Milli({firstMs:Int64} + number * ${gridMs}, 'UTC')`)} AS at, 0 AS c, 0 AS o
       FROM numbers(${Math.floor((now.getTime() - firstMs) / gridMs) + 1})
       UNION ALL
       SELECT ${startOf('clicked.at')} AS at, sum(count), 0 FROM (${counted(selection, isWholeHours ? options.step : 'click')}) AS clicked
       WHERE clicked.at <= {now:DateTime64(3, 'UTC')} AND is_click GROUP BY at
       UNION ALL
       SELECT ${startOf('occurred_at')} AS at, 0, count() FROM conversions FINAL
       WHERE ${selection.orders} AND occurred_at >= ${FROM} AND occurred_at <= {now:DateTime64(3, 'UTC')} GROUP BY at
     ) GROUP BY at ORDER BY at`,
    { ...selection.params, zone, firstMs, from: timeText(firstMs), now: timeText(now.getTime()) },
    SETTINGS,
  );
  return rows.map(({ at, clicks, orders }) => ({
    at: new Date(Number(at) * 1_000),
    clicks: Number(clicks),
    orders: Number(orders),
  }));
}
