import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import { listCommissions } from '../../ledger/books/commissions.ts';
import { type ChainMember, computeRewards, type Reward } from '../../ledger/books/rewards.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import { type Conversion, listDecided } from '../../ledger/conversions/conversions.ts';
import { readChains } from '../../ledger/decisions/decisions.ts';
import type { Ledger } from '../../ledger/postgres/db.ts';
import { getRulesVersions } from '../../ledger/programs/programs.ts';
import type { AttributionModel } from '../../ledger/programs/terms.ts';
import { chooseClick, type Winner, type Won } from '../decide/choose.ts';
import { decide, type Outcome, outcomeOf } from '../decide/decide.ts';
import { type Evidence, parseEvidence } from '../decide/evidence.ts';
import { type Observations, observe } from '../decide/judge.ts';
import type { ClickSource } from '../worker/click-source.ts';
import { gatherClickFacts, gatherRuleFacts } from '../worker/gather.ts';

/**
 * Decides again what was decided, without writing, and says what would come out otherwise. Clicks, terms and
 * thresholds are read anew as of the click and the decision; what no store keeps over time (counts, the affiliate's
 * status) is taken from the evidence as long as the same click wins.
 */

/** One side of a difference. */
export interface ReplayedDecision {
  readonly outcome: Outcome;
  readonly reason: string | null;
  /** `ts:node:seq` of the winner. */
  readonly click: string | null;
  readonly rewards: readonly Reward[];
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
  readonly ledger: Ledger;
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
  readonly rewards: readonly Reward[];
  readonly volumeBeforeMinor: bigint | undefined;
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
    const replayed = await replayPage(options, recorded);
    for (const [i, { conversion, evidence, rewards }] of recorded.entries()) {
      const before = { ...recordedOutcome(conversion, evidence), rewards };
      const now = replayed[i];
      if (now === undefined || isEqual(before, now)) continue;
      const { id: conversionId, orderId, currency } = conversion;
      differences.push({ conversionId, orderId, currency, before, after: now });
    }
  }
}

async function readRecorded(ledger: Ledger, page: readonly Conversion[]): Promise<Recorded[]> {
  const recorded: Recorded[] = [];
  for (const conversion of page) {
    const evidence = parseEvidence(conversion.evidence);
    if (!evidence) continue;
    const { rows } = await listCommissions(ledger, { conversionId: conversion.id, limit: MAX_LEVELS });
    const ordered = rows.toSorted((a, b) => a.level - b.level);
    recorded.push({
      conversion,
      evidence,
      rewards: ordered.map(({ affiliateId, level, amountMinor }) => ({ affiliateId, level, amountMinor })),
      volumeBeforeMinor: ordered[0]?.volumeBeforeMinor ?? undefined,
    });
  }
  return recorded;
}

/** What was decided at the time, whatever a reviewer or a refund made of it afterwards. */
function recordedOutcome(conversion: Conversion, evidence: Evidence): Omit<ReplayedDecision, 'rewards'> {
  const click = evidence.candidates.find(({ lost }) => lost === null)?.identity ?? null;
  if (evidence.source === null) return { outcome: 'unattributed', reason: conversion.reason, click };
  // A reviewer's rejection has taken the place of the reason; an approval has left it.
  const isMatch = evidence.source === 'fingerprint' && conversion.reason === 'fingerprint_match';
  return { ...outcomeOf(evidence.rules, { isMatch, firstInReview: evidence.firstInReview }), click };
}

