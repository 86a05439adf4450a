import { z } from 'zod';
import { CONVERSION_REASONS } from '../../ledger/conversions/conversions.ts';
import { CUSTOMER_KINDS } from '../../ledger/programs/special-rates.ts';
import { ATTRIBUTION_MODELS } from '../../ledger/programs/terms.ts';

export const DECISION_OUTCOMES = ['attributed', 'review', 'rejected', 'unattributed'] as const;

/** By what an order was credited. */
export const EVIDENCE_SOURCES = ['click_id', 'coupon', 'recurring', 'fingerprint', 'manual'] as const;

/** Why a candidate did not win. */
export const LOSING_REASONS = [
  'click_of_other_program',
  'blocked_click',
  'invalid_click',
  'no_terms',
  'click_after_order',
  'outside_window',
  'later_click',
  'earlier_click',
  'several_affiliates',
  'coupon_counts',
] as const;

/** What rules compare an order with. */
export const HISTORY_PARTS = [
  'affiliate_days',
  'coupon_days',
  'click_to_order',
  'clicks',
  'campaign_sales',
  'shared_customers',
] as const;

/** What became of a coupon code that was reported. */
export const COUPON_RESULTS = [
  'won',
  /** It is of the affiliate that the order is credited to anyway. */
  'agrees',
  'unknown_coupon',
  'coupon_not_valid',
  'affiliate_not_active',
  'no_terms',
  'several_affiliates',
  'subscription_ended',
  'blocked_click',
  'click_counts',
] as const;

const reportedCoupon = z.object({
  /** As the shop gave it. */
  code: z.string(),
  /** Null: of no affiliate. */
  couponId: z.int().nullable(),
  affiliateId: z.int().nullable(),
  campaignId: z.int().nullable(),
  /** As it was when the order was decided; null: without a beginning, or an end. */
  validFrom: z.iso.datetime().nullable(),
  validUntil: z.iso.datetime().nullable(),
  result: z.enum(COUPON_RESULTS),
});

/** A person's decision to credit an order. */
const manualCredit = z.object({
  /** The actor in the audit log. */
  creditedBy: z.string(),
  note: z.string(),
  affiliateId: z.int(),
  campaignId: z.int(),
  linkId: z.int().nullable(),
  /** Why it was credited to no affiliate before; null: it was not decided yet. */
  reasonBefore: z.enum(CONVERSION_REASONS).nullable(),
});

const candidate = z.object({
  /** `ts:node:seq`; of a first order of a subscription that had no click `import:ts`. */
  identity: z.string(),
  at: z.iso.datetime(),
  affiliateId: z.int(),
  campaignId: z.int(),
  /** Null: of a first order that came by no link. */
  linkId: z.int().nullable(),
  /** Null: of a first order that had no click. */
  ip: z.string().nullable(),
  /** Bits of ClickFlag; null: of the first order of a subscription, decided with that one. */
  flags: z.int().nullable(),
  /** Null: it won. */
  lost: z.enum(LOSING_REASONS).nullable(),
});

const ruleResult = z.object({
  rule: z.enum(CONVERSION_REASONS),
  version: z.int(),
  /** `none`: the rule only watches; not written before rules version 8. */
  effect: z.enum(['rejected', 'review', 'none']),
  fired: z.boolean(),
  /** Null: it could not be observed, and the rule did not fire. */
  observed: z.union([z.string(), z.number()]).nullable(),
  threshold: z.union([z.string(), z.number()]),
  /** The period that the rule counts, seconds; null where it counts nothing. */
  windowSeconds: z.number().nullable(),
  /** Behind what was observed, by name; not written before rules version 8, and by few rules. */
  figures: z.record(z.string(), z.number()).optional(),
});

