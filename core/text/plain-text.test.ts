import { expect, test } from 'vitest';
import { plainText } from './plain-text.ts';

test('what looks the same is the same', () => {
  expect(plainText('  Summer 10\t')).toBe('Summer 10');
  expect(plainText('Cafe\u0301')).toBe('Caf\u00e9');
  expect(plainText('\ufeffA')).toBe('A');
  expect(plainText('   ')).toBe('');
});

test.each([
  'SAVE\u200b10',
  'SAVE\u200d10',
  'SA\u00adVE',
  'SAVE\u2060',
  'SA\ufeffVE',
  'a\u202eb',
  'a\u0000b',
  'a\nb',
  '\ud800',
  'x\u034fy',
])('%j has characters that are not seen', (text) => {
  expect(plainText(text)).toBeUndefined();
});
