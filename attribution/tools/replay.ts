import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import {
  type ChainMember,
  type CommissionAmount,
  computeCommissions,
} from '../../ledger/books/commission-amounts.ts';
import { type Commission, listCommissions } from '../../ledger/books/commissions.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import { type Conversion, listDecided } from '../../ledger/conversions/conversions.ts';
import { NONE_EARLIER } from '../../ledger/conversions/decision-facts.ts';
import { readChains } from '../../ledger/decisions/decisions.ts';
import { earningLines } from '../../ledger/decisions/earning-lines.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { MAX_PAGE_ROWS } from '../../ledger/postgres/page.ts';
import { getRulesVersions } from '../../ledger/programs/programs.ts';
import { termsFor } from '../../ledger/programs/special-rates.ts';
import { type AttributionModel, getTerms, type Terms } from '../../ledger/programs/terms.ts';
import { type Observations, observe } from '../decide/apply-fraud-rules.ts';
import {
  type ClickFacts,
  choose,
  type DecidedChoice,
  type ManualTarget,
  type Winner,
  type Won,
  winnerIdentity,
} from '../decide/choose.ts';
import { type Customer, kindByItself } from '../decide/customer.ts';
import { decide, type FraudDecision, outcomeOf } from '../decide/decide.ts';
import { decidedAmount, type Evidence, parseEvidence } from '../decide/evidence.ts';
import { type EarlierDecision, type FactSources, gatherClickFacts } from '../worker/click-facts.ts';
import type { ClickSource } from '../worker/click-source.ts';
import { createCampaignSales } from '../worker/kept/campaign-sales.ts';
import { createClickTimes } from '../worker/kept/click-times.ts';
import { createOrderCounts } from '../worker/kept/order-counts.ts';
import { gatherRuleFacts } from '../worker/rule-facts.ts';

/**
 * Decides again what was decided, without writing, and reports the differences. Clicks, terms and thresholds are read
 * again as of the click and the decision; what no store keeps over time (counts, the affiliate's status) is taken from
 * the evidence as long as the same click wins.
 */

/** One side of a difference. */
export interface ReplayedDecision extends FraudDecision {
  /** `ts:node:seq` of the click that won; `coupon:id` or `manual` where none did. */
  readonly click: string | null;
  readonly commissions: readonly CommissionAmount[];
}

export interface Difference {
  readonly conversionId: bigint;
  readonly orderId: string;
  readonly currency: string;
  readonly before: ReplayedDecision;
  readonly after: ReplayedDecision;
}

export interface Replay {
  readonly conversions: number;
  /** Those whose evidence was erased with their customer, or whose click is no longer stored: nothing to compare. */
  readonly skipped: number;
  readonly differences: readonly Difference[];
}

interface ReplayOptions {
  readonly ledger: Database;
  readonly clicks: ClickSource;
  readonly clickIds: ClickIdCodec;
  /** Of receipt; `to` is outside. */
  readonly from: Date;
  readonly to: Date;
  readonly programId?: number | undefined;
  /** Instead of the model of the terms. */
  readonly model?: AttributionModel | undefined;
}

const PAGE = 500;
const MAX_LEVELS = 10;

/** A decision as it was recorded. */
interface Recorded {
  readonly conversion: Conversion;
  readonly evidence: Evidence;
  readonly commissions: readonly CommissionAmount[];
  readonly volumeBeforeMinor: bigint | undefined;
}

/** A recorded decision with the click that wins now. */
interface Rechosen {
  readonly recorded: Recorded;
  readonly facts: ClickFacts;
  readonly choice: DecidedChoice;
}

export async function replay(options: ReplayOptions): Promise<Replay> {
  const differences: Difference[] = [];
  let conversions = 0;
  let skipped = 0;
  let after = 0n;
  for (;;) {
    const page = await listDecided(options.ledger, { ...options, after, limit: PAGE });
    const last = page.at(-1);
    if (!last) return { conversions, skipped, differences };
    after = last.id;
    conversions += page.length;
    const recorded = await readRecorded(options.ledger, page);
    skipped += page.length - recorded.length;
    differences.push(...(await replayPage(options, recorded)));
  }
}

