import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClickFlag } from '../../core/clicks/click-record.ts';
import { DAY_MS, MINUTE_MS } from '../../core/time.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import { type EarlierCounts, NONE_EARLIER } from '../../ledger/conversions/decision-facts.ts';
import type { Affiliate } from '../../ledger/programs/affiliates.ts';
import {
  FRAUD_RULE_NAMES,
  type FraudThresholds,
  isWatching,
  thresholdOf,
} from '../../ledger/programs/fraud-rules.ts';
import type { Terms } from '../../ledger/programs/terms.ts';
import { observe, type RuleInput } from './apply-fraud-rules.ts';
import { type ClickFacts, type ClickWithTerms, choose, type KnownClick } from './choose.ts';
import { couponAsFound, type ReportedCoupon } from './choose-coupon.ts';
import type { OrderHistory } from './compare-history.ts';
import type { Customer } from './customer.ts';
import { decide, type ExplainedDecision, RULES_VERSION } from './decide.ts';
import { evidenceSchema } from './evidence.ts';

const CLICK_MS = Date.UTC(2026, 0, 10, 12);

const click: KnownClick = {
  ts: CLICK_MS,
  node: 1,
  seq: 2,
  programId: 1,
  campaignId: 2,
  affiliateId: 3,
  linkId: 4,
  ip: '192.0.2.1',
  fingerprint: 77n,
  flags: 0,
};

function conversion(changes: Partial<ClaimedConversion> = {}): ClaimedConversion {
  return {
    id: 1n,
    programId: 1,
    orderId: 'o-1',
    eventName: 'sale',
    amountMinor: 10_000n,
    currency: 'EUR',
    orderCurrency: null,
    orderAmountMinor: null,
    rateId: null,
    crossRateId: null,
    refundedMinor: 0n,
    awaitsShop: false,
    customerStatus: null,
    items: null,
    cancelledAt: null,
    state: 'received',
    status: 'pending',
    reason: null,
    source: 'api',
    occurredAt: new Date(CLICK_MS + 10 * MINUTE_MS),
    receivedAt: new Date(CLICK_MS + 10 * MINUTE_MS),
    decidedAt: null,
    clickId: 'x',
    coupons: [],
    couponId: null,
    clickTs: null,
    clickNode: null,
    clickSeq: null,
    clickIp: null,
    clickSubs: null,
    campaignId: null,
    affiliateId: null,
    linkId: null,
    termsId: null,
    evidence: null,
    customerId: null,
    customerEmailHash: null,
    customerMailboxHash: null,
    paymentAccountHash: null,
    recurringOf: null,
    customerKind: null,
    commissionBase: null,
    ip: null,
    userAgent: null,
    fingerprint: null,
    attempts: 0,
    fingerprintMatch: 'review',
    fraudRules: {},
    couponEvidence: 'coupon_wins',
    rulesVersion: 1,
    ...changes,
  };
}

const affiliate: Affiliate = {
  id: 3,
  programId: 1,
  refCode: 'ann',
  name: 'Ann',
  email: 'Ann@Example.test ',
  customerRef: 'customer-ann',
  status: 'active',
  parentId: null,
  approvedAt: null,
  createdAt: new Date(0),
  mergedInto: null,
  statusNote: null,
  erasedAt: null,
};

const terms: Terms = {
  id: 7,
  programId: 1,
  campaignId: null,
  affiliateId: null,
  eventName: null,
  validFrom: null,
  validTo: null,
  currency: 'EUR',
  commissionType: 'percent',
  rateBps: 1_000,
  fixedMinor: 0n,
  fixedWithinOrder: false,
  tiers: [],
  tierMode: 'marginal',
  customerRates: {},
  itemRates: [],
  recurringMonths: 0,
  levelRatesBps: [300, 100],
  holdDays: 30,
  cookieDays: 30,
  attributionModel: 'last_click',
  payoutMinMinor: 1_000n,
  payoutSchedule: 'daily',
  rounding: 'half_even',
  origins: {},
  createdAt: new Date(0),
  withdrawnAt: null,
};

const counted = (counts: Partial<EarlierCounts>): EarlierCounts => ({ ...NONE_EARLIER, ...counts });

/** What is suggested of the rules that only watch where a program sets nothing. */
const SUGGESTED: FraudThresholds = Object.fromEntries(
  FRAUD_RULE_NAMES.filter((name) => isWatching({}, name)).map((name) => [name, thresholdOf({}, name)]),
);

const NO_HISTORY: OrderHistory = {
  affiliateDays: undefined,
  couponDays: undefined,
  clickToOrder: undefined,
  traffic: undefined,
  sales: undefined,
  sharedCustomer: undefined,
};

type Given = Partial<ClickFacts & RuleInput & { noAffiliate: true; customer: Customer }>;

/** What is decided of an ordinary order with these differences; undefined: it waits for its click. */
function decided(given: Given = {}): ExplainedDecision | undefined {
  const facts: ClickFacts = {
    conversion: conversion(),
    given: { kind: 'found', click },
    terms,
    visitorClicks: [],
    coupons: [],
    subscription: undefined,
    undecidedBefore: false,
    merges: 0,
    completeToMs: CLICK_MS + DAY_MS,
    gaveUp: false,
    rulesVersion: RULES_VERSION,
    ...given,
  };
  const choice = choose(facts);
  if (choice.kind === 'awaiting_click') return undefined;
  const observed: Omit<RuleInput, 'winner'> = {
    conversion: facts.conversion,
    affiliate,
    payoutAccountHash: sha256('de89370400440532013000'),
    fromOwnSession: false,
    ancestors: [],
    context: {
      clicksBefore: { ip: 0, subnet: 0, fingerprint: 0 },
      country: 'DE',
      orderCountry: '',
      network: '',
    },
    earlier: NONE_EARLIER,
    pace: undefined,
    history: undefined,
    ...given,
  };
  const observations =
    choice.kind === 'won' && !given.noAffiliate ? observe({ ...observed, winner: choice.winner }) : undefined;
  return decide(facts, choice, observations, given.customer);
}

