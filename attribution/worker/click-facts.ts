import { type ClickIdCodec, type ClickIdentity, clickIdentityKey } from '../../core/clicks/click-id.ts';
import { NO_FINGERPRINT } from '../../core/clicks/fingerprint.ts';
import { UNKNOWN_IP } from '../../core/ip.ts';
import { DAY_MS } from '../../core/time.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import {
  type CustomerQuestion,
  type FirstOrder,
  findFirstOrders,
  findFirstOrdersBeforeVersion5,
  getFirstOrders,
  haveUndecidedBefore,
} from '../../ledger/conversions/decision-facts.ts';
import type { Database, DatabaseSql } from '../../ledger/postgres/db.ts';
import { countMerges, type MergesThen, readSuccessors } from '../../ledger/programs/affiliates.ts';
import { type FoundCoupon, findCoupons } from '../../ledger/programs/coupons.ts';
import {
  type AttributionModel,
  getTerms,
  type Terms,
  type TermsQuestion,
  termsInForce,
} from '../../ledger/programs/terms.ts';
import type { CandidateRequest } from '../../warehouse/lookups/lookups.ts';
import {
  blockedClick,
  type ClickFacts,
  type ClickWithTerms,
  clockToleranceMs,
  FINGERPRINT_DAYS,
  type GivenClick,
  isKnownUpTo,
  type KnownClick,
  losesBecause,
  type Subscription,
  visitEndMs,
  visitorOf,
} from '../decide/choose.ts';
import { couponAsFound, couponTime, type ReportedCoupon } from '../decide/choose-coupon.ts';
import { RULES_VERSION } from '../decide/decide.ts';
import { type CouponEvidence, parseEvidence } from '../decide/evidence.ts';
import { askEach } from './ask-each.ts';
import type { ClickSource } from './click-source.ts';
import type { CampaignSales } from './kept/campaign-sales.ts';
import type { ClickTimes } from './kept/click-times.ts';
import type { OrderCounts } from './kept/order-counts.ts';

/** The first half of the facts of a batch, those that choose the click: a handful of queries, however many conversions. */

export interface FactSources {
  readonly sql: Database;
  readonly clicks: ClickSource;
  readonly clickIds: ClickIdCodec;
  /** What was counted of the orders before, kept for the next batch. */
  readonly counts: OrderCounts;
  readonly sales: CampaignSales;
  readonly times: ClickTimes;
  /** Instead of the model of the terms. */
  readonly model?: AttributionModel | undefined;
}

/** What a decision that is made again keeps from its evidence. */
export interface EarlierDecision {
  readonly rulesVersion: number;
  /** The customer's first order that was found; undefined: before version 5 of the rules, which did not keep it. */
  readonly firstOrder: bigint | null | undefined;
  /** The coupons that were found: what was changed of them since then changes nothing. */
  readonly coupons: readonly CouponEvidence[];
  /** How many merges it had seen; undefined: before version 7 of the rules, which did not keep it. */
  readonly merges: number | undefined;
}

/** A conversion with what its click id led to. */
type Reported = Pick<ClickFacts, 'conversion' | 'given'>;
type ReportedWithTerms = Pick<ClickFacts, 'conversion' | 'given' | 'terms'>;

/** Reads what `choose` needs of each conversion; `earlierOf` where decisions are made again. */
export async function gatherClickFacts(
  sources: FactSources,
  options: {
    conversions: readonly ClaimedConversion[];
    gaveUp: (conversion: ClaimedConversion) => boolean;
    earlierOf?: (conversion: ClaimedConversion) => EarlierDecision | undefined;
  },
): Promise<ClickFacts[]> {
  const { earlierOf = () => undefined } = options;
  const { conversions, gaveUp } = options;
  const completeToMs = await sources.clicks.completeToMs();
  // Before anybody's successor is read: a merge that is committed in between has a higher number, and counts for nothing.
  const merges = await countMerges(
    sources.sql,
    conversions.map(({ programId }) => programId),
  );
  const mergesOf: MergesOf = (conversion) => {
    const earlier = earlierOf(conversion);
    if (!earlier) return { merges: merges.get(conversion.programId) ?? 0 };
    return earlier.merges === undefined ? { before: conversion.decidedAt } : { merges: earlier.merges };
  };
  const reported = await withGivenClicks(sources, {
    conversions,
    mergesOf,
    isKnown: (conversion, clickMs) => isKnownUpTo({ completeToMs, gaveUp: gaveUp(conversion) }, clickMs),
  });
  const orders = await withTerms(sources.sql, reported);
  const { subscriptions, undecidedBefore } = await readSubscriptions(sources.sql, orders, {
    earlierOf,
    mergesOf,
  });
  const coupons = await readCoupons(sources.sql, conversions, earlierOf);
  const visits = await readVisits(sources, orders, { earlierOf, mergesOf });
  return orders.map((order) => ({
    ...order,
    visitorClicks: visits.get(order) ?? [],
    coupons: coupons.get(order.conversion) ?? [],
    subscription: subscriptions.get(order),
    undecidedBefore: undecidedBefore.get(order) ?? false,
    merges: merges.get(order.conversion.programId) ?? 0,
    completeToMs,
    gaveUp: gaveUp(order.conversion),
    model: sources.model,
    rulesVersion: earlierOf(order.conversion)?.rulesVersion ?? RULES_VERSION,
  }));
}

