import { formatAmount } from '../../core/money.ts';
import type { Commission } from '../../ledger/books/commissions.ts';
import type { Conversion, ConversionReason } from '../../ledger/conversions/conversions.ts';
import { DEFAULT_EVENT } from '../../ledger/programs/events.ts';
import type { Terms } from '../../ledger/programs/terms.ts';
import {
  type Candidate,
  type CouponEvidence,
  type CouponResult,
  type Evidence,
  isImportEvidence,
  type LosingReason,
  type ManualCredit,
  parseEvidence,
} from '../decide/evidence.ts';
import { explainCustomer, explainEarning } from './explain-earning.ts';
import { explainHistory, explainRule } from './explain-rules.ts';

/** A decision in sentences, from what was stored with it and nothing else. */

const SOURCES: Readonly<Record<NonNullable<Evidence['source']>, string>> = {
  click_id: 'The shop reported its click id.',
  coupon: 'The shop reported a coupon code of the affiliate.',
  manual: 'A person credited it.',
  recurring: 'The order continues a subscription and is credited as its first order.',
  fingerprint:
    'There was no usable click id; the fingerprint and the network of the customer led to the click.',
};

/** Why a click did not win, as the end of a sentence. */
export const LOST: Readonly<Record<LosingReason, string>> = {
  click_of_other_program: 'it is of another program',
  blocked_click: 'an entry of the block lists was in force for it',
  invalid_click: 'it was sent to the fallback, or is not a person’s',
  no_terms: 'no terms were in force for it',
  click_after_order: 'it is later than the order',
  outside_window: 'the order came after its window',
  later_click: 'an earlier click counts in this program',
  earlier_click: 'a later click counts in this program',
  several_affiliates: 'clicks of several affiliates fit, so none is credited',
  coupon_counts: 'the coupon of another affiliate counts in this program',
};

/** What became of a coupon code, as the end of a sentence. */
const COUPONS: Readonly<Record<CouponResult, string>> = {
  won: 'it credits the order',
  agrees: 'it is of the affiliate that is credited anyway',
  unknown_coupon: 'it was of no affiliate of the program',
  coupon_not_valid: 'it was not valid when the order occurred',
  affiliate_not_active: 'its affiliate is terminated',
  no_terms: 'no terms were in force for it',
  several_affiliates: 'the codes of the order are of several affiliates, so none is credited',
  subscription_ended:
    'the months for which later orders of this customer are credited to its affiliate are over',
  blocked_click: 'it is of the affiliate whose blocked click the order names, and helps it to nothing',
  click_counts: 'it does not count beside what credits the order',
};

const WITHOUT_CLICK: Readonly<Partial<Record<ConversionReason, string>>> = {
  no_click: 'The shop reported no click id and no coupon code.',
  unknown_coupon: 'The shop reported no click id, and no coupon code of an affiliate.',
  coupon_not_valid: 'The shop reported no click id, and a coupon code that was not valid.',
  subscription_ended:
    'The shop reported no click id, and a coupon code that credits this customer no longer.',
  invalid_click_id: 'The click id is not one of ours: no click key decrypts it.',
  click_not_found: 'The click id is one of ours, but no such click was recorded.',
  several_affiliates:
    'There was no usable click id, and the coupon codes or the fingerprint fit several affiliates.',
};

/** The reasons of a decision, one sentence a line. */
export function explainConversion(options: {
  conversion: Conversion;
  commissions: readonly Commission[];
  /** The terms it was decided by, where there are any. */
  terms: Terms | undefined;
}): string[] {
  const { conversion, commissions, terms } = options;
  const { orderId, eventName, amountMinor, currency, state, reason } = conversion;
  const amount = `${formatAmount(amountMinor, currency)} ${currency}`;
  const head = `Conversion cnv_${conversion.id} is order ${orderId}${eventName === DEFAULT_EVENT ? '' : ` (${eventName})`} of ${amount}, of ${conversion.occurredAt.toISOString()}: ${state}${reason === null ? '' : ` (${reason})`}.`;
  const evidence = parseEvidence(conversion.evidence);
  if (!evidence) {
    return [
      head,
      withoutEvidence(conversion),
      ...explainLife(conversion),
      ...commissions.map((commission) => explainCommission(commission)),
    ];
  }
  return [
    head,
    ...explainClick(evidence, reason),
    ...(evidence.coupons ?? []).map(explainCoupon),
    ...explainCustomer(evidence),
    ...(terms ? [explainTerms(terms, evidence)] : []),
    ...evidence.rules.map(explainRule),
    ...explainHistory(evidence),
    ...explainLife(conversion),
    ...(terms ? explainEarning(conversion, { evidence, terms, commissions }) : []),
    ...commissions.map((commission) => explainCommission(commission)),
    `Decided${decidedAs(evidence)} by rules version ${evidence.rulesVersion}, thresholds version ${evidence.programRulesVersion} of the program, with every click before ${evidence.completeTo} known${evidence.gaveUp ? ', because the wait had lasted too long' : ''}.`,
  ];
}

