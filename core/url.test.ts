import fc from 'fast-check';
import { expect, test } from 'vitest';
import { errorText } from './errors.ts';
import { withoutPassword } from './url.ts';

test.each([
  ['postgres://user:secret@db.test:5432/x?sslmode=require', 'postgres://db.test:5432/x'],
  ['postgres://db.test/x?user=user&password=secret', 'postgres://db.test/x'],
  ['postgres://user:secret@a.test:1,b.test:2/x', 'postgres://a.test:1,b.test:2/x'],
  ['postgres://user:sec/ret@db.test/x', 'postgres://db.test/x'],
  ['postgres://user:sec?ret@db.test/x', 'postgres://db.test/x'],
  ['postgres://user:sec#r@et@db.test/x', 'postgres://db.test/x'],
  ['nats://secret@n.test:4222', 'nats://n.test:4222'],
  ['nats://:secret@n.test:4222', 'nats://n.test:4222'],
  ['nats://u:secret@n.test:4222,tls://u:secret@m.test', 'nats://n.test:4222,tls://m.test'],
  ['https://user:p%40ss@ch.test:8443/', 'https://ch.test:8443'],
  ['cannot reach nats://u:secret@n.test: refused', 'cannot reach nats://n.test: refused'],
  ['no URL, and user@host', 'no URL, and user@host'],
])('%s is shown as %s', (text, expected) => {
  expect(withoutPassword(text)).toBe(expected);
});

test('no password is left, whatever stands in it and around it', { tags: ['attack'] }, () => {
  const url = fc.record({
    scheme: fc.constantFrom('postgres', 'https', 'nats', 'tls', 'smtps'),
    user: fc.string().map(encodeURIComponent),
    password: fc.string({ minLength: 4 }).map((text) => encodeURIComponent(`secret${text}`)),
    place: fc.constantFrom('h', 'h:1/x', '[::1]:4222', 'a:1,b:2/x?sslmode=require', 'h/x#y'),
  });
  fc.assert(
    fc.property(url, fc.constantFrom('', ' ', '"', ': '), ({ scheme, user, password, place }, around) => {
      const text = withoutPassword(`${around}${scheme}://${user}:${password}@${place}${around}`);
      expect(text).not.toContain('secret');
      expect(withoutPassword(text)).toBe(text);
    }),
  );
});

test('an error that carries a URL is shown without its password', () => {
  const invalid = new Error('Invalid URL: nats://u:secret@h', { cause: new Error('at https://u:secret@h') });
  expect(errorText(invalid)).toBe('Invalid URL: nats://h (cause: at https://h)');
});