const found = (changes: Partial<KnownClick>): Given => ({
  given: { kind: 'found', click: { ...click, ...changes } },
});
const ordered = (changes: Partial<ClaimedConversion>): Given => ({ conversion: conversion(changes) });
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

const visit = (changes: Partial<KnownClick>): ClickWithTerms => ({ click: { ...click, ...changes }, terms });
describe('an order of a customer whose rate is nothing', () => {
  const newOnly = { terms: { ...terms, customerRates: { returning: { rateBps: 0 } } } };
  const customer = (kind: Customer['kind']): Given => ({
    customer: { kind, by: 'shop', earlierOrder: null },
  });
  const refused = { outcome: 'rejected', reason: 'customer_not_eligible' };

  it('is credited to no affiliate, and the evidence says who bought', () => {
    const decision = decided({ ...newOnly, ...customer('returning') });
    expect(decision).toMatchObject(refused);
    expect(evidenceSchema.parse(decision?.evidence)).toMatchObject({
      customer: { kind: 'returning', by: 'shop' },
      decided: refused,
    });
    expect(decided({ ...newOnly, ...customer('new') })).toMatchObject({ outcome: 'attributed' });
    // Not known: the terms' own rate.
    expect(decided({ ...newOnly, ...customer(null) })).toMatchObject({ outcome: 'attributed' });
  });

  it('is credited where a fixed amount is left', () => {
    const hybrid = { ...newOnly.terms, commissionType: 'hybrid' as const, fixedMinor: 100n };
    expect(decided({ terms: hybrid, ...customer('returning') })).toMatchObject({ outcome: 'attributed' });
    const none = { ...hybrid, customerRates: { returning: { rateBps: 0, fixedMinor: 0n } } };
    expect(decided({ terms: none, ...customer('returning') })).toMatchObject(refused);
  });

  it('is rejected for fraud where both speak against it, and not reviewed', () => {
    const own = ordered({ customerId: 'customer-ann' });
    expect(decided({ ...newOnly, ...own, ...customer('returning') })).toMatchObject({
      reason: 'self_referral',
    });
    const bot = found({ flags: ClickFlag.bot });
    expect(decided({ ...newOnly, ...bot, ...customer('returning') })).toMatchObject(refused);
  });
});

describe('the click of an order', () => {
  it('that is ordinary wins, and the evidence says why', () => {
    const decision = decided();
    expect(decision).toMatchObject({ outcome: 'attributed', reason: null });
    expect(evidenceSchema.parse(JSON.parse(JSON.stringify(decision?.evidence)))).toMatchObject({
      model: 'last_click',
      source: 'click_id',
      termsId: 7,
      candidates: [{ identity: `${CLICK_MS}:1:2`, affiliateId: 3, lost: null }],
    });
    expect(decision?.evidence.rules.filter(({ fired }) => fired)).toEqual([]);
  });

  it.each<[string, Given, string]>([
    ['is not given', { given: { kind: 'none_given' } }, 'no_click'],
    ['is forged', { given: { kind: 'not_an_id' } }, 'invalid_click_id'],
    ['is of another program', found({ programId: 9 }), 'click_of_other_program'],
    ['was sent to the fallback', found({ flags: ClickFlag.paused }), 'invalid_click'],
    ['was blocked', found({ flags: ClickFlag.blocked }), 'blocked_click'],
    ['was blocked, to the fallback', found({ flags: ClickFlag.blocked | ClickFlag.paused }), 'blocked_click'],
    ['came after the order', found({ ts: CLICK_MS + 15 * MINUTE_MS + 1 }), 'click_after_order'],
    ['has no terms', { terms: undefined }, 'no_terms'],
    ['has no affiliate', { noAffiliate: true }, 'no_terms'],
  ])('credits no affiliate when it %s', (_name, given, reason) => {
    expect(decided(given)).toMatchObject({ outcome: 'unattributed', reason });
  });

  it('was blocked for nothing before version 8 of the rules', () => {
    const blocked = found({ flags: ClickFlag.blocked });
    expect(decided({ ...blocked, rulesVersion: 7 })).toMatchObject({ outcome: 'attributed' });
  });

  it('counts within its window to the millisecond', () => {
    const at = (ms: number) => decided(ordered({ occurredAt: new Date(ms) }));
    expect(at(CLICK_MS + 30 * DAY_MS)).toMatchObject({ outcome: 'attributed' });
    expect(at(CLICK_MS + 30 * DAY_MS + 1)).toMatchObject({
      outcome: 'unattributed',
      reason: 'outside_window',
    });
  });

  it('may be up to 5 minutes after the order by the clocks, when its id names it', () => {
    expect(decided(found({ ts: CLICK_MS + 15 * MINUTE_MS }))).toMatchObject({ outcome: 'attributed' });
    expect(decided({ ...found({ ts: CLICK_MS + 15 * MINUTE_MS }), rulesVersion: 3 })).toMatchObject({
      reason: 'click_after_order',
    });
  });

  it('is not converted at once because the order is dated before it: its receipt counts', () => {
    const rules = { fraudRules: { instant_conversion: 30 } };
    const receivedAt = (seconds: number) =>
      decided(
        ordered({
          ...rules,
          occurredAt: new Date(CLICK_MS - 20_000),
          receivedAt: new Date(CLICK_MS + seconds * 1_000),
        }),
      );
    expect(receivedAt(31)).toMatchObject({ outcome: 'attributed' });
    expect(receivedAt(29)).toMatchObject({ outcome: 'review', reason: 'instant_conversion' });
  });

  it('is missing only when the warehouse is complete past it, or the wait has lasted too long', () => {
    const missing = (completeToMs: number, gaveUp = false) =>
      decided({ given: { kind: 'missing', identity: click }, completeToMs, gaveUp });
    expect(missing(CLICK_MS)).toBeUndefined();
    expect(missing(CLICK_MS + 1)).toMatchObject({ outcome: 'unattributed', reason: 'click_not_found' });
    expect(missing(CLICK_MS, true)).toMatchObject({ reason: 'click_not_found', evidence: { gaveUp: true } });
    // Found before the warehouse is complete: what the rules count is not all there yet.
    expect(decided({ completeToMs: CLICK_MS })).toBeUndefined();
  });
});

