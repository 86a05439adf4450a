import type { DatabaseSql } from '../postgres/db.ts';
import type { PayoutSchedule } from '../programs/terms.ts';

/** What an affiliate can expect: the rule of its payouts, and when its pending money becomes available. */

/** Pending money whose hold ends on one day. */
export interface Vesting {
  /** `2026-11-24`, of UTC. */
  readonly day: string;
  readonly amountMinor: bigint;
}

/** Pending money by the day on which it becomes available, if nothing is refunded; the earliest first. */
export async function readVestings(
  sql: DatabaseSql,
  { affiliateId }: { affiliateId: number },
): Promise<Vesting[]> {
  return await sql<Vesting[]>`
    select to_char(available_at at time zone 'UTC', 'YYYY-MM-DD') as day,
      sum(amount_minor - reversed_minor + clawback_minor)::bigint as amount_minor
    from commissions where affiliate_id = ${affiliateId} and state = 'pending' group by 1 order by 1`;
}

/** Pending money without such a day: a review holds it, or the shop's approval of the order. */
export async function readHeldMinor(
  sql: DatabaseSql,
  { affiliateId }: { affiliateId: number },
): Promise<bigint> {
  const [row] = await sql<[{ held: bigint }]>`
    select coalesce(sum(amount_minor - reversed_minor + clawback_minor), 0)::bigint as held
    from commissions where affiliate_id = ${affiliateId} and state = 'held'`;
  return row.held;
}

export interface PayoutRule {
  readonly minimumMinor: bigint;
  readonly schedule: PayoutSchedule;
  /** The next week or month, where the schedule lets no other payout be made before; else null. */
  readonly notBefore: Date | null;
}

/** When payouts of an affiliate may be made, by the terms that a payout run goes by; undefined without terms. */
export async function readPayoutRule(
  sql: DatabaseSql,
  { programId, affiliateId, now }: { programId: number; affiliateId: number; now: Date },
): Promise<PayoutRule | undefined> {
  const [rule] = await sql<PayoutRule[]>`
    select t.payout_min_minor as minimum_minor, t.payout_schedule as schedule,
      case when t.payout_schedule <> 'daily' and exists (
        select from payouts p where p.affiliate_id = ${affiliateId} and p.state not in ('failed', 'canceled', 'returned')
          and p.created_at >= date_trunc(span.name, ${now}::timestamptz, 'UTC')
      ) then (date_trunc(span.name, ${now}::timestamptz, 'UTC') at time zone 'UTC' + ('1 ' || span.name)::interval) at time zone 'UTC'
      end as not_before
    from (
      select payout_min_minor, payout_schedule from terms
      where program_id = ${programId} and campaign_id is null and event_name is null and validity @> ${now}::timestamptz
        and (affiliate_id is null or affiliate_id = ${affiliateId})
      order by affiliate_id is null limit 1
    ) t
    cross join lateral (select case t.payout_schedule when 'weekly' then 'week' else 'month' end as name) span`;
  return rule;
}
