import type { ClickIdentity } from '../../core/clicks/click-id.ts';
import { assert } from '../../core/errors.ts';
import { DAY_MS, MINUTE_MS } from '../../core/time.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';
import { RAW_FLAG_GROUP } from '../reports/report-tables.ts';
import { WATERMARK_SQL } from '../watermark/watermark.ts';
import { atRows, LOOKUP_SETTINGS, ROW_NUMBER, rowsWhere } from './lookups.ts';
import type { Selection } from './subjects.ts';

/**
 * Everything that the clicks say about one key. Addresses are kept so long, and every answer is of these days. Clicks are
 * found by the projections of `clicks` or by its own key, never by reading all of it.
 */
export const EXPLORED_DAYS = 90;

/** A carrier's gateway has a million clicks: what one reads of each is read of the newest. */
export const SAMPLED_CLICKS = 200;
/** Orders whose sums are read from the books. */
export const SUMMED_ORDERS = 5_000;

const SETTINGS = { ...LOOKUP_SETTINGS, max_execution_time: 10, max_memory_usage: 2_000_000_000 } as const;

const FROM = "{from:DateTime64(3, 'UTC')}";
const IS_CLICK = 'bitAnd(flags, 256) = 0';

/** Where the answers of an explorer begin. */
function fromOf(now: Date): string {
  return timeText(now.getTime() - EXPLORED_DAYS * DAY_MS);
}

export interface ClickTotals {
  /** By flag group, such as "ok", "bot" or "repeat"; loads of the pixel are `impression`, and no clicks. */
  readonly byFlagGroup: Readonly<Record<string, number>>;
  readonly firstSeen: Date | undefined;
  readonly lastSeen: Date | undefined;
  /** Every click before this is counted. */
  readonly completeTo: Date | undefined;
}

/** How many clicks a key has, exactly. */
export async function clickTotals(
  warehouse: Warehouse,
  options: { selection: Selection; now: Date },
): Promise<ClickTotals> {
  const { selection, now } = options;
  // The watermark stands first, so that the counts hold everything that it covers.
  const { rows } = await warehouse.query<{ name: string; clicks: string; first: string; last: string }>(
    `SELECT '' AS name, 0 AS clicks, complete_to AS first, complete_to AS last FROM (${WATERMARK_SQL})
     UNION ALL
     SELECT ${RAW_FLAG_GROUP} AS name, count(), toUnixTimestamp64Milli(min(ts)), toUnixTimestamp64Milli(max(ts))
     FROM clicks WHERE ${whole(selection)} GROUP BY name`,
    { ...selection.params, from: fromOf(now) },
    SETTINGS,
  );
  const counted = rows.filter(({ name }) => name !== '');
  const times = (name: 'first' | 'last') => counted.map((row) => Number(row[name]));
  const completeTo = Number(rows.find(({ name }) => name === '')?.first ?? 0);
  return {
    byFlagGroup: Object.fromEntries(counted.map(({ name, clicks }) => [name, Number(clicks)])),
    firstSeen: counted.length === 0 ? undefined : new Date(Math.min(...times('first'))),
    lastSeen: counted.length === 0 ? undefined : new Date(Math.max(...times('last'))),
    completeTo: completeTo > 0 ? new Date(completeTo) : undefined,
  };
}

/** All rows of a key in the explorer's days. */
function whole({ clicks, rows }: Selection): string {
  const found = `${clicks} AND ts >= ${FROM}`;
  return rows === undefined ? found : `${atRows(rowsWhere(found))} AND ${rows}`;
}

/** A click as it is shown. */
export interface ExploredClick extends ClickIdentity {
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly linkId: number;
  /** Dotted IPv4 or IPv6; "::" where it is not known. */
  readonly ip: string;
  readonly asn: number;
  readonly organisation: string;
  readonly country: string;
  readonly fingerprint: string;
  /** Bits of `ClickFlag`. */
  readonly flags: number;
  readonly userAgent: string;
  readonly referrer: string;
}

