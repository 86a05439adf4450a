import { describe, expect, it } from 'vitest';
import { parseIp } from '../../core/ip.ts';
import { countryCode, openCountries } from './geo.ts';

describe('countries', () => {
  it.each([
    ['8.8.8.8', 'US'],
    ['193.0.6.139', 'NL'],
    ['2001:4860:4860::8888', 'US'],
    ['127.0.0.1', ''],
    ['::1', ''],
    ['::', ''],
  ])('of %s is %j', async (text, country) => {
    const countryOf = await openCountries('');
    expect(countryOf(parseIp(text) ?? Buffer.alloc(0))).toBe(country);
  });

  it.each([
    [{ country_code: 'AT' }, 'AT'],
    [{ country: { iso_code: 'AT', names: { en: 'Austria' } }, continent: { code: 'EU' } }, 'AT'],
    [{ country: {} }, ''],
    [{ country_code: 7 }, ''],
    [null, ''],
  ])('are read from %j', (record, country) => expect(countryCode(record)).toBe(country));

  it('come from a file that is one', async () => {
    await expect(openCountries('package.json')).rejects.toMatchObject({ code: 'geo_database_unreadable' });
  });
});
