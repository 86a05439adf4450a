import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OperatingError } from '../../core/errors.ts';
import { measureFile } from '../../core/files/measured-file.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { texts } from '../clickhouse/literals.ts';
import { reloadNetworks } from '../geo/geo.ts';
import type { ExportedPartition } from './export.ts';
import {
  CARRIED_TABLES,
  type CarriedColumn,
  carriedColumns,
  checksumOf,
  createTwin,
  dropLeftTwins,
  dropTwin,
  fileType,
  oneServer,
  readColumn,
  totalsOf,
  twinName,
} from './tables.ts';

/** What became of a partition. */
export interface ImportedPartition {
  readonly partition: ExportedPartition;
  /** It was there already: an import before had brought it. */
  readonly wasThere: boolean;
}

/**
 * Brings exported partitions into a migrated warehouse, each wholly or not at all: its files go into a table aside, are
 * compared with what was exported, and replace the empty partition in one step. Views feed no rollup: rollups are carried.
 * To be done again after a failure: what is there already is recognised.
 * @throws OperatingError `target_not_empty` when a partition holds other rows: nothing of it is changed; `backup_damaged`; and those
 *   of {@link oneServer}.
 */
export async function importPartitions(options: {
  /** With `reads: 'server'`. */
  warehouse: Warehouse;
  folder: string;
  partitions: readonly ExportedPartition[];
  /** Called after each. */
  onImported?: (done: ImportedPartition) => void;
}): Promise<void> {
  const { folder, partitions, onImported } = options;
  const warehouse = await oneServer(options.warehouse);
  await dropLeftTwins(warehouse);
  // All of them before the first is changed.
  const present: boolean[] = [];
  for (const partition of partitions) present.push(await isThere(warehouse, partition));
  for (const [i, partition] of partitions.entries()) {
    const wasThere = present[i] === true;
    if (!wasThere) await importPartition({ warehouse, folder, partition });
    onImported?.({ partition, wasThere });
  }
  await reloadNetworks(warehouse);
}

/** Whether the partition is in the warehouse. @throws OperatingError `target_not_empty` when other rows are. */
async function isThere(warehouse: Warehouse, partition: ExportedPartition): Promise<boolean> {
  const { table, columns } = await describe(warehouse, partition.table);
  const { rows } = await warehouse.query<{ rows: string; totals: string }>(
    `SELECT count() AS rows, ${totalsOf(table, columns)} AS totals
     FROM ${table.name}${table.isReplacing ? ' FINAL' : ''} WHERE _partition_id = {partition:String}`,
    { partition: partition.partition },
  );
  const found = Number(rows[0]?.rows ?? 0);
  if (found === 0) return false;
  if (rows[0]?.totals === partition.totals) return true;
  if (table.isReplaced) return false;
  throw new OperatingError(
    'target_not_empty',
    `partition ${partition.partition} of ${table.name} already holds ${found} other rows: an import replaces none. Nothing of it was changed`,
  );
}

async function importPartition(options: {
  warehouse: Warehouse;
  folder: string;
  partition: ExportedPartition;
}): Promise<void> {
  const { warehouse, partition } = options;
  const { table, columns } = await describe(warehouse, partition.table);
  const staging = twinName(table.name, 'import');
  try {
    await createTwin(warehouse, table.name, staging);
    await fillStaging({ ...options, staging, columns });
    await warehouse.command(
      `ALTER TABLE ${table.name} REPLACE PARTITION ID ${texts([partition.partition])} FROM ${staging}`,
    );
  } finally {
    await dropTwin(warehouse, staging);
  }
}

/** @throws OperatingError `backup_damaged` when the rows are not those that were exported. */
async function fillStaging(options: {
  warehouse: Warehouse;
  folder: string;
  partition: ExportedPartition;
  staging: string;
  columns: readonly CarriedColumn[];
}): Promise<void> {
  const { warehouse, folder, partition, staging, columns } = options;
  // A table takes no values for such columns, and one without the expression is of the same structure.
  for (const { name } of columns.filter(({ isMaterialized }) => isMaterialized)) {
    await warehouse.command(`ALTER TABLE ${staging} MODIFY COLUMN ${name} REMOVE MATERIALIZED`);
  }
  for (const file of partition.files) await insertFile({ warehouse, folder, staging, columns, file });
  const { rows } = await warehouse.query<{ checksum: string }>(
    `SELECT ${checksumOf(columns)} AS checksum FROM ${staging}`,
  );
  if (rows[0]?.checksum === partition.checksum) return;
  throw new OperatingError(
    'backup_damaged',
    `partition ${partition.partition} of ${partition.table}: ${rows[0]?.checksum} were read, ${partition.checksum} were exported (rows, sum)`,
  );
}

async function insertFile(options: {
  warehouse: Warehouse;
  folder: string;
  staging: string;
  columns: readonly CarriedColumn[];
  file: ExportedPartition['files'][number];
}): Promise<void> {
  const { warehouse, folder, staging, columns, file } = options;
  const { sha256 } = await measureFile(folder, file.path);
  if (sha256 !== file.sha256) {
    throw new OperatingError(
      'backup_damaged',
      `${file.path} is not the file that was written (another SHA-256)`,
    );
  }
  const structure = columns.map((column) => `${column.name} ${fileType(column)}`).join(', ');
  await warehouse.insertBytes({
    sql: `INSERT INTO ${staging} (${columns.map(({ name }) => name).join(', ')})
      SELECT ${columns.map(readColumn).join(', ')} FROM input(${texts([structure])}) FORMAT Parquet`,
    data: [await readFile(join(folder, file.path))],
    settings: { async_insert: 0, max_partitions_per_insert_block: 0, optimize_on_insert: 0 },
  });
}

async function describe(warehouse: Warehouse, name: string) {
  const table = CARRIED_TABLES.find((one) => one.name === name);
  if (!table) {
    throw new OperatingError('backup_damaged', `there is no table ${name} to import into`);
  }
  return { table, columns: await carriedColumns(warehouse, name) };
}
