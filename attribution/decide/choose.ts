import { type ClickIdentity, clickIdentityKey } from '../../core/clicks/click-id.ts';
import { ClickFlag, INVALID_CLICK_FLAGS } from '../../core/clicks/click-record.ts';
import { NO_FINGERPRINT } from '../../core/clicks/fingerprint.ts';
import { UNKNOWN_IP } from '../../core/ip.ts';
import { addMonths, CLOCK_TOLERANCE_MS, DAY_MS } from '../../core/time.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import type { ConversionReason } from '../../ledger/conversions/conversions.ts';
import type { WinningClick } from '../../ledger/decisions/decisions.ts';
import type { AttributionModel, Terms } from '../../ledger/programs/terms.ts';
import { type AbleCoupon, type CouponChoice, chooseCoupon, type ReportedCoupon } from './choose-coupon.ts';
import type { Candidate, LosingReason } from './evidence.ts';

/** Which click, coupon or earlier order an order belongs to: the first half of a decision, without any store. */

/** A click as the warehouse knows it. */
export interface KnownClick extends ClickIdentity {
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly linkId: number;
  /** Text form, IPv4 not mapped. */
  readonly ip: string;
  readonly fingerprint: bigint;
  /** Bits of ClickFlag. */
  readonly flags: number;
  /** As in {@link WinningClick}: no decision looks at them. */
  readonly subs?: readonly string[];
}

/** The click that the conversion's click id names. */
export type GivenClick =
  | { readonly kind: 'none_given' }
  /** No key decrypts it: forged or damaged. */
  | { readonly kind: 'not_an_id' }
  | { readonly kind: 'found'; readonly click: KnownClick }
  | { readonly kind: 'missing'; readonly identity: ClickIdentity };

/** A click with the terms in force for its affiliate and campaign when it was made. */
export interface ClickWithTerms {
  readonly click: KnownClick;
  readonly terms: Terms | undefined;
}

export interface ClickFacts {
  readonly conversion: ClaimedConversion;
  readonly given: GivenClick;
  /** Terms of the given click. */
  readonly terms: Terms | undefined;
  /** Clicks of the same visitor before the order: of its fingerprint and network. */
  readonly visitorClicks: readonly ClickWithTerms[];
  /** The coupon codes that were reported with the order, in their order. */
  readonly coupons: readonly ReportedCoupon[];
  /** A person credits it: then nothing else counts. */
  readonly manual?: ManualTarget | undefined;
  /** The first order of the subscription that the order may continue. */
  readonly subscription: Subscription | undefined;
  /** An earlier order of the customer is not decided yet, and may begin the subscription that this one continues. */
  readonly undecidedBefore: boolean;
  /** How many merges of its program's affiliates are applied to these facts. */
  readonly merges: number;
  /** Every click older than this (Unix ms) is in the warehouse. */
  readonly completeToMs: number;
  /** The wait for the warehouse has lasted too long: decide by the clicks that are stored. */
  readonly gaveUp: boolean;
  /** Instead of the model of the terms: a replay under another one. */
  readonly model?: AttributionModel | undefined;
  /** Of the rules to decide by: another than the present one where a decision is made again. */
  readonly rulesVersion: number;
}

/** The first order of a subscription, as the books have it: its click may have expired, or it had none. */
export interface Subscription {
  readonly click: WinningClick;
  readonly terms: Terms | undefined;
  readonly conversionId: bigint;
  readonly startedAt: Date;
  readonly inReview: boolean;
}

/** To whom a person credits an order. */
export interface ManualTarget {
  readonly affiliateId: number;
  readonly campaignId: number;
  readonly linkId: number | null;
  /** In force at the time of the order. */
  readonly terms: Terms;
}

interface WonTerms {
  readonly terms: Terms;
  readonly model: AttributionModel;
}

