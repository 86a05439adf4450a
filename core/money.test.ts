import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from './errors.ts';
import { formatAmount, MAX_AMOUNT_MINOR, parseAmount } from './money.ts';

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

it.each([
  ['120.0000', 'EUR', 12_000n],
  ['50.50000', 'EUR', 5_050n],
  ['1050.00', 'JPY', 1_050n],
  ['1.2340', 'KWD', 1_234n],
])('%s %s has zeros that say nothing', (amount, currency, minor) => {
  expect(parseAmount(amount, currency)).toBe(minor);
});

it.each([
  ['10.005', 'EUR'],
  ['10.0001', 'EUR'],
  ['1050.50', 'JPY'],
  ['10,00', 'EUR'],
  ['1,000.00', 'EUR'],
  ['1e3', 'EUR'],
  ['10.', 'EUR'],
])('%s %s is refused', (amount, currency) => {
  expect(() => parseAmount(amount, currency)).toThrow();
});
