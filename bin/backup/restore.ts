import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { clicksStream, listClickShards } from '../../core/clicks/shards.ts';
import {
  CAPS_BUCKET,
  CAPS_TTL_MS,
  connectNats,
  DEAD_LETTERS_STREAM,
  ensureStreams,
  LEADERS_BUCKET,
  LEASES_BUCKET,
  LOADER_BUCKET,
  openBucket,
} from '../../core/clicks/stream.ts';
import type { Config, EnvironmentConfig } from '../../core/config/config.ts';
import { openHome } from '../../core/config/home.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import { clickhouseServer, natsServer } from '../../core/config/servers.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { isRestoredFrom, requireEmptyDatabase, restoreLedger } from '../../ledger/transfer/copy-in.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { importPartitions } from '../../warehouse/transfer/import.ts';
import { writeRecords } from '../../warehouse/transfer/records.ts';
import { publishCopy } from '../../warehouse/transfer/stream-copy.ts';
import { oneServer } from '../../warehouse/transfer/tables.ts';
import { migrateStores } from '../commands/migrate.ts';
import { RESTORE_MARK } from '../environment.ts';
import { requireOwnerUrl } from '../stores.ts';
import { withEngines } from './engines.ts';
import { compareFiles, type Manifest, PARTS, readManifest } from './manifest.ts';
import { unseal } from './sealed.ts';

/** Of a disk that is mounted here. */
const LOST_AND_FOUND = 'lost+found';
/** What may lie in a data folder before a restore: programs that set-up fetched, and what a test of the server has left. */
const HARMLESS = new Set(['bin', 'server-self-test', LOST_AND_FOUND, RESTORE_MARK]);
/** Brought by hand where the backup has no secrets. */
const SECRETS = new Set(['secrets.json', 'count-key.pem', 'count-key.pub.pem', 'payouts']);

/**
 * Makes a platform again from a backup, in an empty data folder and empty stores. PostgreSQL comes last and in one
 * transaction, so that no process can work before everything is there. A restore that was ended is done again by the same
 * call: what is there already is left.
 * @param options.passphrase Asked for when the backup has secrets.
 * @throws OperatingError `backup_incomplete`, `backup_damaged`, `target_not_empty`, `passphrase_wrong`, and those of the
 *   engines and stores.
 */
export async function restoreBackup(options: {
  environment: EnvironmentConfig;
  folder: string;
  passphrase: () => Promise<string>;
  log: Logger;
}): Promise<{ manifest: Manifest; config: Config }> {
  const { environment, folder, passphrase, log } = options;
  const manifest = readManifest(folder);
  const { faults } = await compareFiles(folder, manifest);
  if (faults.length > 0) throw new OperatingError('backup_damaged', faults.join('; '));
  const secrets = manifest.sealed
    ? await unseal(await passphrase(), readFileSync(join(folder, manifest.sealed.path)))
    : undefined;
  const isAgain = beginInHome(environment.home, manifest);
  if (secrets) unpackSecrets(environment.home, secrets);
  const config = withGeneratedSecrets(environment);
  await withEngines({ config, log, alone: true }, async () => {
    if (!isAgain) await requireEmptyStores(config);
    await restoreStores({ config, folder, manifest, log });
  });
  await restoreFiles(config.home, { folder, manifest });
  rmSync(join(config.home, RESTORE_MARK));
  return { manifest, config };
}

/**
 * Marks the data folder, so that nothing starts on it until it is whole. Returns whether a restore of the same backup had
 * begun in it. @throws OperatingError `target_not_empty`.
 */
function beginInHome(home: string, manifest: Manifest): boolean {
  openHome(home);
  const mark = join(home, RESTORE_MARK);
  if (existsSync(mark)) {
    const { backup } = JSON.parse(readFileSync(mark, 'utf8')) as { backup: string };
    if (backup === manifest.id) return true;
    throw new OperatingError(
      'target_not_empty',
      `a restore of another backup (${backup}) was begun in ${home}: finish it, or empty the folder and the stores`,
    );
  }
  const found = readdirSync(home).filter(
    (name) =>
      !HARMLESS.has(name) &&
      !isEmptyFolder(join(home, name)) &&
      !(manifest.sealed === null && SECRETS.has(name)),
  );
  if (found.length > 0) {
    throw new OperatingError(
      'target_not_empty',
      `the data folder ${home} is not empty (${found.slice(0, 5).join(', ')}): set AFFLUX_HOME to an empty one. Nothing was changed`,
    );
  }
  writeFileSync(mark, `${JSON.stringify({ backup: manifest.id })}\n`, { mode: 0o600, flush: true });
  return false;
}

/** Such as the mount point of a disk of its own. */
function isEmptyFolder(path: string): boolean {
  return statSync(path).isDirectory() && readdirSync(path).every((name) => name === LOST_AND_FOUND);
}

function unpackSecrets(home: string, secrets: Buffer): void {
  const files = JSON.parse(secrets.toString()) as Record<string, string>;
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(home, path)), { recursive: true, mode: 0o700 });
    writeFileSync(join(home, path), Buffer.from(content, 'base64'), { mode: 0o600, flush: true });
  }
}