/** Which merges count for an order: in a decision that is made again those that it had seen. */
type MergesOf = (conversion: ClaimedConversion) => MergesThen;

/** A click that has to be waited for anyway is not looked for: under load that would be most look-ups. */
async function withGivenClicks(
  { sql, clicks, clickIds }: FactSources,
  options: {
    conversions: readonly ClaimedConversion[];
    mergesOf: MergesOf;
    isKnown: (conversion: ClaimedConversion, clickMs: number) => boolean;
  },
): Promise<Reported[]> {
  const decoded = options.conversions.map((conversion) => ({
    conversion,
    identity: conversion.clickId === null ? undefined : clickIds.decode(conversion.clickId),
  }));
  const known = await clicks.lookUp(
    decoded.flatMap(({ conversion, identity }) =>
      identity && options.isKnown(conversion, identity.ts) ? [identity] : [],
    ),
  );
  const successorThen = await readSuccessors(
    sql,
    [...known.values()].map(({ affiliateId }) => affiliateId),
  );
  return decoded.map(({ conversion, identity }) => {
    const given = givenClick(conversion, identity, known);
    if (given.kind !== 'found') return { conversion, given };
    const affiliateId = successorThen(given.click.affiliateId, options.mergesOf(conversion));
    return { conversion, given: { ...given, click: { ...given.click, affiliateId } } };
  });
}

function givenClick(
  { clickId }: ClaimedConversion,
  identity: ClickIdentity | undefined,
  known: ReadonlyMap<string, KnownClick>,
): GivenClick {
  if (clickId === null) return { kind: 'none_given' };
  if (identity === undefined) return { kind: 'not_an_id' };
  const click = known.get(clickIdentityKey(identity));
  return click ? { kind: 'found', click } : { kind: 'missing', identity };
}

async function withTerms(sql: DatabaseSql, reported: readonly Reported[]): Promise<ReportedWithTerms[]> {
  const terms = await askEach(
    reported,
    ({ conversion, given }) => (given.kind === 'found' ? termsQuestion(conversion, given.click) : undefined),
    (questions) => termsInForce(sql, questions),
  );
  return reported.map((one) => ({ ...one, terms: terms.get(one) }));
}

/** Which terms an order would come under by a click: those for its event at the time of the click. */
function termsQuestion({ eventName }: ClaimedConversion, click: KnownClick): TermsQuestion {
  return { ...click, eventName, at: new Date(click.ts) };
}

type EarlierOf = (conversion: ClaimedConversion) => EarlierDecision | undefined;

/** Earlier orders of the customers whose order has no click that can win: the first one, and whether one is undecided. */
async function readSubscriptions(
  sql: DatabaseSql,
  orders: readonly ReportedWithTerms[],
  { earlierOf, mergesOf }: { earlierOf: EarlierOf; mergesOf: MergesOf },
): Promise<{
  subscriptions: Map<ReportedWithTerms, Subscription>;
  undecidedBefore: Map<ReportedWithTerms, boolean>;
}> {
  const questionOf = (order: ReportedWithTerms) =>
    customerQuestion(order, earlierOf(order.conversion)?.rulesVersion ?? RULES_VERSION);
  // Before the first orders are read: one that is decided in between is found by that.
  const undecidedBefore = await askEach(orders, questionOf, (questions) =>
    haveUndecidedBefore(sql, questions),
  );
  const found = await readFirstOrders(sql, orders, { questionOf, earlierOf });
  const terms = await termsById(
    sql,
    found.map(({ first }) => first.termsId),
  );
  const successorThen = await readSuccessors(
    sql,
    found.map(({ first }) => first.affiliateId),
  );
  const subscriptions = found.map(({ order, first }): [ReportedWithTerms, Subscription] => {
    const { conversionId, occurredAt: startedAt, inReview, termsId } = first;
    const affiliateId = successorThen(first.affiliateId, mergesOf(order.conversion));
    const click = { ...clickOf(first), affiliateId };
    return [order, { click, terms: terms.get(termsId), conversionId, startedAt, inReview }];
  });
  return { subscriptions: new Map(subscriptions), undecidedBefore };
}

