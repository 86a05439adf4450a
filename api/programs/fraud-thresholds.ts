import { z } from 'zod';
import {
  FRAUD_RULE_NAMES,
  FRAUD_RULES,
  type FraudRule,
  type FraudRuleName,
  type FraudThresholds,
  isWatching,
  MAX_FRAUD_THRESHOLD,
  thresholdOf,
} from '../../ledger/programs/fraud-rules.ts';

export const threshold = z.union([z.int().min(0).max(MAX_FRAUD_THRESHOLD), z.boolean()]);

/** Thresholds of fraud rules in bodies and answers. */
export const thresholds = z
  .strictObject(
    Object.fromEntries(FRAUD_RULE_NAMES.map((name) => [name, threshold.exactOptional()])) as Record<
      FraudRuleName,
      z.ZodExactOptional<typeof threshold>
    >,
  )
  .meta({
    id: 'FraudRules',
    description: `Thresholds by rule; false switches one off. A rule that only watches is not named. ${FRAUD_RULE_NAMES.map(describe).join('; ')}.`,
  });

function describe(name: FraudRuleName): string {
  const { unit, fallback, watches }: FraudRule = FRAUD_RULES[name];
  return `${name}: ${unit}, ${watches ? 'watches by default, suggested' : 'default'} ${fallback}`;
}

/** The thresholds that hold orders, defaults included. */
export function thresholdsInForce(given: FraudThresholds): z.output<typeof thresholds> {
  const holding = FRAUD_RULE_NAMES.filter((name) => !isWatching(given, name));
  return Object.fromEntries(holding.map((name) => [name, thresholdOf(given, name)]));
}
