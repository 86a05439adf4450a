import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bigintId, formatId, integerId } from './ids.ts';

test('an id that is written is read again', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2_147_483_647 }), (id) => {
      expect(integerId('campaign').parse(formatId('campaign', id))).toBe(id);
    }),
  );
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 9_223_372_036_854_775_807n }), (id) => {
      expect(bigintId('conversion').parse(formatId('conversion', id))).toBe(id);
    }),
  );
});

test('no id is read as one of another kind, and each is written in one way only', () => {
  const refused = [
    '',
    'cnv_',
    'cnv_0',
    'cnv_01',
    'cnv_-1',
    'cnv_1 ',
    'CNV_1',
    'com_1',
    '1',
    'cnv_9223372036854775808',
  ];
  for (const text of refused) expect(bigintId('conversion').safeParse(text).success).toBe(false);
  expect(integerId('link').safeParse('lnk_2147483648').success).toBe(false);
  expect(integerId('link').safeParse('lnk_2147483647').success).toBe(true);
});

test('whatever is read as an id is written as it was', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^cnv_\d{1,20}$/), fc.stringMatching(/^cnv_.{0,5}$/));
  fc.assert(
    fc.property(text, (given) => {
      const read = bigintId('conversion').safeParse(given);
      if (read.success) return formatId('conversion', read.data) === given;
      return !/^cnv_[1-9]\d{0,17}$/.test(given);
    }),
  );
});