/** Why a conversion ended as it did: stored with it as JSON, enough to explain and to recompute. */
export const evidenceSchema = z.object({
  /** Version of this shape. */
  schema: z.literal(2),
  /** Version of the code that decided. */
  rulesVersion: z.int(),
  /** Version of the program's thresholds. */
  programRulesVersion: z.int(),
  model: z.enum(ATTRIBUTION_MODELS).nullable(),
  source: z.enum(EVIDENCE_SOURCES).nullable(),
  /** The first order of the subscription was in review; not written before rules version 3. */
  firstInReview: z.boolean().default(false),
  /**
   * Id of the customer's first order that was found, by which this one may be credited; null: there was none. Not written
   * before rules version 5.
   */
  firstOrder: z.string().nullable().optional(),
  /** How many merges of the program's affiliates it had seen; not written before rules version 7. */
  merges: z.int().optional(),
  /** Every click older than this was known. */
  completeTo: z.iso.datetime(),
  /** Decided although the warehouse was not complete, because the wait had lasted too long. */
  gaveUp: z.boolean(),
  candidates: z.array(candidate),
  /** The coupon codes of the order; not written before rules version 6. */
  coupons: z.array(reportedCoupon).optional(),
  /** Where a person credited it: then nothing else decided. */
  manual: manualCredit.optional(),
  window: z.object({ from: z.iso.datetime(), to: z.iso.datetime(), occurredAt: z.iso.datetime() }).nullable(),
  termsId: z.int().nullable(),
  rules: z.array(ruleResult),
  /** With which orders the rules compared; not written before rules version 8, and where they compared with none. */
  history: z
    .object({
      /** Received before this time. */
      until: z.iso.datetime(),
      /** All of them were decided. */
      complete: z.boolean(),
      /** What could not be read in its time; the rules that need it observed nothing. */
      unread: z.array(z.enum(HISTORY_PARTS)),
    })
    .optional(),
  /** The order's amount when the decision was written, minor units; not written before rules version 5. */
  amountMinor: z.string().optional(),
  /** Under tiers: the affiliate's volume of the month before the order, minor units; not written before rules version 5. */
  volumeBeforeMinor: z.string().optional(),
  /** Who bought, and who said so; not written before rules version 6. */
  customer: z
    .object({
      kind: z.enum(CUSTOMER_KINDS).nullable(),
      by: z.enum(['subscription', 'shop', 'books']).nullable(),
      earlierOrder: z.string().nullable(),
    })
    .optional(),
  /** What was decided, whatever a reviewer or a refund made of it afterwards; not written before rules version 5. */
  decided: z
    .object({ outcome: z.enum(DECISION_OUTCOMES), reason: z.enum(CONVERSION_REASONS).nullable() })
    .optional(),
});

export type Evidence = Readonly<z.output<typeof evidenceSchema>>;
export type Candidate = Readonly<z.output<typeof candidate>>;
export type RuleResult = Readonly<z.output<typeof ruleResult>>;
export type CouponEvidence = Readonly<z.output<typeof reportedCoupon>>;
export type CouponResult = (typeof COUPON_RESULTS)[number];
export type ManualCredit = Readonly<z.output<typeof manualCredit>>;
export type HistoryPart = (typeof HISTORY_PARTS)[number];
export type LosingReason = (typeof LOSING_REASONS)[number];

/** The evidence of an order of the past that an operator imported as credited: nothing was decided here. */
export interface ImportEvidence {
  readonly schema: 'import';
  /** The actor of the import in the audit log. */
  readonly creditedBy: string;
  readonly linkId: number;
  /** The commissions were paid before, outside these books. */
  readonly paidOutside: boolean;
}

export function isImportEvidence(stored: unknown): stored is ImportEvidence {
  return typeof stored === 'object' && stored !== null && 'schema' in stored && stored.schema === 'import';
}

/**
 * The evidence of a conversion as it was stored. Undefined where there is none (not decided yet, or erased), and where it
 * is of another shape: of an import, or of a version that this code does not know.
 */
export function parseEvidence(stored: unknown): Evidence | undefined {
  return evidenceSchema.safeParse(stored).data;
}

/** The amount of the order by which its commissions were computed, minor units. */
export function decidedAmount(
  { amountMinor }: { readonly amountMinor: bigint },
  evidence: Pick<Evidence, 'amountMinor'>,
): bigint {
  return evidence.amountMinor === undefined ? amountMinor : BigInt(evidence.amountMinor);
}
