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

/** Pause when nothing is due: a conversion is decided within this and the freshness of the warehouse. */
const IDLE_PAUSE_MS = 250;
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
  const health = await serveHealth({
    port: config.attributionPort,
    metrics,
    readiness: (): Readiness => (fault === '' ? { ready: true } : { ready: false, reason: fault }),
  });

  const mirrors = [startMirror({ ledger, warehouse, metrics, log }), startNames({ ledger, warehouse, log })];
  async function step(): Promise<number> {
    try {
      const { claimed } = await worker.runBatch(new Date());
      fault = '';
      return claimed > 0 ? 0 : IDLE_PAUSE_MS;
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
  const loops = Array.from({ length: BATCHES_IN_FLIGHT }, () => startLoop(step));

  return {
    async stop() {
      await Promise.all([tasks, ...mirrors, ...loops].map((running) => running.stop()));
      await health.stop();
      await Promise.all([ledger.end({ timeout: 5 }), warehouse.close()]);
    },
  };
}