export type Winner = WonTerms &
  (
    | { readonly source: 'click_id' | 'fingerprint'; readonly click: KnownClick }
    | {
        readonly source: 'recurring';
        readonly click: WinningClick;
        readonly recurringOf: bigint;
        /** The first order is in review, and this one waits for it. */
        readonly firstInReview: boolean;
      }
    | { readonly source: 'coupon'; readonly click: WinningClick; readonly couponId: number }
    | { readonly source: 'manual'; readonly click: WinningClick }
  );

/** The click of the order itself; undefined where it is credited by something else. */
export function ownClick(winner: Winner): KnownClick | undefined {
  return winner.source === 'click_id' || winner.source === 'fingerprint' ? winner.click : undefined;
}

/** A conversion whose click was chosen. */
export interface Won {
  readonly conversion: ClaimedConversion;
  readonly winner: Winner;
}

export type Choice =
  /** The warehouse cannot know yet. */
  | { readonly kind: 'awaiting_click' }
  | { readonly kind: 'none'; readonly reason: ConversionReason; readonly candidates: readonly Candidate[] }
  | { readonly kind: 'won'; readonly winner: Winner; readonly candidates: readonly Candidate[] };

export type DecidedChoice = Exclude<Choice, { kind: 'awaiting_click' }>;

/** A fingerprint identifies a visitor for so long, whatever the terms allow (docs/attribution.md). */
export const FINGERPRINT_DAYS = 30;
/** Candidates kept in the evidence, beside a blocked click that the order names. */
const MAX_CANDIDATES = 20;

/** Flags of clicks that were sent to the fallback instead of the landing page: they cannot convert. */
const NOT_LANDED = ClickFlag.paused | ClickFlag.expired | ClickFlag.suspended;

/** Flags by which a click cannot be found by a fingerprint; a blocked one loses for a reason of its own. */
const REFUSED = INVALID_CLICK_FLAGS & ~ClickFlag.blocked;

/** Before it the rules knew no block lists. */
const BLOCKS_SINCE_VERSION = 8;

/** Whether everything up to this moment (Unix ms) is stored, or waited for no longer. */
export function isKnownUpTo(
  { completeToMs, gaveUp }: Pick<ClickFacts, 'completeToMs' | 'gaveUp'>,
  ms: number,
): boolean {
  return gaveUp || completeToMs > ms;
}

/**
 * What credits an order: its own click; its customer's first order; a coupon; a match by fingerprint. A coupon of another
 * affiliate comes before the first two, unless the program says otherwise.
 */
export function choose(facts: ClickFacts): Choice {
  const { given, conversion, manual } = facts;
  if (manual) return creditByHand(conversion, manual);
  const knownUpTo = (ms: number): boolean => isKnownUpTo(facts, ms);
  if (given.kind === 'missing' && !knownUpTo(given.identity.ts)) return { kind: 'awaiting_click' };
  // Its own moment has to be complete too: the counts before it must not depend on which click was loaded first.
  if (given.kind === 'found' && !knownUpTo(given.click.ts)) return { kind: 'awaiting_click' };
  if (waitsForEarlier(facts)) return { kind: 'awaiting_click' };
  const blocked = blockedClick(facts);
  const named =
    continueSubscription(facts) ??
    (given.kind === 'found' && !blocked ? chooseAroundGiven(facts, given.click) : undefined);
  const { able, reason: couponReason } = couponsOf(facts);
  const refused = blocked ? [candidate(blocked, 'blocked_click')] : [];
  if (able && (named?.kind !== 'won' || outweighs(able, named.winner, conversion))) {
    return wonByCoupon(facts, able, named?.candidates ?? refused);
  }
  if (named) return named;
  if (given.kind === 'missing') return none('click_not_found');
  const byId = blocked ? 'blocked_click' : 'invalid_click_id';
  const reason = given.kind === 'none_given' ? (couponReason ?? 'no_click') : byId;
  const known = knownUpTo(visitEndMs(conversion) - 1);
  const found = chooseByFingerprint(facts, { reason, known });
  if (found.kind === 'awaiting_click' || !blocked) return found;
  return { ...found, candidates: [...refused, ...found.candidates] };
}

