import { InputError } from '../../core/errors.ts';
import type { DatabaseSql } from '../postgres/db.ts';

/** A rule with a threshold that a program may change. The two that have none are always on: docs/attribution.md. */
export interface FraudRule {
  /** When it fires; N stands for the threshold. */
  readonly sentence: string;
  /** What is compared with the threshold; `yes or no` has none. */
  readonly unit: string;
  /** Used where a program says nothing; false: off. */
  readonly fallback: number | boolean;
  /**
   * Where a program says nothing, it only watches: it observes and compares with the fallback, a suggestion, and holds no
   * order. So no upgrade changes what a running program decides.
   */
  readonly watches?: true;
  /** Raised whenever what the rule observes, or how it compares, changes. */
  readonly version: number;
  /** Of all rules of attribution, the version since which it exists; not named: the first. */
  readonly since?: number;
}

/** By name, in the order in which they name the reason when several fire. */
export const FRAUD_RULES = {
  bot_click: {
    sentence: 'The click is a bot, a prefetch, a HEAD request or an impression.',
    unit: 'yes or no',
    fallback: true,
    version: 2,
  },
  forced_click: {
    sentence: 'The click was made by a page and not by its visitor.',
    unit: 'yes or no',
    fallback: true,
    version: 2,
    since: 3,
  },
  high_conversion_rate_from_ip: {
    sentence: 'More than N orders of the program came for clicks of this address within an hour.',
    unit: 'conversions an hour',
    fallback: 10,
    version: 3,
  },
  instant_conversion: {
    sentence: 'The order followed the click within fewer than N seconds.',
    unit: 'seconds',
    fallback: 30,
    version: 1,
  },
  click_velocity_ip: {
    sentence: 'The address clicked more than N times in the hour before the click.',
    unit: 'clicks in the hour before',
    fallback: 60,
    version: 1,
  },
  click_velocity_subnet: {
    sentence: 'The network of the address clicked more than N times in the hour before the click.',
    unit: 'clicks in the hour before',
    fallback: 600,
    version: 1,
  },
  // Thousands of visitors share one User-Agent and language: only the program knows how many are too many.
  click_velocity_fingerprint: {
    sentence: 'The fingerprint clicked more than N times in the hour before the click.',
    unit: 'clicks in the hour before',
    fallback: false,
    version: 1,
  },
  geo_mismatch: {
    sentence: 'Click and order came from different known countries.',
    unit: 'yes or no',
    fallback: true,
    version: 1,
  },
  data_centre: {
    sentence: 'The network of the click belongs to a cloud or hosting provider.',
    unit: 'yes or no',
    fallback: true,
    version: 1,
  },
  repeat_orders: {
    sentence: 'More than N orders of one customer were credited within a day.',
    unit: 'orders of one customer a day',
    fallback: 5,
    version: 1,
  },
  // A code that is spoken or printed brings orders without clicks; one that has leaked brings many in a day.
  coupon_without_click: {
    sentence: 'A coupon credits the order, and has credited more than N orders within a day.',
    unit: 'orders of one coupon without a click a day',
    fallback: 20,
    version: 1,
    since: 6,
  },
  fast_conversions: {
    sentence:
      'The order followed the click within two minutes, and so did more than N percent of the affiliate’s latest orders.',
    unit: 'percent within two minutes',
    fallback: 50,
    version: 2,
  },
  repeat_payment_account: {
    sentence: 'More than N orders that one account paid were credited within a day.',
    unit: 'orders of one payment account a day',
    fallback: 5,
    watches: true,
    version: 1,
    since: 8,
  },
  // An owner of several affiliates has no reason to share a customer between them.
  shared_payout_account: {
    sentence:
      'The customer has more than N orders of the last 30 days with other affiliates that are paid to the same account.',
    unit: 'orders with other affiliates of one payout account',
    fallback: 2,
    watches: true,
    version: 1,
    since: 8,
  },
  leaked_coupon: {
    sentence:
      'The coupon has credited more orders without a click today than on one day in N, by its 28 days before and by what the day brings the program’s others.',
    unit: 'days with one like it',
    fallback: 1_000,
    watches: true,
    version: 1,
    since: 8,
  },
  forced_clicks_share: {
    sentence:
      'More than N percent of the affiliate’s clicks in the campaign in the day before were made by pages, not by visitors.',
    unit: 'percent of forced clicks',
    fallback: 50,
    watches: true,
    version: 1,
    since: 8,
  },
  // The times of people vary by about their mean; a robot that orders after a fixed wait varies by a few percent. A trial makes
  // all of them vary little.
  regular_click_to_order: {
    sentence:
      'The times from click to order of the affiliate’s latest 20 to 50 orders in the campaign vary by less than N percent of what those of the others do.',
    unit: 'percent of the variation of the others',
    fallback: 10,
    watches: true,
    version: 1,
    since: 8,
  },
  // Coupon and cashback sites convert several times as well as content does.
  conversion_rate: {
    sentence:
      'Clicks of the affiliate lead to an order more than N times as often as those of the median affiliate of the campaign, chance of 1 in 1,000 aside.',
    unit: 'times the rate of the median affiliate',
    fallback: 10,
    watches: true,
    version: 1,
    since: 8,
  },
  anomaly: {
    sentence:
      'The affiliate has more orders today than on one day in N, by its own 28 days before and by what the day brings the program’s others.',
    unit: 'days with one like it',
    fallback: 1_000,
    watches: true,
    version: 1,
    since: 8,
  },
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

/** What a rule compares with in a program, also where it only watches; false: it is off. */
export function thresholdOf(thresholds: FraudThresholds, rule: FraudRuleName): number | boolean {
  return thresholds[rule] ?? FRAUD_RULES[rule].fallback;
}

/** Whether a rule only watches in a program: it compares with what is suggested, and holds no order. */
export function isWatching(thresholds: FraudThresholds, rule: FraudRuleName): boolean {
  const { watches }: FraudRule = FRAUD_RULES[rule];
  return watches === true && thresholds[rule] === undefined;
}

/** Whether a rule exists in this version of the rules of attribution. */
export function existsIn(rulesVersion: number, rule: FraudRuleName): boolean {
  const { since = 1 }: FraudRule = FRAUD_RULES[rule];
  return since <= rulesVersion;
}

/** The thresholds of a program as they were from a moment on. */
export interface ThresholdsVersion {
  readonly createdAt: Date;
  readonly fraudRules: FraudThresholds;
  /** As the audit log names who made it; null: no person did. */
  readonly actor: string | null;
}

/** People change thresholds a few times a year. */
const MAX_VERSIONS = 1_000;

/** The latest versions of a program's thresholds, the newest first. */
export async function listThresholdsVersions(
  sql: DatabaseSql,
  programId: number,
): Promise<ThresholdsVersion[]> {
  return await sql<ThresholdsVersion[]>`
    select r.created_at, r.fraud_rules, (
      select a.actor from audit_log a
      where a.subject = ${`prg_${programId}`} and a.action in ('program.create', 'program.update')
        and a.after ->> 'rules_version' = r.version::text
      order by a.id limit 1
    ) as actor
    from program_rules r where r.program_id = ${programId} order by r.version desc limit ${MAX_VERSIONS}`;
}

/** Since when a threshold is in force, and who set it; undefined: the program has never named it. */
export function thresholdSince(
  versions: readonly ThresholdsVersion[],
  rule: FraudRuleName,
): ThresholdsVersion | undefined {
  const value = versions[0]?.fraudRules[rule];
  if (value === undefined) return undefined;
  const other = versions.findIndex(({ fraudRules }) => fraudRules[rule] !== value);
  return other === -1 ? versions.at(-1) : versions[other - 1];
}