/** The one that a decision found stands in its evidence: what happened to it, or was imported, since then changes nothing. */
async function readFirstOrders(
  sql: DatabaseSql,
  orders: readonly ReportedWithTerms[],
  options: {
    questionOf: (order: ReportedWithTerms) => CustomerQuestion | undefined;
    earlierOf: EarlierOf;
  },
): Promise<{ order: ReportedWithTerms; first: FirstOrder }[]> {
  const { questionOf, earlierOf } = options;
  const fresh = orders.filter(({ conversion }) => earlierOf(conversion) === undefined);
  const kept = orders.filter(({ conversion }) => earlierOf(conversion)?.firstOrder !== undefined);
  const before5 = orders.filter((order) => !fresh.includes(order) && !kept.includes(order));
  const answers = [
    ...(await askEach(fresh, questionOf, (questions) => findFirstOrders(sql, questions))),
    ...(await askEach(
      kept,
      ({ conversion }) => earlierOf(conversion)?.firstOrder ?? null,
      (ids) => getFirstOrders(sql, ids),
    )),
    ...(await askEach(before5, questionOf, (questions) => findFirstOrdersBeforeVersion5(sql, questions))),
  ];
  return answers.flatMap(([order, first]) => (first ? [{ order, first }] : []));
}

/** Undefined where no earlier order of the customer matters: the order has a click that can win, or names no customer. */
function customerQuestion(
  { conversion, given, terms }: ReportedWithTerms,
  rulesVersion: number,
): CustomerQuestion | undefined {
  const { customerId, customerEmailHash, programId, eventName, id: conversionId, occurredAt } = conversion;
  const toleranceMs = clockToleranceMs(rulesVersion);
  const hasOwnClick =
    given.kind === 'found' &&
    losesBecause(conversion, { click: given.click, terms }, { rulesVersion, toleranceMs }) === undefined;
  if ((customerId === null && customerEmailHash === null) || hasOwnClick) return undefined;
  return { customerId, customerEmailHash, programId, eventName, conversionId, occurredAt };
}

function clickOf({
  clickTs,
  clickNode,
  clickSeq,
  clickIp,
  clickSubs,
  ...first
}: FirstOrder): Subscription['click'] {
  const { linkId, campaignId, affiliateId } = first;
  return {
    ts: clickTs.getTime(),
    node: clickNode,
    seq: clickSeq,
    ip: clickIp,
    linkId,
    campaignId,
    affiliateId,
    subs: clickSubs,
  };
}

async function termsById(sql: DatabaseSql, ids: readonly number[]): Promise<Map<number, Terms>> {
  if (ids.length === 0) return new Map();
  const versions = await getTerms(sql, ids);
  return new Map(versions.map((version) => [version.id, version]));
}

type StoredCoupon = Omit<ReportedCoupon, 'terms'>;

