import type { ConversionState } from './conversions.ts';
import type { LedgerTransaction } from './db.ts';

export type Verdict =
  | { readonly outcome: 'done'; readonly state: ConversionState }
  | { readonly outcome: 'not_found' }
  /** The conversion is not in a state in which this can be done: nothing was changed. */
  | { readonly outcome: 'wrong_state'; readonly state: ConversionState };

/** Who decides, and why: both go to the audit log. */
export interface ReviewRequest {
  readonly conversionId: bigint;
  readonly reviewer: string;
  readonly note: string;
}

/** A reviewer credits a conversion in review: its commissions leave the hold for the ordinary wait. */
export async function approveConversion(_tx: LedgerTransaction, _request: ReviewRequest): Promise<Verdict> {
  throw new Error('not built yet');
}

/** A reviewer rejects a conversion in review: its commissions are taken back. */
export async function rejectConversion(_tx: LedgerTransaction, _request: ReviewRequest): Promise<Verdict> {
  throw new Error('not built yet');
}

/** The operator ends the wait of an attributed conversion: its commissions are available now. */
export async function confirmConversion(
  _tx: LedgerTransaction,
  _request: { conversionId: bigint; actor: string; now: Date },
): Promise<Verdict> {
  throw new Error('not built yet');
}
