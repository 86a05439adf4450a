import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Registry } from 'prom-client';
import { createClickIdCodec } from '../core/clicks/click-id.ts';
import { firstShards, shardOfCampaign } from '../core/clicks/shards.ts';
import {
  type Bucket,
  CAPS_BUCKET,
  CAPS_TTL_MS,
  connectNats,
  ensureStreams,
  LEASES_BUCKET,
  openBucket,
} from '../core/clicks/stream.ts';
import type { Config } from '../core/config/config.ts';
import { natsServer } from '../core/config/servers.ts';
import { errorText, OperatingError } from '../core/errors.ts';
import type { FolderClaim } from '../core/files/folder-claim.ts';
import { strictTransport } from '../core/hsts.ts';
import { openPostgres } from '../core/postgres/postgres.ts';
import { createSecretBox } from '../core/secret-box.ts';
import type { Logger } from '../core/service/log.ts';
import { createMetrics, type Readiness, type Running, serveHealth } from '../core/service/service.ts';
import { openTelemetry } from '../core/telemetry/start.ts';
import type { Telemetry } from '../core/telemetry/telemetry.ts';
import { loadUws } from '../core/uws/uws.ts';
import { createAnswers } from './clicks/answers.ts';
import type { Click } from './clicks/click.ts';
import { createClickHandlers } from './clicks/handlers.ts';
import { createOutcomeCounts, FlagCounts } from './clicks/outcomes.ts';
import { serve } from './clicks/server.ts';
import { openSnippet } from './clicks/snippet.ts';
import type { CommittedBatch } from './durability/committer.ts';
import {
  LEASE_FILE,
  type LeaseKeeper,
  openLeaseKeeper,
  refuseKeptLeases,
} from './durability/lease-keeper.ts';
import { createPublisher } from './durability/publisher.ts';
import { ShardCommitter } from './durability/shard-committer.ts';
import { openShardStores, type ShardStores, spooledShards } from './durability/shard-stores.ts';
import { claimStateFolder } from './durability/state-folder.ts';
import { type KeyCheck, openKeyCheck } from './keys.ts';
import { followCaps } from './links/caps.ts';
import { followLinks, type LinkStore } from './links/links.ts';
import { observeCommits, registerCollectorMetrics } from './metrics.ts';
import { openAsnList } from './request/asn.ts';
import { createClientAddressReader } from './request/client-address.ts';
import { openCountries } from './request/geo.ts';
import { createVisitorCache } from './request/visitors.ts';
import { createFloods } from './routing/floods.ts';
import { createRepeats } from './routing/repeats.ts';
import { traceBatches } from './traces.ts';

/** Batches still in flight at a stop get this long to be acknowledged. */
const DRAIN_TIMEOUT_MS = 5_000;
/** After a stop, open connections are still served this long; each answer asks its client to connect again. */
const CLOSING_MS = 300;
const READY_POLL_MS = 20;
/** Half of what a supervisor allows for a start. */
const NATS_WAIT_MS = 60_000;
const NATS_POLL_MS = 250;
const MEGABYTE = 1024 * 1024;

/** The folder in which the collector of a slot keeps its lease, spool and links across restarts. */
export function collectorSlotFolder(home: string, slot: number): string {
  return join(home, 'collector', String(slot));
}

/**
 * Starts the redirect server; returns when it listens. It is ready once the links are loaded.
 * Several share the port when each has a `slot` of its own for its state; each then listens only when it is ready, so
 * that no connection reaches one that cannot answer yet.
 */
