import { describe, expect, it } from 'vitest';
import { leastRatio, oneDayIn } from './statistics.ts';

const SEED = Number(process.env.AFFLUX_TEST_SEED ?? Date.now() % 2 ** 31);

/** Numbers below 1 from a seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Affiliates whose orders come by chance: at a rate of their own, fewer at weekends, days that differ by a fifth. */
function simulate(affiliates: number, seed: number) {
  const random = generator(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const poisson = (mean: number) => {
    if (mean > 60) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal()));
    let [count, product] = [0, random()];
    for (const least = Math.exp(-mean); product > least; count++) product *= random();
    return count;
  };
  let [alarms, found] = [0, 0];
  for (let i = 0; i < affiliates; i++) {
    const rate = 2 * 150 ** random();
    const [weekend, phase] = [0.4 + 0.6 * random(), Math.floor(random() * 7)];
    const meanOf = (day: number) =>
      rate * ((day + phase) % 7 < 2 ? weekend : 1) * Math.exp(0.2 * normal() - 0.02);
    const before = Array.from({ length: 28 }, (_, day) => poisson(meanOf(day)));
    const today = meanOf(28);
    alarms += Number((oneDayIn(poisson(today), before) ?? 0) > 1_000);
    found += Number((oneDayIn(poisson(5 * today), before) ?? 0) > 1_000);
  }
  return { alarms, found };
}

describe('an anomaly of one day in 1,000', () => {
  it(`is found of one honest affiliate-day in 1,000 at the most, and most days that bring five times as much (seed ${SEED})`, () => {
    const affiliates = 15_000;
    const { alarms, found } = simulate(affiliates, SEED);
    // 15 are expected at the most; more than 31 would be a chance of 1 in 10,000.
    expect(alarms).toBeLessThanOrEqual(31);
    expect(found / affiliates).toBeGreaterThan(0.8);
  });

  it('is rarer the more there are, and nothing without the days before', () => {
    const before = Array.from({ length: 28 }, (_, day) => 8 + (day % 5));
    const rarities = [9, 15, 20, 30, 50, 1_000].map((today) => oneDayIn(today, before) ?? 0);
    expect(rarities.toSorted((a, b) => a - b)).toEqual(rarities);
    expect(rarities[0]).toBe(1);
    expect(rarities.at(-1)).toBe(1_000_000);
    expect(oneDayIn(50, before.slice(0, 13))).toBeUndefined();
  });
});

describe('the least ratio of two rates', () => {
  it('is passed by chance once in 1,000 times at the most', () => {
    const random = generator(SEED);
    const drawn = (of: number, chance: number) =>
      Array.from({ length: of }, () => Number(random() < chance)).reduce((sum, hit) => sum + hit, 0);
    let above = 0;
    for (let i = 0; i < 2_000; i++) {
      const [one, other] = [
        { events: drawn(60, 0.3), of: 60 },
        { events: drawn(600, 0.06), of: 600 },
      ];
      above += Number(leastRatio(one, other) > 5);
    }
    // 2 are expected at the most; more than 9 would be a chance of 1 in 10,000.
    expect(above).toBeLessThanOrEqual(9);
  });

  it('is small where there is little to tell, and near the ratio where there is much', () => {
    expect(leastRatio({ events: 1, of: 2 }, { events: 10, of: 1_000 })).toBeLessThan(1);
    expect(leastRatio({ events: 5_000, of: 10_000 }, { events: 5_000, of: 100_000 })).toBeCloseTo(9.4, 1);
    expect(leastRatio({ events: 0, of: 100 }, { events: 10, of: 100 })).toBe(0);
    // The others sold nothing: the ratio has no upper end, and still a least one.
    expect(leastRatio({ events: 20, of: 100 }, { events: 0, of: 100 })).toBeGreaterThan(2);
  });
});
