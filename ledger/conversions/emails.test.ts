import { expect, test } from 'vitest';
import { canonicalEmail, emailHash } from './emails.ts';

test.each([
  ['Jane.Doe+shop@Example.com ', 'jane.doe@example.com'],
  ['jane@example.com', 'jane@example.com'],
  ['j.a.n.e+x@gmail.com', 'jane@gmail.com'],
  ['Jane@GoogleMail.com', 'jane@gmail.com'],
  ['+tag@example.com', '+tag@example.com'],
  ['a@b@example.com', 'a@b@example.com'],
])('the mailbox behind %j is %s', (address, canonical) => {
  expect(canonicalEmail(address)).toBe(canonical);
});

test('an address is hashed without case and blanks', () => {
  expect(emailHash(' ANN@example.com')).toBe(emailHash('ann@example.com'));
  expect(emailHash('ann@example.com')).toMatch(/^[0-9a-f]{64}$/);
});
