import type { LedgerSql } from './db.ts';
import type { Page, PageRequest } from './page.ts';

export const COMMISSION_STATES = [
  'pending',
  'held',
  'available',
  'in_payout',
  'paid',
  'rejected',
  'reversed',
] as const;
export type CommissionState = (typeof COMMISSION_STATES)[number];

/** What one affiliate earns by one conversion. */
export interface Commission {
  readonly id: bigint;
  readonly conversionId: bigint;
  readonly programId: number;
  readonly affiliateId: number;
  /** 1: the affiliate whose click won; 2: its parent; … */
  readonly level: number;
  readonly termsId: number;
  readonly currency: string;
  /** As earned; what refunds took back is in `reversedMinor`. */
  readonly amountMinor: bigint;
  readonly reversedMinor: bigint;
  readonly state: CommissionState;
  readonly availableAt: Date;
  readonly createdAt: Date;
}

/** Commissions, the newest first. */
export async function listCommissions(
  _sql: LedgerSql,
  _request: PageRequest<bigint> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    conversionId?: bigint | undefined;
    state?: CommissionState | undefined;
  },
): Promise<Page<Commission, bigint>> {
  throw new Error('not built yet');
}

/** Makes every pending commission whose hold has ended available, `limit` at a time. */
export async function vestDue(
  _sql: LedgerSql,
  _options: { now: Date; limit: number },
): Promise<{ vested: number }> {
  throw new Error('not built yet');
}
