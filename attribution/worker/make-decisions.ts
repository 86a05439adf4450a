import {
  countEarlier,
  type EarlierCounts,
  NONE_EARLIER,
  type RateQuestion,
} from '../../ledger/conversions/decision-facts.ts';
import type { Decision } from '../../ledger/decisions/decisions.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { observe } from '../decide/apply-fraud-rules.ts';
import { ownClick, type Winner } from '../decide/choose.ts';
import { isCompared } from '../decide/compare-history.ts';
import { decide, type ExplainedDecision } from '../decide/decide.ts';
import { askEach } from './ask-each.ts';
import type { PreparedConversion } from './prepare.ts';
import { nextLook } from './retries.ts';

/** Decides a batch, each order counting for the next one. Counts of earlier orders are locked until `tx` ends. */
export async function makeDecisions(
  tx: DatabaseTransaction,
  prepared: readonly PreparedConversion[],
  now: Date,
): Promise<Decision[]> {
  const counted = await askEach(prepared, rateQuestion, (questions) => countEarlier(tx, questions));
  const tally = createTally();
  return prepared.map((one) => {
    const earlier = tally.add(one, counted.get(one) ?? NONE_EARLIER);
    const { facts, choice, ruleFacts, customer } = one;
    const observations =
      choice.kind === 'won' && ruleFacts
        ? observe({ ...ruleFacts, earlier, conversion: facts.conversion, winner: choice.winner })
        : undefined;
    const decision = decide(facts, choice, observations, customer);
    const history = ruleFacts?.history?.basis;
    return recordable(
      one,
      history ? { ...decision, evidence: { ...decision.evidence, history } } : decision,
      now,
    );
  });
}

function rateQuestion({ facts: { conversion }, choice }: PreparedConversion): RateQuestion | undefined {
  if (choice.kind !== 'won') return undefined;
  const { id: conversionId, programId, receivedAt, customerId } = conversion;
  const { winner } = choice;
  const paymentAccountHash = comparedAccount(conversion, winner);
  return {
    ...{ conversionId, programId, receivedAt, customerId, paymentAccountHash },
    ip: ownIp(winner),
    couponId: couponOf(winner),
  };
}

/** The address of the order's own click. */
function ownIp(winner: Winner): string | null {
  return ownClick(winner)?.ip ?? null;
}

/** Imports are of the past, and later orders of a subscription come by themselves. */
function comparedAccount(
  { source, paymentAccountHash }: PreparedConversion['facts']['conversion'],
  winner: Winner,
): string | null {
  return isCompared({ conversion: { source }, winner }) ? paymentAccountHash : null;
}

function couponOf(winner: Winner): number | null {
  return winner.source === 'coupon' ? winner.couponId : null;
}

/** Counts the orders of one batch by address, customer, coupon and account, as the books count those before it. */
function createTally() {
  const seen = new Map<string, number>();
  const count = (key: string): number => {
    const known = seen.get(key) ?? 0;
    seen.set(key, known + 1);
    return known;
  };
  return {
    /** Counts this order; returns what is counted before it, in the books and in the batch. */
    add({ facts: { conversion }, choice }: PreparedConversion, before: EarlierCounts): EarlierCounts {
      if (choice.kind !== 'won') return before;
      const { programId, customerId } = conversion;
      const account = comparedAccount(conversion, choice.winner);
      const ip = ownIp(choice.winner);
      const couponId = couponOf(choice.winner);
      const fromIp = ip === null ? 0 : before.fromIp + count(`ip ${programId} ${ip}`);
      const fromCustomer =
        customerId === null ? 0 : before.fromCustomer + count(`customer ${programId} ${customerId}`);
      const fromCoupon = couponId === null ? 0 : before.fromCoupon + count(`coupon ${couponId}`);
      const fromAccount =
        account === null ? 0 : before.fromAccount + count(`account ${programId} ${account}`);
      return { fromIp, fromCustomer, fromCoupon, fromAccount };
    },
  };
}

function recordable(
  { facts: { conversion, given }, choice, customer }: PreparedConversion,
  { outcome, reason, evidence }: ExplainedDecision,
  now: Date,
): Decision {
  const winner = choice.kind === 'won' ? choice.winner : undefined;
  const mayReturn = outcome === 'unattributed' && reason === 'click_not_found';
  return {
    conversionId: conversion.id,
    outcome,
    reason,
    evidence,
    click: winner?.click ?? (given.kind === 'found' ? given.click : undefined),
    termsId: winner?.terms.id ?? null,
    ...(winner?.source === 'coupon' && { couponId: winner.couponId }),
    ...(winner?.source === 'recurring' && {
      recurringOf: winner.recurringOf,
      firstInReview: winner.firstInReview,
    }),
    customerKind: customer?.kind,
    nextAttemptAt: mayReturn ? nextLook(now) : undefined,
    now,
  };
}