async function readRecorded(ledger: Database, page: readonly Conversion[]): Promise<Recorded[]> {
  const recorded: Recorded[] = [];
  for (const conversion of page) {
    const evidence = parseEvidence(conversion.evidence);
    if (!evidence) continue;
    const { rows } = await listCommissions(ledger, { conversionId: conversion.id, limit: MAX_PAGE_ROWS });
    // Further parts are of what happened to the order afterwards.
    const ordered = rows.filter(({ cause }) => cause === 'order').toSorted((a, b) => a.level - b.level);
    recorded.push({
      conversion,
      evidence,
      commissions: ordered.map(({ affiliateId, level, amountMinor }) => ({
        affiliateId,
        level,
        amountMinor,
      })),
      volumeBeforeMinor: volumeBefore(evidence, ordered[0]),
    });
  }
  return recorded;
}

/** Before rules version 5 it stands with the commission of level 1 alone, and nowhere where that was nothing. */
function volumeBefore({ volumeBeforeMinor }: Evidence, first: Commission | undefined): bigint | undefined {
  return volumeBeforeMinor === undefined
    ? (first?.volumeBeforeMinor ?? undefined)
    : BigInt(volumeBeforeMinor);
}

/** The decision at the time, whatever a reviewer or a refund made of it afterwards. */
function recordedDecision({ recorded, facts }: Rechosen): ReplayedDecision {
  const { evidence, commissions } = recorded;
  const { outcome, reason } = evidence.decided ?? decidedBeforeVersion5(recorded, facts.conversion);
  return { outcome, reason, click: winningIdentity(evidence) ?? null, commissions };
}

/** Earlier evidence does not say what was decided: it follows from its rules, and from the settings of that time. */
function decidedBeforeVersion5(
  { conversion: { reason }, evidence: { source, rules, firstInReview } }: Recorded,
  { fingerprintMatch }: ClaimedConversion,
): FraudDecision {
  if (source === null) return { outcome: 'unattributed', reason };
  return outcomeOf(rules, {
    isMatch: source === 'fingerprint' && fingerprintMatch === 'review',
    firstInReview,
  });
}

async function replayPage(options: ReplayOptions, recorded: readonly Recorded[]): Promise<Difference[]> {
  const { ledger, clicks, clickIds, model } = options;
  const sources = {
    sql: ledger,
    clicks,
    clickIds,
    counts: createOrderCounts(),
    sales: createCampaignSales(),
    times: createClickTimes(),
    model,
  };
  const rechosen = await rechoose(sources, recorded);
  const others = rechosen.flatMap(wonByAnother);
  const merges = new Map(recorded.map(({ conversion, evidence }) => [conversion.id, evidence.merges]));
  const fresh = await observeOthers(sources, others, ({ conversion }) => merges.get(conversion.id) ?? 0);
  const chains = await readChains(ledger, {
    affiliateIds: [...new Set(others.map(({ winner }) => winner.click.affiliateId))],
    levels: MAX_LEVELS,
  });
  return rechosen.flatMap((one): Difference[] => {
    const { conversion } = one.recorded;
    const before = recordedDecision(one);
    const now = decideAgain(one, fresh.get(conversion.id), chains);
    const { id: conversionId, orderId, currency } = conversion;
    return isEqual(before, now) ? [] : [{ conversionId, orderId, currency, before, after: now }];
  });
}

/** Chooses the clicks again, by the thresholds of the decision. */
async function rechoose(sources: FactSources, recorded: readonly Recorded[]): Promise<Rechosen[]> {
  const recordedById = new Map(recorded.map((one) => [one.conversion.id, one]));
  const manual = await manualTargets(sources.sql, recorded);
  const clickFacts = await gatherClickFacts(sources, {
    conversions: await withTheirRules(sources.sql, recorded),
    // Everything that will ever be known is known by now.
    gaveUp: () => true,
    earlierOf: ({ id }) => earlierDecision(recordedById.get(id)?.evidence),
  });
  return clickFacts.flatMap((current) => {
    const one = recordedById.get(current.conversion.id);
    if (!one) return [];
    // A review is of its time, too.
    const inReview = one.evidence.firstInReview;
    const facts = {
      ...current,
      subscription: current.subscription && { ...current.subscription, inReview },
      manual: manual.get(one),
    };
    const choice = choose(facts);
    return [{ recorded: one, facts, choice: choice.kind === 'awaiting_click' ? NO_CLICK : choice }];
  });
}

