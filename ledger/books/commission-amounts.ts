import { applyRateBps, applyRatesBps } from '../../core/money/rates.ts';
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

type CommissionTerms = Pick<
  Terms,
  'rateBps' | 'fixedMinor' | 'fixedWithinOrder' | 'levelRatesBps' | 'tiers' | 'tierMode'
>;

/**
 * What each member of the chain earns by an order, in minor units.
 * Level 1: its rate × order, half to even, plus the fixed amount; under tiers the rate depends on `volumeBeforeMinor`,
 * the affiliate's volume of the month before this order. Level n: its rate × order. A parent that is not active
 * earns nothing, and the levels above it keep their rates. The percentages of all levels together never come to more than
 * the order: lower levels come first. The fixed amount is a promise of its own, also for an order of nothing, unless the
 * terms keep it `fixedWithinOrder`. Commissions of zero are left out.
 */
export function computeCommissions(options: {
  orderMinor: bigint;
  terms: CommissionTerms;
  chain: readonly ChainMember[];
  volumeBeforeMinor?: bigint | undefined;
}): CommissionAmount[] {
  const { orderMinor, terms, chain, volumeBeforeMinor = 0n } = options;
  const commissions: CommissionAmount[] = [];
  let left = orderMinor;
  for (const { affiliateId, level, active } of chain) {
    if (!active && level > 1) continue;
    const fixedMinor = level === 1 ? terms.fixedMinor : 0n;
    const shareMinor =
      level === 1
        ? ownShare(orderMinor, terms, volumeBeforeMinor)
        : applyRateBps(orderMinor, terms.levelRatesBps[level - 2] ?? 0);
    const withinMinor = terms.fixedWithinOrder ? shareMinor + fixedMinor : shareMinor;
    const takenMinor = withinMinor < left ? withinMinor : left;
    left -= takenMinor;
    const amountMinor = terms.fixedWithinOrder ? takenMinor : takenMinor + fixedMinor;
    if (amountMinor > 0n) commissions.push({ affiliateId, level, amountMinor });
  }
  return commissions;
}

/** What level 1 earns by an order that is large enough for it, minor units. */
export function uncutCommission(orderMinor: bigint, terms: CommissionTerms, volumeBeforeMinor = 0n): bigint {
  return ownShare(orderMinor, terms, volumeBeforeMinor) + terms.fixedMinor;
}

/** The share of level 1, rounded once whatever tiers the order runs through. */
function ownShare(orderMinor: bigint, terms: CommissionTerms, volumeBeforeMinor: bigint): bigint {
  const steps = [{ fromMinor: 0n, rateBps: terms.rateBps }, ...terms.tiers];
  if (terms.tierMode === 'whole') {
    const reached = steps.findLast(({ fromMinor }) => fromMinor <= volumeBeforeMinor);
    return applyRateBps(orderMinor, reached?.rateBps ?? terms.rateBps);
  }
  const end = volumeBeforeMinor + orderMinor;
  return applyRatesBps(
    steps.flatMap(({ fromMinor, rateBps }, i) => {
      const from = fromMinor > volumeBeforeMinor ? fromMinor : volumeBeforeMinor;
      const next = steps[i + 1]?.fromMinor ?? end;
      const to = next < end ? next : end;
      return to > from ? [{ amountMinor: to - from, rateBps }] : [];
    }),
  );
}
