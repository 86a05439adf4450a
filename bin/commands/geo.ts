import { type GeoVersion, loadGeo, readGeoVersions } from '../../warehouse/geo/geo.ts';
import { withWarehouse } from '../stores.ts';

const NAME = 'afflux-geo';

/** `afflux geo load`: from now on clicks get their country and network from these files, or from what is shipped. */
export async function loadNetworks(files: { countries?: string; owners?: string }): Promise<void> {
  await withWarehouse(NAME, async (warehouse) => {
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
  await withWarehouse(NAME, async (warehouse) => {
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
