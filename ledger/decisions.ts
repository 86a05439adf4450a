import type { JSONValue } from 'postgres';
import type { Commission } from './commissions.ts';
import type { ConversionReason, ConversionState } from './conversions.ts';
import type { LedgerTransaction } from './db.ts';

/** The click that won a conversion. */
export interface WinningClick {
  /** Unix milliseconds. */
  readonly ts: number;
  readonly node: number;
  readonly seq: number;
  /** Text form, IPv4 not mapped. */
  readonly ip: string;
  readonly linkId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
}

/** What attribution found. `attributed` and `review` need a click and terms; the others may have them. */
export interface Decision {
  readonly conversionId: bigint;
  readonly outcome: 'attributed' | 'review' | 'rejected' | 'unattributed';
  readonly click?: WinningClick | undefined;
  readonly reason: ConversionReason | null;
  readonly evidence: JSONValue;
  readonly termsId: number | null;
  readonly now: Date;
}

export type RecordedDecision =
  | { readonly outcome: 'recorded'; readonly commissions: Commission[] }
  /** Somebody decided before: nothing was changed. */
  | { readonly outcome: 'already_decided'; readonly state: ConversionState };

/** Writes a decision with its commissions and journals; doing it again changes nothing. */
export async function recordDecision(_tx: LedgerTransaction, _decision: Decision): Promise<RecordedDecision> {
  throw new Error('not built yet');
}

/**
 * How many conversions of the program received since then were decided for a click from this ip.
 * Holds a lock until the transaction ends, so that of concurrent decisions each sees the ones before it.
 */
export async function conversionsFromIp(
  _tx: LedgerTransaction,
  _options: { programId: number; ip: string; since: Date },
): Promise<number> {
  throw new Error('not built yet');
}
