import { renewDictionaries } from '../../warehouse/clickhouse/migrate.ts';
import { withWarehouse } from '../stores.ts';

/** `afflux warehouse credentials`: from now on the dictionaries read their tables as the user of CLICKHOUSE_URL. */
export async function renewCredentials(): Promise<void> {
  await withWarehouse('afflux-credentials', async (warehouse) => {
    const { renewed } = await renewDictionaries(warehouse);
    process.stdout.write(`Renewed ${renewed} dictionaries.\n`);
  });
}
