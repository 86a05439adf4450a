import { randomBytes } from 'node:crypto';
import { OperatingError } from '../../core/errors.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { checkDefinition } from '../cluster/servers.ts';

/**
 * What is carried from one warehouse to another. Conversions and names are not: the scheduler copies them from PostgreSQL
 * again. Migrations make the tables.
 */
export interface CarriedTable {
  readonly name: string;
  /** Of several versions of a row the newest is carried. */
  readonly isReplacing?: true;
  /** Its time; such a table is divided by month, and its files by this. */
  readonly monthlyBy?: string;
  /** Migrations have written a row of their own, which the carried one replaces. */
  readonly isReplaced?: true;
  /**
   * What merges of the engine do not change, as an expression: by it a partition is recognised that was imported before.
   * By default the number of rows and a sum of hashes of all columns.
   */
  readonly totals?: string;
}

/** The engine empties these columns of `clicks` after 90 days. */
const SHORT_LIVED_COLUMNS = ['ip', 'user_agent', 'referrer', 'query'];

const ROLLUP_TOTALS = 'sum(clicks), uniqCombinedMerge(14)(ips), uniqCombinedMerge(14)(distinct_visitors)';

export const CARRIED_TABLES: readonly CarriedTable[] = [
  { name: 'clicks', monthlyBy: 'ts' },
  { name: 'clicks_hourly', monthlyBy: 'hour', totals: ROLLUP_TOTALS },
  { name: 'campaigns_hourly', monthlyBy: 'hour', totals: ROLLUP_TOTALS },
  { name: 'campaigns_daily', monthlyBy: 'day', totals: ROLLUP_TOTALS },
  { name: 'clicks_minutely', totals: ROLLUP_TOTALS },
  { name: 'velocity_ip' },
  { name: 'velocity_fingerprint' },
  { name: 'visitors_known', isReplaced: true },
  { name: 'sealed_leases', isReplacing: true },
  { name: 'signed_counts', isReplacing: true },
  { name: 'signed_heads' },
  { name: 'geo_networks' },
  { name: 'geo_versions' },
  { name: 'asn_networks' },
  { name: 'asn_owners' },
  // Last: it says that the clicks are there.
  { name: 'watermarks', isReplacing: true },
];

/**
 * The server whose tables are carried, which has all rows. Clicks belong to the shards of a cluster by their campaign, by which
 * nothing here divides them.
 * @throws OperatingError `usage` for a cluster of several shards, and those of {@link checkDefinition}.
 */
export async function oneServer(warehouse: Warehouse): Promise<Warehouse> {
  const { cluster } = warehouse;
  const shards = cluster === '' ? 1 : await checkDefinition(warehouse);
  if (shards === 1) return await warehouse.server();
  throw new OperatingError(
    'usage',
    `the cluster ${cluster} has ${shards} shards: only a cluster of one shard can be copied or filled; use BACKUP and RESTORE of ClickHouse (docs/backup.md)`,
  );
}

/** A column as it is stored; values of MATERIALIZED columns are carried as they were computed. */
export interface CarriedColumn {
  readonly name: string;
  readonly type: string;
  readonly isMaterialized: boolean;
}

export async function carriedColumns(warehouse: Warehouse, table: string): Promise<CarriedColumn[]> {
  const { rows } = await warehouse.query<{ name: string; type: string; kind: string }>(
    `SELECT name, type, default_kind AS kind FROM system.columns
     WHERE database = currentDatabase() AND table = {table:String} AND default_kind NOT IN ('ALIAS', 'EPHEMERAL')
     ORDER BY position`,
    { table },
  );
  return rows.map(({ name, type, kind }) => ({ name, type, isMaterialized: kind === 'MATERIALIZED' }));
}

const isState = ({ type }: CarriedColumn): boolean => type.startsWith('AggregateFunction(');

/** A column as a file has it: states of aggregate functions as the bytes that the engine writes of them. */
export function writtenColumn(column: CarriedColumn): string {
  return isState(column) ? `CAST(${column.name}, 'String') AS ${column.name}` : column.name;
}

/** The same column read from a file. */
export function readColumn(column: CarriedColumn): string {
  return isState(column) ? `CAST(${column.name}, '${column.type}')` : column.name;
}

/** The type that a file's column is read as. */
export function fileType(column: CarriedColumn): string {
  if (isState(column)) return 'String';
  return /^SimpleAggregateFunction\(\w+, (.+)\)$/.exec(column.type)?.[1] ?? column.type;
}

/**
 * A text that is the same for the same rows in any order. Of a state it has the count: the bytes of a state that was read
 * again are in another order.
 */
export function checksumOf(columns: readonly CarriedColumn[]): string {
  const values = columns.map((column) =>
    isState(column) ? `finalizeAggregation(${column.name})` : column.name,
  );
  return `toString((count(), sum(cityHash64(${values.join(', ')}))))`;
}

/** {@link CarriedTable.totals} as a text. */
export function totalsOf(table: CarriedTable, columns: readonly CarriedColumn[]): string {
  if (table.totals !== undefined) return `toString((${table.totals}))`;
  const isLasting = ({ name }: CarriedColumn): boolean =>
    table.name !== 'clicks' || !SHORT_LIVED_COLUMNS.includes(name);
  return checksumOf(columns.filter(isLasting));
}

/** Longer than any export takes: a copied table that is older was left behind by one that was killed. */
const LEFT_BEHIND_DAYS = 2;

/** A name for a copy of `table` that no other run uses at the same time. */
export function twinName(table: string, purpose: 'snapshot' | 'import'): string {
  return `${table}_${purpose}_${randomBytes(4).toString('hex')}`;
}

export async function dropTwin(warehouse: Warehouse, twin: string): Promise<void> {
  await warehouse.command(`DROP TABLE IF EXISTS ${twin} SYNC`);
}

/** Drops what runs that were killed have left: it keeps the disk from getting room back. */
export async function dropLeftTwins(warehouse: Warehouse): Promise<void> {
  const { rows } = await warehouse.query<{ name: string }>(
    `SELECT name FROM system.tables WHERE database = currentDatabase() AND match(name, '_(snapshot|import)_[0-9a-f]{8}$')
       AND metadata_modification_time < now() - INTERVAL ${LEFT_BEHIND_DAYS} DAY`,
  );
  for (const { name } of rows) await dropTwin(warehouse, name);
}

/** Merges that would empty columns, drop old rows or join rows while they are compared wait until the table is dropped. */
const QUIET_SETTINGS =
  'max_number_of_merges_with_ttl_in_pool = 0, max_bytes_to_merge_at_max_space_in_pool = 1';

/**
 * Makes an empty table `twin` that can exchange partitions with `table`: of the same structure, on this server alone, without
 * merges, and without its views.
 */
export async function createTwin(warehouse: Warehouse, table: string, twin: string): Promise<void> {
  const { rows } = await warehouse.query<{ engine: string }>(
    'SELECT engine_full AS engine FROM system.tables WHERE database = currentDatabase() AND name = {table:String}',
    { table },
  );
  const engine = unreplicated(rows[0]?.engine ?? '');
  await warehouse.command(
    `CREATE TABLE ${twin} AS ${table} ENGINE = ${engine}${engine.includes(' SETTINGS ') ? ',' : ' SETTINGS'} ${QUIET_SETTINGS}`,
  );
}

/** `ReplicatedReplacingMergeTree('path', 'replica', version) …` as `ReplacingMergeTree(version) …`. */
export function unreplicated(engine: string): string {
  return engine
    .replace(/^Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?/, '$1(')
    .replace(/^(\w*MergeTree)\(\)/, '$1');
}
