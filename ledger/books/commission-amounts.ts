import { allocate, applyRateBps, roundShare, shareOf } from '../../core/money/rates.ts';
import type { ItemRate } from '../programs/special-rates.ts';
import type { Terms } from '../programs/terms.ts';

/** Who may earn by a conversion: level 1 is the affiliate whose click won, 2 its parent, and so on. */
export interface ChainMember {
  readonly affiliateId: number;
  readonly level: number;
  readonly active: boolean;
}

export interface CommissionAmount {
  readonly affiliateId: number;
  readonly level: number;
  readonly amountMinor: bigint;
}

/** What a member of the chain earns by an order. */
export interface EarnedCommission extends CommissionAmount {
  /** The part of it that is a percentage of the order. */
  readonly shareMinor: bigint;
}

type CommissionTerms = Pick<
  Terms,
  'rateBps' | 'fixedMinor' | 'fixedWithinOrder' | 'levelRatesBps' | 'tiers' | 'tierMode'
>;

/** A part of an order that earns by one rate, in minor units of the program's currency. */
export interface EarningLine {
  /** Its place among the order's items; null: an order without items, or what it was raised by. */
  readonly item: number | null;
  readonly baseMinor: bigint;
  /** By a rate for this item; null: by that of the terms. */
  readonly rate: ItemRate | null;
  /** Not of gift cards and excluded items. */
  readonly earns: boolean;
}

/** An order without items. */
export function wholeOrder(amountMinor: bigint): EarningLine[] {
  return [{ item: null, baseMinor: amountMinor, rate: null, earns: true }];
}

/** What an order earns by: its lines, and the terms as they are for who bought (`termsFor`). */
interface Earning {
  readonly lines: readonly EarningLine[];
  readonly terms: CommissionTerms;
  /** Under tiers: the affiliate's volume of the month before this order. */
  readonly volumeBeforeMinor?: bigint | undefined;
}

/**
 * What each member of the chain earns by an order, in minor units. "The order" is what of its lines earns.
 * Level 1: the sum of each line at its rate, rounded once, half to even, plus the fixed amount. Level n: its rate × order.
 * A parent that is not active earns nothing, and the levels above it keep their rates. The percentages of all levels
 * together never come to more than the order: lower levels come first. The fixed amount is a promise of its own, also for an
 * order of nothing, unless the terms keep it `fixedWithinOrder`, or no line earns. Commissions of zero are left out.
 */
export function computeCommissions(earning: Earning & { chain: readonly ChainMember[] }): EarnedCommission[] {
  const { lines, terms, chain } = earning;
  const baseMinor = lines.reduce((sum, line) => sum + line.baseMinor, 0n);
  const commissions: EarnedCommission[] = [];
  let left = baseMinor;
  for (const { affiliateId, level, active } of chain) {
    if (!active && level > 1) continue;
    const fixedMinor = level === 1 ? fixedPart(earning) : 0n;
    const shareMinor =
      level === 1 ? ownShare(earning) : applyRateBps(baseMinor, terms.levelRatesBps[level - 2] ?? 0);
    const withinMinor = terms.fixedWithinOrder ? shareMinor + fixedMinor : shareMinor;
    const isCut = withinMinor > left;
    const takenMinor = isCut ? left : withinMinor;
    left -= takenMinor;
    const amountMinor = terms.fixedWithinOrder ? takenMinor : takenMinor + fixedMinor;
    if (amountMinor <= 0n) continue;
    commissions.push({
      affiliateId,
      level,
      amountMinor,
      // The percentage comes before what is fixed.
      shareMinor: isCut && shareMinor > takenMinor ? takenMinor : shareMinor,
    });
  }
  return commissions;
}

/** What level 1 earns by an order that is large enough for it, minor units. */
export function uncutCommission(earning: Earning): bigint {
  return ownShare(earning) + fixedPart(earning);
}

/** What a commission earns by each item of the order; what the order was raised by before it was decided is of none. */
export function partsOfItems(earning: Earning, { level, shareMinor }: EarnedCommission): bigint[] {
  const weights = level === 1 ? weightsOf(earning) : earning.lines.map(({ baseMinor }) => baseMinor);
  const parts = allocate(shareMinor, weights);
  return parts.filter((_, i) => earning.lines[i]?.item !== null);
}

/** What each line has of the share of level 1, the fixed amount aside; the parts add up to it. */
export function shareOfLines(earning: Earning): bigint[] {
  return allocate(ownShare(earning), weightsOf(earning));
}

function fixedPart({ lines, terms }: Earning): bigint {
  return lines.some(({ earns }) => earns) ? terms.fixedMinor : 0n;
}

/** The share of level 1, rounded once whatever rates and tiers the order runs through. */
function ownShare(earning: Earning): bigint {
  return roundShare(weightsOf(earning).reduce((sum, line) => sum + line, 0n));
}

/** Each line times its rate, exact. Tiers are gone through line by line, without those of rates of their own. */
function weightsOf({ lines, terms, volumeBeforeMinor = 0n }: Earning): bigint[] {
  let reachedMinor = volumeBeforeMinor;
  return lines.map(({ baseMinor, rate }) => {
    if (rate) return shareOf(baseMinor, rate.rateBps);
    const from = reachedMinor;
    reachedMinor += baseMinor;
    return terms.tierMode === 'whole'
      ? shareOf(baseMinor, rateAt(terms, volumeBeforeMinor))
      : weightBetween(terms, from, reachedMinor);
  });
}

function rateAt({ rateBps, tiers }: CommissionTerms, volumeMinor: bigint): number {
  return tiers.findLast(({ fromMinor }) => fromMinor <= volumeMinor)?.rateBps ?? rateBps;
}

function weightBetween({ rateBps, tiers }: CommissionTerms, start: bigint, end: bigint): bigint {
  const steps = [{ fromMinor: 0n, rateBps }, ...tiers];
  return steps.reduce((sum, { fromMinor, rateBps: rate }, i) => {
    const from = fromMinor > start ? fromMinor : start;
    const next = steps[i + 1]?.fromMinor ?? end;
    const to = next < end ? next : end;
    return to > from ? sum + shareOf(to - from, rate) : sum;
  }, 0n);
}