/** @throws OperatingError `target_not_empty` naming the store. */
async function requireEmptyStores(config: Config): Promise<void> {
  try {
    await requireEmptyDatabase(requireOwnerUrl(config));
    const warehouse = await connectWarehouse({
      ...clickhouseServer(config),
      name: 'afflux-restore',
      reads: 'server',
    });
    try {
      const { rows } = await warehouse.query<{ name: string }>(
        'SELECT name FROM system.tables WHERE database = currentDatabase() LIMIT 1',
      );
      if (rows[0]) throw notEmpty('ClickHouse database', `a table ${rows[0].name}`);
    } finally {
      await warehouse.close();
    }
    await withStreams(config, async ({ manager }) => {
      const [name] = await ourStreams(manager);
      if (name !== undefined) throw notEmpty('NATS account', `a stream ${name}`);
    });
  } catch (error) {
    // Nothing was written: another try may find another folder or other stores.
    rmSync(join(config.home, RESTORE_MARK));
    throw error;
  }
}

/** Leadership is nothing to bring back: loaders divide the shards again. */
const OTHER_STREAMS = [
  DEAD_LETTERS_STREAM,
  ...[LEASES_BUCKET, LOADER_BUCKET, LEADERS_BUCKET, CAPS_BUCKET].map((bucket) => `KV_${bucket}`),
];

/** The streams of the platform, and of its buckets, that are there. */
async function ourStreams(manager: JetStreamManager): Promise<string[]> {
  const found = (await listClickShards(manager)).map(clicksStream);
  for await (const name of manager.streams.names()) if (OTHER_STREAMS.includes(name)) found.push(name);
  return found;
}

function notEmpty(store: string, what: string): OperatingError {
  return new OperatingError(
    'target_not_empty',
    `the ${store} already has ${what}: restore into an empty one. Nothing was changed`,
  );
}

type Streams = { nc: Awaited<ReturnType<typeof connectNats>>; manager: JetStreamManager };

async function withStreams(config: Config, work: (streams: Streams) => Promise<void>): Promise<void> {
  const nc = await connectNats({ ...natsServer(config), name: 'afflux-restore' });
  try {
    await work({ nc, manager: await jetstreamManager(nc) });
  } finally {
    await nc.close();
  }
}

/** What is restored, and where to. */
interface Restoring {
  readonly config: Config;
  readonly folder: string;
  readonly manifest: Manifest;
  readonly log: Logger;
}

async function restoreStores(options: Restoring): Promise<void> {
  const { config, folder, manifest, log } = options;
  const url = requireOwnerUrl(config);
  const backup = { id: manifest.id, madeAt: manifest.madeAt };
  if (!(await isRestoredFrom(url, backup))) {
    await restoreWarehouse(options);
    log.info({ partitions: manifest.warehouse.partitions.length }, 'ClickHouse is restored');
    await restoreStream(options);
    log.info({ batches: manifest.stream.batches.messages }, 'NATS is restored');
    await restoreLedger({ url, copy: manifest.ledger, folder: join(folder, PARTS.ledger), backup });
    log.info({ tables: manifest.ledger.tables.length }, 'PostgreSQL is restored');
  }
  // ClickHouse to this version; and the login of processes gets its password.
  await migrateStores({ config, log });
}

/** First the schema that the backup has; later migrations come when its rows are there, as in an upgrade. */
async function restoreWarehouse(options: Restoring): Promise<void> {
  const { config, folder, manifest, log } = options;
  const warehouse = await connectWarehouse({
    ...clickhouseServer(config),
    name: 'afflux-restore',
    reads: 'server',
  });
  try {
    const { migrations, partitions } = manifest.warehouse;
    await oneServer(warehouse);
    await migrateWarehouse({ warehouse, log, asOf: migrations });
    await importPartitions({
      warehouse,
      folder: join(folder, PARTS.warehouse),
      partitions,
    });
  } finally {
    await warehouse.close();
  }
}

/** Streams and buckets are made again, also after a restore that was ended in between. */
async function restoreStream({
  config,
  folder,
  manifest,
}: {
  config: Config;
  folder: string;
  manifest: Manifest;
}): Promise<void> {
  await withStreams(config, async ({ nc, manager }) => {
    for (const name of await ourStreams(manager)) await manager.streams.delete(name);
    const copies = { replicas: config.natsReplicas };
    await ensureStreams(nc, { ...copies, shards: manifest.records.shards.map(({ shard }) => shard) });
    await publishCopy({ manager, folder, copy: manifest.stream.batches });
    await publishCopy({ manager, folder, copy: manifest.stream.deadLetters });
    await writeRecords({
      manager,
      leasesBucket: await openBucket(nc, LEASES_BUCKET, copies),
      loaderBucket: await openBucket(nc, LOADER_BUCKET, copies),
      capsBucket: await openBucket(nc, CAPS_BUCKET, { ...copies, ttlMs: CAPS_TTL_MS }),
      records: manifest.records,
    });
  });
}

async function restoreFiles(
  home: string,
  { folder, manifest }: { folder: string; manifest: Manifest },
): Promise<void> {
  for (const { path } of manifest.files) {
    mkdirSync(dirname(join(home, path)), { recursive: true, mode: 0o700 });
    await pipeline(
      createReadStream(join(folder, PARTS.files, path)),
      createWriteStream(join(home, path), { mode: 0o600, flush: true }),
    );
  }
}
