import { DAY_MS } from '../../core/time.ts';
import { type ObservedOrder, readObservedOrders } from '../../ledger/conversions/observed-orders.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';
import {
  FRAUD_RULE_NAMES,
  type FraudRuleName,
  type FraudThresholds,
  thresholdOf,
} from '../../ledger/programs/fraud-rules.ts';
import { applyFraudRules, hasEffect, type Observations } from '../decide/apply-fraud-rules.ts';
import { type FraudDecision, outcomeOf, RULES_VERSION } from '../decide/decide.ts';
import type { Evidence, RuleResult } from '../decide/evidence.ts';

/**
 * What the fraud rules of a program found of late, and what they would have found with other thresholds. Decisions keep
 * what their rules observed, so that it is only compared again: no click is looked up, and nothing is written.
 */

/** Days that are looked at. */
export const FIRINGS_DAYS = 30;
/** Orders that are looked at, the latest: what is compared in less than a second. */
export const MAX_OBSERVED_ORDERS = 10_000;

/** Orders and their value, minor units of the program's currency. */
export interface OrderSum {
  readonly orders: number;
  readonly amountMinor: bigint;
}

/** Which orders the figures are about. */
export interface Covered {
  readonly orders: number;
  /** Received at this time or later. */
  readonly from: Date;
  /** There were more than {@link MAX_OBSERVED_ORDERS}: the oldest ones are left out. */
  readonly isCut: boolean;
}

/** The orders for which one rule fired. */
export interface Firings extends OrderSum {
  /** Held by this rule, alone or with others, and what reviewers made of them since. */
  readonly inReview: number;
  readonly approved: number;
  readonly rejected: number;
  /** Of those that were held, cancelled or refunded before a reviewer decided. */
  readonly undecided: number;
  /** Orders for which it fired while it only watched, and which no rule held: it would have. */
  readonly wouldHold: OrderSum;
}

/** By rule; a rule that has not fired is missing. */
export async function readFirings(
  sql: DatabaseSql,
  options: { programId: number; now: Date },
): Promise<{ covered: Covered; firings: Map<FraudRuleName, Firings> }> {
  const firings = new Map<FraudRuleName, Firings>();
  const covered = await forEachOrder(sql, options, (order) => {
    const outcome = outcomeThen(order);
    const reviewed = outcome === 'review' ? reviewedAs(order) : undefined;
    for (const { rule, fired, effect } of order.rules) {
      if (!fired) continue;
      const wouldHold = effect === 'none' && outcome === 'attributed';
      const before = firings.get(rule as FraudRuleName) ?? NO_FIRINGS;
      firings.set(rule as FraudRuleName, {
        orders: before.orders + 1,
        amountMinor: before.amountMinor + order.amountMinor,
        inReview: before.inReview + Number(reviewed === 'inReview'),
        approved: before.approved + Number(reviewed === 'approved'),
        rejected: before.rejected + Number(reviewed === 'rejected'),
        undecided: before.undecided + Number(reviewed === 'undecided'),
        wouldHold: wouldHold ? plus(before.wouldHold, order) : before.wouldHold,
      });
    }
  });
  return { covered, firings };
}

/** What reviewers made of an order that was held. */
function reviewedAs({
  state,
  reviewedAt,
  reason,
}: Observed): 'inReview' | 'approved' | 'rejected' | 'undecided' {
  if (reviewedAt !== null) return 'approved';
  if (reason === 'rejected_by_reviewer') return 'rejected';
  return state === 'review' ? 'inReview' : 'undecided';
}

/** What one rule would find with other thresholds. */
export interface RuleChange {
  readonly rule: FraudRuleName;
  /** Orders that it holds with the thresholds in force, and with the other ones, alone or with other rules. */
  readonly before: number;
  readonly after: number;
  /** Orders of which nothing was observed, because the rule was off or did not exist when they were decided. */
  readonly unobserved: number;
}

/** An order that would be held with the other thresholds and is not with those in force, or the other way round. */
export interface ChangedOrder extends Omit<Observed, 'rules' | 'firstInReview' | 'source' | 'decided'> {
  readonly change: 'held' | 'released';
  /** The rules that fire with one kind of thresholds and not with the other. */
  readonly rules: readonly Pick<RuleResult, 'rule' | 'observed'>[];
}

export interface ThresholdsPreview {
  readonly covered: Covered;
  readonly rules: readonly RuleChange[];
  readonly heldBefore: OrderSum;
  readonly heldAfter: OrderSum;
  readonly newlyHeld: OrderSum;
  readonly released: OrderSum;
  /** The newest first, below `after`, `limit` at the most. */
  readonly changed: readonly ChangedOrder[];
  /** Of the last one, where more follow. */
  readonly next: bigint | null;
}

