import { expect, test } from 'vitest';
import { hiddenCharacter, plainText } from './plain-text.ts';

test.each([
  ['1001', '1001'],
  [' 1001 ', '1001'],
  ['\u00a01001\u3000\t', '1001'],
  ['cafe\u0301', 'caf\u00e9'],
  ['AB-1', 'AB-1'],
  ['A B', 'A B'],
])('%j means %j', (value, plain) => {
  expect(plainText(value)).toBe(plain);
});

test.each([
  ['100\u200b1', 'U+200B'],
  ['100\u200d1', 'U+200D'],
  ['1\u0000', 'U+0000'],
  ['1\n2', 'U+000A'],
  ['1\u202e2', 'U+202E'],
  ['1\u00ad2', 'U+00AD'],
  ['1\ufe0f', 'U+FE0F'],
  ['\u3164', 'U+3164'],
  ['1\ud800', 'U+D800'],
  ['1\ufffd', 'U+FFFD'],
  ['\u{e0041}', 'U+E0041'],
])('%j has a hidden character', (value, name) => {
  expect(hiddenCharacter(value)).toBe(name);
});

test.each(['1001', 'Ä 1', '１００１', '😀', 'order/1 #2'])('%j has none', (value) => {
  expect(hiddenCharacter(value)).toBeUndefined();
});
