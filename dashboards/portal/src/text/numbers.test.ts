import { expect, test } from 'vitest';
import { marksOf, type NumberRules, readNumber, writeNumber } from './numbers.ts';

const money = { decimals: 2 };
const whole = { whole: true };

test.each<[string, string, NumberRules, string]>([
  ['en', '48.25', money, '48.25'],
  ['en', '48,25', money, '48.25'],
  ['de', '48,25', money, '48.25'],
  ['de', '48.25', money, '48.25'],
  ['en', '1,234.50', money, '1234.50'],
  ['de', '1.234,50', money, '1234.50'],
  ['de', '1,234.50', money, '1234.50'],
  ['en', '1,234,567', money, '1234567'],
  ['de', '1.234.567', money, '1234567'],
  ['fr', '1 234,50', money, '1234.50'],
  ['fr', '1\u202f234\u202f567,5', money, '1234567.5'],
  ['de-CH', '1’234.50', money, '1234.50'],
  ['en', ' 12 ', money, '12'],
  ['en', '.5', {}, '0.5'],
  ['en', '0,125', {}, '0.125'],
  // Of a rate three decimals are as usual as two.
  ['en', '7.125', {}, '7.125'],
  ['de', '7,125', {}, '7.125'],
  ['de', '7,0625', {}, '7.0625'],
  ['en', '1,000', whole, '1000'],
  ['de', '1.000', whole, '1000'],
  ['en', '30.0', whole, '30'],
  ['ar-EG', '١٬٢٣٤٫٥', money, '1234.5'],
  ['hi-u-nu-deva', '४८.२५', money, '48.25'],
])('%s: %j with %j is %s', (locale, text, rules, value) => {
  expect(readNumber(text, rules, marksOf(locale))).toEqual({ value });
});

test.each<[string, string, NumberRules, string]>([
  ['en', '1,234', money, 'Has two readings: write 1234 or 1.234'],
  ['en', '1.234', money, 'Has two readings: write 1234 or 1.234'],
  ['de', '1.234', money, 'Has two readings: write 1234 or 1,234'],
  ['de', '1,250', money, 'Has two readings: write 1250 or 1,25'],
  ['en', '7,125', {}, 'Has two readings: write 7125 or 7.125'],
  ['en', '12,34,56', money, 'Must be a number.'],
  ['en', '1.2,3.4', money, 'Must be a number.'],
  ['en', '1 2', money, 'Must be a number.'],
  ['en', '48.', money, 'Must be a number.'],
  ['en', '-5', money, 'Must be a number.'],
  ['en', '1e3', money, 'Must be a number.'],
  ['en', 'ten', money, 'Must be a number.'],
  ['en', '2.5', whole, 'Must be a whole number.'],
])('%s: %j with %j is refused: %s', (locale, text, rules, fault) => {
  expect(readNumber(text, rules, marksOf(locale))).toEqual({ fault });
});

test.each(['en', 'de', 'fr', 'de-CH', 'ar-EG'])('what %s writes is read again', (locale) => {
  const marks = marksOf(locale);
  for (const plain of ['0', '48.25', '1000', '1234.5', '7.0625']) {
    expect(readNumber(writeNumber(plain, marks), {}, marks)).toEqual({ value: plain });
  }
});

test.each(['en', 'de', 'fr', 'de-CH', 'ar-EG', 'hi'])(
  'amounts as Intl writes them in %s are read',
  (locale) => {
    const format = new Intl.NumberFormat(locale, { minimumFractionDigits: 2 });
    for (const amount of [0.05, 48.25, 1_234.5, 1_234_567.89]) {
      expect(readNumber(format.format(amount), money, marksOf(locale)).value).toBe(amount.toFixed(2));
    }
  },
);