/** The codes of each order with what they were worth when it occurred; of an order that was decided before, what was found. */
async function readCoupons(
  sql: DatabaseSql,
  conversions: readonly ClaimedConversion[],
  earlierOf: EarlierOf,
): Promise<Map<ClaimedConversion, ReportedCoupon[]>> {
  const foundOf = (conversion: ClaimedConversion): readonly CouponEvidence[] | undefined =>
    earlierOf(conversion)?.coupons ??
    // It is looked at again for its click alone: a code that was made since then is no reason to decide it again.
    (conversion.state === 'unattributed' ? parseEvidence(conversion.evidence)?.coupons : undefined);
  const codes = conversions.flatMap((conversion) =>
    foundOf(conversion) ? [] : conversion.coupons.map((code) => ({ conversion, code })),
  );
  const found = await askEach(
    codes,
    ({ conversion, code }) => ({ programId: conversion.programId, code, at: couponTime(conversion) }),
    (questions) => findCoupons(sql, questions),
  );
  const stored = [
    ...codes.map((one) => ({ ...one, coupon: storedCoupon(one.code, found.get(one)) })),
    ...conversions.flatMap((conversion) =>
      (foundOf(conversion) ?? []).map((evidence) => ({
        conversion,
        coupon: couponAsFound(evidence),
      })),
    ),
  ];
  const terms = await askEach(
    stored,
    ({ conversion, coupon: { standing, affiliateId, campaignId } }) =>
      standing === 'valid' && affiliateId !== null && campaignId !== null
        ? { ...conversion, affiliateId, campaignId, at: couponTime(conversion) }
        : undefined,
    (questions) => termsInForce(sql, questions),
  );
  const coupons = new Map<ClaimedConversion, ReportedCoupon[]>();
  for (const one of stored) {
    const known = coupons.get(one.conversion) ?? [];
    coupons.set(one.conversion, [...known, { ...one.coupon, terms: terms.get(one) }]);
  }
  return coupons;
}

function storedCoupon(code: string, found: FoundCoupon | undefined): StoredCoupon {
  if (!found) {
    const nothing = {
      couponId: null,
      affiliateId: null,
      campaignId: null,
      validFrom: null,
      validUntil: null,
    };
    return { code, ...nothing, standing: 'unknown_coupon' };
  }
  const { id: couponId, affiliateId, campaignId, validFrom, validUntil, isValid, isTerminated } = found;
  return {
    code,
    couponId,
    affiliateId,
    campaignId,
    validFrom: validFrom?.toISOString() ?? null,
    validUntil: validUntil?.toISOString() ?? null,
    standing: isValid ? (isTerminated ? 'affiliate_not_active' : 'valid') : 'coupon_not_valid',
  };
}

/** Other clicks of the visitor, for the orders where they matter: without a usable id, or under the first-click model. */
async function readVisits(
  { sql, clicks, model }: FactSources,
  orders: readonly ReportedWithTerms[],
  { earlierOf, mergesOf }: { earlierOf: EarlierOf; mergesOf: MergesOf },
): Promise<Map<ReportedWithTerms, ClickWithTerms[]>> {
  const found = await askEach(
    orders,
    (order) =>
      visitRequest(order, {
        model,
        rulesVersion: earlierOf(order.conversion)?.rulesVersion ?? RULES_VERSION,
      }),
    (requests) => clicks.sameVisitor(requests),
  );
  const successorThen = await readSuccessors(
    sql,
    [...found.values()].flat().map(({ affiliateId }) => affiliateId),
  );
  const visited = [...found].flatMap(([order, visit]) =>
    visit.map((click) => {
      const affiliateId = successorThen(click.affiliateId, mergesOf(order.conversion));
      return { order, click: { ...click, affiliateId } };
    }),
  );
  const terms = await askEach(
    visited,
    ({ order: { conversion }, click }) => termsQuestion(conversion, click),
    (questions) => termsInForce(sql, questions),
  );
  const withTheirTerms = new Map<ReportedWithTerms, ClickWithTerms[]>(
    [...found.keys()].map((order) => [order, []]),
  );
  for (const one of visited) {
    withTheirTerms.get(one.order)?.push({ click: one.click, terms: terms.get(one) });
  }
  return withTheirTerms;
}

function visitRequest(
  { conversion, given, terms }: ReportedWithTerms,
  { model, rulesVersion }: { model: AttributionModel | undefined; rulesVersion: number },
): CandidateRequest | undefined {
  const named = { conversion, given, rulesVersion };
  if (given.kind === 'found' && !blockedClick(named)) {
    if (!terms || (model ?? terms.attributionModel) !== 'first_click') return undefined;
    const { fingerprint, ip, ts: toMs } = given.click;
    // Who opted out has no fingerprint, and an unknown address is of many: other clicks of that kind are of other people.
    if (fingerprint === NO_FINGERPRINT || ip === UNKNOWN_IP) return undefined;
    const days = Math.min(FINGERPRINT_DAYS, terms.cookieDays);
    return { fingerprint, ip, fromMs: conversion.occurredAt.getTime() - days * DAY_MS, toMs };
  }
  const visitor = visitorOf(named);
  if (!visitor) return undefined;
  const toMs = visitEndMs(conversion);
  return { ...visitor, fromMs: toMs - FINGERPRINT_DAYS * DAY_MS, toMs };
}
