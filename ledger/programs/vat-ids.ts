import { euVat } from 'stdnum';
import { InputError } from '../../core/errors.ts';

/** VAT identification numbers: of the European Union's members by their forms and check digits, of others as text. */

/** Greece's numbers begin with EL, and those of Northern Ireland (goods) with XI. */
const prefixOf = (country: string): string => (country === 'GR' ? 'EL' : country);

/** The members of the European Union, whose numbers are checked. `euVat` knows two countries more. */
export const EU_COUNTRIES: ReadonlySet<string> = new Set(
  Object.keys(euVat).filter((country) => country !== 'AD' && country !== 'CH'),
);

/**
 * Reads a VAT number of a country, with or without its prefix, spaces and points; of a member of the European Union it
 * gets the prefix.
 * @throws InputError naming `vat_id`.
 */
export function parseVatId(text: string, country: string): string {
  const compact = text.toUpperCase().replaceAll(/[\s.\-/]/g, '');
  if (!EU_COUNTRIES.has(country)) {
    if (/^[A-Z0-9]{4,20}$/.test(compact)) return compact;
    throw new InputError('vat_id', 'must be 4 to 20 letters and digits');
  }
  const prefix = prefixOf(country);
  const whole = compact.startsWith(prefix) ? compact : prefix + compact;
  const isValid = (euVat[country] ?? []).some((number) => number.validate(whole).isValid);
  if (isValid) return whole;
  throw new InputError('vat_id', `is no VAT number of ${country}: its form or its check digit is wrong`);
}
