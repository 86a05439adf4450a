import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyRateBps, mulDivHalfEven } from '../../core/money/rates.ts';
import { renderBankCsv } from '../payouts/providers/bank-csv.ts';
import { computeCommissions, wholeOrder } from './commission-amounts.ts';

const chain = [1, 2, 3].map((level) => ({ affiliateId: level, level, active: true }));

const untiered = { tiers: [], tierMode: 'marginal' as const, fixedWithinOrder: false };

const anyTerms = fc.record({
  tiers: fc.constant([]),
  tierMode: fc.constant('marginal' as const),
  rateBps: fc.integer({ min: 0, max: 10_000 }),
  fixedMinor: fc.bigInt({ min: 0n, max: 1_000_000n }),
  fixedWithinOrder: fc.boolean(),
  levelRatesBps: fc.array(fc.integer({ min: 0, max: 10_000 }), { maxLength: 9 }),
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