describe('a coupon code', () => {
  const coupon = (changes: Partial<ReportedCoupon> = {}): ReportedCoupon => ({
    code: 'BEN10',
    couponId: 9,
    affiliateId: 5,
    campaignId: 2,
    validFrom: null,
    validUntil: null,
    standing: 'valid',
    terms,
    ...changes,
  });
  const own = coupon({ code: 'ANN10', couponId: 8, affiliateId: 3 });
  const unknown = coupon({
    code: 'WELCOME',
    couponId: null,
    affiliateId: null,
    campaignId: null,
    standing: 'unknown_coupon',
    terms: undefined,
  });
  const alone = (...coupons: ReportedCoupon[]): Given => ({ given: { kind: 'none_given' }, coupons });
  const results = (given: Given) => decided(given)?.evidence.coupons?.map(({ result }) => result);
  const winnerOf = (given: Given) => {
    const decision = decided(given);
    const won = decision?.evidence.candidates.find(({ lost }) => lost === null);
    return [decision?.evidence.source, won?.affiliateId ?? null];
  };
  const subscription = (changes: object = {}): Given => ({
    subscription: {
      click: { ...click, ts: CLICK_MS - 40 * DAY_MS },
      terms: { ...terms, recurringMonths: 2 },
      conversionId: 5n,
      startedAt: new Date(CLICK_MS - 40 * DAY_MS),
      inReview: false,
      ...changes,
    },
  });

  it('credits no affiliate whose click was blocked, and another one', () => {
    const blocked = found({ flags: ClickFlag.blocked });
    expect(decided({ ...blocked, coupons: [own] })).toMatchObject({ reason: 'blocked_click' });
    expect(decided({ ...blocked, coupons: [own], rulesVersion: 7 })).toMatchObject({ outcome: 'attributed' });
    expect(winnerOf({ ...blocked, coupons: [coupon()] })).toEqual(['coupon', null]);
    expect(decided({ ...blocked, coupons: [coupon()] })).toMatchObject({ outcome: 'attributed' });
    expect(results({ ...blocked, coupons: [own] })).toEqual(['blocked_click']);
    // The code of the blocked affiliate must not take the order from the other one either.
    expect(winnerOf({ ...blocked, coupons: [own, coupon()] })).toEqual(['coupon', null]);
    expect(results({ ...blocked, coupons: [own, coupon()] })).toEqual(['blocked_click', 'won']);
    expect(results({ ...blocked, ...subscription(), coupons: [own, coupon()] })).toEqual([
      'blocked_click',
      'won',
    ]);
  });

  it('credits an order without a click, by the terms in force when it occurred', () => {
    const decision = decided(alone(unknown, coupon()));
    expect(decision).toMatchObject({ outcome: 'attributed', reason: null });
    expect(evidenceSchema.parse(JSON.parse(JSON.stringify(decision?.evidence)))).toMatchObject({
      rulesVersion: 8,
      source: 'coupon',
      termsId: 7,
      window: null,
      candidates: [],
      coupons: [
        { code: 'WELCOME', couponId: null, result: 'unknown_coupon' },
        { couponId: 9, result: 'won' },
      ],
    });
  });

  it.each<[string, ReportedCoupon[], string]>([
    ['of no affiliate', [unknown], 'unknown_coupon'],
    ['that is not valid then', [unknown, coupon({ standing: 'coupon_not_valid' })], 'coupon_not_valid'],
    ['of a terminated affiliate', [coupon({ standing: 'affiliate_not_active' })], 'affiliate_not_active'],
    ['without terms', [coupon({ terms: undefined })], 'no_terms'],
    ['of two affiliates', [coupon(), own], 'several_affiliates'],
  ])('%s leaves it unattributed, and the reason says so', (_name, coupons, reason) => {
    expect(decided(alone(...coupons))).toMatchObject({ outcome: 'unattributed', reason });
    // A click says more than a code that credits nothing.
    expect(winnerOf({ coupons })).toEqual(['click_id', 3]);
  });

  it('of two codes of one affiliate credits it once, by the first', () => {
    expect(results(alone(coupon(), coupon({ code: 'BEN5', couponId: 10 })))).toEqual(['won', 'agrees']);
  });

  it('wins over a click of another affiliate, which stays in the evidence', () => {
    const decision = decided({ coupons: [coupon()] });
    expect(decision?.evidence).toMatchObject({
      source: 'coupon',
      candidates: [{ identity: `${CLICK_MS}:1:2`, affiliateId: 3, lost: 'coupon_counts' }],
      coupons: [{ affiliateId: 5, result: 'won' }],
    });
  });

  it('does not, where the program says that the click wins', () => {
    const given = { ...ordered({ couponEvidence: 'click_wins' }), coupons: [coupon()] };
    expect(winnerOf(given)).toEqual(['click_id', 3]);
    expect(results(given)).toEqual(['click_counts']);
    // Nothing else speaks for the order: neither a click of before its window nor a missing one.
    const late = {
      ...ordered({ couponEvidence: 'click_wins', occurredAt: new Date(CLICK_MS + 31 * DAY_MS) }),
    };
    expect(decided({ ...late, coupons: [coupon()] })?.evidence).toMatchObject({
      source: 'coupon',
      candidates: [{ lost: 'outside_window' }],
    });
  });

  it('of the affiliate of the click agrees with it, and the click names campaign and terms', () => {
    expect(winnerOf({ coupons: [own] })).toEqual(['click_id', 3]);
    expect(results({ coupons: [own, unknown] })).toEqual(['agrees', 'unknown_coupon']);
    expect(results({ coupons: [own, coupon()] })).toEqual(['agrees', 'several_affiliates']);
  });

  it('waits for a click that may still come, and counts where it does not', () => {
    const missing = (completeToMs: number) => ({
      given: { kind: 'missing' as const, identity: click },
      completeToMs,
      coupons: [coupon()],
    });
    expect(decided(missing(CLICK_MS))).toBeUndefined();
    expect(decided(missing(CLICK_MS + 1))?.evidence.source).toBe('coupon');
  });

  it('comes before a match by fingerprint', () => {
    const visitorClicks = [visit({})];
    const visitor = { fingerprint: 77n, ip: '192.0.2.1' };
    for (const couponEvidence of ['coupon_wins', 'click_wins'] as const) {
      const given = { ...ordered({ ...visitor, couponEvidence }), ...alone(coupon()), visitorClicks };
      expect(winnerOf(given)).toEqual(['coupon', null]);
    }
    expect(winnerOf({ ...ordered(visitor), ...alone(unknown), visitorClicks })).toEqual(['fingerprint', 3]);
  });

  it('in a later order of a subscription: of its affiliate it agrees, of another one it counts as against a click', () => {
    expect(winnerOf({ ...alone(own), ...subscription() })).toEqual(['recurring', 3]);
    expect(results({ ...alone(own), ...subscription() })).toEqual(['agrees']);
    expect(winnerOf({ ...alone(coupon()), ...subscription() })).toEqual(['coupon', null]);
    const clickWins = { ...ordered({ couponEvidence: 'click_wins' }), ...alone(coupon()), ...subscription() };
    expect(winnerOf(clickWins)).toEqual(['recurring', 3]);
  });

  it('earns no longer than the months of the subscription', () => {
    const over = subscription({ startedAt: new Date(CLICK_MS - 90 * DAY_MS) });
    expect(decided({ ...alone(own), ...over })).toMatchObject({
      outcome: 'unattributed',
      reason: 'subscription_ended',
    });
    // Another affiliate has brought the customer back, and so has a click.
    expect(winnerOf({ ...alone(coupon()), ...over })).toEqual(['coupon', null]);
    expect(winnerOf({ coupons: [own] })).toEqual(['click_id', 3]);
  });

  it('that brings more orders in a day than the program expects without clicks goes to a review', () => {
    const used = (fromCoupon: number) => decided({ ...alone(coupon()), earlier: counted({ fromCoupon }) });
    expect(used(19)).toMatchObject({ outcome: 'attributed' });
    expect(used(20)).toMatchObject({ outcome: 'review', reason: 'coupon_without_click' });
    const leaked = (today: number) =>
      decided({
        ...alone(coupon()),
        ...ordered({ fraudRules: SUGGESTED }),
        history: {
          ...NO_HISTORY,
          couponDays: {
            ...{ today, before: Array.from({ length: 28 }, () => 2), until: 0 },
            others: { today: 0, mean: 0 },
          },
        },
      });
    expect(leaked(3)).toMatchObject({ outcome: 'attributed' });
    expect(leaked(14)).toMatchObject({ outcome: 'review', reason: 'leaked_coupon' });
    const withClick = { coupons: [own], earlier: counted({ fromCoupon: 50 }) };
    expect(decided(withClick)).toMatchObject({ outcome: 'attributed' });
  });

  it('is no way for an affiliate to buy for itself', () => {
    expect(decided({ ...alone(own), ...ordered({ customerId: 'customer-ann' }) })).toMatchObject({
      outcome: 'rejected',
      reason: 'self_referral',
    });
    expect(decided({ ...alone(own), fromOwnSession: true })).toMatchObject({ reason: 'self_referral' });
  });

  describe('whatever else an order has', () => {
    const unable = ['coupon_not_valid', 'affiliate_not_active'] as const;
    const anyCoupon = fc.oneof(
      fc.constant(unknown),
      fc
        .record({
          couponId: fc.integer({ min: 1, max: 6 }),
          standing: fc.constantFrom('valid' as const, 'valid' as const, ...unable),
          terms: fc.constantFrom(terms, terms, undefined),
        })
        // Two coupons of each of three affiliates: those of the click, of the first order, and another one.
        .map((one) => coupon({ ...one, code: `C${one.couponId}`, affiliateId: 3 + (one.couponId % 3) * 2 })),
    );
    const anyOrder = fc.record({
      coupons: fc.uniqueArray(anyCoupon, { maxLength: 4, selector: ({ code }) => code }),
      couponEvidence: fc.constantFrom('coupon_wins' as const, 'click_wins' as const),
      hasClick: fc.boolean(),
      late: fc.boolean(),
      subscribed: fc.constantFrom(undefined, 40, 90),
    });
    type AnyOrder = typeof anyOrder extends fc.Arbitrary<infer T> ? T : never;

    const factsOf = ({ coupons, couponEvidence, hasClick, late, subscribed }: AnyOrder): Given => ({
      ...ordered({ couponEvidence, occurredAt: new Date(CLICK_MS + (late ? 31 : 0.1) * DAY_MS) }),
      ...(hasClick ? {} : { given: { kind: 'none_given' as const } }),
      // As it is read: an order with a click that can win continues no subscription.
      ...(subscribed !== undefined &&
        (!hasClick || late) &&
        subscription({
          click: { ...click, affiliateId: 5 },
          startedAt: new Date(CLICK_MS - subscribed * DAY_MS),
        })),
      coupons,
    });
    const able = ({ coupons }: AnyOrder) =>
      coupons.filter(({ standing, terms: inForce }) => standing === 'valid' && inForce !== undefined);

    it('a code credits its own affiliate or none, and only where the program lets it', () => {
      fc.assert(
        fc.property(anyOrder, (order) => {
          const given = factsOf(order);
          const facts = decided(given)?.evidence;
          const without = decided({ ...given, coupons: [] })?.evidence;
          const won = facts?.coupons?.filter(({ result }) => result === 'won') ?? [];
          expect(won.length).toBe(facts?.source === 'coupon' ? 1 : 0);
          if (won[0]) expect(able(order).map(({ couponId }) => couponId)).toContain(won[0].couponId);
          if (facts?.source !== 'coupon') expect(facts?.source).toBe(without?.source);
          if (order.couponEvidence === 'click_wins' && without?.source !== null) {
            expect(facts?.source).toBe(without?.source);
          }
          // Of codes of several affiliates none credits it.
          const others = facts?.coupons?.filter(({ result }) => result === 'several_affiliates') ?? [];
          expect(won.length === 0 || others.length === 0).toBe(true);
          // Evidence tells what became of each code, in their order.
          expect(facts?.coupons?.map(({ code }) => code)).toEqual(order.coupons.map(({ code }) => code));
        }),
      );
    });

    it('the sequence of the codes says nothing of whom they credit', () => {
      fc.assert(
        fc.property(anyOrder, (order) => {
          const ofWinner = (one: AnyOrder) => {
            const decision = decided(factsOf(one));
            const won = decision?.evidence.coupons?.find(({ result }) => result === 'won');
            return [decision?.outcome, decision?.reason, decision?.evidence.source, won?.affiliateId];
          };
          expect(ofWinner({ ...order, coupons: order.coupons.toReversed() })).toEqual(ofWinner(order));
        }),
      );
    });

    it('its evidence is enough to decide again', () => {
      fc.assert(
        fc.property(anyOrder, (order) => {
          const first = decided(factsOf(order));
          const coupons = (first?.evidence.coupons ?? []).map((found, i) => ({
            ...couponAsFound(found),
            terms: order.coupons[i]?.terms,
          }));
          expect(decided({ ...factsOf(order), coupons })).toEqual(first);
        }),
      );
    });
  });

  it('has no click that a rule could look at', () => {
    const unobserved = decided({ ...alone(coupon()), context: undefined })?.evidence.rules ?? [];
    const names = unobserved.filter(({ observed }) => observed === null).map(({ rule }) => rule);
    expect(names).toEqual(expect.arrayContaining(['bot_click', 'forced_click', 'instant_conversion']));
    expect(names).toContain('high_conversion_rate_from_ip');
  });
});

