import { createHash } from 'node:crypto';
import { type ClickIdentity, clickIdentityKey } from '../core/click-id.ts';
import { ClickFlag } from '../core/click-record.ts';
import type { Affiliate } from '../ledger/affiliates.ts';
import type { ClaimedConversion, ConversionReason } from '../ledger/conversions.ts';
import type { Terms } from '../ledger/terms.ts';

/**
 * The rules of attribution, without any store: the same facts always give the same verdict, so a decision can be
 * recomputed from its evidence. docs/attribution.md states them in prose.
 */

/** Version of the rules in this file, kept with every decision. */
export const RULES_VERSION = 1;

/** A click as the warehouse knows it. */
export interface KnownClick extends ClickIdentity {
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly linkId: number;
  /** Text form, IPv4 not mapped. */
  readonly ip: string;
  /** Bits of ClickFlag. */
  readonly flags: number;
}

/** What the conversion's click id turned out to be. */
export type ClickAnswer =
  | { readonly kind: 'none_given' }
  /** No key opens it: forged or damaged. */
  | { readonly kind: 'not_an_id' }
  | { readonly kind: 'found'; readonly click: KnownClick }
  | { readonly kind: 'missing'; readonly identity: ClickIdentity };

export interface Facts {
  readonly conversion: ClaimedConversion;
  readonly click: ClickAnswer;
  /** In force for the click's affiliate and campaign when it was made. */
  readonly terms: Terms | undefined;
  readonly affiliate: Affiliate | undefined;
  /** Every click older than this (Unix ms) is in the warehouse. */
  readonly completeToMs: number;
  /** Conversions decided for the click's ip within the last hour, without this one. */
  readonly conversionsFromIp: number;
}

/** One rule's result, kept as evidence whether it fired or not. */
export type RuleResult = {
  readonly rule:
    | 'self_referral'
    | 'affiliate_not_active'
    | 'instant_conversion'
    | 'high_conversion_rate_from_ip';
  readonly fired: boolean;
  readonly effect: 'rejected' | 'review';
  readonly observed: string | number;
  readonly threshold: string | number;
};

/** Why a conversion ended as it did: stored with it, enough to explain and to recompute. */
export type Evidence = {
  readonly rulesVersion: number;
  readonly programRulesVersion: number;
  readonly source: 'click_id';
  readonly completeTo: string;
  readonly click: {
    readonly identity: string;
    readonly ip: string;
    readonly flags: number;
    readonly at: string;
  } | null;
  readonly window: { readonly from: string; readonly to: string; readonly occurredAt: string } | null;
  readonly termsId: number | null;
  readonly rules: readonly RuleResult[];
};

export type Verdict =
  /** The warehouse cannot know yet. */
  | { readonly outcome: 'awaiting_click' }
  | {
      readonly outcome: 'attributed' | 'review' | 'rejected' | 'unattributed';
      readonly reason: ConversionReason | null;
      readonly evidence: Evidence;
    };

const DAY_MS = 86_400_000;
const SECOND_MS = 1_000;

/** Flags of clicks that were sent to the fallback instead of the landing page: nothing of theirs can convert. */
const NOT_LANDED = ClickFlag.paused | ClickFlag.expired | ClickFlag.suspended;

/** Decides one conversion. */
export function decide(facts: Facts): Verdict {
  const { conversion, click: answer } = facts;
  if (answer.kind === 'none_given') return unattributed(facts, 'no_click');
  if (answer.kind === 'not_an_id') return unattributed(facts, 'invalid_click_id');
  if (answer.kind === 'missing') {
    return facts.completeToMs > answer.identity.ts
      ? unattributed(facts, 'click_not_found')
      : { outcome: 'awaiting_click' };
  }
  const { click } = answer;
  if (click.programId !== conversion.programId) return unattributed(facts, 'click_of_other_program');
  if ((click.flags & NOT_LANDED) !== 0) return unattributed(facts, 'invalid_click');
  const { terms, affiliate } = facts;
  if (!terms || !affiliate) return unattributed(facts, 'no_terms');
  const occurredMs = conversion.occurredAt.getTime();
  if (occurredMs < click.ts) return unattributed(facts, 'click_after_order');
  if (occurredMs > click.ts + terms.cookieDays * DAY_MS) return unattributed(facts, 'outside_window');

  const rules = applyRules(facts, click, affiliate);
  const fired =
    rules.find((rule) => rule.fired && rule.effect === 'rejected') ?? rules.find((rule) => rule.fired);
  return {
    outcome: fired?.effect ?? 'attributed',
    reason: fired?.rule ?? null,
    evidence: evidenceOf(facts, rules),
  };
}

function applyRules(facts: Facts, click: KnownClick, affiliate: Affiliate): RuleResult[] {
  const { conversion } = facts;
  const secondsToConvert = (conversion.occurredAt.getTime() - click.ts) / SECOND_MS;
  const match = selfReferralMatch(conversion, affiliate);
  return [
    {
      rule: 'self_referral',
      effect: 'rejected',
      fired: match !== 'none',
      observed: match,
      threshold: 'none',
    },
    {
      rule: 'affiliate_not_active',
      effect: affiliate.status === 'terminated' ? 'rejected' : 'review',
      fired: affiliate.status !== 'active',
      observed: affiliate.status,
      threshold: 'active',
    },
    {
      rule: 'high_conversion_rate_from_ip',
      effect: 'review',
      fired: facts.conversionsFromIp + 1 > conversion.conversionsPerIpHour,
      observed: facts.conversionsFromIp + 1,
      threshold: conversion.conversionsPerIpHour,
    },
    {
      rule: 'instant_conversion',
      effect: 'review',
      fired: secondsToConvert < conversion.instantConversionSeconds,
      observed: secondsToConvert,
      threshold: conversion.instantConversionSeconds,
    },
  ];
}

/** How the customer and the affiliate are the same person, if they are. */
function selfReferralMatch(
  conversion: ClaimedConversion,
  affiliate: Affiliate,
): 'none' | 'customer_id' | 'email' {
  if (conversion.customerId !== null && conversion.customerId === affiliate.customerRef) return 'customer_id';
  if (conversion.customerEmailHash !== null && conversion.customerEmailHash === emailHash(affiliate.email)) {
    return 'email';
  }
  return 'none';
}

/** SHA-256 of the trimmed lower-case address, as conversions carry it. */
function emailHash(email: string): string {
  return createHash('sha256').update(email.trim().toLowerCase()).digest('hex');
}

function unattributed(facts: Facts, reason: ConversionReason): Verdict {
  return { outcome: 'unattributed', reason, evidence: evidenceOf(facts, []) };
}

function evidenceOf(facts: Facts, rules: readonly RuleResult[]): Evidence {
  const { conversion, click: answer, terms } = facts;
  const click = answer.kind === 'found' ? answer.click : undefined;
  return {
    rulesVersion: RULES_VERSION,
    programRulesVersion: conversion.rulesVersion,
    source: 'click_id',
    completeTo: new Date(facts.completeToMs).toISOString(),
    click: click
      ? {
          identity: clickIdentityKey(click),
          ip: click.ip,
          flags: click.flags,
          at: new Date(click.ts).toISOString(),
        }
      : null,
    window:
      click && terms
        ? {
            from: new Date(click.ts).toISOString(),
            to: new Date(click.ts + terms.cookieDays * DAY_MS).toISOString(),
            occurredAt: conversion.occurredAt.toISOString(),
          }
        : null,
    termsId: terms?.id ?? null,
    rules,
  };
}
