import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createVault } from './vault.ts';

const [older, newer] = [randomBytes(32), randomBytes(32)];

test('what is sealed opens for its purpose, with its key, and only whole', () => {
  const vault = createVault([older]);
  const sealed = vault.seal('payout', 'DE89 3704 … Ü');
  expect(sealed.includes('DE89')).toBe(false);
  expect(vault.seal('payout', 'DE89 3704 … Ü').equals(sealed)).toBe(false);
  expect(vault.open('payout', sealed)).toBe('DE89 3704 … Ü');
  expect(createVault([newer, older]).open('payout', sealed)).toBe('DE89 3704 … Ü');
  expect(() => vault.open('other', sealed)).toThrow(/DATA_KEYS/);
  expect(() => createVault([newer]).open('payout', sealed)).toThrow(/DATA_KEYS/);
  for (let i = 0; i < sealed.length; i++) {
    const damaged = Buffer.from(sealed);
    damaged[i] = (damaged[i] ?? 0) ^ 1;
    expect(() => vault.open('payout', damaged)).toThrow(/DATA_KEYS/);
    expect(() => vault.open('payout', sealed.subarray(0, i))).toThrow(/DATA_KEYS/);
  }
});

test('a signature fits its text, its purpose and its key', () => {
  const vault = createVault([older]);
  const signature = vault.sign('reset', 'usr_1');
  expect(createVault([newer, older]).verify('reset', 'usr_1', signature)).toBe(true);
  expect(vault.verify('reset', 'usr_2', signature)).toBe(false);
  expect(vault.verify('mail', 'usr_1', signature)).toBe(false);
  expect(vault.verify('reset', 'usr_1', '')).toBe(false);
  expect(createVault([newer]).verify('reset', 'usr_1', signature)).toBe(false);
});
