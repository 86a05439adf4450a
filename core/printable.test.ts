import { expect, test } from 'vitest';
import { printable } from './printable.ts';

test.each([
  ['sets the title', '\x1b]0;pwned\x07', '\\x1b]0;pwned\\x07'],
  ['writes a line of its own', 'a\r\nafflux: all is well', 'a\\x0d\\x0aafflux: all is well'],
  ['uses the one-byte escapes', '\x9b31m', '\\x9b31m'],
  ['turns the direction round', 'a\u202eb', 'a\\u{202e}b'],
])('a sender of text %s of the operator’s terminal', { tags: ['attack'] }, (_name, text, expected) => {
  expect(printable(text)).toBe(expected);
});

test('text of any language stays as it is', () => {
  for (const text of ['', 'Müller 株式会社 ✓ 😀', 'a\'b"c\\d']) expect(printable(text)).toBe(text);
});
