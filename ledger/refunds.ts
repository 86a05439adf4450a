import type { Conversion } from './conversions.ts';
import type { LedgerTransaction } from './db.ts';

export interface Refund {
  readonly id: bigint;
  readonly conversionId: bigint;
  readonly refundRef: string;
  readonly amountMinor: bigint;
  readonly receivedAt: Date;
}

export type RecordedRefund =
  | { readonly outcome: 'recorded'; readonly refund: Refund; readonly conversion: Conversion }
  | { readonly outcome: 'duplicate'; readonly refund: Refund; readonly conversion: Conversion }
  /** The same reference with another amount: the stored one stays. */
  | { readonly outcome: 'conflict'; readonly refund: Refund; readonly conversion: Conversion }
  | { readonly outcome: 'not_found' };

/** Records a refund once per (order, reference) and takes back its share. @throws InputError naming `amount`. */
export async function recordRefund(
  _tx: LedgerTransaction,
  _refund: { programId: number; orderId: string; refundRef: string; amountMinor: bigint; actor: string },
): Promise<RecordedRefund> {
  throw new Error('not built yet');
}
