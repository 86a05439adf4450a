import { randomUUID } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import {
  CAPS_BUCKET,
  CAPS_TTL_MS,
  connectNats,
  ensureStreams,
  LEADERS_BUCKET,
  LEASES_BUCKET,
  LOADER_BUCKET,
  openBucket,
} from '../../core/clicks/stream.ts';
import type { Config } from '../../core/config/config.ts';
import { clickhouseServer, natsServer } from '../../core/config/servers.ts';
import { OperatingError } from '../../core/errors.ts';
import { type MeasuredFile, writeMeasured } from '../../core/files/measured-file.ts';
import { connectOwner, type Database } from '../../ledger/postgres/db.ts';
import { withLedgerSnapshot } from '../../ledger/transfer/copy-out.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { readApplied } from '../../warehouse/clickhouse/migrate.ts';
import { LEADERS_TTL_MS } from '../../warehouse/leadership/shard-leases.ts';
import { exportSnapshot, takeSnapshot } from '../../warehouse/transfer/export.ts';
import { withLoadersHeld } from '../../warehouse/transfer/hold-loaders.ts';
import { readLeases, readRecords } from '../../warehouse/transfer/records.ts';
import { copyDeadLetters, copyWaitingBatches } from '../../warehouse/transfer/stream-copy.ts';
import { requireOwnerUrl } from '../stores.ts';
import { listFiles, type Manifest, PARTS, writeManifest } from './manifest.ts';
import { seal } from './sealed.ts';

/** Made of the secrets: keys, passwords, and payment files, which have the account numbers of affiliates. */
const SEALED_FILES = ['secrets.json', 'count-key.pem', 'count-key.pub.pem'];
const SEALED_FOLDER = 'payouts';
/** What has no secrets; other parts of AFFLUX_HOME are engines, or made again. */
const PLAIN_FOLDER = 'reports';
/** A collector says twice a second what it still holds: older than this is in a spool, or its collector is dead. */
const HELD_MS = 10_000;

/**
 * Makes a backup of a platform, which may run meanwhile, in a new folder; it appears under its name once it is whole.
 *
 * The order makes the stores fit each other. While no loader works, the warehouse is held as it is at a checkpoint of the
 * stream. PostgreSQL follows, so it knows every signed head that the warehouse has. The batches behind the checkpoint
 * come last, so every click that a decision in PostgreSQL names is in the warehouse or among them.
 * @param options.passphrase Seals the secrets; null: they are left out.
 * @param options.keysFromEnvironment Variables whose keys the data folder does not have.
 * @throws OperatingError `usage` when the folder exists, `disk_full`, `loader_block_pending`, and those of the stores.
 */
