import type { DatabaseSql } from './db.ts';

/** A conversion's facts as the mirror keeps them, as of `version`: of two versions the higher one is the newer. */
export interface ConversionFacts {
  readonly id: bigint;
  readonly version: bigint;
  readonly programId: number;
  readonly campaignId: number | null;
  readonly affiliateId: number | null;
  readonly linkId: number | null;
  /** {@link AWAITING_SHOP} in the place of a credited state until the shop approves the order. */
  readonly state: string;
  readonly reason: string | null;
  readonly eventName: string;
  /** The code of the coupon that credits it, as it was first made in the program. */
  readonly coupon: string | null;
  readonly currency: string;
  readonly amountMinor: bigint;
  readonly refundedMinor: bigint;
  /** Earned at all levels: see the view earned_commissions. */
  readonly commissionMinor: bigint;
  /** The part of it that the affiliate has whose click won: level 1. */
  readonly ownCommissionMinor: bigint;
  readonly occurredAt: Date;
  readonly receivedAt: Date;
  /** Null where it was credited without a click: it took no time from a click to the order. */
  readonly clickTs: Date | null;
  /** sub1 to sub5 of the winning click. */
  readonly clickSubs: readonly string[] | null;
  /** Of the winning click, else of the order. */
  readonly ip: string | null;
  /** 64 unsigned bits. */
  readonly fingerprint: bigint | null;
}

/** Changes that the mirror has not got, and the facts of their conversions. */
export interface OutboxBatch {
  /** To be given to {@link forgetOutbox} once the mirror has the facts. */
  readonly ids: readonly bigint[];
  readonly conversions: readonly ConversionFacts[];
}

/**
 * The oldest changes, at most `limit`. Three statements in this order and no transaction: the changes, the version,
 * the facts. A change that is not among the first is still there for the next batch, and one that is was committed
 * before the version was taken, so that a reader with a later version sees it as well.
 */
export async function readOutbox(sql: DatabaseSql, options: { limit: number }): Promise<OutboxBatch> {
  const changes = await sql<{ id: bigint; conversionId: bigint }[]>`
    select id, conversion_id from outbox order by id limit ${options.limit}`;
  if (changes.length === 0) return { ids: [], conversions: [] };
  const [next] = await sql<{ version: bigint }[]>`select nextval('outbox_versions') as version`;
  const version = next?.version ?? 0n;
  const wanted = [...new Set(changes.map((change) => change.conversionId))];
  return {
    ids: changes.map((change) => change.id),
    conversions: await readFacts(sql, wanted, version),
  };
}

async function readFacts(
  sql: DatabaseSql,
  ids: readonly bigint[],
  version: bigint,
): Promise<ConversionFacts[]> {
  const rows = await sql<Omit<ConversionFacts, 'version'>[]>`
    select id, program_id, campaign_id, affiliate_id, link_id, ${mirroredState(sql)} as state, reason, event_name,
      ${couponCode(sql)} as coupon, currency, amount_minor, refunded_minor, commission_minor, own_commission_minor, occurred_at, received_at,
      case when click_node is not null then click_ts end as click_ts, click_subs, host(coalesce(click_ip, ip)) as ip, fingerprint
    from conversions c cross join lateral ${commissionSums(sql)} where id = any(${ids}::bigint[]) order by id`;
  return rows.map((row) => ({
    ...row,
    version,
    fingerprint: row.fingerprint === null ? null : BigInt.asUintN(64, row.fingerprint),
  }));
}

/** A code is the same in any case and whose ever it is: reports have one row of it. */
const couponCode = (sql: DatabaseSql) => sql`(
  select made.code from coupons credited
  join coupons made on made.program_id = credited.program_id and made.code_key = credited.code_key
  where credited.id = c.coupon_id order by made.id limit 1)`;

/** The mirror's state of a credited order that its shop has not approved: neither credited nor earned yet. */
const AWAITING_SHOP = 'awaiting_shop';

const mirroredState = (sql: DatabaseSql) => sql`
  case when c.awaits_shop and c.state in ('attributed', 'partially_refunded') then ${AWAITING_SHOP} else c.state end`;

/** What a conversion's commissions have earned, in all and at level 1: to be joined to `conversions c`. */
function commissionSums(sql: DatabaseSql) {
  return sql`(
    select coalesce(sum(m.earned_minor), 0)::bigint as commission_minor,
      coalesce(sum(m.earned_minor) filter (where m.level = 1), 0)::bigint as own_commission_minor
    from earned_commissions m where m.conversion_id = c.id) sums`;
}

/** Drops changes that the mirror has got. */
export async function forgetOutbox(sql: DatabaseSql, ids: readonly bigint[]): Promise<void> {
  await sql`delete from outbox where id = any(${ids}::bigint[])`;
}

/** Conversions of one statement. */
const REFILL_ROWS = 50_000;

/** Has every conversion given to the mirror, for one that is empty. Repeating it changes nothing. */
export async function refillOutbox(sql: DatabaseSql): Promise<void> {
  for (let after = 0n; ; ) {
    const [step] = await sql<{ last: bigint | null }[]>`
      with taken as (
        insert into outbox (conversion_id)
        select id from conversions where id > ${after} order by id limit ${REFILL_ROWS}
        returning conversion_id
      )
      select max(conversion_id) as last from taken`;
    if (step?.last == null) return;
    after = step.last;
  }
}

/** How many changes wait, and since when the oldest does; null when none does. */
export async function outboxLag(sql: DatabaseSql): Promise<{ waiting: number; oldestAt: Date | null }> {
  const [row] = await sql<{ waiting: number; oldestAt: Date | null }[]>`
    select count(*)::int as waiting, min(created_at) as oldest_at from outbox`;
  return row ?? { waiting: 0, oldestAt: null };
}

/** Everything that was committed before this has been given to the mirror. To be read before the mirror is. */
export async function mirroredTo(sql: DatabaseSql): Promise<Date> {
  const [row] = await sql<
    [{ at: Date }]
  >`select coalesce(min(created_at), clock_timestamp()) as at from outbox`;
  return row.at;
}

/** The books' side of the proof that the mirror is true: sums by program and state. */
export interface ConversionSums {
  readonly programId: number;
  readonly state: string;
  readonly conversions: number;
  readonly amountMinor: bigint;
  readonly refundedMinor: bigint;
  readonly commissionMinor: bigint;
  readonly ownCommissionMinor: bigint;
}

/** Sums of what the mirror must hold, by program and state. */
export async function conversionSums(sql: DatabaseSql): Promise<ConversionSums[]> {
  return await sql<ConversionSums[]>`
    select program_id, ${mirroredState(sql)} as state, count(*)::int as conversions, sum(amount_minor)::bigint as amount_minor,
      sum(refunded_minor)::bigint as refunded_minor,
      sum(commission_minor)::bigint as commission_minor, sum(own_commission_minor)::bigint as own_commission_minor
    from conversions c cross join lateral ${commissionSums(sql)} group by 1, 2 order by 1, 2`;
}
