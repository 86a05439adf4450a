import { asnOf, type BlockRow, MAX_DOMAIN_LENGTH } from '../../core/blocks/block.ts';
import { assert, OperatingError } from '../../core/errors.ts';
import { formatIp, isMappedIpv4, networkBytes, parseNetwork } from '../../core/ip.ts';
import { DAY_MS } from '../../core/time.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { texts } from '../clickhouse/literals.ts';
import { readWatermark } from '../watermark/watermark.ts';

/** What an entry of the block lists matches. */
export type PreviewTarget = Pick<BlockRow, 'kind' | 'value' | 'affiliateId' | 'sub'>;

export interface PreviewMoney {
  /** ISO 4217; the amounts are in its minor units. */
  readonly currency: string;
  readonly revenueMinor: bigint;
  readonly commissionMinor: bigint;
}

/** What entries would have caught. */
export interface BlockPreview {
  /** The days that were looked at, half-open. */
  readonly from: Date;
  readonly to: Date;
  /** The time ran out before all days were looked at. */
  readonly isPartial: boolean;
  readonly clicks: number;
  readonly validClicks: number;
  /** Of the program, or of every one: caught or not. */
  readonly allClicks: number;
  /** Credited to an affiliate, or in review, by such a click. */
  readonly orders: number;
  readonly money: readonly PreviewMoney[];
  /** Those with the most clicks first. */
  readonly affiliates: readonly {
    readonly affiliateId: number;
    readonly clicks: number;
    readonly validClicks: number;
  }[];
  /** Every click before this is counted. */
  readonly completeTo: Date | undefined;
}

export const PREVIEW_DAYS = 7;
/** A person waits for it. */
const PREVIEW_MS = 10_000;
/** The condition of a query; each is tried on every click of the week. */
export const MAX_PREVIEW_TARGETS = 100;
export const PREVIEW_AFFILIATES = 10;
const MAX_MEMORY = 2_000_000_000;
/** Of `clickhouse_refused`: the time of the query is over. */
const TIMEOUT_EXCEEDED = 159;
const IPV4 = "ip BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255')";

/**
 * What entries would have caught in the last {@link PREVIEW_DAYS} days, as they are written: what a program cuts off an address
 * is not known here ({@link needsWholeAddress}). Day by day, the last one first, so that something is known when the time runs out.
 * @throws OperatingError `clickhouse_refused` when not even one day could be read in time.
 */
export async function previewBlocks(
  warehouse: Warehouse,
  options: { programId: number | undefined; targets: readonly PreviewTarget[]; now: Date },
): Promise<BlockPreview> {
  const { programId, targets, now } = options;
  assert(targets.length >= 1 && targets.length <= MAX_PREVIEW_TARGETS, 'a preview has 1 to 100 entries');
  const deadline = Date.now() + PREVIEW_MS;
  const condition = `(${targets.map(conditionOf).join(' OR ')})`;
  const completeTo = await readWatermark(warehouse);
  const days: Day[] = [];
  for (let day = 0; day < PREVIEW_DAYS; day++) {
    const to = now.getTime() - day * DAY_MS;
    const read = await readDay(warehouse, { programId, condition, from: to - DAY_MS, to, deadline }).catch(
      (error: unknown) => {
        const isOver = error instanceof OperatingError && error.clickhouseCode === TIMEOUT_EXCEEDED;
        if (isOver && day > 0) return undefined;
        throw error;
      },
    );
    if (!read) break;
    days.push(read);
  }
  return {
    ...summed(days),
    from: new Date(now.getTime() - days.length * DAY_MS),
    to: now,
    isPartial: days.length < PREVIEW_DAYS,
    completeTo: completeTo === undefined ? undefined : new Date(completeTo),
  };
}

/** Whether an entry needs more of an address than is kept where addresses are shortened: there the preview finds too little. */
export function needsWholeAddress({ kind, value }: PreviewTarget): boolean {
  if (kind !== 'address' && kind !== 'network') return false;
  const network = parseNetwork(value);
  return network !== undefined && network.bits > 8 * networkBytes(network.address);
}

interface Day {
  readonly allClicks: number;
  readonly affiliates: { affiliate_id: number; total: string; valid: string }[];
  readonly money: { currency: string; orders: string; revenue: string; commission: string }[];
}

