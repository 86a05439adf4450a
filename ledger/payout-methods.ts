import type { LedgerSql } from './db.ts';

export const PAYOUT_METHOD_KINDS = ['bank', 'paypal', 'stripe'] as const;
export type PayoutMethodKind = (typeof PAYOUT_METHOD_KINDS)[number];

/** Where an affiliate's money goes. */
export interface PayoutMethod {
  readonly affiliateId: number;
  readonly kind: PayoutMethodKind;
  /** Sealed. */
  readonly details: Buffer;
  /** Enough to recognise it by, such as "…3000". */
  readonly hint: string;
  readonly updatedAt: Date;
}

export async function getPayoutMethod(
  sql: LedgerSql,
  affiliateId: number,
): Promise<PayoutMethod | undefined> {
  const [method] = await sql<PayoutMethod[]>`
    select affiliate_id, kind, details, hint, updated_at from payout_methods where affiliate_id = ${affiliateId}`;
  return method;
}

/** Replaces an affiliate's payout method. */
export async function setPayoutMethod(
  sql: LedgerSql,
  method: Omit<PayoutMethod, 'updatedAt'>,
): Promise<PayoutMethod> {
  const [set] = await sql<[PayoutMethod]>`
    insert into payout_methods ${sql({ ...method })}
    on conflict (affiliate_id) do update set kind = excluded.kind, details = excluded.details, hint = excluded.hint,
      updated_at = clock_timestamp()
    returning affiliate_id, kind, details, hint, updated_at`;
  return set;
}
