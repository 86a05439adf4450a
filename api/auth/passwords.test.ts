import { expect, test } from 'vitest';
import { checkNewPassword } from './passwords.ts';

const user = { email: 'olga.operator@acme.example', name: 'Olga Operator' };

function isRefused(text: string): boolean {
  try {
    checkNewPassword(text, { field: 'password', user, programNames: ['Acme Shop'] });
    return false;
  } catch (error) {
    expect(error).toMatchObject({ code: 'invalid_input', errors: [{ field: 'password' }] });
    return true;
  }
}

test.each([
  'password12',
  'passwordpassword',
  'Password123!',
  'p4ssw0rd2026',
  'qwertyuiop',
  '1234567890',
  'aaaaaaaaaaaaa',
  'iloveyou1234',
  'olga.operator@acme.example',
  'olga.operator1!',
  'OlgaOperator2026',
  'Acme Shop 2026',
  'acmeshop123',
  'afflux2026!',
])('%s is too easy to guess', (text) => {
  expect(isRefused(text)).toBe(true);
});

test.each(['a sentence of mine', 'correct horse battery', 'marmalade tractor violin', 'ZX9k2mPq7L'])(
  '%s is not',
  (text) => {
    expect(isRefused(text)).toBe(false);
  },
);

test('a long password of any characters is estimated in a fraction of a second', () => {
  const startedAt = performance.now();
  for (const text of ['@4$5310!'.repeat(25), '1!|l'.repeat(50), 'aB3$x9_k'.repeat(25), 'Zq7$'.repeat(50)])
    isRefused(text);
  // Without limits of length and substitutions: several seconds each.
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});
