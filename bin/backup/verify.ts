import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JetStreamManager } from '@nats-io/jetstream';
import { listClickShards, readClicksStream } from '../../core/clicks/shards.ts';
import {
  type Bucket,
  connectNats,
  ensureStreams,
  LEASES_BUCKET,
  LOADER_BUCKET,
  openBucket,
} from '../../core/clicks/stream.ts';
import { type Config, type EnvironmentConfig, loadConfig } from '../../core/config/config.ts';
import { clickhouseServer, natsServer } from '../../core/config/servers.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { createMetrics } from '../../core/service/service.ts';
import { freePlatformPorts } from '../../engines/engine.ts';
import { connectDatabase } from '../../ledger/postgres/db.ts';
import { mirrorBatch } from '../../scheduler/mirror.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { Loader } from '../../warehouse/loader/loader.ts';
import { createLoaderStore } from '../../warehouse/loader/loader-store.ts';
import { createLoaderMetrics } from '../../warehouse/loader/metrics.ts';
import { type AuditReport, runAudit } from '../commands/audit.ts';
import { withEngines } from './engines.ts';
import { restoreBackup } from './restore.ts';

/** For the clicks of the stream to be loaded, and the conversions to be copied. */
const SETTLE_TIMEOUT_MS = 30 * 60_000;
const POLL_MS = 200;

/**
 * Restores a backup into embedded engines in a folder of its own, lets the loader load what waits and runs the audit: no
 * other process is started, so nothing is paid and no one is sent anything. Everything is removed after it.
 * @param options.scratch Below which folder; it needs room for the platform once more.
 */
export async function auditBackup(options: {
  environment: EnvironmentConfig;
  folder: string;
  scratch?: string | undefined;
  passphrase: () => Promise<string>;
  log: Logger;
}): Promise<AuditReport> {
  const { environment, folder, passphrase, log, scratch = tmpdir() } = options;
  const home = mkdtempSync(join(scratch, 'afflux-verify-'));
  try {
    const alone = loadConfig({
      ...(await freePlatformPorts()),
      AFFLUX_HOME: home,
      NATS_SERVER: environment.natsServer,
      CLICK_KEYS: environment.clickKeys.join(','),
      DATA_KEYS: environment.dataKeys.join(','),
    });
    const { config, manifest } = await restoreBackup({ environment: alone, folder, passphrase, log });
    if (!manifest.sealed && environment.clickKeys.length === 0) {
      log.warn('the backup has no secrets, so its signatures and click ids cannot be checked');
    }
    return await withEngines({ config, log, alone: true }, async () => {
      await settle(config, log);
      return await runAudit(config);
    });
  } finally {
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** What loader and scheduler do of a restored platform: load the waiting clicks, copy the conversions. */
async function settle(config: Config, log: Logger): Promise<void> {
  const nc = await connectNats({ ...natsServer(config), name: 'afflux-verify' });
  const warehouse = await connectWarehouse({ ...clickhouseServer(config), name: 'afflux-verify' });
  const ledger = await connectDatabase({ url: config.databaseUrl, max: 2, name: 'afflux-verify' });
  const manager = await ensureStreams(nc);
  const buckets = {
    loaderBucket: await openBucket(nc, LOADER_BUCKET),
    leasesBucket: await openBucket(nc, LEASES_BUCKET),
  };
  const shards = await listClickShards(manager);
  const metrics = createLoaderMetrics(createMetrics());
  const loaders = shards.map(
    (shard) => new Loader({ warehouse, nc, manager, ...buckets, shard, log, metrics }),
  );
  const running = Promise.all(loaders.map((loader) => loader.run()));
  try {
    const deadline = Date.now() + SETTLE_TIMEOUT_MS;
    const areReady = (): boolean => loaders.every((loader) => loader.readiness().ready);
    while (!areReady() || !(await areLoaded({ manager, bucket: buckets.loaderBucket, shards }))) {
      if (Date.now() > deadline) throw new OperatingError('timeout', 'the restored clicks are not loaded');
      await sleep(POLL_MS);
    }
    while ((await mirrorBatch({ ledger, warehouse })) > 0);
  } finally {
    await Promise.all(loaders.map((loader) => loader.stop()));
    await running;
    await Promise.all([nc.close(), warehouse.close(), ledger.end()]);
  }
}

async function areLoaded(options: {
  manager: JetStreamManager;
  bucket: Bucket;
  shards: readonly number[];
}): Promise<boolean> {
  const { manager, bucket, shards } = options;
  const loaded = await Promise.all(
    shards.map(async (shard) => {
      const { created, lastSeq } = await readClicksStream(manager, shard);
      const { value } = (await createLoaderStore({ bucket, shard }).read()).checkpoint;
      return value?.stream === created && value.seq >= lastSeq;
    }),
  );
  return loaded.every(Boolean);
}
