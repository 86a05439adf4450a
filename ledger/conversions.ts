import type { JSONValue } from 'postgres';
import type { LedgerSql } from './db.ts';
import type { Page, PageRequest } from './page.ts';
import type { FraudSettings } from './programs.ts';

export const CONVERSION_STATES = [
  'received',
  'awaiting_click',
  'attributed',
  'unattributed',
  'review',
  'rejected',
  'partially_refunded',
  'refunded',
] as const;
export type ConversionState = (typeof CONVERSION_STATES)[number];

/** Why a conversion was put in review, rejected or left unattributed. */
export const CONVERSION_REASONS = [
  'self_referral',
  'high_conversion_rate_from_ip',
  'instant_conversion',
  'fingerprint_match',
  'invalid_click',
  'no_click',
  'invalid_click_id',
  'click_not_found',
  'click_of_other_program',
  'click_after_order',
  'outside_window',
  'affiliate_not_active',
  'no_terms',
  'rejected_by_reviewer',
] as const;
export type ConversionReason = (typeof CONVERSION_REASONS)[number];

/** The brief words the outside sees. */
export const CONVERSION_STATUSES = ['pending', 'confirmed', 'rejected', 'paid'] as const;
export type ConversionStatus = (typeof CONVERSION_STATUSES)[number];

export type ConversionSource = 'api' | 'postback';

/** An order as a shop reports it. */
export interface ReportedConversion {
  readonly programId: number;
  readonly orderId: string;
  readonly amountMinor: bigint;
  readonly currency: string;
  readonly source: ConversionSource;
  /** Default: when it is received. */
  readonly occurredAt?: Date | undefined;
  readonly clickId?: string | undefined;
  readonly customerId?: string | undefined;
  /** SHA-256 of the trimmed lower-case address, 64 hexadecimal digits. */
  readonly customerEmailHash?: string | undefined;
  /** The customer's address, never the shop server's. */
  readonly ip?: string | undefined;
  readonly userAgent?: string | undefined;
  /** As in the click record: 64 unsigned bits. */
  readonly fingerprint?: bigint | undefined;
}

export interface Conversion {
  readonly id: bigint;
  readonly programId: number;
  readonly orderId: string;
  readonly amountMinor: bigint;
  readonly currency: string;
  readonly refundedMinor: bigint;
  readonly state: ConversionState;
  readonly status: ConversionStatus;
  readonly reason: ConversionReason | null;
  readonly source: ConversionSource;
  readonly occurredAt: Date;
  readonly receivedAt: Date;
  readonly decidedAt: Date | null;
  readonly clickId: string | null;
  readonly clickTs: Date | null;
  readonly clickNode: number | null;
  readonly clickSeq: number | null;
  readonly clickIp: string | null;
  readonly campaignId: number | null;
  readonly affiliateId: number | null;
  readonly linkId: number | null;
  readonly termsId: number | null;
  readonly evidence: JSONValue;
  readonly customerId: string | null;
  readonly customerEmailHash: string | null;
  readonly ip: string | null;
  readonly userAgent: string | null;
  readonly fingerprint: bigint | null;
  readonly attempts: number;
}

export type RecordedConversion =
  | { readonly outcome: 'accepted'; readonly conversion: Conversion }
  /** The same order with the same payload: the stored answer. */
  | { readonly outcome: 'duplicate'; readonly conversion: Conversion }
  /** The same order with another payload: the stored one stays; `differing` names the fields. */
  | { readonly outcome: 'conflict'; readonly conversion: Conversion; readonly differing: string[] };

/** Records an order once per (program, order id). @throws InputError. */
export async function recordConversion(
  _sql: LedgerSql,
  _conversion: ReportedConversion,
): Promise<RecordedConversion> {
  throw new Error('not built yet');
}

export async function getConversion(_sql: LedgerSql, _id: bigint): Promise<Conversion | undefined> {
  throw new Error('not built yet');
}

export async function findConversionByOrder(
  _sql: LedgerSql,
  _options: { programId: number; orderId: string },
): Promise<Conversion | undefined> {
  throw new Error('not built yet');
}

/** Conversions, the newest first. */
export async function listConversions(
  _sql: LedgerSql,
  _request: PageRequest<bigint> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    state?: ConversionState | undefined;
    status?: ConversionStatus | undefined;
  },
): Promise<Page<Conversion, bigint>> {
  throw new Error('not built yet');
}

/** A conversion to decide, with what its program's rules compare with. */
export interface ClaimedConversion extends Conversion, FraudSettings {
  readonly rulesVersion: number;
}

/** Takes up to `limit` conversions that are due, the longest waiting first; others skip them for a minute. */
export async function claimConversions(
  _sql: LedgerSql,
  _options: { limit: number; now: Date },
): Promise<ClaimedConversion[]> {
  throw new Error('not built yet');
}

/** Puts an undecided conversion off until `nextAttemptAt`: its click may still arrive. */
export async function postponeConversion(
  _sql: LedgerSql,
  _options: { conversionId: bigint; nextAttemptAt: Date },
): Promise<void> {
  throw new Error('not built yet');
}
