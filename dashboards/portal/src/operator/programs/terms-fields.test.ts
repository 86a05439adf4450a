import { describe, expect, test } from 'vitest';
import { bodyOf, FIELD_NAMES, listFault } from './terms-fields.ts';

describe('tiers as they are typed', () => {
  test.each([
    ['EUR', '1,500 = 12'],
    ['EUR', '1.500 = 12'],
    ['JPY', '1.500 = 12'],
    ['EUR', '100 = 10\n2,000 = 12'],
  ])('in %s, %j has two readings and is no threshold', (currency, text) => {
    expect(listFault('tiers', text, currency)).toContain('Has two readings');
  });

  test.each([
    ['EUR', '1500 = 12', '1500'],
    ['EUR', '1,500.00 = 12', '1500.00'],
    ['EUR', '1.5 = 12', '1.5'],
    ['KWD', '1.500 = 12', '1.500'],
  ])('in %s, %j is from %s', (currency, text, amount) => {
    expect(listFault('tiers', text, currency)).toBeUndefined();
    const fields = { ...Object.fromEntries(FIELD_NAMES.map((name) => [name, ''])), tiers: text };
    const { tiers } = bodyOf(fields as Parameters<typeof bodyOf>[0], currency, new Set());
    expect(tiers).toEqual([{ from: { amount, currency }, rate_bps: 1200 }]);
  });
});
