import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createClickIdCodec } from '../core/clicks/click-id.ts';
import { CAPS_BUCKET, connectNats, ensureStreams, LEASES_BUCKET, openBucket } from '../core/clicks/stream.ts';
import type { Config } from '../core/config/config.ts';
import { openPostgres } from '../core/postgres/postgres.ts';
import type { Logger } from '../core/service/log.ts';
import { createMetrics, type Readiness, type Running, serveHealth } from '../core/service/service.ts';
import { createClickHandlers } from './clicks/clicks.ts';
import { createOutcomeCounts, FlagCounts } from './clicks/outcomes.ts';
import { serve } from './clicks/server.ts';
import { openSnippet } from './clicks/snippet.ts';
import { createCommitter } from './durability/committer.ts';
import { createDurableLog } from './durability/durable-log.ts';
import { openLeaseKeeper } from './durability/lease-keeper.ts';
import { createPublisher } from './durability/publisher.ts';
import { openSpool } from './durability/spool.ts';
import { CAPS_TTL_MS, followCaps } from './links/caps.ts';
import { followLinks } from './links/links.ts';
import { observeCommits, registerCollectorMetrics } from './metrics.ts';
import { createClientAddressReader } from './request/client-address.ts';
import { openCountries } from './request/geo.ts';
import { createVisitorCache } from './request/visitors.ts';
import { createRepeats } from './routing/repeats.ts';

/** The stream shard this collector publishes to. */
const SHARD = 0;
/** Batches still in flight at a stop get this long to be acknowledged. */
const DRAIN_TIMEOUT_MS = 5_000;
/** How long open connections may still ask after a stop; each answer then tells its client to connect anew. */
const LINGER_MS = 300;
const READY_POLL_MS = 20;
const MEGABYTE = 1024 * 1024;

/** Where the collector of a slot keeps its lease, spool and links across restarts. */
export function collectorSlotFolder(home: string, slot: number): string {
  return join(home, 'collector', String(slot));
}

/**
 * Starts the redirect server; returns when it listens. It is ready once the links are loaded.
 * Several share the port when each has a `slot` of its own, which is where it keeps its state, and listens only when
 * it is ready, so that no connection comes to one that cannot answer yet.
 */
export async function startCollector(options: {
  config: Config;
  log: Logger;
  slot?: number;
}): Promise<Running> {
  const { config, log, slot } = options;
  const countryOf = await openCountries(config.geoDatabase);
  const snippet = await openSnippet();
  const nc = await connectNats({ url: config.natsUrl, name: 'collector' });
  await ensureStreams(nc);
  const sql = openPostgres({ url: config.databaseUrl, name: 'afflux-collector', max: 1, as: 'application' });
  const stateFolder = collectorSlotFolder(config.home, slot ?? 0);
  const links = followLinks({ sql, snapshotFile: join(stateFolder, 'links.snapshot'), log });
  const caps = await followCaps({ bucket: await openBucket(nc, CAPS_BUCKET, { ttlMs: CAPS_TTL_MS }), log });
  const spool = await openSpool({
    folder: join(stateFolder, 'spool'),
    maxBytes: config.spoolMaxMb * MEGABYTE,
    log,
  });
  const leases = await openLeaseKeeper({
    bucket: await openBucket(nc, LEASES_BUCKET),
    stateFile: join(stateFolder, 'lease.json'),
    spooledNodes: spool.nodes(),
    log,
  });
  const durable = createDurableLog({
    publish: createPublisher({ nc, shard: SHARD }),
    spool,
    log,
  });
  const metrics = createMetrics();
  const committer = createCommitter({
    store: durable.store,
    leases,
    clickIds: createClickIdCodec(config.clickKeys),
    log,
    onCommitted: observeCommits(metrics),
  });
  leases.startHeartbeat((node) => least(committer.oldestHeldMs(node), spool.oldestHeldMs(node)));
  const outcomes = createOutcomeCounts();
  const flagCounts = new FlagCounts();
  registerCollectorMetrics({ registry: metrics, committer, durable, spool, links, outcomes, flagCounts });

  function readiness(): Readiness {
    if (links.freshAtMs === 0) return { ready: false, reason: 'links are not loaded yet' };
    if (!committer.isHealthy()) return { ready: false, reason: 'clicks cannot be stored' };
    if (spool.isNearlyFull()) return { ready: false, reason: 'the spool is nearly full' };
    return { ready: true };
  }
  // On a shared port the kernel chooses who answers, so each of several has a port of its own to be asked on.
  const health =
    slot === undefined
      ? undefined
      : await serveHealth({ port: config.collectorMetricsPort + slot, metrics, readiness });
  if (slot !== undefined) while (!readiness().ready) await delay(READY_POLL_MS);
  const server = await serve({
    host: config.host,
    port: config.collectorPort,
    ...createClickHandlers({
      links,
      committer,
      clock: leases.clock,
      clientAddress: createClientAddressReader(config.trustedProxies),
      visitorOf: createVisitorCache(),
      countryOf,
      caps,
      repeats: createRepeats(),
      outcomes,
      flagCounts,
      isClosing: () => server.isClosing(),
      secureCookie: config.collectorUrl.startsWith('https:'),
    }),
    snippet,
    readiness,
    metrics,
  });
  log.info({ host: config.host, port: config.collectorPort }, 'listening');

  return {
    async stop() {
      server.stopAccepting();
      await delay(LINGER_MS);
      const complete = await committer.drain(DRAIN_TIMEOUT_MS);
      await server.stop();
      await health?.stop();
      await durable.stop();
      await spool.close();
      await leases.close({ complete });
      await Promise.all([links.stop(), caps.stop()]);
      await Promise.all([sql.end({ timeoutMs: 1_000 }), nc.close()]);
    },
  };
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
