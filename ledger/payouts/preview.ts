import { VEST_BATCH_SIZE, vestDue } from '../books/commissions.ts';
import type { Database } from '../postgres/db.ts';
import type { AffiliateStatus } from '../programs/affiliates.ts';
import { hashPreview, type PayoutPreview, previewPayouts } from './build.ts';
import { destinations } from './destinations.ts';

/** Why an affiliate with money gets none of it now, the first that holds. */
export const LEFT_OUT_REASONS = [
  /** Pending, suspended or terminated. */
  'not_active',
  /** One of its payouts is on its way or unknown; two at a time are not made. */
  'payout_under_way',
  /** All its money is in the hold. */
  'in_hold',
  /** Its debt takes all that is available. */
  'debt',
  'no_terms',
  'below_minimum',
  /** It was paid in this week or month already. */
  'not_yet_due',
  /** Where its money goes was changed a short time ago. */
  'destination_on_hold',
  /** A refund is working on its commissions: the next run will see. */
  'busy',
] as const;
export type LeftOutReason = (typeof LEFT_OUT_REASONS)[number];

/** An affiliate that has money and is not paid now; amounts in minor units, debt zero or negative. */
export interface LeftOut {
  readonly affiliateId: number;
  readonly currency: string;
  readonly reason: LeftOutReason;
  readonly status: AffiliateStatus;
  readonly pendingMinor: bigint;
  readonly availableMinor: bigint;
  readonly debtMinor: bigint;
  /** What the terms ask for; null without terms. */
  readonly payoutMinMinor: bigint | null;
  /** When where its money goes was last changed; null: it has no destination. */
  readonly destinationChangedAt: Date | null;
  /** Until then nothing is paid there; null: no hold. */
  readonly heldUntil: Date | null;
}

export interface RunPreview {
  /** See {@link hashPreview}: a run that is given it makes these payouts, or none. */
  readonly hash: string;
  readonly payouts: readonly PayoutPreview[];
  readonly leftOut: readonly LeftOut[];
}

/**
 * What a run would pay now, and why everybody else with money would get none. Holds that have ended are ended first,
 * as a run does it and time does anyway; nothing else is kept.
 */
export async function previewRun(
  ledger: Database,
  options: { now: Date; provider: string; programId: number },
): Promise<RunPreview> {
  const { now, programId } = options;
  await vestDue(ledger, { now, limit: VEST_BATCH_SIZE, programId });
  const payouts = await previewPayouts(ledger, options);
  const paid = payouts.map(({ affiliateId }) => affiliateId);
  return { hash: hashPreview(options, payouts), payouts, leftOut: await findLeftOut(ledger, options, paid) };
}

/** Everybody with money or debt who is not among `paid`, by id. The terms are found as a run finds them. */
async function findLeftOut(
  ledger: Database,
  { now, provider, programId }: { now: Date; provider: string; programId: number },
  paid: readonly number[],
): Promise<LeftOut[]> {
  return await ledger<LeftOut[]>`
    with money as (
      select affiliate_id, currency,
        sum(balance_minor) filter (where kind = 'pending')::bigint as pending_minor,
        sum(balance_minor) filter (where kind = 'available')::bigint as available_minor,
        sum(balance_minor) filter (where kind = 'debt')::bigint as debt_minor
      from accounts where program_id = ${programId} and affiliate_id is not null
      group by affiliate_id, currency
    )
    select m.affiliate_id, m.currency, f.status, m.pending_minor, m.available_minor, m.debt_minor,
      t.payout_min_minor, d.changed_at as destination_changed_at,
      case when d.held_until > ${now} then d.held_until end as held_until,
      case
        when f.status <> 'active' then 'not_active'
        when exists (
          select from payouts p where p.affiliate_id = m.affiliate_id and p.currency = m.currency
            and p.state in ('awaiting_approval', 'created', 'submitting', 'submitted', 'unknown')
        ) then 'payout_under_way'
        when m.available_minor <= 0 and m.pending_minor > 0 then 'in_hold'
        when m.available_minor + m.debt_minor <= 0 then 'debt'
        when t.payout_min_minor is null then 'no_terms'
        when m.available_minor + m.debt_minor < t.payout_min_minor then 'below_minimum'
        when t.payout_schedule <> 'daily' and exists (
          select from payouts p where p.affiliate_id = m.affiliate_id and p.state not in ('failed', 'canceled', 'returned')
            and p.created_at >= date_trunc(
              case t.payout_schedule when 'weekly' then 'week' else 'month' end, ${now}::timestamptz, 'UTC')
        ) then 'not_yet_due'
        when d.held_until > ${now} then 'destination_on_hold'
        else 'busy'
      end as reason
    from money m join affiliates f on f.id = m.affiliate_id
    join ${destinations(ledger, provider)} d on d.affiliate_id = m.affiliate_id
    left join lateral (
      select payout_min_minor, payout_schedule from terms
      where program_id = ${programId} and campaign_id is null and validity @> ${now}::timestamptz
        and (affiliate_id is null or affiliate_id = m.affiliate_id)
      order by affiliate_id is null limit 1
    ) t on true
    where (m.pending_minor <> 0 or m.available_minor <> 0 or m.debt_minor <> 0)
      and m.affiliate_id <> all(${[...paid]}::integer[])
    order by m.affiliate_id`;
}