export async function startCollector(options: {
  config: Config;
  log: Logger;
  /** Ends the waits for its folder and for NATS, with an AbortError. */
  stopping?: AbortSignal;
  slot?: number;
}): Promise<Running> {
  const { config, log, stopping, slot } = options;
  const lists = { countryOf: await openCountries(config.geoDatabase), ...openAsnList({ log }) };
  const stateFolder = collectorSlotFolder(config.home, slot ?? 0);
  const { claim, nc, leasesBucket } = await takeStateFolder({ config, stateFolder, log, stopping });
  const sql = openPostgres({
    ...{ url: config.databaseUrl, name: 'afflux-collector' },
    ...{ max: 1, as: 'application', log },
  });
  const keys = await openKeyCheck({
    sql,
    keys: { kind: 'click', keys: config.clickKeys },
    file: join(stateFolder, 'keys.json'),
    log,
  });
  const snapshotFile = join(stateFolder, 'links.snapshot');
  const links = followLinks({ sql, snapshotFile, beforeReading: keys.verify, asns: lists, log });
  const capsBucket = await openBucket(nc, CAPS_BUCKET, { replicas: config.natsReplicas, ttlMs: CAPS_TTL_MS });
  const caps = await followCaps({ bucket: capsBucket, log });
  const { leases, stores } = await openDurability({ config, nc, leasesBucket, stateFolder, log, stopping });
  const metrics = createMetrics();
  const telemetry = await openTelemetry({ config, service: 'collector', metrics, log });
  const secretBox = createSecretBox(config.dataKeys);
  const outcomes = createOutcomeCounts();
  const answers = createAnswers({
    outcomes,
    isClosing: () => server.isClosing(),
    strictTransport: strictTransport(config.collectorUrl),
  });
  const committer = new ShardCommitter<Click>({
    shards: config.clickShards,
    shardOf: ({ link }) => shardOfCampaign(link.campaignId, config.clickShards),
    stores,
    leases,
    clickIds: createClickIdCodec(config.clickKeys),
    recipient: answers,
    log,
    onCommitted: observersOf(metrics, telemetry),
  });
  leases.startHeartbeat((node) => least(committer.oldestHeldMs(node), stores.oldestHeldMs(node)));
  const flagCounts = new FlagCounts();
  registerCollectorMetrics({ registry: metrics, committer, stores, links, outcomes, flagCounts });

  const readiness = (): Readiness => readinessOf({ keys, links, committer, stores });
  // On a shared port the kernel chooses the collector, so each of several has a health port of its own.
  const port = config.collectorMetricsPort + (slot ?? 0);
  const served = { host: config.metricsHost, port, metrics, secretBox, readiness };
  const health = slot === undefined ? undefined : await serveHealth(served);
  if (slot !== undefined) while (!readiness().ready) await delay(READY_POLL_MS);
  const server = await serve({
    uws: loadUws({ folder: config.home, maxHeaderBytes: config.maxHeaderBytes }),
    host: config.host,
    port: config.collectorPort,
    ...createClickHandlers({
      links,
      committer,
      clock: leases.clock,
      clientAddress: createClientAddressReader(config.trustedProxies),
      visitorOf: createVisitorCache(),
      ...lists,
      caps,
      repeats: createRepeats(),
      floods: createFloods(),
      log,
      answers,
      outcomes,
      flagCounts,
    }),
    snippet: await openSnippet(),
    readiness,
    metrics,
    secretBox,
  });
  log.info({ host: config.host, port: config.collectorPort }, 'listening');

  return {
    async stop() {
      server.stopAccepting();
      await delay(CLOSING_MS);
      const complete = await committer.drain(DRAIN_TIMEOUT_MS);
      await server.stop();
      await health?.stop();
      await Promise.all([stores.stop(), telemetry.stop()]);
      await leases.close({ complete });
      claim.release();
      await Promise.all([links.stop(), caps.stop()]);
      await Promise.all([sql.end({ timeoutMs: 1_000 }), nc.close()]);
    },
  };
}

function observersOf(
  metrics: Registry,
  telemetry: Telemetry,
): (batch: CommittedBatch, tookMs: number) => void {
  const observe = observeCommits(metrics);
  if (!telemetry.isTracing) return observe;
  const traceBatch = traceBatches(telemetry);
  return (batch, tookMs) => {
    observe(batch, tookMs);
    traceBatch(batch, tookMs);
  };
}

