import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseIp } from '../../core/ip.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { loadGeo, readGeoVersions } from './geo.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
const folder = mkdtempSync(join(tmpdir(), 'afflux-geo-'));

beforeAll(async () => {
  warehouse = await freshWarehouse();
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await warehouse.drop();
});

/** Addresses of universities and registries, whose networks have not moved for decades. */
const KNOWN = [
  ['18.9.22.69', 'US', 3],
  ['141.20.1.31', 'DE', 680],
  ['2001:638::1', 'DE', 680],
  ['133.11.0.1', 'JP', 2_501],
  ['10.0.0.1', '', 0],
] as const;
const COUNTRIES = KNOWN.map(([, country]) => country);
const OWNERS = KNOWN.map(([, , asn]) => asn);

async function networksOf(firstSeq: number): Promise<{ countries: string[]; owners: number[] }> {
  const clicks = KNOWN.map(([ip], i) =>
    clickRecord({ seq: firstSeq + i, ip: parseIp(ip) ?? Buffer.alloc(16) }),
  );
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(clicks)],
    settings: { async_insert: 0 },
  });
  const { rows } = await warehouse.query<{ country: string; asn: number }>(
    'SELECT country, asn FROM clicks WHERE seq >= {firstSeq:UInt32} ORDER BY seq',
    { firstSeq },
  );
  return { countries: rows.map((row) => row.country), owners: rows.map((row) => row.asn) };
}

/** Two lists of a million networks are read, stored and made into tries. */
const LOAD_TIMEOUT_MS = 90_000;

describe('countries and owners', { timeout: LOAD_TIMEOUT_MS }, () => {
  it('are empty before a list is loaded, and come from it afterwards, without a restart', async () => {
    expect(await readGeoVersions(warehouse)).toEqual({});
    expect(await networksOf(0)).toEqual({ countries: KNOWN.map(() => ''), owners: KNOWN.map(() => 0) });

    const { countries, owners } = await loadGeo(warehouse, { now: Date.now() });
    expect(countries.networks).toBeGreaterThan(100_000);
    expect(countries.source).toBe('geo-whois-asn-country.mmdb');
    expect(owners.networks).toBeGreaterThan(400_000);
    expect(owners.source).toMatch(/^@ip-location-db\/asn \d/);
    expect(owners.builtAt.getUTCFullYear()).toBeGreaterThan(2025);
    expect(await readGeoVersions(warehouse)).toEqual({ countries, owners });
    expect(await networksOf(100)).toEqual({ countries: COUNTRIES, owners: OWNERS });

    const { rows } = await warehouse.query<{ country: string; clicks: string }>(
      "SELECT country, sum(clicks) AS clicks FROM clicks_hourly WHERE country != '' GROUP BY country ORDER BY country",
    );
    expect(rows).toEqual([
      { country: 'DE', clicks: '2' },
      { country: 'JP', clicks: '1' },
      { country: 'US', clicks: '1' },
    ]);
  });

  it('loading again replaces what was there', async () => {
    await loadGeo(warehouse, { now: Date.now() });
    const { rows } = await warehouse.query<{ rows: string; networks: string }>(
      'SELECT count() AS rows, uniqExact(network) AS networks FROM geo_networks UNION ALL SELECT count(), uniqExact(network) FROM asn_networks',
    );
    expect(rows).toHaveLength(2);
    for (const list of rows) expect(list.rows).toBe(list.networks);
  });

  it('a file that is missing or no database leaves everything as it is', async () => {
    const path = join(folder, 'x.mmdb');
    const unreadable = { code: 'geo_unreadable' };
    await expect(loadGeo(warehouse, { countriesFile: path, now: 0 })).rejects.toMatchObject(unreadable);
    writeFileSync(path, 'no database');
    await expect(loadGeo(warehouse, { countriesFile: path, now: 0 })).rejects.toMatchObject(unreadable);
    await expect(loadGeo(warehouse, { ownersFile: path, now: 0 })).rejects.toMatchObject(unreadable);
    // A database of countries has no owners.
    const ofCountries = createRequire(import.meta.url).resolve(
      '@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb',
    );
    await expect(loadGeo(warehouse, { ownersFile: ofCountries, now: 0 })).rejects.toMatchObject(unreadable);
    expect(await networksOf(200)).toEqual({ countries: COUNTRIES, owners: OWNERS });
  });
});
