import type { DatabaseSql } from '../postgres/db.ts';
import type { AffiliateStatus } from '../programs/affiliates.ts';
import { BLOCKED_REASONS, destinations } from './destinations.ts';
import { limitsIn, type PayoutProvider } from './provider.ts';

/** What a run is to pay. */
export interface RunScope {
  /** Commissions available then are paid, to destinations whose hold has ended by then. */
  readonly now: Date;
  /** Will move the money. */
  readonly provider: Pick<PayoutProvider, 'name' | 'limits'>;
  readonly programId: number;
  /** Pays this affiliate alone: also below its minimum, off its schedule, and after its termination. */
  readonly affiliateId?: number | undefined;
}

/** Why an affiliate with money gets none of it now, the first that holds. */
export const LEFT_OUT_REASONS = [
  /** Pending, suspended or terminated. */
  'not_active',
  /** One of its payouts is on its way or unknown; two at a time are not made. */
  'payout_under_way',
  /** All its money is in the hold. */
  'in_hold',
  /** Its debt, or its deductions, take all that is available. */
  'debt',
  'no_terms',
  'below_minimum',
  /** It was paid in this week or month already. */
  'not_yet_due',
  /** The provider does not pay the program's currency. */
  'currency_not_supported',
  ...BLOCKED_REASONS,
  /** Its oldest commission alone is more than the provider's largest payment. */
  'above_maximum',
  /** A refund is working on its commissions: the next run will see. */
  'busy',
] as const;
export type LeftOutReason = (typeof LEFT_OUT_REASONS)[number];

/** An affiliate that has money and is not paid now; amounts in minor units, debt zero or negative, adjustments either. */
export interface LeftOut {
  readonly affiliateId: number;
  readonly currency: string;
  readonly reason: LeftOutReason;
  readonly status: AffiliateStatus;
  readonly pendingMinor: bigint;
  readonly availableMinor: bigint;
  readonly debtMinor: bigint;
  readonly adjustmentsMinor: bigint;
  /** What the terms ask for, or the provider's smallest unit where that is more; null without terms. */
  readonly payoutMinMinor: bigint | null;
  /** When where its money goes was last changed; null: it has no destination. */
  readonly destinationChangedAt: Date | null;
  /** Until then nothing is paid there; null: no hold. */
  readonly heldUntil: Date | null;
  /** When a payment to its destination was refused or came back; null: not since it was set. */
  readonly refusedAt: Date | null;
}

/**
 * Everybody with money or debt who is not among `paid`, by id, or only the affiliate of a run for one. The terms are
 * found as the run finds them.
 */
export async function findLeftOut(
  sql: DatabaseSql,
  options: RunScope,
  paid: readonly number[],
): Promise<LeftOut[]> {
  const { now, provider, programId, affiliateId = null } = options;
  const isForOne = affiliateId !== null;
  const [program] = await sql<{ currency: string }[]>`select currency from programs where id = ${programId}`;
  const limits = program && limitsIn(provider.limits, program.currency);
  const unitMinor = limits?.unitMinor ?? 1n;
  return await sql<LeftOut[]>`
    with money as (
      select affiliate_id, currency,
        sum(balance_minor) filter (where kind = 'pending')::bigint as pending_minor,
        sum(balance_minor) filter (where kind = 'available')::bigint as available_minor,
        sum(balance_minor) filter (where kind = 'debt')::bigint as debt_minor,
        sum(balance_minor) filter (where kind = 'adjustments')::bigint as adjustments_minor,
        sum(balance_minor) filter (where kind in ('available', 'debt', 'adjustments'))::bigint as payable_minor
      from accounts where program_id = ${programId} and affiliate_id is not null
        and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      group by affiliate_id, currency
    )
    select m.affiliate_id, m.currency, f.status, m.pending_minor, m.available_minor, m.debt_minor, m.adjustments_minor,
      t.payout_min_minor, d.changed_at as destination_changed_at, d.held_until, d.refused_at,
      case
        when f.status <> 'active' and not (${isForOne} and f.status = 'terminated') then 'not_active'
        when exists (
          select from payouts p where p.affiliate_id = m.affiliate_id and p.currency = m.currency
            and p.state in ('awaiting_approval', 'created', 'submitting', 'submitted', 'unknown')
        ) then 'payout_under_way'
        when m.available_minor <= 0 and m.adjustments_minor <= 0 and m.pending_minor > 0 then 'in_hold'
        when m.payable_minor <= 0 then 'debt'
        when t.payout_min_minor is null then 'no_terms'
        when m.payable_minor < t.payout_min_minor then 'below_minimum'
        when not ${isForOne} and t.payout_schedule <> 'daily' and exists (
          select from payouts p where p.affiliate_id = m.affiliate_id and p.state not in ('failed', 'canceled', 'returned')
            and p.created_at >= date_trunc(
              case t.payout_schedule when 'weekly' then 'week' else 'month' end, ${now}::timestamptz, 'UTC')
        ) then 'not_yet_due'
        when ${limits === undefined} then 'currency_not_supported'
        when d.blocked is not null then d.blocked
        when m.payable_minor > ${limits?.largestMinor ?? null}::bigint then 'above_maximum'
        else 'busy'
      end as reason
    from money m join affiliates f on f.id = m.affiliate_id
    join ${destinations(sql, options)} d on d.affiliate_id = m.affiliate_id
    left join lateral (
      select greatest(${unitMinor}::bigint, case when not ${isForOne} then payout_min_minor end) as payout_min_minor,
        payout_schedule
      from terms
      where program_id = ${programId} and campaign_id is null and event_name is null and validity @> ${now}::timestamptz
        and (affiliate_id is null or affiliate_id = m.affiliate_id)
      order by affiliate_id is null limit 1
    ) t on true
    where (m.pending_minor <> 0 or m.available_minor <> 0 or m.debt_minor <> 0 or m.adjustments_minor <> 0)
      and not (f.merged_into is not null and m.payable_minor = 0) and not (f.status = 'terminated' and m.pending_minor + m.payable_minor = 0)
      and m.affiliate_id <> all(${[...paid]}::integer[])
    order by m.affiliate_id`;
}