describe('the first-click model', () => {
  const firstTerms: Terms = { ...terms, attributionModel: 'first_click' };
  const earlier = visit({ ts: CLICK_MS - DAY_MS, affiliateId: 5, seq: 0 });

  it('credits the first click of the same visitor, and says why the later one lost', () => {
    const decision = decided({ terms: firstTerms, visitorClicks: [earlier] });
    expect(decision?.evidence).toMatchObject({
      model: 'first_click',
      candidates: [
        { affiliateId: 5, lost: null },
        { affiliateId: 3, lost: 'later_click' },
      ],
    });
    expect(decided({ visitorClicks: [earlier], model: 'first_click' })?.evidence.candidates).toHaveLength(2);
  });

  it.each<[string, ClickWithTerms]>([
    ['of another address', visit({ ts: CLICK_MS - DAY_MS, affiliateId: 5, ip: '192.0.2.9' })],
    ['of another program', visit({ ts: CLICK_MS - DAY_MS, affiliateId: 5, programId: 8 })],
    ['outside its window', visit({ ts: CLICK_MS - 30 * DAY_MS, affiliateId: 5 })],
    ['on a paused link', visit({ ts: CLICK_MS - DAY_MS, affiliateId: 5, flags: ClickFlag.paused })],
    ['that a page forced', visit({ ts: CLICK_MS - DAY_MS, affiliateId: 5, flags: ClickFlag.forced })],
  ])('does not take a click %s', (_what, other) => {
    const decision = decided({ terms: firstTerms, visitorClicks: [other] });
    expect(decision?.evidence.candidates.find(({ lost }) => lost === null)?.affiliateId).toBe(3);
  });
});

