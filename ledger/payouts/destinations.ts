import type { DatabaseSql } from '../postgres/db.ts';

/**
 * Where the money of affiliates goes: preview, build and hand-over read it here. After a change nothing is paid there
 * until the hold has ended, which triggers of the database set (`payout_method_hold_days` of the program).
 */

/** Providers that pay an affiliate without a PayPal method to its e-mail address. */
const PAYS_TO_EMAIL: ReadonlySet<string> = new Set(['paypal_csv']);

export const DESTINATION_KINDS = ['bank', 'paypal', 'stripe', 'email'] as const;
export type DestinationKind = (typeof DESTINATION_KINDS)[number];

/** A destination as people see it; everything is null without one. */
export interface Destination {
  readonly kind: DestinationKind | null;
  readonly hint: string | null;
  readonly changedAt: Date | null;
  /** Until then nothing is paid there; null: no hold. */
  readonly heldUntil: Date | null;
}

/** A subquery: the destination of every affiliate, by `affiliate_id`. `held_until` is null without a destination. */
export function destinations(sql: DatabaseSql, provider: string) {
  return sql`(
    select f.id as affiliate_id,
      case when d.to_email then 'email' else m.kind end as kind,
      case when not d.to_email then m.details end as details,
      case when d.to_email then f.email end as email,
      case when d.to_email then left(f.email, 1) || '…@' || left(split_part(f.email, '@', 2), 90) else m.hint end as hint,
      case when not d.to_email then m.version end as method_version,
      case when d.to_email then f.email_changed_by else m.changed_by end as set_by,
      case when d.to_email then f.email_changed_at else m.updated_at end as changed_at,
      case when d.to_email then f.email_held_until else m.held_until end as held_until
    from affiliates f left join payout_methods m on m.affiliate_id = f.id
    cross join lateral (
      select ${PAYS_TO_EMAIL.has(provider)}::boolean and m.kind is distinct from 'paypal' as to_email
    ) d
  )`;
}

/** Where an affiliate's next payout by this provider goes. */
export async function readDestination(
  sql: DatabaseSql,
  options: { affiliateId: number; provider: string; now: Date },
): Promise<Destination> {
  const { affiliateId, provider, now } = options;
  const [destination] = await sql<Destination[]>`
    select kind, hint, changed_at, case when held_until > ${now} then held_until end as held_until
    from ${destinations(sql, provider)} d where affiliate_id = ${affiliateId}`;
  return destination ?? { kind: null, hint: null, changedAt: null, heldUntil: null };
}
