import { connectWarehouse, type Warehouse } from '../warehouse/client.ts';
import { type GeoVersion, loadGeo, readGeoVersion } from '../warehouse/geo.ts';
import { readConfig } from './environment.ts';

/** `afflux geo load`: from now on clicks get their country from `file`, or from the list that is shipped. */
export async function loadCountries(file: string | undefined): Promise<void> {
  await withWarehouse(async (warehouse) => {
    const version = await loadGeo(warehouse, { file, now: Date.now() });
    process.stdout.write(`Loaded ${describe(version)}.\n`);
  });
}

/** `afflux geo show`: what is loaded. */
export async function showCountries(): Promise<void> {
  await withWarehouse(async (warehouse) => {
    const version = await readGeoVersion(warehouse);
    process.stdout.write(version ? `${describe(version)}\n` : 'Nothing is loaded: run "afflux geo load".\n');
  });
}

function describe({ source, builtAt, networks }: GeoVersion): string {
  return `${networks} networks of ${source}, built ${builtAt.toISOString().slice(0, 10)}`;
}

async function withWarehouse(work: (warehouse: Warehouse) => Promise<void>): Promise<void> {
  const warehouse = await connectWarehouse({ url: readConfig().clickhouseUrl, name: 'afflux-geo' });
  await work(warehouse).finally(() => warehouse.close());
}