export async function createBackup(options: {
  config: Config;
  version: string;
  folder: string;
  passphrase: string | null;
  keysFromEnvironment: readonly string[];
}): Promise<Manifest> {
  const folder = resolve(options.folder);
  if (existsSync(folder)) throw new OperatingError('usage', `${folder} exists already: name a new folder`);
  const unfinished = `${folder}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  try {
    const manifest = await withStores(options.config, (stores) =>
      copyPlatform({ ...options, folder: unfinished, stores }),
    );
    await writeManifest(unfinished, manifest);
    await rename(unfinished, folder);
    await syncFolder(dirname(folder));
    return { format: 1, ...manifest };
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    throw new OperatingError('disk_full', `the disk of ${folder} is full. No backup was made`, {
      cause: error,
    });
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  await handle.sync();
  await handle.close();
}

interface Stores {
  readonly owner: Database;
  readonly warehouse: Warehouse;
  readonly nc: Awaited<ReturnType<typeof connectNats>>;
}

async function withStores<T>(config: Config, work: (stores: Stores) => Promise<T>): Promise<T> {
  const nc = await connectNats({ ...natsServer(config), name: 'afflux-backup' });
  try {
    const warehouse = await connectWarehouse({
      ...clickhouseServer(config),
      name: 'afflux-backup',
      reads: 'server',
    });
    try {
      const owner = await connectOwner({ url: requireOwnerUrl(config), name: 'afflux-backup' });
      return await work({ owner, warehouse, nc }).finally(() => owner.end());
    } finally {
      await warehouse.close();
    }
  } finally {
    await nc.close();
  }
}

async function copyPlatform(options: {
  config: Config;
  version: string;
  folder: string;
  passphrase: string | null;
  keysFromEnvironment: readonly string[];
  stores: Stores;
}): Promise<Omit<Manifest, 'format'>> {
  const { config, version, folder, passphrase, stores } = options;
  const { owner, warehouse, nc } = stores;
  const manager = await ensureStreams(nc);
  const leasesBucket = await openBucket(nc, LEASES_BUCKET);
  const { shards, before, snapshot } = await withLoadersHeld(
    {
      manager,
      loaderBucket: await openBucket(nc, LOADER_BUCKET),
      leadersBucket: await openBucket(nc, LEADERS_BUCKET, { ttlMs: LEADERS_TTL_MS }),
    },
    async (held) => ({
      shards: held,
      before: await readLeases(leasesBucket),
      snapshot: await takeSnapshot(warehouse),
    }),
  );
  try {
    return await withLedgerSnapshot(owner, async (copyTo) => {
      const madeAt = new Date();
      // Its collectors have said since when they hold clicks; what they have sent by now is copied next.
      const leases = new Map([...before, ...(await readLeases(leasesBucket))]);
      const batches = await copyWaitingBatches({ manager, shards, folder, path: PARTS.batches });
      const records = await readRecords({
        leasesBucket,
        capsBucket: await openBucket(nc, CAPS_BUCKET, { ttlMs: CAPS_TTL_MS }),
        before: leases,
        shards,
        now: Date.now,
      });
      const deadLetters = await copyDeadLetters({ manager, folder, path: PARTS.deadLetters });
      const ledger = await copyTo(join(folder, PARTS.ledger));
      const partitions = await exportSnapshot({ snapshot, folder: join(folder, PARTS.warehouse) });
      const { completeTo, warnings } = whatIsHeld([...leases.values()], madeAt.getTime());
      return {
        id: randomUUID(),
        afflux: version,
        madeAt: madeAt.toISOString(),
        completeTo: new Date(completeTo).toISOString(),
        warnings: [
          ...warnings,
          ...(passphrase === null ? [WITHOUT_SECRETS] : []),
          ...keysElsewhere(options.keysFromEnvironment),
        ],
        ledger,
        warehouse: { migrations: await readApplied(warehouse), partitions },
        stream: { batches, deadLetters },
        records,
        files: await copyFiles(config.home, folder),
        sealed: passphrase === null ? null : await sealFiles(config.home, { folder, passphrase }),
      };
    });
  } finally {
    await snapshot.drop();
  }
}

const WITHOUT_SECRETS =
  'the secrets are left out: keep secrets.json, count-key.pem and the folder payouts of AFFLUX_HOME elsewhere';

function keysElsewhere(set: readonly string[]): string[] {
  return set.length === 0 ? [] : [`${set.join(' and ')} come from the environment and are not in the backup`];
}

/** Up to when every click is in the stream, and what collectors hold beside it. */
function whatIsHeld(
  leases: readonly { node: number; state: string; heldFromMs: number }[],
  nowMs: number,
): { completeTo: number; warnings: string[] } {
  const open = leases.filter(({ state }) => state === 'open');
  const completeTo = open.reduce((least, { heldFromMs }) => Math.min(least, heldFromMs), nowMs);
  const warnings = open
    .filter(({ heldFromMs }) => heldFromMs < nowMs - HELD_MS)
    .map(
      ({ node, heldFromMs }) =>
        `the collector of node ${node} may hold clicks since ${new Date(heldFromMs).toISOString()} that are not in the ` +
        'stream, and so not in the backup: keep the disk of its spool',
    );
  return { completeTo, warnings };
}

async function copyFiles(home: string, folder: string): Promise<MeasuredFile[]> {
  const copied: MeasuredFile[] = [];
  for (const path of listFiles(join(home, PLAIN_FOLDER))) {
    const relative = `${PLAIN_FOLDER}/${path}`;
    copied.push(
      await writeMeasured(join(folder, PARTS.files), relative, createReadStream(join(home, relative))),
    );
  }
  return copied;
}

async function sealFiles(
  home: string,
  { folder, passphrase }: { folder: string; passphrase: string },
): Promise<MeasuredFile> {
  const paths = [
    ...SEALED_FILES.filter((path) => existsSync(join(home, path))),
    ...listFiles(join(home, SEALED_FOLDER)).map((path) => `${SEALED_FOLDER}/${path}`),
  ];
  const contents = paths.map((path) => [path, readFileSync(join(home, path)).toString('base64')]);
  const content = Buffer.from(JSON.stringify(Object.fromEntries(contents)));
  return await writeMeasured(folder, PARTS.sealed, Readable.from([await seal(passphrase, content)]));
}
