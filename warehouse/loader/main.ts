import { randomUUID } from 'node:crypto';
import {
  connectNats,
  ensureStreams,
  LEADERS_BUCKET,
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
import { reportBrokenProjections } from '../clickhouse/broken-projections.ts';
import { connectWarehouse, openWarehouse } from '../clickhouse/client.ts';
import { ofShard } from '../cluster/servers.ts';
import { LEADERS_TTL_MS, ShardLeases } from '../leadership/shard-leases.ts';
import { readShards } from '../watermark/watermark.ts';
import { createLoaderMetrics, traceBlocks } from './metrics.ts';
import { ShardLoaders } from './shard-loaders.ts';

/**
 * Starts the loader: clicks of its share of the stream's shards into the warehouse, health and metrics on `config.loaderPort`.
 * @throws OperatingError when ClickHouse or NATS cannot be reached, or the port is taken.
 */
export async function startLoader(options: { config: Config; log: Logger }): Promise<Running> {
  const { config, log } = options;
  const registry = createMetrics();
  const server = {
    ...clickhouseServer(config),
    name: 'afflux-loader',
    reads: 'server',
    onBrokenProjection: reportBrokenProjections({ metrics: registry, log }),
  } as const;
  const warehouse = await connectWarehouse(server);
  const nc = await connectNats({ ...natsServer(config), name: 'afflux-loader' });
  const copies = { replicas: config.natsReplicas };
  const telemetry = await openTelemetry({ config, service: 'loader', metrics: registry, log });
  const leaders = await openBucket(nc, LEADERS_BUCKET, { ...copies, ttlMs: LEADERS_TTL_MS });
  const loader = new ShardLoaders({
    warehouse,
    // On a cluster each goes to the servers of one shard.
    ...(server.cluster !== '' && {
      warehouseOf: (shard: number) =>
        openWarehouse({ ...server, accept: ofShard({ shard, clickShards: config.clickShards }) }),
    }),
    nc,
    // Figures wait for every shard that they were ever complete for, also if its stream is gone and no collector makes it.
    manager: await ensureStreams(nc, { ...copies, shards: [...(await readShards(warehouse))] }),
    loaderBucket: await openBucket(nc, LOADER_BUCKET, copies),
    leasesBucket: await openBucket(nc, LEASES_BUCKET, copies),
    leases: new ShardLeases({ bucket: leaders, id: randomUUID() }),
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
