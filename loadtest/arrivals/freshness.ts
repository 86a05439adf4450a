import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { startLoop } from '../../core/service/loop.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';

const EVERY_MS = 250;

/** How far `complete_to` lies behind the clock, looked at all the while: milliseconds. */
export function watchFreshness(warehouse: Warehouse): { stop(): Promise<RecordableHistogram> } {
  const behindMs = createHistogram();
  const loop = startLoop(async () => {
    const completeTo = await readWatermark(warehouse);
    if (completeTo !== undefined) behindMs.record(Math.max(1, Date.now() - completeTo));
    return EVERY_MS;
  });
  return {
    async stop() {
      await loop.stop();
      return behindMs;
    },
  };
}