/** To whom people credited orders, by the terms of that time. */
async function manualTargets(
  sql: FactSources['sql'],
  recorded: readonly Recorded[],
): Promise<Map<Recorded, ManualTarget>> {
  const byHand = recorded.filter(({ evidence }) => evidence.manual !== undefined);
  const ids = byHand.flatMap(({ evidence: { termsId } }) => (termsId === null ? [] : [termsId]));
  const versions = new Map(
    (ids.length === 0 ? [] : await getTerms(sql, ids)).map((terms) => [terms.id, terms]),
  );
  return new Map(
    byHand.flatMap((one): [Recorded, ManualTarget][] => {
      const { manual, termsId } = one.evidence;
      const terms = versions.get(termsId ?? 0);
      return manual && terms ? [[one, { ...manual, terms }]] : [];
    }),
  );
}

function earlierDecision(evidence: Evidence | undefined): EarlierDecision | undefined {
  if (!evidence) return undefined;
  const { rulesVersion, firstOrder, coupons = [], merges } = evidence;
  return {
    rulesVersion,
    coupons,
    merges,
    firstOrder: typeof firstOrder === 'string' ? BigInt(firstOrder) : firstOrder,
  };
}

const NO_CLICK: DecidedChoice = { kind: 'none', reason: 'no_click', candidates: [] };

/** Empty when the recorded click wins again, or none does. */
function wonByAnother({ recorded: { evidence }, facts: { conversion }, choice }: Rechosen): Won[] {
  if (choice.kind !== 'won') return [];
  const { winner } = choice;
  const isSame = evidence.source !== null && winningIdentity(evidence) === winnerIdentity(winner);
  return isSame ? [] : [{ conversion, winner }];
}

/** `fresh` are the observations of another winner than the recorded one. */
function decideAgain(
  { recorded, facts, choice }: Rechosen,
  fresh: Observations | undefined,
  chains: Awaited<ReturnType<typeof readChains>>,
): ReplayedDecision {
  const customer = customerAgain(recorded, facts, choice);
  const { outcome, reason } = decide(
    facts,
    choice,
    fresh ?? recordedObservations(recorded.evidence),
    customer,
  );
  if (choice.kind === 'none') return { outcome, reason, click: null, commissions: [] };
  const { click, terms }: Winner = choice.winner;
  const credits = outcome === 'attributed' || outcome === 'review';
  const chain = fresh ? (chains.get(click.affiliateId) ?? []) : recordedChain(recorded, click.affiliateId);
  const commissions = credits
    ? computeCommissions({
        lines: earningLines(
          { ...recorded.conversion, amountMinor: decidedAmount(recorded.conversion, recorded.evidence) },
          terms,
        ),
        terms: termsFor(termsOfVersion(terms, recorded.evidence), customer?.kind ?? null),
        chain: chain.slice(0, 1 + terms.levelRatesBps.length),
        // Another affiliate's volume at that moment is not kept: it counts from the beginning of its tiers.
        volumeBeforeMinor: fresh ? undefined : recorded.volumeBeforeMinor,
      })
    : [];
  return { outcome, reason, click: winnerIdentity(choice.winner), commissions };
}

/**
 * Who earned at the time, and the affiliate of the click also where it earned nothing; before version 5 of the rules the
 * volume by which it did is not known.
 */
function recordedChain({ commissions, evidence }: Recorded, affiliateId: number): ChainMember[] {
  const members = commissions.map(asMember);
  if (evidence.rulesVersion < 5 || members.some(({ level }) => level === 1)) return members;
  return [{ affiliateId, level: 1, active: true }, ...members];
}

/** Before version 5 of the rules every fixed commission was cut to the amount of the order. */
function termsOfVersion(terms: Terms, { rulesVersion }: Evidence): Terms {
  return rulesVersion < 5 ? { ...terms, fixedWithinOrder: true } : terms;
}

