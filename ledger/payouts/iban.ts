import { ValidationErrorsIBAN, validateIBAN } from 'ibantools';

/** IBANs: ISO 13616, with the check digits of ISO 7064 (mod 97-10). */

/** An IBAN without spaces, in upper case. */
export function normalIban(text: string): string {
  return text.replace(/\s/g, '').toUpperCase();
}

/**
 * Whether a {@link normalIban} has its check digits, and the length and structure of its country in the registry of SWIFT.
 * Check digits within the account number, where a country has such, are its banks' business.
 */
export function isIban(iban: string): boolean {
  const { errorCodes } = validateIBAN(iban);
  return errorCodes.every((code) => code === ValidationErrorsIBAN.WrongAccountBankBranchChecksum);
}

/**
 * A creditor reference of ISO 11649 for at most 21 letters and digits: "RF", two check digits, the reference. A bank that
 * shows it has checked it.
 */
export function creditorReference(reference: string): string {
  const plain = reference.toUpperCase();
  const check = 98n - mod97(`${plain}RF00`);
  return `RF${String(check).padStart(2, '0')}${plain}`;
}

/** The rest by 97 of letters and digits, a letter being 10 to 35. */
function mod97(text: string): bigint {
  return BigInt(text.replace(/[A-Z]/g, (letter) => String(letter.charCodeAt(0) - 55))) % 97n;
}
