import type { DatabaseSql } from '../postgres/db.ts';
import type { PayoutProvider } from './provider.ts';

/**
 * Where the money of affiliates goes: preview, build, hand-over and the affiliate's own view read it here. After a change
 * nothing is paid there until the hold has ended, which triggers of the database set (`payout_method_hold_days` of the
 * program); after a refusal nothing is paid there until it changes.
 */

/** `email`: payouts of earlier versions, to the affiliate's own address. */
export const DESTINATION_KINDS = ['bank', 'paypal', 'stripe', 'email'] as const;
export type DestinationKind = (typeof DESTINATION_KINDS)[number];

/** Why nothing can be paid to an affiliate's destination, the first that holds. */
export const BLOCKED_REASONS = [
  /** The program pays no affiliate without tax data. */
  'no_tax_data',
  'no_payout_method',
  /** Such as an IBAN where the program's provider is Stripe. */
  'method_does_not_fit_provider',
  /** A payment to it was refused or came back, and it was not changed since. */
  'method_refused',
  /** It was changed a short time ago. */
  'destination_on_hold',
] as const;
export type BlockedReason = (typeof BLOCKED_REASONS)[number];

/** A destination as people see it. */
export interface Destination {
  /** Null without one. */
  readonly changedAt: Date | null;
  /** Until then nothing is paid there; null: no hold. */
  readonly heldUntil: Date | null;
  /** When a payment to it was refused or came back; null: not since it was set. */
  readonly refusedAt: Date | null;
  /** Null: money can be paid there. */
  readonly blocked: BlockedReason | null;
}

/** A subquery: the destination of every affiliate, by `affiliate_id`. All but `blocked` is null without one. */
export function destinations(
  sql: DatabaseSql,
  { provider, now }: { provider: Pick<PayoutProvider, 'limits'>; now: Date },
) {
  return sql`(
    select f.id as affiliate_id, m.kind, m.details, m.hint, m.version as method_version, m.changed_by as set_by,
      m.updated_at as changed_at, case when m.held_until > ${now} then m.held_until end as held_until, m.refused_at,
      case
        when r.required_for_payout and t.id is null then 'no_tax_data'
        when m.affiliate_id is null then 'no_payout_method'
        when m.kind <> ${provider.limits.methodKind} then 'method_does_not_fit_provider'
        when m.refused_at is not null then 'method_refused'
        when m.held_until > ${now} then 'destination_on_hold'
      end as blocked
    from affiliates f left join payout_methods m on m.affiliate_id = f.id
    left join tax_rules r on r.program_id = f.program_id left join tax_data t on t.affiliate_id = f.id
  )`;
}

/** Where an affiliate's next payout by this provider goes. */
export async function readDestination(
  sql: DatabaseSql,
  options: { affiliateId: number; provider: Pick<PayoutProvider, 'limits'>; now: Date },
): Promise<Destination> {
  const [destination] = await sql<[Destination]>`
    select changed_at, held_until, refused_at, blocked
    from ${destinations(sql, options)} d where affiliate_id = ${options.affiliateId}`;
  return destination;
}
