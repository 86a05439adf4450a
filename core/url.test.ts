import { expect, test } from 'vitest';
import { withoutPassword } from './url.ts';

test.each([
  ['postgres://postgres:s3cret@127.0.0.1:54320/afflux', 'postgres://postgres@127.0.0.1:54320/afflux'],
  [
    'http://default:s3cret%2F@127.0.0.1:18123/afflux?password=s3cret',
    'http://default@127.0.0.1:18123/afflux',
  ],
  ['nats://afflux:s3cret@127.0.0.1:14222', 'nats://afflux@127.0.0.1:14222'],
  ['nats://s3cret@nats.test:4222', 'nats://nats.test:4222'],
  ['tls://nats.test', 'tls://nats.test'],
  ['http://127.0.0.1:8123/', 'http://127.0.0.1:8123'],
  ['s3cret', 'an unreadable URL'],
])('shows %s without its secret', (url, shown) => {
  expect(withoutPassword(url)).toBe(shown);
});
