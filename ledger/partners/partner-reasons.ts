import type { ConversionState } from '../conversions/conversions.ts';
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
  /** Of the order when it was said: of another state it explains nothing. */
  readonly state: ConversionState;
  readonly at: Date;
}

/**
 * Says it of an order as it is now, and of the later orders of its subscription that a reviewer has rejected with it. The
 * last word counts; earlier ones stay in the audit log by their code. Returns whether it says something new of the order.
 */
export async function setPartnerReason(
  tx: DatabaseTransaction,
  reason: { conversionId: bigint; code: PartnerReasonCode; text: string | null },
): Promise<boolean> {
  const { conversionId, code, text } = reason;
  const said = await tx<{ conversionId: bigint }[]>`
    insert into partner_reasons as r (conversion_id, code, text, state)
    select c.id, ${code}, ${text}, c.state
    from conversions o join conversions c on c.id = o.id
      or o.state = 'rejected' and c.recurring_of = o.id and c.state = 'rejected' and c.reason = 'rejected_by_reviewer'
    where o.id = ${conversionId}
    on conflict (conversion_id) do update
    set code = excluded.code, text = excluded.text, state = excluded.state, at = clock_timestamp()
    where (r.code, r.text, r.state) is distinct from (excluded.code, excluded.text, excluded.state)
    returning r.conversion_id`;
  return said.some((one) => one.conversionId === conversionId);
}

/** The reasons of these conversions, by conversion. */
export async function readPartnerReasons(
  sql: DatabaseSql,
  conversionIds: readonly bigint[],
): Promise<ReadonlyMap<bigint, PartnerReason>> {
  const rows =
    conversionIds.length === 0
      ? []
      : await sql<(PartnerReason & { conversionId: bigint })[]>`
          select conversion_id, code, text, state, at from partner_reasons
          where conversion_id = any(${[...conversionIds]}::bigint[])`;
  return new Map(rows.map(({ conversionId, ...reason }) => [conversionId, reason]));
}
