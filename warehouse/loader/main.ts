import {
  connectNats,
  ensureStreams,
  LEASES_BUCKET,
  LOADER_BUCKET,
  openBucket,
} from '../../core/clicks/stream.ts';
import type { Config } from '../../core/config/config.ts';
import { clickhouseServer, natsServer } from '../../core/config/servers.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import type { Logger } from '../../core/service/log.ts';
import { createMetrics, type Running, serveHealth } from '../../core/service/service.ts';
import { openTelemetry } from '../../core/telemetry/start.ts';
import { connectWarehouse } from '../clickhouse/client.ts';
import { Loader } from './loader.ts';
import { createLoaderMetrics, traceBlocks } from './metrics.ts';

/** The one shard of the clicks stream. */
const SHARD = 0;

/**
 * Starts the loader: clicks from the stream into the warehouse, health and metrics on `config.loaderPort`.
 * @throws OperatingError when ClickHouse or NATS cannot be reached, or the port is taken.
 */
export async function startLoader(options: { config: Config; log: Logger }): Promise<Running> {
  const { config, log } = options;
  const warehouse = await connectWarehouse({ ...clickhouseServer(config), name: 'afflux-loader' });
  const nc = await connectNats({ ...natsServer(config), name: 'afflux-loader' });
  const registry = createMetrics();
  const telemetry = await openTelemetry({ config, service: 'loader', metrics: registry, log });
  const loader = new Loader({
    warehouse,
    nc,
    manager: await ensureStreams(nc),
    loaderBucket: await openBucket(nc, LOADER_BUCKET),
    leasesBucket: await openBucket(nc, LEASES_BUCKET),
    shard: SHARD,
    cluster: config.clickhouseCluster,
    log,
    metrics: createLoaderMetrics(registry),
    ...(telemetry.isTracing && { onLoaded: traceBlocks(telemetry) }),
  });
  const health = await serveHealth({
    host: config.metricsHost,
    port: config.loaderPort,
    metrics: registry,
    secretBox: createSecretBox(config.dataKeys),
    readiness: () => loader.readiness(),
  });
  // A rejection is a bug: nothing catches it here, so that the process ends and is started again.
  void loader.run();
  return {
    async stop() {
      await loader.stop();
      await telemetry.stop();
      await health.stop();
      await nc.close();
      await warehouse.close();
    },
  };
}
