import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createSecretBox } from './secret-box.ts';

const [older, newer] = [randomBytes(32), randomBytes(32)];

test('ciphertext decrypts for its purpose, with its key, and only whole', () => {
  const secretBox = createSecretBox([older]);
  const encrypted = secretBox.encrypt('payout', 'DE89 3704 … Ü');
  expect(encrypted.includes('DE89')).toBe(false);
  expect(secretBox.encrypt('payout', 'DE89 3704 … Ü').equals(encrypted)).toBe(false);
  expect(secretBox.decrypt('payout', encrypted)).toBe('DE89 3704 … Ü');
  expect(createSecretBox([newer, older]).decrypt('payout', encrypted)).toBe('DE89 3704 … Ü');
  expect(() => secretBox.decrypt('other', encrypted)).toThrow(/DATA_KEYS/);
  expect(() => createSecretBox([newer]).decrypt('payout', encrypted)).toThrow(/DATA_KEYS/);
  for (let i = 0; i < encrypted.length; i++) {
    const damaged = Buffer.from(encrypted);
    damaged[i] = (damaged[i] ?? 0) ^ 1;
    expect(() => secretBox.decrypt('payout', damaged)).toThrow(/DATA_KEYS/);
    expect(() => secretBox.decrypt('payout', encrypted.subarray(0, i))).toThrow(/DATA_KEYS/);
  }
});

test('a signature fits its text, its purpose and its key', () => {
  const secretBox = createSecretBox([older]);
  const signature = secretBox.sign('reset', 'usr_1');
  expect(createSecretBox([newer, older]).verify('reset', 'usr_1', signature)).toBe(true);
  expect(secretBox.verify('reset', 'usr_2', signature)).toBe(false);
  expect(secretBox.verify('mail', 'usr_1', signature)).toBe(false);
  expect(secretBox.verify('reset', 'usr_1', '')).toBe(false);
  expect(createSecretBox([newer]).verify('reset', 'usr_1', signature)).toBe(false);
});

test('what earlier versions stored and signed stays readable', () => {
  const secretBox = createSecretBox([Buffer.alloc(32, 7)]);
  const stored = Buffer.from('AaCRN2XAXWKoVpqEDvnVwc71AvxgrFjhurJ4Agd1sbTvo2EenOs=', 'base64');
  expect(secretBox.decrypt('payout', stored)).toBe('DE89 3704');
  expect(secretBox.sign('reset', 'usr_1')).toBe('7-FMY7r8Sspi0ipE8Je3L8bh_V2owDbaaY6qF2Pc9CE');
});