interface Start {
  readonly config: Config;
  readonly stateFolder: string;
  readonly log: Logger;
  readonly stopping: AbortSignal | undefined;
}

/** Before anything else in the folder is touched: the claim says who else uses it here, and NATS who does elsewhere. */
async function takeStateFolder(
  start: Start,
): Promise<{ claim: FolderClaim; nc: NatsConnection; leasesBucket: Bucket }> {
  const { config, stateFolder } = start;
  const claim = await claimStateFolder(stateFolder, start);
  const nc = await reachNats(start);
  const leasesBucket = await openBucket(nc, LEASES_BUCKET, { replicas: config.natsReplicas });
  await refuseKeptLeases(leasesBucket, join(stateFolder, LEASE_FILE));
  return { claim, nc, leasesBucket };
}

/**
 * A collector that has run here before waits for NATS: it then redirects a moment after NATS is back, and not after its
 * supervisor's next pause. The first start of all fails at once, since a wrong NATS_URL is likelier.
 */
async function reachNats({ config, stateFolder, log, stopping }: Start): Promise<NatsConnection> {
  const hasRun = existsSync(join(stateFolder, LEASE_FILE));
  const deadline = performance.now() + (hasRun ? NATS_WAIT_MS : 0);
  for (let isFirst = true; ; isFirst = false) {
    try {
      const nc = await connectNats({ ...natsServer(config), name: 'collector' });
      // One whose parent has ended meanwhile must not start beside its successor.
      if (stopping?.aborted) await nc.close();
      stopping?.throwIfAborted();
      return nc;
    } catch (error) {
      if (!isNatsUnreachable(error) || performance.now() > deadline) throw error;
      if (isFirst) log.warn({ reason: errorText(error) }, 'NATS is unavailable; waiting for it');
      await delay(NATS_POLL_MS, undefined, { signal: stopping });
    }
  }
}

function isNatsUnreachable(error: unknown): boolean {
  return error instanceof OperatingError && error.code === 'nats_unreachable';
}

async function openDurability(
  options: Start & { nc: NatsConnection; leasesBucket: Bucket },
): Promise<{ leases: LeaseKeeper; stores: ShardStores }> {
  const { config, nc, stateFolder, log } = options;
  options.stopping?.throwIfAborted();
  const shards = [...new Set([...firstShards(config.clickShards), ...(await spooledShards(stateFolder))])];
  // Before a lease is opened: the watermark counts on it that no click of a shard is older than its stream.
  await ensureStreams(nc, { replicas: config.natsReplicas, shards });
  const stores = await openShardStores({
    shards,
    stateFolder,
    maxSpoolBytes: config.spoolMaxMb * MEGABYTE,
    publisher: createPublisher({ nc }),
    log,
  });
  const leases = await openLeaseKeeper({
    bucket: options.leasesBucket,
    stateFile: join(stateFolder, LEASE_FILE),
    shards: config.clickShards,
    spooledNodes: stores.spooledNodes(),
    log,
  });
  return { leases, stores };
}

function readinessOf(parts: {
  keys: KeyCheck;
  links: LinkStore;
  committer: ShardCommitter<Click>;
  stores: ShardStores;
}): Readiness {
  const { keys, links, committer, stores } = parts;
  if (keys.fault !== '') return { ready: false, reason: keys.fault };
  if (links.freshAtMs === 0) return { ready: false, reason: 'links are not loaded yet' };
  if (!committer.isHealthy) return { ready: false, reason: 'clicks cannot be stored' };
  if (stores.isSpoolNearlyFull()) return { ready: false, reason: 'the spool is nearly full' };
  // It can still redirect, and without NATS no other collector could do more: visitors must not lose all of them.
  if (!stores.isStreamUp()) return { ready: true, note: 'NATS takes no clicks; they are kept in the spool' };
  return { ready: true };
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