describe('an order without a click id', () => {
  const visitor = { fingerprint: 77n, ip: '192.0.2.1' };
  const without = (changes: Partial<ClaimedConversion>, given: Given = {}): Given => ({
    given: { kind: 'none_given' },
    visitorClicks: [visit({}), visit({ ts: CLICK_MS + 1, seq: 3 })],
    ...ordered({ ...visitor, ...changes }),
    ...given,
  });

  it('is reviewed, credited or left alone by its fingerprint, as the program says', () => {
    expect(decided(without({}))).toMatchObject({
      outcome: 'review',
      reason: 'fingerprint_match',
      evidence: { source: 'fingerprint', candidates: [{ lost: 'earlier_click' }, { lost: null }] },
    });
    expect(decided(without({ fingerprintMatch: 'credit' }))).toMatchObject({ outcome: 'attributed' });
    expect(decided(without({ fingerprintMatch: 'off' }))).toMatchObject({ reason: 'no_click' });
    expect(decided(without({ customerId: 'customer-ann' }))).toMatchObject({ outcome: 'rejected' });
  });

  it('belongs to no affiliate when several may have sent the visitor', () => {
    const visitorClicks = [visit({}), visit({ affiliateId: 5, seq: 3 })];
    const decision = decided(without({ fingerprintMatch: 'credit' }, { visitorClicks }));
    expect(decision).toMatchObject({ outcome: 'unattributed', reason: 'several_affiliates' });
    expect(decision?.evidence.candidates.map(({ lost }) => lost)).toEqual([
      'several_affiliates',
      'several_affiliates',
    ]);
  });

  it('is not matched with clicks that are not valid, or without an address', () => {
    for (const flags of [ClickFlag.bot, ClickFlag.forced, ClickFlag.flood, ClickFlag.blocked]) {
      const visitorClicks = [visit({ flags })];
      expect(decided(without({ fingerprintMatch: 'credit' }, { visitorClicks }))).toMatchObject({
        reason: 'no_click',
      });
    }
    expect(decided(without({ ip: null }))).toMatchObject({ reason: 'no_click' });
  });

  it('is matched like that where its click id names a blocked click, which itself never earns', () => {
    const blocked = { ...click, affiliateId: 5, flags: ClickFlag.blocked, ts: CLICK_MS + MINUTE_MS, seq: 9 };
    const named = (given: Given = {}, changes: Partial<ClaimedConversion> = {}): Given =>
      without(
        { fingerprint: null, ip: null, ...changes },
        { ...found(blocked), visitorClicks: [visit({}), { click: blocked, terms }], ...given },
      );
    const honest = decided(named());
    expect(honest).toMatchObject({ outcome: 'review', reason: 'fingerprint_match' });
    expect(honest?.evidence.candidates.map(({ affiliateId, lost }) => [affiliateId, lost])).toEqual([
      [5, 'blocked_click'],
      [3, null],
    ]);
    expect(decided(named({}, { fingerprintMatch: 'credit' }))).toMatchObject({ outcome: 'attributed' });
    const uncredited = { outcome: 'unattributed', reason: 'blocked_click' };
    expect(decided(named({}, { fingerprintMatch: 'off' }))).toMatchObject(uncredited);
    const alone = decided(named({ visitorClicks: [{ click: blocked, terms }] }));
    expect(alone).toMatchObject(uncredited);
    expect(alone?.evidence.candidates).toHaveLength(1);
    for (const unknown of [{ fingerprint: 0n }, { ip: '::' }])
      expect(decided(named(found({ ...blocked, ...unknown })))).toMatchObject(uncredited);
    expect(decided(named({ completeToMs: blocked.ts + 1 }))).toBeUndefined();
  });

  it('waits until every click before it is known', () => {
    const { occurredAt } = conversion();
    expect(decided(without({}, { completeToMs: occurredAt.getTime() - 1 }))).toBeUndefined();
    expect(decided(without({}, { completeToMs: occurredAt.getTime() }))).toMatchObject({ outcome: 'review' });
  });
});

