import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { currencyExponent } from '../money.ts';
import {
  allocate,
  applyRateBps,
  convertMinor,
  isRateBps,
  mulDivHalfEven,
  parseExchangeRate,
  parsePercent,
  percentOf,
  roundShare,
  shareOf,
  taxWithin,
} from './rates.ts';

describe('allocate', () => {
  it('cuts an amount into parts that add up to it, each less than a unit beside its share', () => {
    const weights = fc.array(fc.bigInt({ min: 0n, max: 10n ** 12n }), { minLength: 1, maxLength: 50 });
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 12n }), weights, (amount, given) => {
        const parts = allocate(amount, given);
        const total = given.reduce((sum, weight) => sum + weight, 0n);
        expect(parts.reduce((sum, part) => sum + part, 0n)).toBe(amount);
        for (const [i, part] of parts.entries()) {
          const off = part * total - amount * (given[i] ?? 0n);
          expect(total === 0n || (off <= total && off >= -total)).toBe(true);
          expect(part >= 0n).toBe(true);
        }
      }),
    );
    expect(allocate(100n, [1n, 1n, 1n])).toEqual([33n, 34n, 33n]);
    expect(allocate(5n, [0n, 0n])).toEqual([5n, 0n]);
  });
});

describe('mulDivHalfEven', () => {
  it('rounds halves to the even neighbour, on both sides of zero', () => {
    expect([5n, 15n, 25n, 35n].map((v) => mulDivHalfEven(v, 1n, 10n))).toEqual([0n, 2n, 2n, 4n]);
    expect([-5n, -15n, -25n, -35n].map((v) => mulDivHalfEven(v, 1n, 10n))).toEqual([0n, -2n, -2n, -4n]);
  });

  it('is never further than a half from the exact value, and even when exactly there', () => {
    const any = fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n });
    fc.assert(
      fc.property(any, any, fc.bigInt({ min: 1n, max: 10n ** 20n }), (value, numerator, denominator) => {
        const rounded = mulDivHalfEven(value, numerator, denominator);
        const error = 2n * (value * numerator - rounded * denominator);
        const magnitude = error < 0n ? -error : error;
        expect(magnitude <= denominator).toBe(true);
        expect(magnitude < denominator || rounded % 2n === 0n).toBe(true);
      }),
    );
  });

  it('takes shares in basis points', () => {
    expect(applyRateBps(12_345n, 1_000)).toBe(1_234n);
    expect(applyRateBps(12_355n, 1_000)).toBe(1_236n);
    expect(applyRateBps(100n, 10_000)).toBe(100n);
    // 7.125 % and 0.0125 %, a half to the even neighbour each.
    expect(applyRateBps(8_000n, 712.5)).toBe(570n);
    expect(applyRateBps(20_000n, 1.25)).toBe(2n);
    expect(applyRateBps(28_000n, 1.25)).toBe(4n);
  });
});

/** Half to even on integers alone: another way to the same. */
function divideHalfEven(value: bigint, by: bigint): bigint {
  const magnitude = value < 0n ? -value : value;
  let quotient = magnitude / by;
  const twiceRest = 2n * (magnitude % by);
  if (twiceRest > by || (twiceRest === by && quotient % 2n === 1n)) quotient += 1n;
  return value < 0n ? -quotient : quotient;
}

