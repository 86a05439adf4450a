import { ClickFlag } from '../../core/clicks/click-record.ts';
import { UNKNOWN_IP } from '../../core/ip.ts';
import { DAY_S, HOUR_S } from '../../core/time.ts';
import { type EarlierCounts, FAST_SECONDS } from '../../ledger/conversions/decision-facts.ts';
import { canonicalEmail, emailHash } from '../../ledger/conversions/emails.ts';
import type { Affiliate } from '../../ledger/programs/affiliates.ts';
import {
  existsIn,
  FRAUD_RULES,
  type FraudRuleName,
  type FraudThresholds,
  isWatching,
  thresholdOf,
} from '../../ledger/programs/fraud-rules.ts';
import type { ClickContext } from '../../warehouse/lookups/click-context.ts';
import { ownClick, type Won } from './choose.ts';
import { HISTORY_RULES, type Observation, type OrderHistory } from './compare-history.ts';
import type { RuleResult } from './evidence.ts';
import { isHosting } from './hosting.ts';

/**
 * Whether the order of a winning click is credited, reviewed or rejected: the second half of a decision. A rule first
 * observes, then compares: the observation is kept, so that it can be compared again, with other thresholds too.
 */

/** How fast the visitors of an affiliate order. */
export interface Pace {
  /** The affiliate's latest orders before this one, up to the size of the sample. */
  readonly conversions: number;
  /** Those of them within {@link FAST_SECONDS} of the click. */
  readonly fast: number;
}

/** An affiliate that would earn by the order, with what gives it away as the customer. */
export interface Earner {
  readonly affiliate: Affiliate;
  /** SHA-256 of its payout account, in hexadecimal. */
  readonly payoutAccountHash: string | undefined;
  /** The order came from an address and fingerprint of the affiliate's own sessions. */
  readonly fromOwnSession: boolean;
}

/** What the rules look at besides the conversion and its click, and the counts that are read under locks. */
export interface RuleFacts extends Earner {
  /** Those that earn by the affiliate's orders: level 2 and above. */
  readonly ancestors: readonly (Earner & { readonly level: number })[];
  /** Undefined: the click is too old for the velocity tables. */
  readonly context: ClickContext | undefined;
  /** Undefined: no rule needs it. */
  readonly pace: Pace | undefined;
  /** Undefined: the order is compared with nothing. */
  readonly history: OrderHistory | undefined;
}

/** Everything that is observed. */
export interface RuleInput extends RuleFacts, Won {
  readonly earlier: EarlierCounts;
}

type Observed = RuleResult['observed'];
export type RuleName = 'self_referral' | 'affiliate_not_active' | FraudRuleName;
export type Observations = Readonly<Record<RuleName, Observation>>;

interface Rule {
  /** Null: it cannot be observed. */
  readonly observe: (input: RuleInput) => Observed | Observation;
  readonly fires: (observed: string | number, threshold: number) => boolean;
  /** Shown where the threshold is no number. */
  readonly threshold?: string;
  readonly windowSeconds?: number;
}

/** Fewer conversions than this say nothing about an affiliate's pace. */
const MIN_PACE_SAMPLE = 20;
const ROBOT_FLAGS = ClickFlag.bot | ClickFlag.prefetch | ClickFlag.head | ClickFlag.impression;

const above = (observed: string | number, threshold: number): boolean => Number(observed) > threshold;

/**
 * In the order in which they name the reason when several fire. What rules observe of a click is null where the order has
 * none of its own: a coupon credits it, or it continues a subscription, whose click was decided with the first order.
 */
