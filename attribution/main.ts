import { createClickIdCodec } from '../core/clicks/click-id.ts';
import type { Config } from '../core/config/config.ts';
import { clickhouseServer } from '../core/config/servers.ts';
import { errorText } from '../core/errors.ts';
import { verifyPlatformKeys } from '../core/keys/platform-keys.ts';
import { createSecretBox } from '../core/secret-box.ts';
import type { Logger } from '../core/service/log.ts';
import { startLoop } from '../core/service/loop.ts';
import { createMetrics, type Readiness, type Running, serveHealth } from '../core/service/service.ts';
import { openTelemetry } from '../core/telemetry/start.ts';
import { connectDatabase } from '../ledger/postgres/db.ts';
import { reportBrokenProjections } from '../warehouse/clickhouse/broken-projections.ts';
import { connectWarehouse } from '../warehouse/clickhouse/client.ts';
import { registerAttributionMetrics } from './metrics.ts';
import { traceDecisions } from './traces.ts';
import { createWarehouseClicks } from './worker/click-source.ts';
import { BATCHES_IN_FLIGHT, createAttributionWorker } from './worker/worker.ts';

/**
 * Pause between batches that are not full: a conversion is decided within this and the freshness of the warehouse.
 * Conversions that come meanwhile are decided together: a batch of one costs ClickHouse as much as a batch of a hundred.
 */
const PAUSE_MS = 250;
/** Pause after a store failed. */
const RETRY_PAUSE_MS = 1_000;
const DISCONNECT_TIMEOUT_MS = 5_000;

/** Starts the workers that join clicks and conversions; returns when they work. */
export async function startAttribution({ config, log }: { config: Config; log: Logger }): Promise<Running> {
  const ledger = await connectDatabase({
    url: config.databaseUrl,
    name: 'attribution',
    max: BATCHES_IN_FLIGHT,
    log,
  });
  await verifyPlatformKeys(ledger, [{ kind: 'click', keys: config.clickKeys }]);
  const metrics = createMetrics();
  const warehouse = await connectWarehouse({
    ...clickhouseServer(config),
    name: 'attribution',
    onBrokenProjection: reportBrokenProjections({ metrics, log }),
  });
  const telemetry = await openTelemetry({ config, service: 'attribution', metrics, log });
  const attribution = createAttributionWorker({
    ledger,
    clicks: createWarehouseClicks(warehouse),
    clickIds: createClickIdCodec(config.clickKeys),
    log,
    ...(telemetry.isTracing && { onDecided: traceDecisions(telemetry) }),
  });
  registerAttributionMetrics(metrics, attribution.stats);
  let failure = '';
  /** More is due than the first worker decides. Otherwise the others rest: they would only make batches smaller. */
  let isBehind = false;
  const health = await serveHealth({
    host: config.metricsHost,
    port: config.attributionPort,
    metrics,
    secretBox: createSecretBox(config.dataKeys),
    readiness: (): Readiness => (failure === '' ? { ready: true } : { ready: false, reason: failure }),
  });

  async function step(worker: number): Promise<number> {
    if (worker > 0 && !isBehind) return PAUSE_MS;
    try {
      const { isFull } = await attribution.runBatch(new Date());
      failure = '';
      isBehind = isFull;
      return isFull ? 0 : PAUSE_MS;
    } catch (error) {
      failure = errorText(error);
      isBehind = false;
      log.error({ reason: failure }, 'an attribution batch failed; retrying');
      return RETRY_PAUSE_MS;
    }
  }
  const loops = Array.from({ length: BATCHES_IN_FLIGHT }, (_, worker) => startLoop(() => step(worker)));

  return {
    async stop() {
      await Promise.all(loops.map((running) => running.stop()));
      await Promise.all([health.stop(), telemetry.stop()]);
      await Promise.all([ledger.end({ timeoutMs: DISCONNECT_TIMEOUT_MS }), warehouse.close()]);
    },
  };
}