describe('against integer arithmetic', () => {
  const amount = fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n });
  /** Rates of terms by their hundredths of a basis point, each as JSON reads its decimal. */
  const hundredths = fc.integer({ min: 0, max: 1_000_000 });
  const rateOf = (count: number) =>
    JSON.parse(`${Math.floor(count / 100)}.${String(count % 100).padStart(2, '0')}`) as number;
  const text = fc
    .tuple(fc.bigInt({ min: 1n, max: 10n ** 12n - 1n }), fc.integer({ min: 0, max: 12 }))
    .map(([digits, decimals]) => {
      const padded = digits.toString().padStart(decimals + 1, '0');
      const whole = padded.slice(0, padded.length - decimals);
      return decimals === 0 ? whole : `${whole}.${padded.slice(-decimals)}`;
    });
  /** A decimal as a ratio of integers. */
  const ratio = (decimal: string): [bigint, bigint] => {
    const [whole = '', fraction = ''] = decimal.split('.');
    return [BigInt(whole + fraction), 10n ** BigInt(fraction.length)];
  };

  it('multiplies and divides the same, halves and near halves among them', () => {
    const any = fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n });
    fc.assert(
      fc.property(any, any, fc.bigInt({ min: 1n, max: 10n ** 24n }), (value, numerator, denominator) => {
        expect(mulDivHalfEven(value, numerator, denominator)).toBe(
          divideHalfEven(value * numerator, denominator),
        );
        const half = value * denominator + denominator / 2n;
        for (const near of [half - 1n, half, half + 1n]) {
          expect(mulDivHalfEven(near, 1n, denominator)).toBe(divideHalfEven(near, denominator));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('takes shares by basis points the same', () => {
    fc.assert(
      fc.property(amount, hundredths, (amountMinor, count) => {
        expect(applyRateBps(amountMinor, rateOf(count))).toBe(
          divideHalfEven(amountMinor * BigInt(count), 1_000_000n),
        );
        // An amount whose share ends near a half.
        const half = count === 0 ? 0n : (amountMinor * 1_000_000n + 500_000n) / BigInt(count);
        for (const near of [half - 1n, half, half + 1n]) {
          expect(applyRateBps(near, rateOf(count))).toBe(divideHalfEven(near * BigInt(count), 1_000_000n));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('rounds a sum of shares once', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(amount, hundredths), { maxLength: 20 }), (shares) => {
        const sum = shares.reduce((all, [minor, count]) => all + shareOf(minor, rateOf(count)), 0n);
        const exact = shares.reduce((all, [minor, count]) => all + minor * BigInt(count), 0n);
        expect(roundShare(sum)).toBe(divideHalfEven(exact, 1_000_000n));
      }),
    );
  });

  it('reads, refuses and writes every rate of two decimals as the decimal that it is', () => {
    for (let count = 0; count <= 1_000_000; count++) {
      const rate = rateOf(count);
      if (!isRateBps(rate) || shareOf(1n, rate) !== BigInt(count)) throw new Error(`${rate} is ${count}`);
    }
    for (const wrong of [
      -0.01,
      10_000.01,
      0.001,
      712.345,
      1_250.005,
      1e-7,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ]) {
      expect([wrong, isRateBps(wrong)]).toEqual([wrong, false]);
    }
    fc.assert(
      fc.property(hundredths, (count) => {
        const digits = String(count).padStart(5, '0');
        const percent = `${digits.slice(0, -4)}.${digits.slice(-4)}`.replace(/\.?0+$/, '');
        expect(percentOf(rateOf(count))).toBe(percent === '' ? '0' : percent);
        // As JSON, PostgreSQL and a person's input give it back.
        expect(Number(`${percent === '' ? '0' : percent}e2`)).toBe(rateOf(count));
      }),
      { numRuns: 2_000 },
    );
  });

  it('converts the same: by a rate, by the inverse, and across a third currency', () => {
    const currency = fc.constantFrom('JPY', 'EUR', 'KWD', 'CLF');
    fc.assert(
      fc.property(amount, currency, currency, text, text, (minor, from, to, rate, across) => {
        const [n, d] = ratio(rate);
        const [an, ad] = ratio(across);
        const unit = (code: string) => 10n ** BigInt(currencyExponent(code) ?? 0);
        const [fromUnit, toUnit] = [unit(from), unit(to)];
        const [one, other] = [parseExchangeRate(rate), parseExchangeRate(across)];
        const by = (times: (typeof one)[], per: (typeof one)[]) =>
          convertMinor(minor, { from, to, times, per });
        expect(by([one], [])).toBe(divideHalfEven(minor * n * toUnit, d * fromUnit));
        expect(by([], [one])).toBe(divideHalfEven(minor * d * toUnit, n * fromUnit));
        expect(by([other], [one])).toBe(divideHalfEven(minor * d * an * toUnit, n * ad * fromUnit));
      }),
      { numRuns: 2_000 },
    );
  });

  it('finds the tax within an amount the same', () => {
    const percent = fc.integer({ min: 0, max: 1_000_000 });
    fc.assert(
      fc.property(amount, percent, (minor, tenThousandths) => {
        const padded = String(tenThousandths).padStart(5, '0');
        const rate = parsePercent(`${padded.slice(0, -4)}.${padded.slice(-4)}`, 'vat_rate');
        const whole = BigInt(tenThousandths);
        expect(taxWithin(minor, rate)).toBe(divideHalfEven(minor * whole, whole + 1_000_000n));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('reading', () => {
  it.each(['0', '0.0', '-1', '1e3', '1.', '.5', '1,5', '', '1'.repeat(13), `1.${'1'.repeat(13)}`])(
    'refuses %j as an exchange rate',
    (given) => expect(() => parseExchangeRate(given)).toThrow(/^rate: /),
  );
  it.each(['100.0001', '101', '-1', '1.23456', '1e1', '', 'x', '19 %'])(
    'refuses %j as a percentage',
    (given) => expect(() => parsePercent(given, 'vat_rate')).toThrow(/^vat_rate: /),
  );
  it('takes percentages with four decimals', () => {
    expect(taxWithin(11_900n, parsePercent('19', 'vat_rate'))).toBe(1_900n);
    expect(taxWithin(10_000n, parsePercent('8.8750', 'vat_rate'))).toBe(815n);
    expect(taxWithin(10_000n, parsePercent('0', 'vat_rate'))).toBe(0n);
  });
});
