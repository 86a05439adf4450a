import type { Ledger, LedgerSql } from './db.ts';

export const COMMISSION_TYPES = ['percent', 'fixed', 'hybrid'] as const;
export type CommissionType = (typeof COMMISSION_TYPES)[number];
export const ATTRIBUTION_MODELS = ['last_click', 'first_click'] as const;
export type AttributionModel = (typeof ATTRIBUTION_MODELS)[number];

/** What an affiliate is promised, for one span of time. */
export interface Terms {
  readonly id: number;
  readonly programId: number;
  readonly campaignId: number | null;
  readonly affiliateId: number | null;
  readonly validFrom: Date | null;
  readonly validTo: Date | null;
  readonly currency: string;
  readonly commissionType: CommissionType;
  readonly rateBps: number;
  readonly fixedMinor: bigint;
  /** Rates of level 2, 3, … in basis points. */
  readonly levelRatesBps: number[];
  readonly holdDays: number;
  readonly cookieDays: number;
  readonly attributionModel: AttributionModel;
  readonly payoutMinMinor: bigint;
  readonly rounding: 'half_even';
  readonly createdAt: Date;
}

/** New terms of a program, or of one campaign, one affiliate, or one affiliate within one campaign. */
export interface NewTerms {
  readonly programId: number;
  readonly campaignId?: number | null | undefined;
  readonly affiliateId?: number | null | undefined;
  /** When they begin, not in the past; default at once, and for a program's first terms from the beginning of time. */
  readonly from?: Date | undefined;
  /** Default percent. */
  readonly commissionType?: CommissionType | undefined;
  /** Default 1,000 for percent and hybrid. */
  readonly rateBps?: number | undefined;
  readonly fixedMinor?: bigint | undefined;
  /** Default [300, 100]. */
  readonly levelRatesBps?: readonly number[] | undefined;
  readonly holdDays?: number | undefined;
  readonly cookieDays?: number | undefined;
  readonly attributionModel?: AttributionModel | undefined;
  /** Default 1,000 major units. */
  readonly payoutMinMinor?: bigint | undefined;
}

/** Closes the terms of the same scope in force at `from` and opens these. @throws InputError. */
export async function setTerms(_ledger: Ledger, _terms: NewTerms): Promise<Terms> {
  throw new Error('not built yet');
}

/** Every version of the terms of a program, the newest first. */
export async function listTerms(_sql: LedgerSql, _options: { programId: number }): Promise<Terms[]> {
  throw new Error('not built yet');
}

export interface TermsQuestion {
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  /** Usually the time of the click. */
  readonly at: Date;
}

/**
 * The terms in force, one answer per question in the same order, in one query.
 * The most specific scope wins: affiliate within campaign, affiliate, campaign, program.
 */
export async function termsInForce(
  _sql: LedgerSql,
  _questions: readonly TermsQuestion[],
): Promise<(Terms | undefined)[]> {
  throw new Error('not built yet');
}