/** The coupon that speaks for an order, if one does. */
export function couponsOf(facts: ClickFacts): CouponChoice {
  const { conversion, coupons, subscription, rulesVersion } = facts;
  const isOver =
    subscription?.terms !== undefined &&
    conversion.occurredAt >=
      subscriptionEnd(subscription.startedAt, subscription.terms.recurringMonths, rulesVersion);
  return chooseCoupon(coupons, {
    endedFor: isOver ? subscription.click.affiliateId : undefined,
    blockedFor: blockedClick(facts)?.affiliateId,
  });
}

/** A coupon of the same affiliate says nothing that the click, which knows more, has not said. */
function outweighs(
  { affiliateId }: AbleCoupon,
  { click }: Winner,
  { couponEvidence }: ClaimedConversion,
): boolean {
  return couponEvidence === 'coupon_wins' && affiliateId !== click.affiliateId;
}

type Named = Pick<ClickFacts, 'conversion' | 'given' | 'rulesVersion'>;

/**
 * The click that an order names, if it is blocked: then it says no more of the affiliate than none would, since a page
 * that sends clicks in secret would otherwise replace the one that the visitor made.
 */
export function blockedClick({ conversion, given, rulesVersion }: Named): KnownClick | undefined {
  if (given.kind !== 'found' || given.click.programId !== conversion.programId) return undefined;
  return isBlocked(given.click, rulesVersion) ? given.click : undefined;
}

/**
 * The visitor whose clicks are looked for where no usable id names one: the customer of the order, or who made its blocked
 * click. Undefined: not to be distinguished from others, or the program does not want it.
 */
export function visitorOf(facts: Named): { fingerprint: bigint; ip: string } | undefined {
  const { conversion, given } = facts;
  if (conversion.fingerprintMatch === 'off' || given.kind === 'missing') return undefined;
  const blocked = blockedClick(facts);
  // Of who opted out no fingerprint is kept, and an unknown address is of many.
  if (blocked?.fingerprint === NO_FINGERPRINT || blocked?.ip === UNKNOWN_IP) return undefined;
  const { fingerprint, ip } = blocked ?? conversion;
  return fingerprint === null || ip === null ? undefined : { fingerprint, ip };
}

function wonByCoupon(
  { conversion, model }: ClickFacts,
  { couponId, affiliateId, campaignId, terms }: AbleCoupon,
  others: readonly Candidate[],
): Choice {
  const click = withoutClick(conversion, { affiliateId, campaignId, linkId: null });
  return {
    kind: 'won',
    winner: { source: 'coupon', couponId, click, terms, model: model ?? terms.attributionModel },
    candidates: others.map((other) => ({ ...other, lost: other.lost ?? 'coupon_counts' })),
  };
}

function creditByHand(conversion: ClaimedConversion, { terms, ...target }: ManualTarget): Choice {
  const click = withoutClick(conversion, target);
  const winner: Winner = { source: 'manual', click, terms, model: terms.attributionModel };
  return { kind: 'won', winner, candidates: [] };
}

/** What stands for the click of an order that is credited without one. */
export function withoutClick(
  { occurredAt }: Pick<ClaimedConversion, 'occurredAt'>,
  target: Pick<WinningClick, 'affiliateId' | 'campaignId' | 'linkId'>,
): WinningClick {
  const { affiliateId, campaignId, linkId } = target;
  return { ts: occurredAt.getTime(), node: null, seq: null, ip: null, affiliateId, campaignId, linkId };
}

function waitsForEarlier({ undecidedBefore, gaveUp }: ClickFacts): boolean {
  return undecidedBefore && !gaveUp;
}

/**
 * An order may lie so much before the click that its id names: the signed id proves that the click was first. Before
 * version 4 of the rules there was no tolerance.
 */
export function clockToleranceMs(rulesVersion: number): number {
  return rulesVersion < 4 ? 0 : CLOCK_TOLERANCE_MS;
}

/** Clicks after this belong to another visit: the order was there already. Unix ms. */
export function visitEndMs({
  occurredAt,
  receivedAt,
}: Pick<ClaimedConversion, 'occurredAt' | 'receivedAt'>): number {
  return Math.min(occurredAt.getTime(), receivedAt.getTime());
}

