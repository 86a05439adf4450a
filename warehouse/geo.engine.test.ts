import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseIp } from '../core/ip.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../test/support/warehouse.ts';
import { loadGeo, readGeoVersion } from './geo.ts';
import { INSERT_CLICKS_SQL } from './inserter.ts';

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
  ['18.9.22.69', 'US'],
  ['141.20.1.31', 'DE'],
  ['2001:638::1', 'DE'],
  ['133.11.0.1', 'JP'],
  ['10.0.0.1', ''],
] as const;

async function countriesOf(firstSeq: number): Promise<string[]> {
  const clicks = KNOWN.map(([ip], i) =>
    clickRecord({ seq: firstSeq + i, ip: parseIp(ip) ?? Buffer.alloc(16) }),
  );
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(clicks)],
    settings: { async_insert: 0 },
  });
  const { rows } = await warehouse.query<{ country: string }>(
    'SELECT country FROM clicks WHERE seq >= {firstSeq:UInt32} ORDER BY seq',
    { firstSeq },
  );
  return rows.map((row) => row.country);
}

describe('countries', () => {
  it('are empty before a list is loaded, and told by it afterwards, without a restart', async () => {
    expect(await readGeoVersion(warehouse)).toBeUndefined();
    expect(await countriesOf(0)).toEqual(KNOWN.map(() => ''));

    const version = await loadGeo(warehouse, { now: Date.now() });
    expect(version.networks).toBeGreaterThan(100_000);
    expect(version.source).toBe('geo-whois-asn-country.mmdb');
    expect(await readGeoVersion(warehouse)).toEqual(version);
    expect(await countriesOf(100)).toEqual(KNOWN.map(([, country]) => country));

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
      'SELECT count() AS rows, uniqExact(network) AS networks FROM geo_networks',
    );
    expect(rows[0]?.rows).toBe(rows[0]?.networks);
  });

  it('a file that is missing or no database leaves everything as it is', async () => {
    const path = join(folder, 'x.mmdb');
    await expect(loadGeo(warehouse, { file: path, now: 0 })).rejects.toMatchObject({
      code: 'geo_unreadable',
    });
    writeFileSync(path, 'no database');
    await expect(loadGeo(warehouse, { file: path, now: 0 })).rejects.toMatchObject({
      code: 'geo_unreadable',
    });
    expect(await countriesOf(200)).toEqual(KNOWN.map(([, country]) => country));
  });
});
