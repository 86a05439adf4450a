import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { computeCommissions, shareOfLines } from '../books/commission-amounts.ts';
import type { BookedItem } from '../conversions/items.ts';
import type { ItemRate } from '../programs/special-rates.ts';
import { earningLines } from './earning-lines.ts';

const chain = [1, 2].map((level) => ({ affiliateId: level, level, active: true }));
const terms = {
  rateBps: 1_000,
  fixedMinor: 0n,
  fixedWithinOrder: false,
  levelRatesBps: [500],
  tiers: [],
  tierMode: 'marginal' as const,
};

function item(given: Partial<BookedItem> & { amountMinor: bigint }): BookedItem {
  const amounts = { amountMinor: given.amountMinor, taxMinor: 0n, shippingMinor: 0n };
  return {
    sku: null,
    brand: null,
    category: null,
    quantity: 1,
    discountMinor: 0n,
    giftCard: false,
    ...amounts,
    ...given,
    booked: { ...amounts, taxMinor: given.taxMinor ?? 0n, shippingMinor: given.shippingMinor ?? 0n },
  };
}

const sumOf = (items: readonly BookedItem[]) => items.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);

function linesOf(
  items: readonly BookedItem[],
  {
    itemRates = [],
    commissionBase = 'order_amount',
    raisedMinor = 0n,
  }: {
    itemRates?: ItemRate[];
    commissionBase?: 'order_amount' | 'net_of_tax' | 'net_of_tax_and_shipping';
    raisedMinor?: bigint;
  } = {},
) {
  return earningLines({ amountMinor: sumOf(items) + raisedMinor, items, commissionBase }, { itemRates });
}

describe('the rate of an item', () => {
  const itemRates: ItemRate[] = [
    { by: 'category', name: 'shoes', rateBps: 300 },
    { by: 'brand', name: 'Acme', rateBps: 700 },
    { by: 'sku', name: 'A-1', rateBps: 2_000 },
    { by: 'category', name: 'fees', rateBps: 0 },
  ];
  test.each([
    [{ sku: 'A-1', brand: 'Acme', category: 'shoes' }, 2_000n],
    [{ sku: 'A-2', brand: 'Acme', category: 'shoes' }, 700n],
    [{ sku: 'A-2', brand: 'Other', category: 'shoes' }, 300n],
    [{ sku: 'a-1' }, 1_000n],
    [{}, 1_000n],
    [{ category: 'fees' }, 0n],
    // The more specific rate counts, also against an exclusion.
    [{ sku: 'A-1', category: 'fees' }, 2_000n],
    [{ sku: 'A-1', giftCard: true }, 0n],
  ])('of %o is the most specific one', (given, earned) => {
    const lines = linesOf([item({ amountMinor: 10_000n, ...given })], { itemRates });
    expect(computeCommissions({ lines, terms, chain })[0]?.amountMinor ?? 0n).toBe(earned);
  });
});

test('recruiters earn nothing by what is excluded, and a fixed amount needs something that earns', () => {
  const itemRates: ItemRate[] = [{ by: 'category', name: 'fees', rateBps: 0 }];
  const excluded = item({ amountMinor: 6_000n, category: 'fees' });
  const hybrid = { ...terms, fixedMinor: 100n };
  const half = linesOf([item({ amountMinor: 4_000n }), excluded], { itemRates });
  expect(computeCommissions({ lines: half, terms: hybrid, chain }).map((one) => one.amountMinor)).toEqual([
    500n,
    200n,
  ]);
  expect(computeCommissions({ lines: linesOf([excluded], { itemRates }), terms: hybrid, chain })).toEqual([]);
  // What the order was raised by is of no item.
  const raised = linesOf([excluded], { itemRates, raisedMinor: 1_000n });
  expect(computeCommissions({ lines: raised, terms: hybrid, chain }).map((one) => one.amountMinor)).toEqual([
    200n,
    50n,
  ]);
});

test.each([
  ['order_amount' as const, 1_190n],
  ['net_of_tax' as const, 1_000n],
  ['net_of_tax_and_shipping' as const, 950n],
])('%s is what earns', (commissionBase, earned) => {
  const items = [item({ amountMinor: 11_900n, taxMinor: 1_900n, shippingMinor: 500n })];
  const lines = linesOf(items, { commissionBase });
  expect(computeCommissions({ lines, terms, chain })[0]?.amountMinor).toBe(earned);
});

test('tiers are gone through line by line, without items that have a rate of their own', () => {
  const tiered = { ...terms, tiers: [{ fromMinor: 1_000n, rateBps: 2_000 }] };
  const itemRates: ItemRate[] = [{ by: 'sku', name: 'own', rateBps: 5_000 }];
  const lines = linesOf(
    [item({ amountMinor: 600n }), item({ amountMinor: 1_000n, sku: 'own' }), item({ amountMinor: 600n })],
    { itemRates },
  );
  expect(shareOfLines({ lines, terms: tiered, volumeBeforeMinor: 0n })).toEqual([60n, 500n, 80n]);
});

test('the shares of lines come to the commission, and no line is two units beside its rate', () => {
  const anyItem = fc.record({
    amountMinor: fc.bigInt({ min: 0n, max: 100_000n }),
    sku: fc.constantFrom('a', 'b', null),
    category: fc.constantFrom('x', null),
  });
  const anyRate = fc.integer({ min: 0, max: 900_000 }).map((hundredths) => hundredths / 100);
  const anyRates = fc.record({
    a: anyRate,
    x: anyRate,
    own: anyRate,
  });
  fc.assert(
    fc.property(fc.array(anyItem, { minLength: 1, maxLength: 20 }), anyRates, (given, rates) => {
      const itemRates: ItemRate[] = [
        { by: 'category', name: 'x', rateBps: rates.x },
        { by: 'sku', name: 'a', rateBps: rates.a },
      ];
      const own = { ...terms, rateBps: rates.own, levelRatesBps: [] };
      const lines = linesOf(given.map(item), { itemRates });
      const shares = shareOfLines({ lines, terms: own });
      const [commission] = computeCommissions({ lines, terms: own, chain });
      expect(shares.reduce((sum, share) => sum + share, 0n)).toBe(commission?.amountMinor ?? 0n);
      for (const [i, { amountMinor, sku, category }] of given.entries()) {
        const rate = sku === 'a' ? rates.a : category === 'x' ? rates.x : rates.own;
        const off = (shares[i] ?? 0n) * 1_000_000n - amountMinor * BigInt(Math.round(rate * 100));
        // By the roundings of the commission and of both ends of the line.
        expect(off > -2_000_000n && off < 2_000_000n).toBe(true);
      }
    }),
  );
});