/** The newest clicks of a key, those before `before`; the newest first. */
export async function newestClicks(
  warehouse: Warehouse,
  options: { selection: Selection; now: Date; limit: number; before?: ClickIdentity | undefined },
): Promise<ExploredClick[]> {
  const { selection, now, limit, before } = options;
  assert(limit >= 1 && limit <= SAMPLED_CLICKS, `at most ${SAMPLED_CLICKS} clicks at once`);
  const { rows } = await warehouse.query<Record<string, string | number>>(
    `SELECT toUnixTimestamp64Milli(ts) AS ts_ms, node, seq, program_id, campaign_id, affiliate_id, link_id,
       toString(ip) AS address, asn, dictGet('organisations', 'organisation', asn) AS organisation, country,
       toString(fingerprint) AS fingerprint, flags, user_agent, referrer
     FROM clicks
     WHERE ${atRows(newestRows(selection, before))} AND ${selection.rows ?? 'true'}
       ${before ? 'AND (toUnixTimestamp64Milli(ts), node, seq) < ({beforeMs:Int64}, {node:UInt16}, {seq:UInt32})' : ''}
     ORDER BY ts DESC, node DESC, seq DESC LIMIT {limit:UInt32}`,
    {
      ...selection.params,
      from: fromOf(now),
      limit,
      ...(before && {
        before: timeText(before.ts),
        beforeMs: before.ts,
        node: before.node,
        seq: before.seq,
      }),
    },
    SETTINGS,
  );
  return rows.map((row) => ({
    ts: Number(row.ts_ms),
    node: Number(row.node),
    seq: Number(row.seq),
    programId: Number(row.program_id),
    campaignId: Number(row.campaign_id),
    affiliateId: Number(row.affiliate_id),
    linkId: Number(row.link_id),
    ip: plainAddress(String(row.address)),
    asn: Number(row.asn),
    organisation: String(row.organisation),
    country: String(row.country),
    fingerprint: String(row.fingerprint),
    flags: Number(row.flags),
    userAgent: String(row.user_agent),
    referrer: String(row.referrer),
  }));
}

/** IPv4 as people write it. */
export function plainAddress(text: string): string {
  return text.replace(/^::ffff:(?=\d+\.)/, '');
}

/**
 * The row numbers of the newest clicks, and of all that share the last one's millisecond: only the table itself tells
 * these apart. Of clicks that are named one by one all are read.
 */
function newestRows({ clicks, rows }: Selection, before: ClickIdentity | undefined): string {
  const found = `${clicks} AND ts >= ${FROM}`;
  if (rows !== undefined) return rowsWhere(found);
  const newest = (condition: string) => `
    SELECT number FROM (
      SELECT ts, ${ROW_NUMBER} AS number FROM clicks WHERE ${condition} ORDER BY ts DESC LIMIT {limit:UInt32} WITH TIES)`;
  if (!before) return newest(found);
  const at = "{before:DateTime64(3, 'UTC')}";
  return `${rowsWhere(`${found} AND ts = ${at}`)} UNION ALL ${newest(`${found} AND ts < ${at}`)}`;
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
      from: fromOf(now),
      limit,
      ...(before !== undefined && { before: String(before) }),
    },
    SETTINGS,
  );
  return rows.map(({ id }) => BigInt(id));
}

/** The steps of a timeline: the last day by minute, the explorer's days by hour. */
export const TIMELINE_STEPS = ['minute', 'hour'] as const;
export type TimelineStep = (typeof TIMELINE_STEPS)[number];

/** Between two starts of hours, in every zone, lies a multiple of this. */
const GRID_MS = 15 * MINUTE_MS;

const STEPS = {
  minute: { spanMs: DAY_MS, gridMs: MINUTE_MS, start: 'toStartOfMinute' },
  hour: { spanMs: EXPLORED_DAYS * DAY_MS, gridMs: GRID_MS, start: 'toStartOfHour' },
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
  const { spanMs, gridMs, start } = STEPS[options.step];
  const firstMs = Math.floor((now.getTime() - spanMs) / gridMs) * gridMs;
  const startOf = (time: string) => `toUnixTimestamp(${start}(toTimeZone(${time}, {zone:String})))`;
  const { rows } = await warehouse.query<{ at: number; clicks: string; orders: string }>(
    `SELECT at, sum(c) AS clicks, sum(o) AS orders FROM (
       SELECT ${startOf(`fromUnixTimestamp64Milli({firstMs:Int64} + number * ${gridMs}, 'UTC')`)} AS at, 0 AS c, 0 AS o
       FROM numbers(${Math.floor((now.getTime() - firstMs) / gridMs) + 1})
       UNION ALL
       SELECT ${startOf('ts')} AS at, count(), 0 FROM clicks
       WHERE ${whole(selection)} AND ts <= {now:DateTime64(3, 'UTC')} AND ${IS_CLICK} GROUP BY at
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