describe('a later order of a subscription', () => {
  const startedAt = new Date(CLICK_MS + MINUTE_MS);
  const subscription = {
    ...visit({}),
    terms: { ...terms, recurringMonths: 2 },
    conversionId: 9n,
    startedAt,
    inReview: false,
  };
  const later = (month: number, given: Given = {}): Given => ({
    given: { kind: 'none_given' },
    subscription,
    ...ordered({ occurredAt: new Date(Date.UTC(2026, month, 10, 12)) }),
    ...given,
  });

  it('is credited by the first one for the months its terms promise', () => {
    expect(decided(later(2))).toMatchObject({ outcome: 'attributed', evidence: { source: 'recurring' } });
    expect(decided(later(3))).toMatchObject({ outcome: 'unattributed', reason: 'no_click' });
  });

  it('waits for the review of the first one, after what the rules have to say of its own', () => {
    const waiting = later(2, { subscription: { ...subscription, inReview: true } });
    expect(decided(waiting)).toMatchObject({
      outcome: 'review',
      reason: 'first_order_in_review',
      evidence: { firstInReview: true },
    });
    const own = { ...waiting, affiliate: { ...affiliate, status: 'suspended' as const } };
    expect(decided({ ...waiting, fromOwnSession: true })).toMatchObject({ reason: 'self_referral' });
    expect(decided(own)).toMatchObject({ outcome: 'review', reason: 'affiliate_not_active' });
  });

  it('is credited also when it names the old click, and by a click of its own when it has one', () => {
    expect(decided(later(2, { given: { kind: 'found', click } }))).toMatchObject({
      evidence: { source: 'recurring' },
    });
    const own = { ...click, ts: Date.UTC(2026, 2, 9), affiliateId: 5 };
    const completeToMs = Date.UTC(2026, 3, 1);
    expect(decided(later(2, { given: { kind: 'found', click: own }, completeToMs }))).toMatchObject({
      evidence: { source: 'click_id', candidates: [{ affiliateId: 5 }] },
    });
  });
});

/** An order of an affiliate whose recruiter earns by it. */
const recruited = (changes: Partial<ClaimedConversion>): Given => {
  const parent = { ...affiliate, id: 2, email: 'Eve@example.test', customerRef: 'customer-eve' };
  const earner = { affiliate: parent, payoutAccountHash: undefined, fromOwnSession: false, level: 2 };
  return { ...ordered(changes), ancestors: [earner] };
};

/** An order of a customer whose address has a tag, with the mailbox behind it. */
const mailbox = (address: string): Given =>
  ordered({ customerEmailHash: sha256('with a tag'), customerMailboxHash: sha256(address) });

