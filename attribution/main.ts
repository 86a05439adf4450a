import { createClickIdCodec } from '../core/click-id.ts';
import type { Config } from '../core/config.ts';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { startLoop } from '../core/loop.ts';
import { createMetrics, type Readiness, type Running, serveHealth } from '../core/service.ts';
import { createVault } from '../core/vault.ts';
import { connectLedger } from '../ledger/db.ts';
import { createPayoutProvider } from '../ledger/payout-providers.ts';
import { payoutTasks } from '../ledger/payout-tasks.ts';
import { startTasks } from '../ledger/tasks.ts';
import { connectWarehouse } from '../warehouse/client.ts';
import { createWarehouseClicks } from './click-source.ts';
import { registerAttributionMetrics } from './metrics.ts';
import { startMirror } from './mirror.ts';
import { startNames } from './names.ts';
import { BATCHES_IN_FLIGHT, createAttributionWorker } from './worker.ts';

/**
 * Pause between batches that are not full: a conversion is decided within this and the freshness of the warehouse.
 * What comes meanwhile is decided together: a batch of one costs ClickHouse what a batch of a hundred does.
 */
const PAUSE_MS = 250;
/** Pause after PostgreSQL failed. */
const RETRY_PAUSE_MS = 1_000;

/** A task holds one and works with another. */
const TASK_CONNECTIONS = 4;

/** Starts the worker that joins clicks and conversions; returns when it works. */
export async function startAttribution({ config, log }: { config: Config; log: Logger }): Promise<Running> {
  const ledger = await connectLedger({
    url: config.databaseUrl,
    name: 'attribution',
    max: BATCHES_IN_FLIGHT + TASK_CONNECTIONS,
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

  const mirrors = [startMirror({ ledger, warehouse, metrics, log }), startNames({ ledger, warehouse, log })];
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
  const tasks = await startTasks({
    url: config.databaseUrl,
    ledger,
    log,
    tasks: payoutTasks({
      ledger,
      provider: createPayoutProvider(config),
      vault: createVault(config.dataKeys),
      payoutHour: config.payoutHour,
    }),
  });
  const loops = Array.from({ length: BATCHES_IN_FLIGHT }, (_, lane) => startLoop(() => step(lane)));

  return {
    async stop() {
      await Promise.all([tasks, ...mirrors, ...loops].map((running) => running.stop()));
      await health.stop();
      await Promise.all([ledger.end({ timeout: 5 }), warehouse.close()]);
    },
  };
}