/**
 * Who bought, as the decision had it. Where a subscription now credits an order that none did, or the other way round, what
 * the shop says counts.
 */
function customerAgain(
  { evidence }: Recorded,
  { conversion }: ClickFacts,
  choice: DecidedChoice,
): Customer | undefined {
  if (choice.kind === 'none' || evidence.customer === undefined) return undefined;
  const isRenewal = choice.winner.source === 'recurring';
  if (isRenewal === (evidence.customer.kind === 'renewal')) return evidence.customer;
  return kindByItself({ conversion, winner: choice.winner });
}

/** Conversions with the thresholds by which they were decided. */
async function withTheirRules(
  sql: FactSources['sql'],
  recorded: readonly Recorded[],
): Promise<ClaimedConversion[]> {
  const versions = await getRulesVersions(
    sql,
    recorded.map(({ conversion: { programId }, evidence }) => ({
      programId,
      rulesVersion: evidence.programRulesVersion,
    })),
  );
  const known = new Map(versions.map((settings) => [`${settings.programId} ${settings.version}`, settings]));
  return recorded.map(({ conversion, evidence }) => {
    const rulesVersion = evidence.programRulesVersion;
    const settings = known.get(`${conversion.programId} ${rulesVersion}`);
    if (!settings)
      throw new Error(`version ${rulesVersion} of program ${conversion.programId}'s rules is kept`);
    const { fingerprintMatch, fraudRules, couponEvidence } = settings;
    return { ...conversion, fingerprintMatch, fraudRules, couponEvidence, rulesVersion };
  });
}

/** Observations of winners that were not the winners before, by conversion id: counts are as of now. */
async function observeOthers(
  sources: FactSources,
  others: readonly Won[],
  mergesOf: (one: Won) => number,
): Promise<Map<bigint, Observations>> {
  const ruleFacts = await gatherRuleFacts(sources, others, { now: new Date(), mergesOf });
  return new Map(
    others.flatMap(({ conversion, winner }): [bigint, Observations][] => {
      const facts = ruleFacts.get(conversion.id);
      return facts ? [[conversion.id, observe({ ...facts, earlier: NONE_EARLIER, conversion, winner })]] : [];
    }),
  );
}

function recordedObservations(evidence: Evidence): Partial<Observations> {
  return Object.fromEntries(
    evidence.rules.map(({ rule, observed, figures }) => [rule, { observed, figures }]),
  );
}

/** As `winnerIdentity` names it. */
function winningIdentity(evidence: Evidence): string | undefined {
  if (evidence.source === 'manual') return evidence.source;
  const coupon = evidence.coupons?.find(({ result }) => result === 'won');
  if (coupon) return `coupon:${coupon.couponId}`;
  return evidence.candidates.find(({ lost }) => lost === null)?.identity;
}

function asMember({ affiliateId, level }: CommissionAmount): ChainMember {
  return { affiliateId, level, active: true };
}

function isEqual(a: ReplayedDecision, b: ReplayedDecision): boolean {
  const key = ({ outcome, reason, click, commissions }: ReplayedDecision) =>
    [outcome, reason, click, ...commissions.map((c) => `${c.level}:${c.affiliateId}:${c.amountMinor}`)].join(
      ' ',
    );
  return key(a) === key(b);
}

/** By affiliate and currency the commission that the replay adds, or takes when negative; minor units. */
export function moneyDifference(
  differences: readonly Difference[],
): { affiliateId: number; currency: string; amountMinor: bigint }[] {
  const sums = new Map<string, { affiliateId: number; currency: string; amountMinor: bigint }>();
  const add = (currency: string, { affiliateId, amountMinor }: CommissionAmount, sign: bigint): void => {
    const key = `${affiliateId} ${currency}`;
    const known = sums.get(key)?.amountMinor ?? 0n;
    sums.set(key, { affiliateId, currency, amountMinor: known + sign * amountMinor });
  };
  for (const { currency, before, after } of differences) {
    for (const commission of before.commissions) add(currency, commission, -1n);
    for (const commission of after.commissions) add(currency, commission, 1n);
  }
  return [...sums.values()].filter(({ amountMinor }) => amountMinor !== 0n);
}
