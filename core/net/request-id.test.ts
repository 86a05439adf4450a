import { expect, test } from 'vitest';
import { readRequestId } from './request-id.ts';

test.each(['x', '0af7651916cd43dd8448eb211c80319c', 'Root=1-67891233:a/b+c._', 'x'.repeat(100)])(
  'takes %j',
  (id) => {
    expect(readRequestId(id)).toBe(id);
  },
);

test.each([
  '',
  ' ',
  'a b',
  'a, b',
  'jane@example.com',
  '/c?key=x',
  'AFX_advertiser_abc',
  'a.whsec_abc',
  'é',
  'a\r\nset-cookie: b',
  '\0',
  'x'.repeat(101),
])('refuses %j', (id) => {
  expect(readRequestId(id)).toBe('');
});