const RULES: Readonly<Record<RuleName, Rule>> = {
  self_referral: { observe: sameAsEarner, fires: (match) => match !== 'none', threshold: 'none' },
  affiliate_not_active: {
    observe: ({ affiliate }) => affiliate.status,
    fires: (status) => status !== 'active',
    threshold: 'active',
  },
  bot_click: {
    observe: ({ winner }) => flagsOf(winner, ROBOT_FLAGS),
    fires: (flags) => flags !== 0,
    threshold: 'no flag of a robot',
  },
  forced_click: {
    observe: ({ winner }) => flagsOf(winner, ClickFlag.forced),
    fires: (flags) => flags !== 0,
    threshold: 'no flag of a forced click',
  },
  high_conversion_rate_from_ip: {
    observe: ({ winner, earlier }) =>
      (ownClick(winner)?.ip ?? UNKNOWN_IP) === UNKNOWN_IP ? null : earlier.fromIp + 1,
    fires: above,
    windowSeconds: HOUR_S,
  },
  instant_conversion: { observe: secondsToConvert, fires: (seconds, least) => Number(seconds) < least },
  click_velocity_ip: {
    observe: ({ context }) => context?.clicksBefore.ip ?? null,
    fires: above,
    windowSeconds: HOUR_S,
  },
  click_velocity_subnet: {
    observe: ({ context }) => context?.clicksBefore.subnet ?? null,
    fires: above,
    windowSeconds: HOUR_S,
  },
  click_velocity_fingerprint: {
    observe: ({ context }) => context?.clicksBefore.fingerprint ?? null,
    fires: above,
    windowSeconds: HOUR_S,
  },
  geo_mismatch: {
    observe: ({ context }) =>
      context?.country && context.orderCountry ? `${context.country}, ${context.orderCountry}` : null,
    fires: (countries) => new Set(String(countries).split(', ')).size > 1,
    threshold: 'click and order from one country',
  },
  data_centre: {
    observe: ({ context }) => context?.network || null,
    fires: (network) => isHosting(String(network)),
    threshold: 'no network of a hoster',
  },
  repeat_orders: {
    observe: ({ conversion, earlier }) => (conversion.customerId === null ? null : earlier.fromCustomer + 1),
    fires: above,
    windowSeconds: DAY_S,
  },
  coupon_without_click: {
    observe: ({ winner, earlier }) => (winner.source === 'coupon' ? earlier.fromCoupon + 1 : null),
    fires: above,
    windowSeconds: DAY_S,
  },
  fast_conversions: { observe: fastPercent, fires: above },
  ...HISTORY_RULES,
};

export function observe(input: RuleInput): Observations {
  const observations = Object.entries(RULES).map(([name, rule]) => {
    const observed = rule.observe(input);
    return [name, typeof observed === 'object' && observed !== null ? observed : { observed }];
  });
  return Object.fromEntries(observations) as Observations;
}

/** The result of every rule that is on in the program and exists in this version of the rules. */
export function applyFraudRules(
  observations: Partial<Observations>,
  { thresholds, rulesVersion }: { thresholds: FraudThresholds; rulesVersion: number },
): RuleResult[] {
  return Object.entries(RULES).flatMap(([key, rule]): RuleResult[] => {
    const name = key as RuleName;
    const isFraudRule = name !== 'self_referral' && name !== 'affiliate_not_active';
    const limit = isFraudRule ? thresholdOf(thresholds, name) : true;
    if (limit === false || (isFraudRule && !existsIn(rulesVersion, name))) return [];
    const { observed, figures } = observations[name] ?? { observed: null };
    return [
      {
        rule: name,
        version: isFraudRule ? FRAUD_RULES[name].version : 3,
        effect: isFraudRule && isWatching(thresholds, name) ? 'none' : effectOf(name, observed),
        fired: observed !== null && rule.fires(observed, Number(limit)),
        observed,
        threshold: rule.threshold ?? Number(limit),
        windowSeconds: rule.windowSeconds ?? null,
        ...(figures && { figures }),
      },
    ];
  });
}

/** A rule that fired and does not only watch. */
type EffectiveRule = RuleResult & { readonly effect: 'rejected' | 'review' };

export function hasEffect(result: RuleResult): result is EffectiveRule {
  return result.fired && result.effect !== 'none';
}

