import { readFile } from 'node:fs/promises';
import { type Response as MmdbRecord, Reader } from 'mmdb-lib';
import { fromProject } from '../../core/config/paths.ts';
import { errorText, OperatingError } from '../../core/errors.ts';
import { formatIp } from '../../core/ip.ts';

/** ISO 3166 code of the country of a 16-byte address; '' when unknown. */
export type CountryOf = (ip: Uint8Array) => string;

const INSTALLED_DATABASE =
  'node_modules/@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb';

/**
 * Opens the database of countries (8 MB in memory); `path` '' is the installed one. Understands a record with
 * `country_code` (ip-location-db) and one with `country.iso_code` (MaxMind).
 * @throws OperatingError `geo_database_unreadable`.
 */
export async function openCountries(path: string): Promise<CountryOf> {
  const file = fromProject(path || INSTALLED_DATABASE);
  try {
    const reader = new Reader<MmdbRecord>(await readFile(file));
    return (ip) => countryCode(reader.get(formatIp(ip)));
  } catch (error) {
    throw new OperatingError(
      'geo_database_unreadable',
      `cannot read ${file}: ${errorText(error)}. Set GEO_DATABASE to an .mmdb of countries, or leave it out`,
      { cause: error },
    );
  }
}

/** The code in a record of either form. */
export function countryCode(record: unknown): string {
  const { country_code, country } = (record ?? {}) as {
    country_code?: unknown;
    country?: { iso_code?: unknown };
  };
  const code = country_code ?? country?.iso_code;
  return typeof code === 'string' ? code : '';
}
