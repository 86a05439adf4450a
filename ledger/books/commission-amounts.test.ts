import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyRateBps, mulDivHalfEven } from '../../core/money/rates.ts';
import { renderBankCsv } from '../payouts/providers/bank-csv.ts';
import { computeCommissions, wholeOrder } from './commission-amounts.ts';

const chain = [1, 2, 3].map((level) => ({ affiliateId: level, level, active: true }));

const untiered = { tiers: [], tierMode: 'marginal' as const, fixedWithinOrder: false };

/** Basis points with two decimals. */
const anyRate = (max: number) => fc.integer({ min: 0, max: max * 100 }).map((count) => count / 100);
const anyTerms = fc.record({
  tiers: fc.constant([]),
  tierMode: fc.constant('marginal' as const),
  rateBps: anyRate(10_000),
  fixedMinor: fc.bigInt({ min: 0n, max: 1_000_000n }),
  fixedWithinOrder: fc.boolean(),
  levelRatesBps: fc.array(anyRate(10_000), { maxLength: 9 }),
});
const anyOrder = fc.bigInt({ min: 0n, max: 1_000_000_000_000n });

describe('commission amounts', () => {
  test('round half to even at every level', () => {
    const terms = { ...untiered, rateBps: 1_000, fixedMinor: 0n, levelRatesBps: [1_000, 1_000] };
    const amounts = (orderMinor: bigint) =>
      computeCommissions({ lines: wholeOrder(orderMinor), terms, chain }).map(
        ({ amountMinor }) => amountMinor,
      );
    expect(amounts(25n)).toEqual([2n, 2n, 2n]);
    expect(amounts(35n)).toEqual([4n, 4n, 4n]);
  });

  test.each([
    // 100 at 10 %, the next 100 at 12 %, the last 100 at 15 %.
    ['marginal' as const, 900n, 300n, 10n + 12n + 15n],
    ['whole' as const, 900n, 300n, 30n],
    ['whole' as const, 1_000n, 300n, 36n],
    ['marginal' as const, 0n, 300n, 30n],
    ['marginal' as const, 5_000n, 300n, 45n],
  ])('follow the tiers, %s, from a volume of %i', (tierMode, volumeBeforeMinor, orderMinor, earned) => {
    const tiers = [
      { fromMinor: 1_000n, rateBps: 1_200 },
      { fromMinor: 1_100n, rateBps: 1_500 },
    ];
    const terms = { ...untiered, rateBps: 1_000, fixedMinor: 0n, levelRatesBps: [], tiers, tierMode };
    expect(
      computeCommissions({ lines: wholeOrder(orderMinor), terms, chain, volumeBeforeMinor })[0]?.amountMinor,
    ).toBe(earned);
  });

  test('under marginal tiers are the same for an order and for its parts, but for rounding', () => {
    const tiers = [{ fromMinor: 500n, rateBps: 2_000 }];
    const terms = { ...untiered, rateBps: 1_000, fixedMinor: 0n, levelRatesBps: [], tiers };
    const earns = (orderMinor: bigint, volumeBeforeMinor: bigint) =>
      computeCommissions({ lines: wholeOrder(orderMinor), terms, chain, volumeBeforeMinor })[0]
        ?.amountMinor ?? 0n;
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 2_000n }), fc.bigInt({ min: 1n, max: 2_000n }), (a, b) => {
        const parts = earns(a, 0n) + earns(b, a);
        const difference = parts - earns(a + b, 0n);
        expect(difference >= -1n && difference <= 1n).toBe(true);
      }),
    );
  });

  test('are the formula while the order is large enough, and but for what is fixed never more than the order', () => {
    fc.assert(
      fc.property(anyTerms, anyOrder, (terms, orderMinor) => {
        const commissions = computeCommissions({ lines: wholeOrder(orderMinor), terms, chain });
        expect(commissions.every(({ amountMinor }) => amountMinor > 0n)).toBe(true);
        const onTop = terms.fixedWithinOrder ? 0n : terms.fixedMinor;
        const total = commissions.reduce((sum, { amountMinor }) => sum + amountMinor, 0n) - onTop;
        expect(total <= orderMinor).toBe(true);
        const wanted = [
          applyRateBps(orderMinor, terms.rateBps) + terms.fixedMinor - onTop,
          applyRateBps(orderMinor, terms.levelRatesBps[0] ?? 0),
          applyRateBps(orderMinor, terms.levelRatesBps[1] ?? 0),
        ];
        const wantedTotal = wanted.reduce((sum, amount) => sum + amount, 0n);
        const enough = wantedTotal <= orderMinor;
        expect(total).toBe(enough ? wantedTotal : orderMinor);
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    [0n, false, [500n]],
    [300n, false, [530n, 9n]],
    [0n, true, []],
    [300n, true, [300n]],
  ])('of an order of %i with 5.00 fixed, within the order: %s', (orderMinor, fixedWithinOrder, earned) => {
    const terms = { ...untiered, rateBps: 1_000, fixedMinor: 500n, fixedWithinOrder, levelRatesBps: [300] };
    const amounts = computeCommissions({ lines: wholeOrder(orderMinor), terms, chain }).map(
      ({ amountMinor }) => amountMinor,
    );
    expect(amounts).toEqual(earned);
  });
});

/** Half to even on integers alone. */
function divideHalfEven(value: bigint, by: bigint): bigint {
  const [quotient, twiceRest] = [value / by, 2n * (value % by)];
  return twiceRest > by || (twiceRest === by && quotient % 2n === 1n) ? quotient + 1n : quotient;
}

describe('rates with four decimals of a percent', () => {
  const ONE = 1_000_000n;
  const anyCount = (max: number) => fc.integer({ min: 0, max });
  const rateOf = (count: number) => count / 100;
  const anyLines = fc.array(
    fc.record({ baseMinor: fc.bigInt({ min: 0n, max: 10n ** 9n }), own: fc.option(anyCount(400_000)) }),
    { minLength: 1, maxLength: 12 },
  );
  const anyTiers = fc
    .uniqueArray(fc.integer({ min: 1, max: 2_000_000_000 }), { maxLength: 4 })
    .chain((starts) =>
      fc.tuple(
        fc.constant(starts.toSorted((a, b) => a - b)),
        fc.array(anyCount(400_000), { minLength: starts.length, maxLength: starts.length }),
      ),
    );

  test('are exact over items, tiers and levels, and rounded once a level', () => {
    fc.assert(
      fc.property(
        anyLines,
        anyCount(400_000),
        anyTiers,
        fc.constantFrom('marginal' as const, 'whole' as const),
        fc.bigInt({ min: 0n, max: 10n ** 9n }),
        fc.array(anyCount(100_000), { maxLength: 2 }),
        (given, own, [starts, counts], tierMode, volumeBeforeMinor, levels) => {
          const lines = given.map(({ baseMinor, own: count }, item) => ({
            item,
            baseMinor,
            rate: count === null ? null : ({ by: 'sku', name: 'x', rateBps: rateOf(count) } as const),
            earns: true,
          }));
          const tiers = starts.map((start, i) => ({
            fromMinor: BigInt(start),
            rateBps: rateOf(counts[i] ?? 0),
          }));
          const commissions = computeCommissions({
            lines,
            chain,
            volumeBeforeMinor,
            terms: {
              rateBps: rateOf(own),
              fixedMinor: 0n,
              fixedWithinOrder: false,
              tiers,
              tierMode,
              levelRatesBps: levels.map(rateOf),
            },
          });
          // Every tier that the volume reaches adds the difference of its rate to the one before.
          const above = (volume: bigint) =>
            starts.reduce((sum, start, i) => {
              const step = BigInt((counts[i] ?? 0) - (i === 0 ? own : (counts[i - 1] ?? 0)));
              return volume > BigInt(start) ? sum + (volume - BigInt(start)) * step : sum;
            }, volume * BigInt(own));
          const whole = starts.findLastIndex((start) => BigInt(start) <= volumeBeforeMinor);
          let reached = volumeBeforeMinor;
          let exact = 0n;
          for (const { baseMinor, own: count } of given) {
            if (count !== null) exact += baseMinor * BigInt(count);
            else if (tierMode === 'whole')
              exact += baseMinor * BigInt(whole < 0 ? own : (counts[whole] ?? 0));
            else exact += above(reached + baseMinor) - above(reached);
            if (count === null) reached += baseMinor;
          }
          const base = given.reduce((sum, { baseMinor }) => sum + baseMinor, 0n);
          const earned = (level: number) => commissions.find((one) => one.level === level)?.amountMinor ?? 0n;
          expect(earned(1)).toBe(divideHalfEven(exact, ONE));
          for (const [i, count] of levels.entries()) {
            expect(earned(i + 2)).toBe(divideHalfEven(base * BigInt(count), ONE));
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('of whole basis points are what they were', () => {
    fc.assert(
      fc.property(anyOrder, fc.integer({ min: 0, max: 10_000 }), (orderMinor, rateBps) => {
        const terms = { ...untiered, rateBps, fixedMinor: 0n, levelRatesBps: [] };
        const [own] = computeCommissions({ lines: wholeOrder(orderMinor), terms, chain });
        expect(own?.amountMinor ?? 0n).toBe(mulDivHalfEven(orderMinor, BigInt(rateBps), 10_000n));
      }),
    );
  });
});

test('cumulative reversals of any parts take back what one takes back, and everything in the end', () => {
  const parts = fc.array(fc.bigInt({ min: 1n, max: 1_000_000n }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 1_000_000n }), parts, (earned, refunds) => {
      const gross = refunds.reduce((sum, refund) => sum + refund, 0n);
      let refunded = 0n;
      let reversed = 0n;
      for (const refund of refunds) {
        refunded += refund;
        const delta = mulDivHalfEven(earned, refunded, gross) - reversed;
        expect(delta >= 0n).toBe(true);
        reversed += delta;
      }
      expect(reversed).toBe(earned);
    }),
    { numRuns: 300 },
  );
});

test.each([
  ['=1+1', `"'=1+1"`],
  ['+49 30', `"'+49 30"`],
  ['-2', `"'-2"`],
  ['@SUM(A1)', `"'@SUM(A1)"`],
  ['\tx', `"'\tx"`],
  ['a "b", c', '"a ""b"", c"'],
  ['plain', '"plain"'],
])('a bank file writes the name %j as %s', (affiliateName, cell) => {
  const order = {
    providerKey: 'pay_1',
    affiliateId: 7,
    affiliateName,
    payoutId: 1n,
    affiliateEmail: 'a@example.com',
    payoutAccount: null,
    accountHolder: null,
    currency: 'JPY',
    amountMinor: 1_234n,
  };
  expect(renderBankCsv([order], ({ providerKey }) => providerKey).split('\r\n')[1]).toBe(
    `"pay_1","aff_7",${cell},"a@example.com","","","1234","JPY"`,
  );
});
