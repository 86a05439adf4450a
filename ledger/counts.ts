import type { ConversionState, ConversionStatus } from './conversions.ts';
import type { LedgerSql } from './db.ts';
import type { PayoutState } from './payouts.ts';

/** How many conversions are in each state. */
export async function countConversions(
  _sql: LedgerSql,
  _options: { programId: number },
): Promise<{ state: ConversionState; status: ConversionStatus; conversions: bigint; amountMinor: bigint }[]> {
  throw new Error('not built yet');
}

/** What each level earned and gave back. */
export async function sumCommissions(
  _sql: LedgerSql,
  _options: { programId: number },
): Promise<{ level: number; commissions: bigint; earnedMinor: bigint; reversedMinor: bigint }[]> {
  throw new Error('not built yet');
}

/** How many payouts are in each state, and of how much. */
export async function countPayouts(
  _sql: LedgerSql,
  _options: { programId: number },
): Promise<{ state: PayoutState; payouts: bigint; amountMinor: bigint }[]> {
  throw new Error('not built yet');
}

/** An affiliate's money by account, minor units; `debtMinor` is what it owes, as a positive number. */
export interface Balance {
  readonly affiliateId: number;
  readonly currency: string;
  readonly pendingMinor: bigint;
  readonly availableMinor: bigint;
  readonly inTransitMinor: bigint;
  readonly paidMinor: bigint;
  readonly debtMinor: bigint;
}

export async function affiliateBalance(_sql: LedgerSql, _affiliateId: number): Promise<Balance | undefined> {
  throw new Error('not built yet');
}
