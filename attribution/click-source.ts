import { clickIdentityKey } from '../core/click-id.ts';
import type { Warehouse } from '../warehouse/client.ts';
import { lookupClicks } from '../warehouse/lookups.ts';
import { readWatermark } from '../warehouse/watermark.ts';
import type { ClickSource } from './worker.ts';

/** Clicks as ClickHouse has them. Before the first watermark it is complete up to nothing. */
export function createWarehouseClicks(warehouse: Warehouse): ClickSource {
  return {
    async lookUp(identities) {
      const { clicks } = await lookupClicks(warehouse, identities);
      return new Map(clicks.map((click) => [clickIdentityKey(click), click]));
    },
    completeToMs: async () => (await readWatermark(warehouse)) ?? 0,
  };
}