async function replayPage(
  options: ReplayOptions,
  recorded: readonly Recorded[],
): Promise<(ReplayedDecision | undefined)[]> {
  const { ledger, clicks, clickIds, model } = options;
  const sources = { sql: ledger, clicks, clickIds, model };
  const conversions = await withTheirRules(ledger, recorded);
  const evidenceOf = new Map(recorded.map(({ conversion, evidence }) => [conversion.id, evidence]));
  const now = await gatherClickFacts(sources, {
    conversions,
    // Everything that will ever be known is known by now.
    gaveUp: () => true,
  });
  // A review is of its time, too.
  const facts = now.map((fact) => {
    const inReview = evidenceOf.get(fact.conversion.id)?.firstInReview ?? false;
    return { ...fact, subscription: fact.subscription && { ...fact.subscription, inReview } };
  });
  const choices = facts.map((fact) => {
    const choice = chooseClick(fact);
    return choice.kind === 'awaiting_click'
      ? ({ kind: 'none', reason: 'no_click', candidates: [] } as const)
      : choice;
  });
  const isSameWinner = (winner: Winner, evidence: Evidence | undefined): boolean =>
    evidence?.source !== null &&
    winningIdentity(evidence) === `${winner.click.ts}:${winner.click.node}:${winner.click.seq}`;
  const others = conversions.flatMap((conversion, i): Won[] => {
    const choice = choices[i];
    return choice?.kind === 'won' && !isSameWinner(choice.winner, evidenceOf.get(conversion.id))
      ? [{ conversion, winner: choice.winner }]
      : [];
  });
  const fresh = await observeOthers(sources, others);
  const chains = await readChains(ledger, {
    affiliateIds: [...new Set(others.map(({ winner }) => winner.click.affiliateId))],
    levels: MAX_LEVELS,
  });
  return conversions.map((conversion, i) => {
    const [fact, choice, before] = [facts[i], choices[i], recorded[i]];
    if (!fact || !choice || !before) return undefined;
    const observations = fresh.get(conversion.id) ?? recordedObservations(before.evidence);
    const { outcome, reason } = decide(fact, choice, observations);
    if (choice.kind === 'none') return { outcome, reason, click: null, rewards: [] };
    const { click, terms } = choice.winner;
    const isSame = !fresh.has(conversion.id);
    const chain = isSame ? before.rewards.map(asMember) : (chains.get(click.affiliateId) ?? []);
    const credits = outcome === 'attributed' || outcome === 'review';
    const rewards = credits
      ? computeRewards({
          orderMinor: conversion.amountMinor,
          terms,
          chain: chain.slice(0, 1 + terms.levelRatesBps.length),
          // Another affiliate's volume at that moment is not kept: it counts from the beginning of its tiers.
          volumeBeforeMinor: isSame ? before.volumeBeforeMinor : undefined,
        })
      : [];
    return { outcome, reason, click: `${click.ts}:${click.node}:${click.seq}`, rewards };
  });
}

/** Conversions with the thresholds by which they were decided. */
async function withTheirRules(ledger: Ledger, recorded: readonly Recorded[]): Promise<ClaimedConversion[]> {
  const asked = recorded.map(({ conversion: { programId }, evidence }) => ({
    programId,
    rulesVersion: evidence.programRulesVersion,
  }));
  const versions = await getRulesVersions(ledger, asked);
  const known = new Map(versions.map((settings) => [`${settings.programId} ${settings.version}`, settings]));
  return recorded.map(({ conversion, evidence }) => {
    const rulesVersion = evidence.programRulesVersion;
    const settings = known.get(`${conversion.programId} ${rulesVersion}`);
    if (!settings)
      throw new Error(`version ${rulesVersion} of program ${conversion.programId}'s rules is kept`);
    const { fingerprintMatch, fraudRules } = settings;
    return { ...conversion, fingerprintMatch, fraudRules, rulesVersion };
  });
}

/** What the rules see of winners that were not the winners before: counts are as of now. */
async function observeOthers(
  sources: Parameters<typeof gatherRuleFacts>[0],
  others: readonly Won[],
): Promise<Map<bigint, Observations>> {
  const facts = await gatherRuleFacts(sources, others, new Date());
  return new Map(
    others.flatMap(({ conversion, winner }, i) => {
      const fact = facts[i];
      if (!fact) return [];
      const earlier = { fromIp: 0, fromCustomer: 0 };
      return [[conversion.id, observe({ ...fact, earlier, conversion, winner })]];
    }),
  );
}

function recordedObservations(evidence: Evidence): Partial<Observations> {
  return Object.fromEntries(evidence.rules.map(({ rule, observed }) => [rule, observed]));
}

function winningIdentity(evidence: Evidence | undefined): string | undefined {
  return evidence?.candidates.find(({ lost }) => lost === null)?.identity;
}

function asMember({ affiliateId, level }: Reward): ChainMember {
  return { affiliateId, level, active: true };
}

function isEqual(a: ReplayedDecision, b: ReplayedDecision): boolean {
  const key = ({ outcome, reason, click, rewards }: ReplayedDecision) =>
    [outcome, reason, click, ...rewards.map((r) => `${r.level}:${r.affiliateId}:${r.amountMinor}`)].join(' ');
  return key(a) === key(b);
}

/** What each affiliate would have earned more, or less, by currency, minor units. */
export function moneyDifference(
  differences: readonly Difference[],
): { affiliateId: number; currency: string; amountMinor: bigint }[] {
  const sums = new Map<string, { affiliateId: number; currency: string; amountMinor: bigint }>();
  const add = (currency: string, { affiliateId, amountMinor }: Reward, sign: bigint): void => {
    const key = `${affiliateId} ${currency}`;
    const known = sums.get(key)?.amountMinor ?? 0n;
    sums.set(key, { affiliateId, currency, amountMinor: known + sign * amountMinor });
  };
  for (const { currency, before, after } of differences) {
    for (const reward of before.rewards) add(currency, reward, -1n);
    for (const reward of after.rewards) add(currency, reward, 1n);
  }
  return [...sums.values()].filter(({ amountMinor }) => amountMinor !== 0n);
}