/** The rule that decides: a rejection outweighs a review, of several reviews the first names the reason. */
export function decisiveRule(rules: readonly RuleResult[]): EffectiveRule | undefined {
  const fired = rules.filter(hasEffect);
  return fired.find(({ effect }) => effect === 'rejected') ?? fired[0];
}

function effectOf(name: RuleName, observed: Observed): EffectiveRule['effect'] {
  const rejects =
    (name === 'self_referral' && !String(observed).startsWith(SAME_MAILBOX)) ||
    (name === 'affiliate_not_active' && observed === 'terminated');
  return rejects ? 'rejected' : 'review';
}

/**
 * Null without a click of its own. An order dated before its click, by another
 * clock or cut to the minute, says nothing of the time between them: its receipt counts, unless that is before it as well.
 */
function secondsToConvert({ conversion: { occurredAt, receivedAt }, winner }: RuleInput): number | null {
  const click = ownClick(winner);
  const later = click && [occurredAt, receivedAt].find((time) => time.getTime() >= click.ts);
  return later ? (later.getTime() - click.ts) / 1_000 : null;
}

function flagsOf(winner: Won['winner'], mask: number): number | null {
  const click = ownClick(winner);
  return click ? click.flags & mask : null;
}

/** The share of the affiliate's latest orders within {@link FAST_SECONDS}; null unless this order is as fast. */
function fastPercent(input: RuleInput): number | null {
  const { pace } = input;
  const seconds = secondsToConvert(input);
  if (seconds === null || seconds >= FAST_SECONDS || !pace || pace.conversions < MIN_PACE_SAMPLE) return null;
  return Math.round((100 * pace.fast) / pace.conversions);
}

/** No identity, but a reason to look. */
const SAME_MAILBOX = 'mailbox';

/**
 * By which mark the customer is the affiliate, or another one that would earn by the order; a mark that identifies comes
 * before one that does not.
 */
function sameAsEarner({ conversion, ancestors, ...own }: RuleInput): string {
  const earners = [{ ...own, level: 1 }, ...ancestors];
  for (const mark of [identifyingMark, mailboxMark]) {
    for (const earner of earners) {
      const found = mark(conversion, earner);
      if (found !== undefined) return earner.level === 1 ? found : `${found}, level ${earner.level}`;
    }
  }
  return 'none';
}

type Customer = RuleInput['conversion'];

function identifyingMark(
  { customerId, customerEmailHash, paymentAccountHash }: Customer,
  { affiliate, payoutAccountHash, fromOwnSession }: Earner,
): string | undefined {
  const { customerRef, email } = affiliate;
  if (
    customerId !== null &&
    customerRef !== null &&
    normalReference(customerId) === normalReference(customerRef)
  ) {
    return 'customer_id';
  }
  const address = emailHash(email);
  if (customerEmailHash === address) return 'email';
  // A PayPal account is an address, and hashed like one.
  if (customerEmailHash !== null && customerEmailHash === payoutAccountHash) return 'payout_email';
  const isAccount = paymentAccountHash === address || paymentAccountHash === payoutAccountHash;
  if (paymentAccountHash !== null && isAccount) return 'payment_account';
  return fromOwnSession ? 'session' : undefined;
}

/** Where the shop sends hashes alone, a tag of the affiliate's is seen, and one of the customer's is not. */
function mailboxMark(
  { customerEmailHash, customerMailboxHash }: Customer,
  { affiliate, payoutAccountHash }: Earner,
): string | undefined {
  const mailbox = customerMailboxHash ?? customerEmailHash;
  if (mailbox === null) return undefined;
  const isSame = mailbox === emailHash(canonicalEmail(affiliate.email)) || mailbox === payoutAccountHash;
  return isSame ? SAME_MAILBOX : undefined;
}

/** Shops and affiliates write one reference in several ways. */
function normalReference(reference: string): string {
  return reference.trim().normalize('NFC').toLowerCase();
}
