import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { DAYS } from '../warehouse/generate.ts';

/** The clicks of a warehouse as rows of the conventional design, in ClickHouse's SQL. */

/** Ids of the design are UUIDs: those of a number, the same in every store. */
const UUID_OF = (column: string): string =>
  `concat('00000000-0000-4000-8000-', leftPad(lower(hex(${column})), 12, '0'))`;
const IP = "replaceRegexpOne(IPv6NumToString(ip), '^::ffff:', '')";
/** The design keeps 32 hexadecimal digits of the hash of which the warehouse keeps 16. */
const DIGITS = "leftPad(lower(hex(fingerprint)), 16, '0')";

export const USERS = `SELECT DISTINCT ${UUID_OF('affiliate_id')} FROM clicks`;
export const AFFILIATES = `SELECT DISTINCT ${UUID_OF('affiliate_id')}, ${UUID_OF('affiliate_id')},
    concat('a', toString(affiliate_id)), 'active' FROM clicks`;
export const LINKS = `SELECT DISTINCT ${UUID_OF('link_id')}, ${UUID_OF('affiliate_id')}, concat('Campaign ', toString(campaign_id)),
    concat('https://shop.example/landing/', toString(campaign_id)) FROM clicks`;

export interface Span {
  readonly from: Date;
  readonly to: Date;
}

/** The columns of {@link selectClicks} in PostgreSQL's table. */
export const CLICK_COLUMNS = 'affiliate_id, link_id, ip, user_agent, referrer, fingerprint, created_at';

/** The clicks of a span in the order in which they would have been inserted. */
export function selectClicks(span: Span, createdAt: string, more = ''): string {
  return `SELECT ${UUID_OF('affiliate_id')} AS affiliate_id, ${UUID_OF('link_id')} AS link_id, ${IP} AS ip, user_agent,
      referrer, concat(${DIGITS}, ${DIGITS}) AS fingerprint, ${createdAt} AS created_at${more}
    FROM clicks WHERE ts >= fromUnixTimestamp64Milli(${span.from.getTime()})
      AND ts < fromUnixTimestamp64Milli(${span.to.getTime()}) ORDER BY ts`;
}

/** As in {@link Asked.fingerprint}, and as the design keeps it. */
export function fingerprintOf(decimal: string): string {
  return BigInt(decimal).toString(16).padStart(16, '0').repeat(2);
}

/** Spans of `lengthMs` that hold the clicks up to `endMs`. */
export function spansUpTo(endMs: number, lengthMs: number): Span[] {
  const count = Math.ceil(((DAYS + 1) * DAY_MS) / lengthMs);
  // What is made in the last moment belongs to the last span too.
  const endOfLastMs = endMs + HOUR_MS;
  return Array.from({ length: count }, (_, i) => ({
    from: new Date(endOfLastMs - (count - i) * lengthMs),
    to: new Date(endOfLastMs - (count - i - 1) * lengthMs),
  }));
}
