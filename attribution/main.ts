import { createClickIdCodec } from '../core/clicks/click-id.ts';
import type { Config } from '../core/config/config.ts';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/service/log.ts';
import { startLoop } from '../core/service/loop.ts';
import { createMetrics, type Readiness, type Running, serveHealth } from '../core/service/service.ts';
import { connectLedger } from '../ledger/postgres/db.ts';
import { connectWarehouse } from '../warehouse/clickhouse/client.ts';
import { registerAttributionMetrics } from './metrics.ts';
import { createWarehouseClicks } from './worker/click-source.ts';
import { BATCHES_IN_FLIGHT, createAttributionWorker } from './worker/worker.ts';

/**
 * Pause between batches that are not full: a conversion is decided within this and the freshness of the warehouse.
 * What comes meanwhile is decided together: a batch of one costs ClickHouse what a batch of a hundred does.
 */
const PAUSE_MS = 250;
/** Pause after PostgreSQL failed. */
const RETRY_PAUSE_MS = 1_000;

/** Starts the worker that joins clicks and conversions; returns when it works. */
export async function startAttribution({ config, log }: { config: Config; log: Logger }): Promise<Running> {
  const ledger = await connectLedger({
    url: config.databaseUrl,
    name: 'attribution',
    max: BATCHES_IN_FLIGHT,
  });
  const warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'attribution' });
  const worker = createAttributionWorker({
    ledger,
    clicks: createWarehouseClicks(warehouse),
    clickIds: createClickIdCodec(config.clickKeys),
    log,
  });
  const metrics = createMetrics();
  registerAttributionMetrics(metrics, worker.stats);
  let fault = '';
  /** More is due than one lane decides; the others stand by otherwise, and would only make batches smaller. */
  let isBehind = false;
  const health = await serveHealth({
    port: config.attributionPort,
    metrics,
    readiness: (): Readiness => (fault === '' ? { ready: true } : { ready: false, reason: fault }),
  });

  async function step(lane: number): Promise<number> {
    if (lane > 0 && !isBehind) return PAUSE_MS;
    try {
      const { isFull } = await worker.runBatch(new Date());
      fault = '';
      isBehind = isFull;
      return isFull ? 0 : PAUSE_MS;
    } catch (error) {
      fault = errorText(error);
      log.error({ reason: fault }, 'a batch failed');
      return RETRY_PAUSE_MS;
    }
  }
  const loops = Array.from({ length: BATCHES_IN_FLIGHT }, (_, lane) => startLoop(() => step(lane)));

  return {
    async stop() {
      await Promise.all(loops.map((running) => running.stop()));
      await health.stop();
      await Promise.all([ledger.end({ timeoutMs: 5_000 }), warehouse.close()]);
    },
  };
}