/** What became of the order since it was reported. */
function explainLife({
  awaitsShop,
  cancelledAt,
  refundedMinor,
  amountMinor,
  currency,
}: Conversion): string[] {
  const amount = `${formatAmount(amountMinor, currency)} ${currency}`;
  return [
    ...(awaitsShop
      ? ['The shop has reported it as pending: what it earns is held until the shop approves it.']
      : []),
    ...(cancelledAt === null
      ? []
      : [`It is cancelled since ${cancelledAt.toISOString()}: it earns nothing until it is restored.`]),
    ...(cancelledAt === null && refundedMinor > 0n
      ? [`Of its ${amount}, ${formatAmount(refundedMinor, currency)} were refunded or taken off.`]
      : []),
  ];
}

/** Also where a reviewer has decided otherwise since. */
function decidedAs({ decided }: Evidence): string {
  if (!decided) return '';
  return ` as ${decided.outcome}${decided.reason === null ? '' : ` (${decided.reason})`}`;
}

function withoutEvidence({ decidedAt, evidence }: Conversion): string {
  if (decidedAt === null) return 'It has not been decided yet.';
  if (evidence === null || evidence === undefined) return 'Its evidence was erased.';
  if (isImportEvidence(evidence)) {
    const { linkId, creditedBy, paidOutside } = evidence;
    const paid = paidOutside ? ' Its commissions were paid before, outside these books.' : '';
    return `It was imported as credited on link lnk_${linkId}, by ${creditedBy}: no click was looked up, and no rule applied.${paid}`;
  }
  return 'This version does not know the shape of its evidence; the conversion shows it as it was stored.';
}

function explainClick(evidence: Evidence, reason: ConversionReason | null): string[] {
  if (evidence.manual) return explainManual(evidence.manual, lostClicks(evidence));
  const winner = evidence.candidates.find(({ lost }) => lost === null);
  const lost = lostClicks(evidence);
  if (evidence.source === 'coupon') return [SOURCES.coupon, ...lost];
  if (!winner || evidence.source === null) {
    const why = (reason && WITHOUT_CLICK[reason]) ?? 'No click could be credited.';
    return [why, ...lost];
  }
  const model = evidence.model === 'first_click' ? 'first' : 'last';
  return [
    SOURCES[evidence.source],
    ...(evidence.firstInReview ? ['That first order was in review: its decision decides this one.'] : []),
    ...(evidence.source === 'recurring'
      ? [`${describeClick(winner)} had won the first order.`]
      : [`${describeClick(winner)} won: the ${model} valid click before the order counts.`]),
    ...lost,
  ];
}

function lostClicks({ candidates }: Evidence): string[] {
  const losers = candidates.filter(({ lost }) => lost !== null);
  return losers.map(
    (candidate) => `${describeClick(candidate)} did not win: ${LOST[candidate.lost ?? 'no_terms']}.`,
  );
}

function explainManual(
  { creditedBy, note, affiliateId, campaignId, linkId, reasonBefore }: ManualCredit,
  lost: readonly string[],
): string[] {
  const link = linkId === null ? '' : ` on link lnk_${linkId}`;
  const before = reasonBefore === null ? '' : ` It was credited to no affiliate before (${reasonBefore}).`;
  return [
    `${SOURCES.manual.slice(0, -1)}: ${creditedBy}, to affiliate aff_${affiliateId} in campaign cmp_${campaignId}${link}: “${note}”.${before}`,
    ...lost,
  ];
}

function explainCoupon({
  code,
  couponId,
  affiliateId,
  validFrom,
  validUntil,
  result,
}: CouponEvidence): string {
  const owner = couponId === null ? '' : ` (cpn_${couponId} of affiliate aff_${affiliateId})`;
  const span = [validFrom && ` from ${validFrom}`, validUntil && ` until ${validUntil}`]
    .filter(Boolean)
    .join('');
  const validity = couponId === null || span === '' ? '' : `, valid${span}`;
  return `Coupon code ${JSON.stringify(code)}${owner}${validity}: ${COUPONS[result]}.`;
}

function describeClick({ identity, at, affiliateId, campaignId, linkId, ip }: Candidate): string {
  return `Click ${identity} of ${at}${ip === null ? '' : ` from ${ip}`},${linkId === null ? '' : ` on link lnk_${linkId}`} of affiliate aff_${affiliateId} in campaign cmp_${campaignId},`;
}

function explainTerms(terms: Terms, { window }: Evidence): string {
  const scope =
    terms.affiliateId === null
      ? terms.campaignId === null
        ? 'of the program'
        : `of campaign cmp_${terms.campaignId}`
      : `of affiliate aff_${terms.affiliateId}`;
  const promise = window === null ? '' : `; orders until ${window.to} are credited`;
  const event = terms.eventName === null ? '' : ` for ${terms.eventName}`;
  const isByClick = window !== null;
  return `Terms trm_${terms.id} ${scope}${event} were in force at the ${isByClick ? 'click' : 'order'}${promise}.`;
}

function explainCommission(commission: Commission): string {
  const { id, level, part, cause, affiliateId, amountMinor, reversedMinor, currency, state, termsId } =
    commission;
  const further = part === 1 ? '' : `, part ${part} (${cause})`;
  const taken =
    reversedMinor === 0n ? '' : `, of which ${formatAmount(reversedMinor, currency)} were taken back`;
  return `Commission com_${id}: level ${level}${further}, affiliate aff_${affiliateId}, ${formatAmount(amountMinor, currency)} ${currency}${taken}, by terms trm_${termsId}; ${state}.`;
}
