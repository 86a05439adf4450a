import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from './errors.ts';
import {
  allocate,
  applyRateBps,
  formatAmount,
  MAX_AMOUNT_MINOR,
  mulDivHalfEven,
  parseAmount,
} from './money.ts';

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

describe('parseAmount', () => {
  it.each([
    ['12.34', 'EUR', 1_234n],
    ['12', 'EUR', 1_200n],
    ['12.3', 'EUR', 1_230n],
    ['0', 'USD', 0n],
    ['007.50', 'USD', 750n],
    ['1200', 'JPY', 1_200n],
    ['1.234', 'KWD', 1_234n],
    ['1.2345', 'CLF', 12_345n],
  ])('reads %s %s', (text, currency, minor) => {
    expect(parseAmount(text, currency)).toBe(minor);
  });

  it.each([
    ['1e3', 'EUR'],
    ['-1', 'EUR'],
    ['+1', 'EUR'],
    ['0.001', 'EUR'],
    ['1.5', 'JPY'],
    ['NaN', 'EUR'],
    ['Infinity', 'EUR'],
    ['', 'EUR'],
    [' 1', 'EUR'],
    ['1,50', 'EUR'],
    ['1.', 'EUR'],
    ['.5', 'EUR'],
    ['0x10', 'EUR'],
    ['1_000', 'EUR'],
    ['١٢', 'EUR'],
    ['1\n', 'EUR'],
    ['9'.repeat(30), 'EUR'],
    ['9'.repeat(15), 'EUR'],
  ])('refuses %j %s and names the field', (text, currency) => {
    expect(() => parseAmount(text, currency, 'order_amount')).toThrow(InputError);
    expect(() => parseAmount(text, currency, 'order_amount')).toThrow(/^order_amount: /);
  });

  it('names the currency when that is at fault', () => {
    for (const currency of ['', 'eur', 'EURO', 'XXX', '__proto__', 'constructor']) {
      expect(() => parseAmount('1', currency)).toThrow(/^currency: /);
    }
  });

  it('returns what formatAmount wrote', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: MAX_AMOUNT_MINOR }),
        fc.constantFrom('JPY', 'EUR', 'KWD', 'CLF'),
        (minor, currency) => {
          expect(parseAmount(formatAmount(minor, currency), currency)).toBe(minor);
        },
      ),
    );
  });
});

describe('formatAmount', () => {
  it('writes every digit of the currency', () => {
    expect(formatAmount(-5n, 'EUR')).toBe('-0.05');
    expect(formatAmount(0n, 'KWD')).toBe('0.000');
    expect(formatAmount(-1_200n, 'JPY')).toBe('-1200');
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
  });
});
