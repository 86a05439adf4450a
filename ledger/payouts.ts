import type { Ledger, LedgerSql, LedgerTransaction } from './db.ts';
import type { Page, PageRequest } from './page.ts';
import type { PayoutProvider } from './payout-provider.ts';

export const PAYOUT_STATES = [
  'created',
  'submitting',
  'submitted',
  'unknown',
  'paid',
  'failed',
  'canceled',
  'returned',
] as const;
export type PayoutState = (typeof PAYOUT_STATES)[number];

export interface Payout {
  readonly id: bigint;
  readonly programId: number;
  readonly affiliateId: number;
  readonly currency: string;
  readonly amountMinor: bigint;
  readonly state: PayoutState;
  readonly provider: string;
  /** What the provider knows this payout by; written before the provider is called, never changed. */
  readonly providerKey: string;
  readonly failure: string | null;
  readonly createdAt: Date;
  readonly submittedAt: Date | null;
  readonly closedAt: Date | null;
}

/** What a run did; `payouts` are those it handed over. */
export interface PayoutRun {
  readonly vested: number;
  readonly built: number;
  readonly submitted: number;
  readonly failed: number;
  readonly unknown: number;
  readonly payouts: Payout[];
}

/** Vests what is due, builds the payouts that are due, and hands them to the provider. Safe to run at any time, by anyone. */
export async function runPayouts(
  _ledger: Ledger,
  _options: { now: Date; provider: PayoutProvider; programId?: number | undefined },
): Promise<PayoutRun> {
  throw new Error('not built yet');
}

export type ClosedPayout =
  | { readonly outcome: 'done'; readonly payout: Payout }
  | { readonly outcome: 'not_found' }
  | { readonly outcome: 'wrong_state'; readonly state: PayoutState };

/** The money has arrived: submitted or unknown → paid. */
export async function settlePayout(
  _tx: LedgerTransaction,
  _options: { payoutId: bigint; now: Date; actor: string },
): Promise<ClosedPayout> {
  throw new Error('not built yet');
}

/** The money has not left: submitting, submitted or unknown → failed; its commissions are available again. */
export async function failPayout(
  _tx: LedgerTransaction,
  _options: { payoutId: bigint; now: Date; actor: string; failure: string },
): Promise<ClosedPayout> {
  throw new Error('not built yet');
}

export async function getPayout(_sql: LedgerSql, _id: bigint): Promise<Payout | undefined> {
  throw new Error('not built yet');
}

/** Payouts, the newest first. */
export async function listPayouts(
  _sql: LedgerSql,
  _request: PageRequest<bigint> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    state?: PayoutState | undefined;
  },
): Promise<Page<Payout, bigint>> {
  throw new Error('not built yet');
}