/** Compares the latest orders with the thresholds in force and with others. `proposed` has those that differ alone. */
export async function previewThresholds(
  sql: DatabaseSql,
  options: {
    programId: number;
    inForce: FraudThresholds;
    proposed: FraudThresholds;
    /** Whether fingerprint matches are reviewed. */
    reviewsMatches: boolean;
    now: Date;
    after?: bigint | undefined;
    limit: number;
  },
): Promise<ThresholdsPreview> {
  const { inForce, reviewsMatches, after, limit } = options;
  const proposed = { ...inForce, ...options.proposed };
  const counts = new Map(FRAUD_RULE_NAMES.map((rule) => [rule, { before: 0, after: 0, unobserved: 0 }]));
  const sums = { heldBefore: NO_ORDERS, heldAfter: NO_ORDERS, newlyHeld: NO_ORDERS, released: NO_ORDERS };
  const add = (sum: keyof typeof sums, order: Observed) => {
    sums[sum] = plus(sums[sum], order);
  };
  const changed: ChangedOrder[] = [];
  const covered = await forEachOrder(sql, options, (order) => {
    const observations = Object.fromEntries(order.rules.map((one) => [one.rule, { observed: one.observed }]));
    const [old, next] = [inForce, proposed].map((thresholds) =>
      compare(order, { observations, thresholds, reviewsMatches }),
    ) as [Compared, Compared];
    for (const [rule, count] of counts) {
      count.before += Number(old.fired.has(rule));
      count.after += Number(next.fired.has(rule));
      const isAsked = order.rules.length > 0 && thresholdOf(proposed, rule) !== false;
      count.unobserved += Number(isAsked && !(rule in observations));
    }
    if (old.isHeld) add('heldBefore', order);
    if (next.isHeld) add('heldAfter', order);
    if (old.isHeld === next.isHeld) return;
    add(next.isHeld ? 'newlyHeld' : 'released', order);
    if ((after === undefined || order.id < after) && changed.length <= limit) {
      changed.push(changeOf(order, old, next));
    }
  });
  const shown = changed.slice(0, limit);
  return {
    covered,
    rules: [...counts].map(([rule, count]) => ({ rule, ...count })),
    ...sums,
    changed: shown,
    next: changed.length > limit ? (shown.at(-1)?.id ?? null) : null,
  };
}

/** The members of evidence that are compared; every version wrote the rules alike. */
type ComparedEvidence = Partial<Pick<Evidence, 'rules' | 'decided' | 'source' | 'firstInReview'>>;

interface Observed extends Omit<ObservedOrder, 'evidence'> {
  readonly rules: readonly RuleResult[];
  readonly decided: FraudDecision | undefined;
  readonly source: Evidence['source'];
  readonly firstInReview: boolean;
}

const NO_ORDERS: OrderSum = { orders: 0, amountMinor: 0n };
export const NO_FIRINGS: Firings = {
  ...NO_ORDERS,
  ...{ inReview: 0, approved: 0, rejected: 0, undecided: 0, wouldHold: NO_ORDERS },
};

function plus(sum: OrderSum, { amountMinor }: Observed): OrderSum {
  return { orders: sum.orders + 1, amountMinor: sum.amountMinor + amountMinor };
}

async function forEachOrder(
  sql: DatabaseSql,
  { programId, now }: { programId: number; now: Date },
  visit: (order: Observed) => void,
): Promise<Covered> {
  const since = new Date(now.getTime() - FIRINGS_DAYS * DAY_MS);
  let orders = 0;
  let oldest = since;
  // One more says that there are more.
  const pages = readObservedOrders(sql, { programId, since, limit: MAX_OBSERVED_ORDERS + 1 });
  for await (const page of pages) {
    for (const order of page) {
      if (orders === MAX_OBSERVED_ORDERS) return { orders, from: oldest, isCut: true };
      orders++;
      oldest = order.receivedAt;
      const { evidence, ...kept } = order;
      // Its shape is not checked: that would take longer than everything else.
      const {
        rules = [],
        decided,
        source = null,
        firstInReview = false,
      } = (evidence ?? {}) as ComparedEvidence;
      visit({ ...kept, rules, decided, source, firstInReview });
    }
  }
  return { orders, from: since, isCut: false };
}

/** What was decided, whatever reviewers made of it; before version 5 of the rules it follows from them. */
function outcomeThen({ decided, rules, firstInReview, source }: Observed): FraudDecision['outcome'] {
  return (decided ?? outcomeOf(rules, { isMatch: source === 'fingerprint', firstInReview })).outcome;
}

interface Compared {
  readonly isHeld: boolean;
  readonly fired: ReadonlySet<string>;
}

function compare(
  { rules, source, firstInReview, decided }: Observed,
  options: { observations: Partial<Observations>; thresholds: FraudThresholds; reviewsMatches: boolean },
): Compared {
  const { observations, thresholds, reviewsMatches } = options;
  // A person's decision is subject to no rule.
  const results =
    rules.length === 0 ? [] : applyFraudRules(observations, { thresholds, rulesVersion: RULES_VERSION });
  const { outcome } = outcomeOf(results, {
    isMatch: source === 'fingerprint' && reviewsMatches,
    firstInReview,
  });
  return {
    // The terms credit no affiliate for such a customer, whatever is suspicious.
    isHeld: outcome === 'review' && decided?.reason !== 'customer_not_eligible',
    fired: new Set(results.filter(hasEffect).map(({ rule }) => rule)),
  };
}

function changeOf(order: Observed, old: Compared, next: Compared): ChangedOrder {
  const { rules, firstInReview: _, source: __, decided: ___, ...kept } = order;
  const differing = rules.filter(({ rule }) => old.fired.has(rule) !== next.fired.has(rule));
  return {
    ...kept,
    change: next.isHeld ? 'held' : 'released',
    rules: differing.map(({ rule, observed }) => ({ rule, observed })),
  };
}