function none(reason: ConversionReason, candidates: readonly Candidate[] = []): DecidedChoice {
  return { kind: 'none', reason, candidates };
}

/**
 * The click id names the last click. Under the first-click model an earlier one of the same visitor may win, but none
 * that a page forced: it would take the order from the affiliate whose link was really clicked.
 */
function chooseAroundGiven(facts: ClickFacts, click: KnownClick): DecidedChoice {
  const { conversion, terms, rulesVersion } = facts;
  const toleranceMs = clockToleranceMs(rulesVersion);
  const lost = losesBecause(conversion, { click, terms }, { rulesVersion, toleranceMs });
  if (lost !== undefined || terms === undefined) {
    const reason = lost ?? 'no_terms';
    return none(reason, [candidate(click, reason)]);
  }
  const model = facts.model ?? terms.attributionModel;
  const given = { click, terms };
  const rivals =
    model === 'first_click'
      ? facts.visitorClicks.filter(
          (other) =>
            other.click.ip === click.ip &&
            other.click.ts < click.ts &&
            !isSame(other.click, click) &&
            (other.click.flags & ClickFlag.forced) === 0,
        )
      : [];
  return win([...rivals, given], { conversion, model, source: 'click_id', rulesVersion, toleranceMs });
}

/** A later order of a customer whose first one was credited, within the months that its terms promise. */
function continueSubscription(facts: ClickFacts): DecidedChoice | undefined {
  const { conversion, subscription, given, rulesVersion } = facts;
  if (!subscription?.terms) return undefined;
  const { click, terms, conversionId, startedAt, inReview } = subscription;
  const isWithin =
    startedAt <= conversion.occurredAt &&
    conversion.occurredAt < subscriptionEnd(startedAt, terms.recurringMonths, rulesVersion);
  if (!isWithin) return undefined;
  // A click of the customer's own, within its window, speaks for itself.
  if (
    given.kind === 'found' &&
    losesBecause(
      conversion,
      { click: given.click, terms: facts.terms },
      { rulesVersion, toleranceMs: clockToleranceMs(rulesVersion) },
    ) === undefined
  ) {
    return undefined;
  }
  const model = facts.model ?? terms.attributionModel;
  const source = 'recurring';
  const winner: Winner = { click, terms, source, model, recurringOf: conversionId, firstInReview: inReview };
  return { kind: 'won', winner, candidates: [candidate({ ...click, flags: null }, null)] };
}

/**
 * The end is not within: with the first one, twelve months are twelve monthly payments. Before version 5 of the rules it
 * was, and a month that is too short ran over into the next one.
 */
function subscriptionEnd(startedAt: Date, months: number, rulesVersion: number): Date {
  if (rulesVersion >= 5) return addMonths(startedAt, months);
  const last = new Date(startedAt);
  last.setUTCMonth(last.getUTCMonth() + months);
  return new Date(last.getTime() + 1);
}

function chooseByFingerprint(
  facts: ClickFacts,
  { reason, known }: { reason: ConversionReason; known: boolean },
): Choice {
  const { conversion, rulesVersion } = facts;
  const refusals = { rulesVersion, refusedFlags: REFUSED };
  if (!visitorOf(facts)) return none(reason);
  if (!known) return { kind: 'awaiting_click' };
  const blocked = blockedClick(facts);
  const visitorClicks = facts.visitorClicks.filter(({ click }) => !blocked || !isSame(click, blocked));
  const able = visitorClicks.filter((other) => losesBecause(conversion, other, refusals) === undefined);
  if (able.length === 0) {
    const lost = visitorClicks.map((other) =>
      candidate(other.click, losesBecause(conversion, other, refusals) ?? 'no_terms'),
    );
    return none(reason, lost.slice(0, MAX_CANDIDATES));
  }
  if (new Set(able.map(({ click }) => click.affiliateId)).size > 1) {
    return none(
      'several_affiliates',
      able.map(({ click }) => candidate(click, 'several_affiliates')).slice(0, MAX_CANDIDATES),
    );
  }
  const model = facts.model ?? able[0]?.terms?.attributionModel ?? 'last_click';
  return win(visitorClicks, { conversion, model, source: 'fingerprint', ...refusals });
}