/** Undefined when the time was over before. */
async function readDay(
  warehouse: Warehouse,
  options: {
    programId: number | undefined;
    condition: string;
    from: number;
    to: number;
    deadline: number;
  },
): Promise<Day | undefined> {
  const { programId, condition, from, to, deadline } = options;
  if (Date.now() >= deadline) return undefined;
  const params = { from, to, ...(programId !== undefined && { programId }) };
  const within = (time: string) =>
    `${time} >= fromUnixTimestamp64Milli({from:Int64}) AND ${time} < fromUnixTimestamp64Milli({to:Int64})`;
  const ofProgram = programId === undefined ? 'true' : 'program_id = {programId:UInt32}';
  const clicks = `${ofProgram} AND ${within('ts')} AND bitAnd(flags, 256) = 0`;
  const ask = async <Row>(sql: string): Promise<Row[]> => {
    const seconds = Math.max(1, Math.ceil((deadline - Date.now()) / 1_000));
    const limits = { max_execution_time: seconds, max_memory_usage: MAX_MEMORY };
    return (await warehouse.query<Row>(sql, params, limits)).rows;
  };
  const [all] = await ask<{ total: string }>(`SELECT count() AS total FROM clicks WHERE ${clicks}`);
  const affiliates = await ask<Day['affiliates'][number]>(
    `SELECT affiliate_id, count() AS total, countIf(bitAnd(flags, 15223) = 0) AS valid
     FROM clicks WHERE ${clicks} AND ${condition} GROUP BY affiliate_id`,
  );
  // The mirror has no more of a click's identity than its time and its link.
  const money =
    affiliates.length === 0
      ? []
      : await ask<Day['money'][number]>(
          `SELECT currency, count() AS orders, toString(sum(amount_minor - refunded_minor)) AS revenue,
             toString(sum(commission_minor)) AS commission
           FROM conversions FINAL
           WHERE ${ofProgram} AND ${within('assumeNotNull(click_ts)')} AND isNotNull(click_ts)
             AND state IN ('attributed', 'review', 'partially_refunded', 'refunded')
             AND (assumeNotNull(click_ts), link_id) IN (SELECT ts, link_id FROM clicks WHERE ${clicks} AND ${condition})
           GROUP BY currency`,
        );
  return { allClicks: Number(all?.total ?? 0), affiliates, money };
}

function summed(
  days: readonly Day[],
): Pick<BlockPreview, 'clicks' | 'validClicks' | 'allClicks' | 'orders' | 'money' | 'affiliates'> {
  const affiliates = new Map<number, { affiliateId: number; clicks: number; validClicks: number }>();
  const money = new Map<string, { currency: string; revenueMinor: bigint; commissionMinor: bigint }>();
  const counts = { clicks: 0, validClicks: 0, allClicks: 0, orders: 0 };
  for (const day of days) {
    counts.allClicks += day.allClicks;
    for (const { affiliate_id: affiliateId, total, valid } of day.affiliates) {
      const known = affiliates.get(affiliateId) ?? { affiliateId, clicks: 0, validClicks: 0 };
      known.clicks += Number(total);
      known.validClicks += Number(valid);
      affiliates.set(affiliateId, known);
      counts.clicks += Number(total);
      counts.validClicks += Number(valid);
    }
    for (const { currency, orders, revenue, commission } of day.money) {
      const known = money.get(currency) ?? { currency, revenueMinor: 0n, commissionMinor: 0n };
      known.revenueMinor += BigInt(revenue);
      known.commissionMinor += BigInt(commission);
      money.set(currency, known);
      counts.orders += Number(orders);
    }
  }
  const top = [...affiliates.values()].toSorted(
    (a, b) => b.clicks - a.clicks || a.affiliateId - b.affiliateId,
  );
  return {
    ...counts,
    money: [...money.values()].toSorted((a, b) => (a.currency < b.currency ? -1 : 1)),
    affiliates: top.slice(0, PREVIEW_AFFILIATES),
  };
}

/** The clicks that an entry matches, as `BlockSet` finds them. */
function conditionOf({ kind, value, affiliateId, sub }: PreviewTarget): string {
  switch (kind) {
    case 'address':
    case 'network':
      return inNetwork(value);
    case 'asn':
      return `asn = ${asnOf(value)}`;
    case 'country':
      return `country = ${texts([value])}`;
    case 'user_agent':
      return `lowerUTF8(user_agent) LIKE ${texts([likePattern(value)])}`;
    case 'referrer': {
      const host = "trimRight(lower(domain(referrer)), '.')";
      const isWithin = `${host} = ${texts([value])} OR endsWith(${host}, ${texts([`.${value}`])})`;
      return `(length(${host}) <= ${MAX_DOMAIN_LENGTH} AND (${isWithin}))`;
    }
    case 'sub_id':
      assert(affiliateId !== null && sub !== null, 'a sub id has its affiliate');
      return `(affiliate_id = ${affiliateId} AND sub${sub} = ${texts([value])})`;
  }
}

function inNetwork(value: string): string {
  const network = parseNetwork(value);
  assert(network, `${value} is a network`);
  const { address, bits } = network;
  const end = (isLast: boolean): string => {
    const bytes = Buffer.from(address);
    for (let bit = bits; bit < 128; bit++) {
      const mask = 0x80 >> (bit & 7);
      const byte = bytes[bit >> 3] ?? 0;
      bytes[bit >> 3] = isLast ? byte | mask : byte & ~mask;
    }
    const text = formatIp(bytes);
    return isMappedIpv4(bytes) ? `toIPv6('::ffff:${text}')` : `toIPv6('${text}')`;
  };
  const within = `ip BETWEEN ${end(false)} AND ${end(true)}`;
  // An IPv6 network holds no IPv4 address.
  return isMappedIpv4(address) ? `(${within})` : `(${within} AND NOT (${IPV4}))`;
}

/** A pattern of `core/blocks/block.ts` as one of LIKE: without `*` it occurs anywhere. */
function likePattern(pattern: string): string {
  const like = pattern.replace(/[\\%_]/g, (sign) => `\\${sign}`);
  return pattern.includes('*') ? like.replaceAll('*', '%') : `%${like}%`;
}
