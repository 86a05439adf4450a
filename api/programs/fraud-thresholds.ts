import { z } from 'zod';
import {
  FRAUD_RULE_NAMES,
  FRAUD_RULES,
  type FraudRuleName,
  type FraudThresholds,
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
    description: `Thresholds by rule; false switches one off. ${FRAUD_RULE_NAMES.map((name) => `${name}: ${FRAUD_RULES[name].unit}, default ${FRAUD_RULES[name].fallback}`).join('; ')}.`,
  });

/** The thresholds as they count, defaults included. */
export function thresholdsInForce(given: FraudThresholds): z.output<typeof thresholds> {
  return Object.fromEntries(FRAUD_RULE_NAMES.map((name) => [name, thresholdOf(given, name)]));
}