/** The first or the last of the clicks that can win. */
function win(
  clicks: readonly ClickWithTerms[],
  options: {
    conversion: ClaimedConversion;
    model: AttributionModel;
    source: 'click_id' | 'fingerprint';
    rulesVersion: number;
    refusedFlags?: number;
    toleranceMs?: number;
  },
): DecidedChoice {
  const { conversion, model, source } = options;
  const ordered = clicks.toSorted((a, b) => compare(a.click, b.click));
  const lostBy = (entry: ClickWithTerms) => losesBecause(conversion, entry, options);
  const able = ordered.filter((entry) => lostBy(entry) === undefined);
  const winning = model === 'first_click' ? able[0] : able.at(-1);
  if (!winning?.terms) return none('no_terms');
  const candidates = ordered.map((entry) => {
    if (entry === winning) return candidate(entry.click, null);
    return candidate(
      entry.click,
      lostBy(entry) ?? (model === 'first_click' ? 'later_click' : 'earlier_click'),
    );
  });
  // The winner is kept whatever else is cut.
  const kept = candidates
    .filter(({ lost }, i) => lost === null || i < MAX_CANDIDATES - 1)
    .slice(0, MAX_CANDIDATES);
  const { click, terms } = winning;
  return { kind: 'won', winner: { click, terms, source, model }, candidates: kept };
}

/** Why a click cannot have led to the order; undefined: it can. */
export function losesBecause(
  conversion: ClaimedConversion,
  { click, terms }: ClickWithTerms,
  options: { rulesVersion: number; refusedFlags?: number; toleranceMs?: number },
):
  | Exclude<LosingReason, 'later_click' | 'earlier_click' | 'several_affiliates' | 'coupon_counts'>
  | undefined {
  if (click.programId !== conversion.programId) return 'click_of_other_program';
  const { rulesVersion, refusedFlags = NOT_LANDED, toleranceMs = 0 } = options;
  if (isBlocked(click, rulesVersion)) return 'blocked_click';
  if ((click.flags & refusedFlags) !== 0) return 'invalid_click';
  if (!terms) return 'no_terms';
  const occurredMs = conversion.occurredAt.getTime();
  if (occurredMs < click.ts - toleranceMs) return 'click_after_order';
  if (occurredMs > click.ts + terms.cookieDays * DAY_MS) return 'outside_window';
  return undefined;
}

function isBlocked({ flags }: Pick<KnownClick, 'flags'>, rulesVersion: number): boolean {
  return rulesVersion >= BLOCKS_SINCE_VERSION && (flags & ClickFlag.blocked) !== 0;
}

function candidate(
  click: WinningClick & { readonly flags: number | null },
  lost: LosingReason | null,
): Candidate {
  const { affiliateId, campaignId, linkId, ip, flags } = click;
  const at = new Date(click.ts).toISOString();
  return { identity: identityOf(click), at, affiliateId, campaignId, linkId, ip, flags, lost };
}

/** What won: `ts:node:seq` of a click, `coupon:id`, or `manual`. */
export function winnerIdentity(winner: Winner): string {
  if (winner.source === 'coupon') return `coupon:${winner.couponId}`;
  return winner.source === 'manual' ? winner.source : identityOf(winner.click);
}

/** `ts:node:seq`; of a first order of a subscription that had no click `import:ts`. */
function identityOf({ ts, node, seq }: WinningClick): string {
  return node === null || seq === null ? `import:${ts}` : clickIdentityKey({ ts, node, seq });
}

function isSame(a: ClickIdentity, b: ClickIdentity): boolean {
  return compare(a, b) === 0;
}

function compare(a: ClickIdentity, b: ClickIdentity): number {
  return a.ts - b.ts || a.node - b.node || a.seq - b.seq;
}
