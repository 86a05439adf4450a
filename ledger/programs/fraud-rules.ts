import { InputError } from '../../core/errors.ts';

/** A rule with a threshold that a program may change. The two that have none are always on: docs/attribution.md. */
export interface FraudRule {
  /** What is compared with the threshold; `yes or no` has none. */
  readonly unit: string;
  /** Used where a program says nothing; false: off. */
  readonly fallback: number | boolean;
  /** Raised whenever what the rule observes, or how it compares, changes. */
  readonly version: number;
}

/** By name, in the order in which they name the reason when several fire. */
export const FRAUD_RULES = {
  bot_click: { unit: 'yes or no', fallback: true, version: 2 },
  forced_click: { unit: 'yes or no', fallback: true, version: 2 },
  high_conversion_rate_from_ip: { unit: 'conversions an hour', fallback: 10, version: 3 },
  instant_conversion: { unit: 'seconds', fallback: 30, version: 1 },
  click_velocity_ip: { unit: 'clicks in the hour before', fallback: 60, version: 1 },
  click_velocity_subnet: { unit: 'clicks in the hour before', fallback: 600, version: 1 },
  // Thousands of visitors share one User-Agent and language: only the program knows how many are too many.
  click_velocity_fingerprint: { unit: 'clicks in the hour before', fallback: false, version: 1 },
  geo_mismatch: { unit: 'yes or no', fallback: true, version: 1 },
  data_centre: { unit: 'yes or no', fallback: true, version: 1 },
  repeat_orders: { unit: 'orders of one customer a day', fallback: 5, version: 1 },
  // A code that is spoken or printed brings orders without clicks; one that has leaked brings many in a day.
  coupon_without_click: { unit: 'orders of one coupon without a click a day', fallback: 20, version: 1 },
  fast_conversions: { unit: 'percent within two minutes', fallback: 50, version: 2 },
} as const satisfies Readonly<Record<string, FraudRule>>;

export type FraudRuleName = keyof typeof FRAUD_RULES;
export const FRAUD_RULE_NAMES = Object.keys(FRAUD_RULES) as FraudRuleName[];

/** Thresholds by rule; `false` switches a rule off, `true` switches one without a number on. */
export type FraudThresholds = { readonly [Rule in FraudRuleName]?: number | boolean };

/** A rule that compares with more than this compares with nothing. */
export const MAX_FRAUD_THRESHOLD = 1_000_000;

/** @throws InputError naming the rule. */
export function checkFraudThresholds(thresholds: FraudThresholds): void {
  for (const [name, value] of Object.entries(thresholds)) {
    const field = `fraud_rules.${name}`;
    const rule: FraudRule | undefined = FRAUD_RULES[name as FraudRuleName];
    if (!rule) throw new InputError(field, 'there is no such rule');
    const isCount = Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MAX_FRAUD_THRESHOLD;
    const fits = value === false || (rule.unit === 'yes or no' ? value === true : isCount);
    if (fits) continue;
    const expected = rule.unit === 'yes or no' ? 'true' : `0 to ${MAX_FRAUD_THRESHOLD} ${rule.unit}`;
    throw new InputError(field, `must be ${expected}, or false for no such rule`);
  }
}

/** What a rule compares with in a program; false: it is off. */
export function thresholdOf(thresholds: FraudThresholds, rule: FraudRuleName): number | boolean {
  return thresholds[rule] ?? FRAUD_RULES[rule].fallback;
}
