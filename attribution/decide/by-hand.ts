import type { Conversion } from '../../ledger/conversions/conversions.ts';
import type { Decision } from '../../ledger/decisions/decisions.ts';
import { type ManualTarget, withoutClick } from './choose.ts';
import type { Customer } from './customer.ts';
import { RULES_VERSION } from './decide.ts';
import { type Evidence, parseEvidence } from './evidence.ts';

/**
 * The decision of a person to credit an order that no evidence credited. What was found before stays in the evidence; no
 * rule applies, and it earns by the terms in force when it occurred.
 */
export function decideByHand(options: {
  conversion: Conversion;
  target: ManualTarget;
  customer: Customer;
  creditedBy: string;
  note: string;
  /** Version of the program's thresholds. */
  programRulesVersion: number;
  now: Date;
}): Decision {
  const { conversion, target, customer, creditedBy, note, programRulesVersion, now } = options;
  const { affiliateId, campaignId, linkId, terms } = target;
  const before = parseEvidence(conversion.evidence);
  const evidence: Evidence = {
    schema: 2,
    rulesVersion: RULES_VERSION,
    programRulesVersion,
    model: null,
    source: 'manual',
    firstInReview: false,
    firstOrder: null,
    completeTo: before?.completeTo ?? now.toISOString(),
    gaveUp: before?.gaveUp ?? false,
    candidates: before?.candidates ?? [],
    coupons: before?.coupons ?? [],
    manual: { creditedBy, note, affiliateId, campaignId, linkId, reasonBefore: conversion.reason },
    window: null,
    termsId: terms.id,
    customer,
    rules: [],
    decided: { outcome: 'attributed', reason: null },
  };
  return {
    conversionId: conversion.id,
    outcome: 'attributed',
    reason: null,
    evidence,
    click: withoutClick(conversion, target),
    termsId: terms.id,
    customerKind: customer.kind,
    now,
  };
}
