import type { MeasuredFile } from '../../core/files/measured-file.ts';
import { writeMeasured } from '../../core/files/measured-file.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';
import {
  CARRIED_TABLES,
  type CarriedColumn,
  type CarriedTable,
  carriedColumns,
  checksumOf,
  createTwin,
  dropLeftTwins,
  dropTwin,
  oneServer,
  totalsOf,
  twinName,
  writtenColumn,
} from './tables.ts';

/** A file of a table, and what its rows are. */
export interface ExportedFile extends MeasuredFile {
  readonly rows: number;
}

/** A partition of a table: a month of those that are divided by month. */
export interface ExportedPartition {
  readonly table: string;
  /** As ClickHouse names it in `_partition_id`. */
  readonly partition: string;
  readonly rows: number;
  /** Of all columns, see `checksumOf`. */
  readonly checksum: string;
  /** What merges do not change, see `totalsOf`. */
  readonly totals: string;
  readonly files: readonly ExportedFile[];
}

/** Months to export, both inclusive, as `YYYYMM`; without limits everything. */
export interface ExportRange {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

/** Ten to fifty megabytes, which the importing side holds in memory and ClickHouse inserts in seconds; cut at hours. */
const FILE_ROWS = 250_000;

/** Several tables as they were at one moment; hard links in the engine, which cost room only while the tables change. */
export interface WarehouseSnapshot {
  /** The server that has it. */
  readonly warehouse: Warehouse;
  /** Each with the name of its copy. */
  readonly tables: readonly { readonly table: CarriedTable; readonly copy: string }[];
  drop(): Promise<void>;
}

/**
 * To be taken while no loader inserts; `connection` with `reads: 'server'`.
 * @throws OperatingError as {@link oneServer} does.
 */
export async function takeSnapshot(connection: Warehouse): Promise<WarehouseSnapshot> {
  const warehouse = await oneServer(connection);
  await dropLeftTwins(warehouse);
  const tables = CARRIED_TABLES.map((table) => ({ table, copy: twinName(table.name, 'snapshot') }));
  async function drop(): Promise<void> {
    for (const { copy } of tables) await dropTwin(warehouse, copy);
  }
  try {
    for (const { table, copy } of tables) {
      // Of what other replicas were given nothing may be missing.
      if (warehouse.cluster !== '') await warehouse.command(`SYSTEM SYNC REPLICA ${table.name}`);
      await createTwin(warehouse, table.name, copy);
      await warehouse.command(`ALTER TABLE ${copy} ATTACH PARTITION ALL FROM ${table.name}`);
    }
  } catch (error) {
    await drop();
    throw error;
  }
  return { warehouse, tables, drop };
}

/**
 * Writes a snapshot into a folder, as Parquet: `<table>/<partition>-<number>.parquet`. With a range only the tables that
 * are divided by month, and of them these months.
 */
export async function exportSnapshot(options: {
  snapshot: WarehouseSnapshot;
  folder: string;
  range?: ExportRange;
}): Promise<ExportedPartition[]> {
  const { snapshot, folder, range = {} } = options;
  const { warehouse } = snapshot;
  const exported: ExportedPartition[] = [];
  for (const { table, copy } of snapshot.tables) {
    const source = `${copy}${table.isReplacing ? ' FINAL' : ''}`;
    if (isLimited(range) && table.monthlyBy === undefined) continue;
    const columns = await carriedColumns(warehouse, table.name);
    for (const partition of await partitionsOf(warehouse, copy)) {
      if (!isWithin(partition.id, range)) continue;
      exported.push(
        await exportPartition({ warehouse, folder, table, source, columns, partition: partition.id }),
      );
    }
  }
  return exported;
}

const isLimited = ({ from, to }: ExportRange): boolean => from !== undefined || to !== undefined;

const isWithin = (month: string, { from = '', to = '999999' }: ExportRange): boolean =>
  month.length !== 6 || (month >= from && month <= to);

async function partitionsOf(warehouse: Warehouse, copy: string): Promise<{ id: string }[]> {
  const { rows } = await warehouse.query<{ id: string }>(
    `SELECT DISTINCT _partition_id AS id FROM ${copy} ORDER BY id`,
  );
  return rows;
}

interface PartitionOptions {
  readonly warehouse: Warehouse;
  readonly folder: string;
  readonly table: CarriedTable;
  /** What it is read from. */
  readonly source: string;
  readonly columns: readonly CarriedColumn[];
  readonly partition: string;
}

async function exportPartition(options: PartitionOptions): Promise<ExportedPartition> {
  const { warehouse, folder, table, source, columns, partition } = options;
  const { rows: measured } = await warehouse.query<{ rows: string; checksum: string; totals: string }>(
    `SELECT count() AS rows, ${checksumOf(columns)} AS checksum, ${totalsOf(table, columns)} AS totals
     FROM ${source} WHERE _partition_id = {partition:String}`,
    { partition },
  );
  const files: ExportedFile[] = [];
  for (const { condition, rows } of await piecesOf(options)) {
    const number = String(files.length + 1).padStart(4, '0');
    const content = await warehouse.stream(
      `SELECT ${columns.map(writtenColumn).join(', ')} FROM ${source}
       WHERE _partition_id = {partition:String} AND ${condition}`,
      { format: 'Parquet', params: { partition } },
    );
    const path = `${table.name}/${partition}-${number}.parquet`;
    files.push({ ...(await writeMeasured(folder, path, content)), rows });
  }
  const { rows, checksum = '', totals = '' } = measured[0] ?? {};
  return { table: table.name, partition, rows: Number(rows), checksum, totals, files };
}

/** Stretches of time of the partition that are no larger than a file, unless a single hour is; whole where it has no time. */
async function piecesOf({
  warehouse,
  table,
  source,
  partition,
}: PartitionOptions): Promise<{ condition: string; rows: number }[]> {
  const { monthlyBy: time } = table;
  const hour = time === undefined ? 'toDateTime(0)' : `toStartOfHour(${time})`;
  const { rows: hours } = await warehouse.query<{ ms: string; rows: string }>(
    `SELECT toInt64(toUnixTimestamp(${hour})) * 1000 AS ms, count() AS rows FROM ${source}
     WHERE _partition_id = {partition:String} GROUP BY ms ORDER BY ms`,
    { partition },
  );
  const pieces: { fromMs: number; rows: number }[] = [];
  for (const { ms, rows } of hours) {
    const last = pieces.at(-1);
    if (last && last.rows + Number(rows) <= FILE_ROWS) last.rows += Number(rows);
    else pieces.push({ fromMs: Number(ms), rows: Number(rows) });
  }
  if (time === undefined) return pieces.map(({ rows }) => ({ condition: '1', rows }));
  return pieces.map(({ fromMs, rows }, i) => {
    const next = pieces[i + 1];
    const before = next ? ` AND ${time} < ${timeLiteral(next.fromMs)}` : '';
    return { condition: `${time} >= ${timeLiteral(fromMs)}${before}`, rows };
  });
}

const timeLiteral = (ms: number): string => `toDateTime64('${timeText(ms)}', 3, 'UTC')`;
