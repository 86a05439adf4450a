import { DAY_MS } from '../../core/time.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import type { ConversionReason } from '../../ledger/conversions/conversions.ts';
import { isExcluded } from '../../ledger/programs/special-rates.ts';
import { applyFraudRules, decisiveRule, type Observations } from './apply-fraud-rules.ts';
import { type ClickFacts, couponsOf, type DecidedChoice, ownClick, type Winner } from './choose.ts';
import { couponResults } from './choose-coupon.ts';
import type { Customer } from './customer.ts';
import type { DECISION_OUTCOMES, Evidence, RuleResult } from './evidence.ts';

/**
 * The rules of attribution, without any store: the same facts always give the same decision, so it can be
 * recomputed. `choose.ts` finds the click or what stands for it, `apply-fraud-rules.ts` looks for fraud; docs/attribution.md states both in prose.
 */

/** Version of the rules in these files, kept with every decision. */
export const RULES_VERSION = 8;

export type Outcome = (typeof DECISION_OUTCOMES)[number];

export interface FraudDecision {
  readonly outcome: Outcome;
  /** Null: attributed, and no rule fired. */
  readonly reason: ConversionReason | null;
}

export interface ExplainedDecision extends FraudDecision {
  readonly evidence: Evidence;
}

/**
 * Decides a conversion whose click was chosen. The observations are of the winner; undefined: no such affiliate. The
 * customer is undefined where no click won, and where a decision is made again that did not ask.
 */
export function decide(
  facts: ClickFacts,
  choice: DecidedChoice,
  observations: Partial<Observations> | undefined,
  customer?: Customer,
): ExplainedDecision {
  const { conversion, rulesVersion } = facts;
  if (choice.kind === 'none' || !observations) {
    const reason = choice.kind === 'none' ? choice.reason : 'no_terms';
    const decided = { outcome: 'unattributed' as const, reason };
    return { ...decided, evidence: evidenceOf({ facts, choice, winner: undefined, rules: [], decided }) };
  }
  const { winner } = choice;
  const rules = applyFraudRules(observations, { thresholds: conversion.fraudRules, rulesVersion });
  const isMatch = winner.source === 'fingerprint' && conversion.fingerprintMatch === 'review';
  const byRules = outcomeOf(rules, { isMatch, firstInReview: isFirstInReview(winner) });
  const isRefused = byRules.outcome !== 'rejected' && isExcluded(winner.terms, customer?.kind ?? null);
  const decided = isRefused ? NOT_ELIGIBLE : byRules;
  return { ...decided, evidence: evidenceOf({ facts, choice, winner, rules, decided, customer }) };
}

/** The terms credit no affiliate for orders of such a customer: a reviewer has nothing to decide. */
const NOT_ELIGIBLE: FraudDecision = { outcome: 'rejected', reason: 'customer_not_eligible' };

/** The outcome by the results of the rules, and by the two reasons for a review that are no rules. */
export function outcomeOf(
  rules: readonly RuleResult[],
  { isMatch, firstInReview }: { isMatch: boolean; firstInReview: boolean },
): FraudDecision {
  const fired = decisiveRule(rules);
  if (isMatch && fired?.effect !== 'rejected') return { outcome: 'review', reason: 'fingerprint_match' };
  if (firstInReview && !fired) return { outcome: 'review', reason: 'first_order_in_review' };
  return { outcome: fired?.effect ?? 'attributed', reason: fired?.rule ?? null };
}

function evidenceOf(options: {
  facts: ClickFacts;
  choice: DecidedChoice;
  winner: Winner | undefined;
  rules: readonly RuleResult[];
  decided: FraudDecision;
  customer?: Customer | undefined;
}): Evidence {
  const { facts, choice, winner, rules, decided, customer } = options;
  const { conversion } = facts;
  return {
    schema: 2,
    rulesVersion: RULES_VERSION,
    programRulesVersion: conversion.rulesVersion,
    model: winner?.model ?? null,
    source: winner?.source ?? null,
    firstInReview: winner !== undefined && isFirstInReview(winner),
    firstOrder: facts.subscription?.conversionId.toString() ?? null,
    merges: facts.merges,
    completeTo: new Date(facts.completeToMs).toISOString(),
    gaveUp: facts.gaveUp,
    candidates: [...choice.candidates],
    coupons: couponResults(facts.coupons, {
      faults: couponsOf(facts).faults,
      winner: winner && {
        affiliateId: winner.click.affiliateId,
        couponId: winner.source === 'coupon' ? winner.couponId : undefined,
      },
    }),
    window: winner ? windowOf(conversion, winner) : null,
    termsId: winner?.terms.id ?? null,
    rules: [...rules],
    ...(customer && { customer }),
    decided,
  };
}

function isFirstInReview(winner: Winner): boolean {
  return winner.source === 'recurring' && winner.firstInReview;
}

/** A coupon and a person have no window. */
function windowOf(conversion: ClaimedConversion, winner: Winner): Evidence['window'] {
  const { click, terms, source } = winner;
  if (ownClick(winner) === undefined && source !== 'recurring') return null;
  return {
    from: new Date(click.ts).toISOString(),
    to: new Date(click.ts + terms.cookieDays * DAY_MS).toISOString(),
    occurredAt: conversion.occurredAt.toISOString(),
  };
}
