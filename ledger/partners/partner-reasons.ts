import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';

/** What a program says to the partner about an order that is held, rejected, or earns less. */

export const PARTNER_REASON_CODES = [
  'being_checked',
  'cancelled_by_customer',
  'returned',
  'not_paid',
  'test_order',
  'duplicate_order',
  'own_order',
  'not_a_new_customer',
  'against_conditions',
  'unusual_traffic',
  'other',
] as const;
export type PartnerReasonCode = (typeof PARTNER_REASON_CODES)[number];

export interface PartnerReason {
  readonly code: PartnerReasonCode;
  /** In the reviewer's own words; null: the code says it, or it was erased. */
  readonly text: string | null;
  readonly at: Date;
}

/** What a reason is said of: when any of it has changed, it explains the order no more, or another affiliate reads it. */
const aboutOf = (sql: DatabaseSql) => sql`
  concat_ws(' ', c.state, coalesce(c.reason, '-'), coalesce(c.affiliate_id, 0), c.awaits_shop,
    coalesce(extract(epoch from c.cancelled_at), 0), c.amount_minor, coalesce(c.order_amount_minor, 0), c.refunded_minor)`;

/**
 * Says it of an order as it is now, and of the later orders of its subscription that a reviewer has rejected with it. The
 * last word counts; earlier ones stay in the audit log by their code. Returns whether it says something new of the order.
 */
export async function setPartnerReason(
  tx: DatabaseTransaction,
  reason: { conversionId: bigint; code: PartnerReasonCode; text: string | null },
): Promise<boolean> {
  const { conversionId, code, text } = reason;
  const say = async (which: ReturnType<DatabaseSql>) =>
    await tx`
      insert into partner_reasons as r (conversion_id, code, text, about)
      select c.id, ${code}, ${text}, ${aboutOf(tx)} from conversions c where ${which}
      on conflict (conversion_id) do update
      set code = excluded.code, text = excluded.text, about = excluded.about, at = clock_timestamp()
      where (r.code, r.text, r.about) is distinct from (excluded.code, excluded.text, excluded.about)`.affected();
  const isNew = (await say(tx`c.id = ${conversionId}`)) === 1;
  // A statement of its own: together with the one above no index serves both.
  await say(tx`
    c.recurring_of = ${conversionId} and c.state = 'rejected' and c.reason = 'rejected_by_reviewer'
      and exists (select from conversions o where o.id = ${conversionId} and o.state = 'rejected')`);
  return isNew;
}

/** The reasons of these conversions, by conversion, as long as each is as it was when its reason was said. */
export async function readPartnerReasons(
  sql: DatabaseSql,
  conversionIds: readonly bigint[],
): Promise<ReadonlyMap<bigint, PartnerReason>> {
  const rows =
    conversionIds.length === 0
      ? []
      : await sql<(PartnerReason & { conversionId: bigint })[]>`
          select r.conversion_id, r.code, r.text, r.at
          from partner_reasons r join conversions c on c.id = r.conversion_id
          where r.conversion_id = any(${[...conversionIds]}::bigint[]) and r.about = ${aboutOf(sql)}`;
  return new Map(rows.map(({ conversionId, ...reason }) => [conversionId, reason]));
}
