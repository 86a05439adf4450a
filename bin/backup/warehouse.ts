import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { JetStreamManager } from '@nats-io/jetstream';
import {
  type Bucket,
  connectNats,
  ensureStreams,
  LEADERS_BUCKET,
  LOADER_BUCKET,
  openBucket,
} from '../../core/clicks/stream.ts';
import type { Config } from '../../core/config/config.ts';
import { natsServer } from '../../core/config/servers.ts';
import { OperatingError } from '../../core/errors.ts';
import type { AppliedMigration } from '../../core/migrations.ts';
import { refillOutbox } from '../../ledger/postgres/outbox.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { readApplied } from '../../warehouse/clickhouse/migrate.ts';
import { LEADERS_TTL_MS } from '../../warehouse/leadership/shard-leases.ts';
import { createLoaderStore } from '../../warehouse/loader/loader-store.ts';
import {
  type ExportedPartition,
  type ExportRange,
  exportSnapshot,
  takeSnapshot,
} from '../../warehouse/transfer/export.ts';
import { withLoadersHeld } from '../../warehouse/transfer/hold-loaders.ts';
import { importPartitions } from '../../warehouse/transfer/import.ts';
import { readConfig } from '../environment.ts';
import { withLedger, withWarehouse } from '../stores.ts';
import { renderTable } from '../table.ts';
import { readProof, writeProof } from './manifest.ts';

const NAME = 'export';

/** What an export is, and what proves that it is whole. */
interface Export {
  readonly format: number;
  readonly afflux: string;
  readonly madeAt: string;
  readonly range: ExportRange;
  readonly migrations: readonly AppliedMigration[];
  /** Where the loader of each shard stood: the export has every click up to there, and none behind. */
  readonly shards: readonly { readonly shard: number; readonly stream: string; readonly seq: number }[];
  readonly partitions: readonly ExportedPartition[];
}

/** Of the loaders, in NATS. */
interface LoaderRecords {
  readonly manager: JetStreamManager;
  readonly loaderBucket: Bucket;
  readonly leadersBucket: Bucket;
}

/** `afflux warehouse export FOLDER`. */
export async function exportWarehouse(
  given: string,
  { version, ...range }: ExportRange & { version: string },
): Promise<void> {
  const folder = resolve(given);
  if (existsSync(folder)) throw new OperatingError('usage', `${folder} exists already: name a new folder`);
  const unfinished = `${folder}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  const exportFrom = (warehouse: Warehouse) =>
    withLoaderRecords(readConfig(), async (records) => {
      const { snapshot, shards } = await withLoadersHeld(records, async (held) => ({
        snapshot: await takeSnapshot(warehouse),
        shards: held.map(({ shard, checkpoint: { stream, seq } }) => ({ shard, stream, seq })),
      }));
      try {
        const partitions = await exportSnapshot({ snapshot, folder: unfinished, range });
        const migrations = await readApplied(warehouse);
        return { afflux: version, madeAt: new Date().toISOString(), range, migrations, shards, partitions };
      } finally {
        await snapshot.drop();
      }
    });
  const exported = await withWarehouse('afflux-export', exportFrom, 'server');
  await writeProof(unfinished, { name: NAME, value: exported });
  await rename(unfinished, folder);
  process.stdout.write(`${summary(exported.partitions)}\nThe export is in ${folder}.\n`);
}

/** `afflux warehouse import FOLDER`. */
export async function importWarehouse(folder: string): Promise<void> {
  const exported = readProof<Export>(folder, NAME);
  const isWhole = exported.range.from === undefined && exported.range.to === undefined;
  const config = readConfig();
  let present = 0;
  const importInto = async (warehouse: Warehouse): Promise<void> => {
    await requireSameSchema(warehouse, exported);
    if (isWhole)
      await withLoaderRecords(config, ({ loaderBucket }) => requireSamePlace(loaderBucket, exported));
    await importPartitions({
      warehouse,
      folder,
      partitions: exported.partitions,
      onImported({ wasThere }) {
        if (wasThere) present++;
      },
    });
  };
  await withWarehouse('afflux-import', importInto, 'server');
  if (isWhole) await withLedger('afflux-import', (ledger) => refillOutbox(ledger));
  process.stdout.write(
    `${summary(exported.partitions)}\nRows and sums are those of the export; ${present} of ${exported.partitions.length} parts were there already. ` +
      'The scheduler copies orders and names from PostgreSQL.\n',
  );
}

async function withLoaderRecords<T>(
  config: Config,
  work: (records: LoaderRecords) => Promise<T>,
): Promise<T> {
  const nc = await connectNats({ ...natsServer(config), name: 'afflux-warehouse' });
  try {
    return await work({
      manager: await ensureStreams(nc),
      loaderBucket: await openBucket(nc, LOADER_BUCKET),
      leadersBucket: await openBucket(nc, LEADERS_BUCKET, { ttlMs: LEADERS_TTL_MS }),
    });
  } finally {
    await nc.close();
  }
}

async function requireSameSchema(warehouse: Warehouse, exported: Export): Promise<void> {
  const names = (migrations: readonly AppliedMigration[]): string =>
    migrations
      .map(({ name, checksum }) => `${name} ${checksum}`)
      .sort()
      .join('\n');
  if (names(await readApplied(warehouse)) === names(exported.migrations)) return;
  throw new OperatingError(
    'export_outdated',
    `the export was made by version ${exported.afflux} with another schema than this ClickHouse has: run "afflux migrate" on both, and export again`,
  );
}

/** The loader goes on behind its checkpoint: what was loaded elsewhere since the export would be missing here for ever. */
async function requireSamePlace(bucket: Bucket, exported: Export): Promise<void> {
  for (const { shard, stream, seq } of exported.shards) {
    const { checkpoint } = await createLoaderStore({ bucket, shard }).read();
    if (!checkpoint.value || checkpoint.value.stream !== stream || checkpoint.value.seq <= seq) continue;
    throw new OperatingError(
      'export_outdated',
      `the loader of shard ${shard} has gone on since the export, from message ${seq} to ${checkpoint.value.seq}: stop it, and export again`,
    );
  }
}

function summary(partitions: readonly ExportedPartition[]): string {
  const tables = new Map<string, { parts: number; rows: number }>();
  for (const { table, rows } of partitions) {
    const sum = tables.get(table) ?? { parts: 0, rows: 0 };
    tables.set(table, { parts: sum.parts + 1, rows: sum.rows + rows });
  }
  return renderTable(
    [...tables].map(([table, { parts, rows }]) => [table, `${parts} parts`, `${rows} rows`]),
  );
}