describe('the fraud rules', () => {
  it.each<[string, Given, string]>([
    ['the customer’s id', ordered({ customerId: 'customer-ann' }), 'customer_id'],
    ['the e-mail address', ordered({ customerEmailHash: sha256('ann@example.test') }), 'email'],
    [
      'the payment account',
      ordered({ paymentAccountHash: sha256('de89370400440532013000') }),
      'payment_account',
    ],
    ['a session of the affiliate’s own', { fromOwnSession: true }, 'session'],
    ['the customer’s id, written in another way', ordered({ customerId: ' Customer-ANN ' }), 'customer_id'],
    [
      'the address of its payouts',
      ordered({ customerEmailHash: sha256('de89370400440532013000') }),
      'payout_email',
    ],
    [
      'its address as the account',
      ordered({ paymentAccountHash: sha256('ann@example.test') }),
      'payment_account',
    ],
    [
      'the e-mail address of a recruiter',
      recruited({ customerEmailHash: sha256('eve@example.test') }),
      'email, level 2',
    ],
    ['the reference of a recruiter', recruited({ customerId: 'CUSTOMER-eve' }), 'customer_id, level 2'],
  ])('reject a self-referral by %s', (_what, given, observed) => {
    const decision = decided(given);
    expect(decision).toMatchObject({ outcome: 'rejected', reason: 'self_referral' });
    expect(decision?.evidence.rules[0]).toMatchObject({ fired: true, observed });
  });

  it.each<[string, Given, string]>([
    ['with a tag', mailbox('ann@example.test'), 'mailbox'],
    ['of the payouts with a tag', mailbox('de89370400440532013000'), 'mailbox'],
    [
      'of a recruiter with a tag',
      recruited({ customerMailboxHash: sha256('eve@example.test') }),
      'mailbox, level 2',
    ],
  ])('review an order of the address %s', (_what, given, observed) => {
    const decision = decided(given);
    expect(decision).toMatchObject({ outcome: 'review', reason: 'self_referral' });
    expect(decision?.evidence.rules[0]).toMatchObject({ fired: true, effect: 'review', observed });
  });

  it('find the affiliate’s own tag also where the shop sends hashes alone, and no one else', () => {
    const tagged = { affiliate: { ...affiliate, email: 'Ann+partner@example.test' } };
    const hashed = ordered({ customerEmailHash: sha256('ann@example.test') });
    expect(decided({ ...tagged, ...hashed })).toMatchObject({ outcome: 'review', reason: 'self_referral' });
    expect(decided(mailbox('bob@example.test'))).toMatchObject({ outcome: 'attributed' });
    expect(decided(recruited({ customerId: 'customer-bob' }))).toMatchObject({ outcome: 'attributed' });
  });

  const quiet = {
    clicksBefore: { ip: 60, subnet: 600, fingerprint: 1_000_000 },
    country: 'DE',
    orderCountry: 'DE',
    network: 'AS680 DFN',
  };
  const busy = (key: 'ip' | 'subnet'): Given => ({
    context: { ...quiet, clicksBefore: { ...quiet.clicksBefore, [key]: key === 'ip' ? 61 : 601 } },
  });
  const soon = (seconds: number, given: Given = {}): Given => ({
    ...ordered({ occurredAt: new Date(CLICK_MS + seconds * 1_000) }),
    ...given,
  });
  const pace = (fast: number) => ({ conversions: 20, fast });
  const compared = (history: Partial<OrderHistory> = {}): Given => ({
    ...ordered({ fraudRules: SUGGESTED }),
    history: { ...NO_HISTORY, ...history },
  });
  /** After some ten orders a day. */
  const surge = (today: number, others = { today: 100, mean: 100 }) => ({
    ...{ today, before: Array.from({ length: 28 }, (_, day) => 7 + (day % 7)), until: 0, others },
  });
  const sold = (orders: number, clicks: number) => ({ orders, clicks });
  /** Where others in the campaign have one order of a hundred. */
  const rate = (own: number, clicks: number, others = [1, 2, 3].map(() => sold(100, 10_000))): Given =>
    compared({ sales: { own: sold(own, clicks), others } });
  /** Times around a mean (s), with a standard deviation. */
  const times = (orders: number, mean: number, deviation: number) => ({
    ...{ orders, seconds: orders * mean, squares: orders * (mean ** 2 + deviation ** 2) },
  });

  it.each<[string, Given, Given]>([
    ['instant_conversion', soon(29.999), soon(30)],
    [
      'high_conversion_rate_from_ip',
      { earlier: counted({ fromIp: 10 }) },
      { earlier: counted({ fromIp: 9 }) },
    ],
    [
      'high_conversion_rate_from_ip',
      { earlier: counted({ fromIp: 10 }) },
      // Not known: of many visitors.
      { ...found({ ip: '::' }), earlier: counted({ fromIp: 10 }) },
    ],
    ['click_velocity_ip', busy('ip'), { context: quiet }],
    ['click_velocity_subnet', busy('subnet'), { context: quiet }],
    ['bot_click', found({ flags: ClickFlag.bot }), found({ flags: ClickFlag.repeat })],
    ['forced_click', found({ flags: ClickFlag.forced }), found({ flags: ClickFlag.repeat })],
    [
      'geo_mismatch',
      { context: { ...quiet, orderCountry: 'FR' } },
      { context: { ...quiet, country: '', orderCountry: 'FR' } },
    ],
    ['data_centre', { context: { ...quiet, network: 'AS16276 OVH SAS' } }, { context: quiet }],
    [
      'repeat_orders',
      { ...ordered({ customerId: 'c' }), earlier: counted({ fromCustomer: 5 }) },
      { ...ordered({ customerId: 'c' }), earlier: counted({ fromCustomer: 4 }) },
    ],
    ['fast_conversions', soon(60, { pace: pace(11) }), soon(60, { pace: pace(10) })],
    [
      'repeat_payment_account',
      {
        ...ordered({ paymentAccountHash: 'ab', fraudRules: SUGGESTED }),
        earlier: counted({ fromAccount: 5 }),
      },
      {
        ...ordered({ paymentAccountHash: 'ab', fraudRules: SUGGESTED }),
        earlier: counted({ fromAccount: 4 }),
      },
    ],
    [
      'shared_payout_account',
      compared({ sharedCustomer: { affiliates: 1, orders: 3 } }),
      compared({ sharedCustomer: { affiliates: 1, orders: 2 } }),
    ],
    ['anomaly', compared({ affiliateDays: surge(29) }), compared({ affiliateDays: surge(19) })],
    [
      'anomaly',
      compared({ affiliateDays: surge(60) }),
      // A sale day of the whole program.
      compared({ affiliateDays: surge(60, { today: 600, mean: 100 }) }),
    ],
    [
      'anomaly',
      compared({ affiliateDays: surge(60) }),
      // The days before have orders since the day before yesterday.
      compared({ affiliateDays: { ...surge(60), before: [...Array.from({ length: 26 }, () => 0), 7, 8] } }),
    ],
    [
      'forced_clicks_share',
      compared({ traffic: { clicks: 49, forced: 51 } }),
      compared({ traffic: { clicks: 50, forced: 50 } }),
    ],
    [
      'forced_clicks_share',
      compared({ traffic: { clicks: 0, forced: 20 } }),
      compared({ traffic: { clicks: 0, forced: 19 } }),
    ],
    [
      'regular_click_to_order',
      compared({ clickToOrder: { own: times(20, 600, 56), others: times(20, 900, 900) } }),
      compared({ clickToOrder: { own: times(20, 600, 63), others: times(20, 900, 900) } }),
    ],
    [
      'regular_click_to_order',
      compared({ clickToOrder: { own: times(50, 1, 0), others: times(20, 900, 900) } }),
      compared({ clickToOrder: { own: times(19, 600, 0), others: times(20, 900, 900) } }),
    ],
    [
      'regular_click_to_order',
      compared({ clickToOrder: { own: times(50, 600, 30), others: times(20, 900, 900) } }),
      // All customers have a trial of 14 days.
      compared({
        clickToOrder: { own: times(50, 1_250_000, 43_000), others: times(400, 1_240_000, 42_000) },
      }),
    ],
    [
      'regular_click_to_order',
      compared({ clickToOrder: { own: times(50, 600, 30), others: times(20, 900, 900) } }),
      // Too few orders of others to compare it with.
      compared({ clickToOrder: { own: times(50, 600, 30), others: times(19, 900, 900) } }),
    ],
    ['conversion_rate', rate(40, 100), rate(4, 100)],
    [
      'conversion_rate',
      rate(40, 500, [sold(10, 5_000), sold(12, 6_000), sold(50, 50_000), sold(10, 5_000)]),
      // One partner's banners have most of the clicks, and hardly an order.
      rate(40, 500, [sold(20, 500), sold(24, 600), sold(50, 50_000), sold(16, 500)]),
    ],
    [
      'conversion_rate',
      rate(40, 100),
      // Two others have no median worth the name.
      rate(40, 100, [sold(100, 10_000), sold(100, 10_000), sold(0, 19)]),
    ],
    ['affiliate_not_active', { affiliate: { ...affiliate, status: 'suspended' } }, {}],
  ])('review by %s above its threshold, and not at it', (reason, above, at) => {
    expect(decided(above)).toMatchObject({ outcome: 'review', reason });
    expect(decided(at)).toMatchObject({ outcome: 'attributed' });
  });

  it('compare with what the program says, or not at all', () => {
    const rules = (fraudRules: ClaimedConversion['fraudRules'], given: Given = {}) =>
      decided({ ...ordered({ fraudRules }), context: quiet, ...given });
    expect(rules({ click_velocity_ip: 59 })).toMatchObject({ reason: 'click_velocity_ip' });
    expect(rules({ click_velocity_fingerprint: 999_999 })).toMatchObject({
      reason: 'click_velocity_fingerprint',
    });
    const robot = found({ flags: ClickFlag.bot });
    expect(rules({ bot_click: false }, robot)).toMatchObject({ outcome: 'attributed' });
    expect(rules({ bot_click: false }, robot)?.evidence.rules.map(({ rule }) => rule)).not.toContain(
      'bot_click',
    );
  });

  it('only watch where they are new and the program says nothing of them', () => {
    const made = (fraudRules: ClaimedConversion['fraudRules']) =>
      decided({ ...compared({ affiliateDays: surge(29) }), ...ordered({ fraudRules }) });
    const resultOf = (decision: ReturnType<typeof made>) =>
      decision?.evidence.rules.find(({ rule }) => rule === 'anomaly');
    expect(made({})).toMatchObject({ outcome: 'attributed', reason: null });
    expect(resultOf(made({}))).toMatchObject({ fired: true, effect: 'none', threshold: 1_000 });
    expect(made({ anomaly: 1_000 })).toMatchObject({ outcome: 'review', reason: 'anomaly' });
    expect(resultOf(made({ anomaly: 1_000 }))).toMatchObject({ fired: true, effect: 'review' });
    expect(resultOf(made({ anomaly: false }))).toBeUndefined();
    // It names no reason beside one that holds the order.
    const both = { ...soon(5), ...ordered({ occurredAt: new Date(CLICK_MS + 5_000), fraudRules: {} }) };
    expect(decided({ ...compared({ affiliateDays: surge(29) }), ...both })).toMatchObject({
      outcome: 'review',
      reason: 'instant_conversion',
    });
  });

  it('are left out where a decision is of a version before them', () => {
    const names = (rulesVersion: number) =>
      decided({ ...compared({ affiliateDays: surge(29) }), rulesVersion })?.evidence.rules.map(
        ({ rule }) => rule,
      ) ?? [];
    expect(names(8)).toEqual(expect.arrayContaining(['anomaly', 'coupon_without_click', 'forced_click']));
    expect(names(7)).toContain('coupon_without_click');
    expect(names(7).filter((name) => /anomaly|account|share|rate$|regular|leaked/.test(name))).toEqual([]);
    expect(names(5)).not.toContain('coupon_without_click');
    expect(names(2)).not.toContain('forced_click');
  });

  it('reject rather than review when both apply', () => {
    const both = {
      ...ordered({ customerId: 'customer-ann' }),
      earlier: counted({ fromIp: 50 }),
    };
    expect(decided(both)).toMatchObject({ outcome: 'rejected', reason: 'self_referral' });
    const terminated = { affiliate: { ...affiliate, status: 'terminated' as const } };
    expect(decided(terminated)).toMatchObject({ outcome: 'rejected', reason: 'affiliate_not_active' });
  });

  it('say nothing of what could not be observed', () => {
    const results = decided({ context: undefined })?.evidence.rules ?? [];
    expect(results.filter(({ observed }) => observed === null).map(({ rule }) => rule)).toEqual([
      'click_velocity_ip',
      'click_velocity_subnet',
      'geo_mismatch',
      'data_centre',
      'repeat_orders',
      'coupon_without_click',
      'fast_conversions',
      'repeat_payment_account',
      'shared_payout_account',
      'leaked_coupon',
      'forced_clicks_share',
      'regular_click_to_order',
      'conversion_rate',
      'anomaly',
    ]);
  });
});
