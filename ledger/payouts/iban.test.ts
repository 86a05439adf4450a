import { expect, test } from 'vitest';
import { isIban, normalIban } from './iban.ts';

/** With the check digits that ISO 7064 gives it. */
function withCheckDigits(country: string, bban: string): string {
  const digits = `${bban}${country}00`.replace(/[A-Z]/g, (letter) => String(letter.charCodeAt(0) - 55));
  return `${country}${String(98n - (BigInt(digits) % 97n)).padStart(2, '0')}${bban}`;
}

test.each([
  'DE89 3704 0044 0532 0130 00',
  'gb82 west 1234 5698 7654 32',
  'FR14 2004 1010 0505 0001 3M02 606',
  'NL91ABNA0417164300',
  'BE68539007547034',
  'MT84MALT011000012345MTLCAST001S',
  'NO9386011117947',
  'TR330006100519786457841326',
  // The check digit within the account number is another country's business.
  withCheckDigits('NO', '86011117948'),
])('%s is one', (iban) => expect(isIban(normalIban(iban))).toBe(true));

test.each([
  ['a digit too few', withCheckDigits('DE', '37040044053201300')],
  ['a digit too many', withCheckDigits('DE', '3704004405320130001')],
  ['a letter where the country has digits', withCheckDigits('DE', '37040044053201300A')],
  ['digits where the country has letters', withCheckDigits('NL', '12340417164300')],
  ['the length of another country', withCheckDigits('BE', '370400440532013000')],
  ['a country without IBANs', withCheckDigits('US', 'SVBKUS6S3300958879')],
  ['no country', withCheckDigits('QQ', '370400440532013000')],
  ['other check digits', 'DE88370400440532013000'],
  ['no check digits', 'DEAA370400440532013000'],
  ['a name of prototypes', '__proto__'],
  ['nothing', ''],
])('%s is none', (_, iban) => expect(isIban(iban)).toBe(false));
