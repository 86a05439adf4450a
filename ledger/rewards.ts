import { applyRateBps } from '../core/money.ts';
import type { Terms } from './terms.ts';

/** Who may earn by a conversion: level 1 is the affiliate whose click won, 2 its parent, and so on. */
export interface ChainMember {
  readonly affiliateId: number;
  readonly level: number;
  readonly active: boolean;
}

export interface Reward {
  readonly affiliateId: number;
  readonly level: number;
  readonly amountMinor: bigint;
}

type RewardTerms = Pick<Terms, 'rateBps' | 'fixedMinor' | 'levelRatesBps'>;

/**
 * What each member of the chain earns by an order, in minor units.
 * Level 1: rate × order, half to even, plus the fixed amount. Level n: its rate × order. A parent that is not active
 * earns nothing and moves nobody up. All levels together never earn more than the order: lower levels come first.
 * Rewards of zero are left out.
 */
export function computeRewards(options: {
  orderMinor: bigint;
  terms: RewardTerms;
  chain: readonly ChainMember[];
}): Reward[] {
  const { orderMinor, terms, chain } = options;
  const rewards: Reward[] = [];
  let left = orderMinor;
  for (const { affiliateId, level, active } of chain) {
    if (!active && level > 1) continue;
    let amountMinor = levelReward(orderMinor, terms, level);
    if (amountMinor > left) amountMinor = left;
    left -= amountMinor;
    if (amountMinor > 0n) rewards.push({ affiliateId, level, amountMinor });
  }
  return rewards;
}

function levelReward(orderMinor: bigint, terms: RewardTerms, level: number): bigint {
  if (level === 1) return applyRateBps(orderMinor, terms.rateBps) + terms.fixedMinor;
  return applyRateBps(orderMinor, terms.levelRatesBps[level - 2] ?? 0);
}
