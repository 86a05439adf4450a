import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { type GeoVersion, loadGeo, readGeoVersions } from '../../warehouse/geo/geo.ts';
import { readConfig } from '../environment.ts';

/** `afflux geo load`: from now on clicks get their country and network from these files, or from what is shipped. */
export async function loadNetworks(files: { countries?: string; owners?: string }): Promise<void> {
  await withWarehouse(async (warehouse) => {
    const { countries, owners } = await loadGeo(warehouse, {
      countriesFile: files.countries,
      ownersFile: files.owners,
      now: Date.now(),
    });
    process.stdout.write(`Loaded ${describe(countries)}.\nLoaded ${describe(owners)}.\n`);
  });
}

/** `afflux geo show`: what is loaded. */
export async function showNetworks(): Promise<void> {
  await withWarehouse(async (warehouse) => {
    const { countries, owners } = await readGeoVersions(warehouse);
    const loaded = [countries, owners].flatMap((version) => (version ? [describe(version)] : []));
    process.stdout.write(
      loaded.length > 0 ? `${loaded.join('\n')}\n` : 'Nothing is loaded: run "afflux geo load".\n',
    );
  });
}

function describe({ list, source, builtAt, networks }: GeoVersion): string {
  return `${list} of ${networks} networks from ${source}, built ${builtAt.toISOString().slice(0, 10)}`;
}

async function withWarehouse(work: (warehouse: Warehouse) => Promise<void>): Promise<void> {
  const warehouse = await connectWarehouse({ url: readConfig().clickhouseUrl, name: 'afflux-geo' });
  await work(warehouse).finally(() => warehouse.close());
}
