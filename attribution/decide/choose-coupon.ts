import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import type { ConversionReason } from '../../ledger/conversions/conversions.ts';
import type { Terms } from '../../ledger/programs/terms.ts';
import type { CouponEvidence, CouponResult } from './evidence.ts';

/** Which coupon speaks for an order, without any store. */

/** What a code was worth at the time of its order. */
export type CouponStanding =
  | 'valid'
  | Extract<CouponResult, 'unknown_coupon' | 'coupon_not_valid' | 'affiliate_not_active'>;

/** A code that the shop reported, with what it was worth. */
export interface ReportedCoupon extends Omit<CouponEvidence, 'result'> {
  readonly standing: CouponStanding;
  /** Of its affiliate and campaign, in force at the time of the order. */
  readonly terms: Terms | undefined;
}

/** A coupon that can credit an order. */
export interface AbleCoupon {
  readonly couponId: number;
  readonly affiliateId: number;
  readonly campaignId: number;
  readonly terms: Terms;
}

export interface CouponChoice {
  /** Undefined: none can, or several of several affiliates. */
  readonly able: AbleCoupon | undefined;
  /** Why none can; undefined where one can, or where no code was reported. */
  readonly reason: ConversionReason | undefined;
  /** Why each did not, in their order; null: it can. */
  readonly faults: readonly (Exclude<CouponResult, 'won' | 'agrees' | 'click_counts'> | null)[];
}

/** Affiliates whose codes do not credit an order, whatever they are worth. */
interface Excluded {
  /** Whose subscription of this customer is over: a code that a shop reports with every payment earns no longer than the terms promise. */
  readonly endedFor: number | undefined;
  /** Whose click the order names, which is blocked: who never earns by a click does not earn by adding a code to it. */
  readonly blockedFor: number | undefined;
}

/** The coupon of an order, if its codes are of one affiliate. */
export function chooseCoupon(coupons: readonly ReportedCoupon[], excluded: Excluded): CouponChoice {
  const single = coupons.map((coupon) => faultOf(coupon, excluded));
  const able = coupons.flatMap((coupon, i) => (single[i] === null ? ableOf(coupon) : []));
  const isAmbiguous = new Set(able.map(({ affiliateId }) => affiliateId)).size > 1;
  const faults = single.map((fault) => (fault === null && isAmbiguous ? 'several_affiliates' : fault));
  const [first] = able;
  if (first && !isAmbiguous) return { able: first, reason: undefined, faults };
  return { able: undefined, reason: REASONS.find((reason) => faults.includes(reason)), faults };
}

/** Of several codes the one that came nearest to crediting the order names the reason. */
const REASONS = [
  'several_affiliates',
  'blocked_click',
  'subscription_ended',
  'no_terms',
  'affiliate_not_active',
  'coupon_not_valid',
  'unknown_coupon',
] as const;

function faultOf({ standing, affiliateId, terms }: ReportedCoupon, { endedFor, blockedFor }: Excluded) {
  if (standing !== 'valid') return standing;
  if (affiliateId === blockedFor) return 'blocked_click';
  if (affiliateId === endedFor) return 'subscription_ended';
  return terms ? null : 'no_terms';
}

function ableOf({ couponId, affiliateId, campaignId, terms }: ReportedCoupon): AbleCoupon[] {
  if (couponId === null || affiliateId === null || campaignId === null || !terms) return [];
  return [{ couponId, affiliateId, campaignId, terms }];
}

/** What became of each code, where the order is credited to this affiliate, by this coupon. */
export function couponResults(
  coupons: readonly ReportedCoupon[],
  {
    faults,
    winner,
  }: {
    faults: CouponChoice['faults'];
    winner: { affiliateId: number; couponId: number | undefined } | undefined;
  },
): CouponEvidence[] {
  return coupons.map(({ standing: _, terms: __, ...coupon }, i) => {
    const fault = faults[i] ?? null;
    const isOfWinner = winner !== undefined && coupon.affiliateId === winner.affiliateId;
    const other =
      isOfWinner && (fault === null || fault === 'several_affiliates') ? 'agrees' : (fault ?? 'click_counts');
    const isWinner = winner?.couponId !== undefined && coupon.couponId === winner.couponId;
    return { ...coupon, result: isWinner ? 'won' : other };
  });
}

/** A code as a decision found it, from its evidence: whatever was done to the coupon since then changes nothing. */
export function couponAsFound({ result, ...coupon }: CouponEvidence): Omit<ReportedCoupon, 'terms'> {
  const wasUnable =
    result === 'unknown_coupon' || result === 'coupon_not_valid' || result === 'affiliate_not_active';
  return { ...coupon, standing: wasUnable ? result : 'valid' };
}

/** The moment by which the coupons and terms of an order without a click are chosen; a shop's clock may be ahead. */
export function couponTime({
  occurredAt,
  receivedAt,
}: Pick<ClaimedConversion, 'occurredAt' | 'receivedAt'>): Date {
  return occurredAt < receivedAt ? occurredAt : receivedAt;
}
