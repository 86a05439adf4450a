import { CLICK_COLUMN_LIST, CLICK_ROW_STRUCTURE } from '../../core/clicks/click-record.ts';
import { MAX_CLICK_SHARDS } from '../../core/clicks/shards.ts';
import { assert, OperatingError } from '../../core/errors.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { onCluster, TOKEN_SECONDS } from '../clickhouse/cluster.ts';
import type { Block } from './block.ts';
import { MAX_UNFINISHED_MS } from './loader-store.ts';
import { type SeqRanges, withRange } from './seq-ranges.ts';

/** Larger than any block: one INSERT stays one block a partition, and its token one token. */
const ONE_BLOCK_ROWS = 1_000_000;

/**
 * Takes rows of RowBinary. Through `input()` texts are read as plain strings and made LowCardinality a column at a time,
 * which takes a third of the CPU of reading them as LowCardinality row by row.
 */
export const INSERT_CLICKS_SQL = `INSERT INTO clicks ${CLICK_COLUMN_LIST}
  SELECT * FROM input('${CLICK_ROW_STRUCTURE.replaceAll("'", "\\'")}') FORMAT RowBinary`;

/** Identical at every retry: they decide how the engine identifies an insert. */
export const INSERT_SETTINGS = {
  async_insert: 0,
  insert_deduplicate: 1,
  // Off by default before 26.2. A retry then reaches the rollups, and each drops the rows it has.
  deduplicate_blocks_in_dependent_materialized_views: 1,
  materialized_views_ignore_errors: 0,
  max_insert_threads: 1,
  // A block's views are fed side by side: a backlog is loaded faster.
  parallel_view_processing: 1,
  max_threads: 2,
  max_block_size: ONE_BLOCK_ROWS,
  // The views have grouped the rows already: merging them once more at the insert finds nothing to merge.
  optimize_on_insert: 0,
  max_insert_block_size: ONE_BLOCK_ROWS,
  min_insert_block_size_rows: ONE_BLOCK_ROWS,
  min_insert_block_size_bytes: 0,
  min_insert_block_size_rows_for_materialized_views: 0,
  min_insert_block_size_bytes_for_materialized_views: 0,
  // A replayed spool can hold clicks of many months.
  max_partitions_per_insert_block: 0,
  wait_end_of_query: 1,
} as const;

/** Of a shard: a block gathers for half a second, or is full, and then takes longer to read and insert than 250 ms. */
const BLOCKS_PER_SECOND = 4;
/**
 * That a block of a replayed spool writes to, each with a token of its own: `velocity_*` keep clicks from 26 hours ago to 26
 * hours ahead by four hours, `clicks_minutely` those of its last 8 days by day.
 */
const PARTITIONS_PER_BLOCK = 14;
/**
 * Tokens that all shards can make in one table while an insert is unfinished or its loader paused: 53,760. A table has one
 * window for all its partitions: an insert into some of them makes it forget tokens of the others. What ClickHouse says of
 * replicated tables differs (by partition: setting `insert_deduplicate`; by number: `replicated_deduplication_window`), so
 * they are held to the same.
 */
const MIN_DEDUPLICATION_WINDOW =
  (BLOCKS_PER_SECOND * PARTITIONS_PER_BLOCK * MAX_CLICK_SHARDS * MAX_UNFINISHED_MS) / 1_000;
/** What migration 0019 sets. */
const DEDUPLICATION_WINDOW = 100_000;
/** Of a replicated table, counted from the newest insert: as long as a block can wait in the stream. */
const MIN_REPLICATED_WINDOW_SECONDS = 72 * 3_600;

/**
 * Inserts a block; inserting it again changes neither the table nor a rollup, and completes what an interrupted
 * insert left out: the engine keeps a token for every partition of every table that the insert wrote to.
 */
export async function insertBlock(warehouse: Warehouse, block: Block): Promise<void> {
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: block.batches.map((batch) => batch.data),
    settings: { ...INSERT_SETTINGS, insert_deduplication_token: block.intent.token },
  });
}

/**
 * Compares the stored rows of a block with its intent, after a crash or a lost answer.
 * @throws OperatingError `block_miscounted` when it is not exactly the rows of the intent.
 */
export async function verifyBlock(warehouse: Warehouse, block: Block): Promise<void> {
  const stored = await countBlock(warehouse, block);
  if (stored !== block.intent.rows) {
    throw new OperatingError(
      'block_miscounted',
      `the warehouse holds ${stored} of the ${block.intent.rows} clicks of block ${block.intent.token}: run "afflux audit"`,
    );
  }
}

/** How many rows of a block the warehouse holds. */
export async function countBlock(warehouse: Warehouse, block: Block): Promise<number> {
  const ranges = new Map<number, SeqRanges>();
  let minTs = Number.POSITIVE_INFINITY;
  let maxTs = Number.NEGATIVE_INFINITY;
  for (const batch of block.batches) {
    const { node, firstSeq, rows } = batch;
    ranges.set(node, withRange(ranges.get(node) ?? [], firstSeq, firstSeq + rows - 1));
    minTs = Math.min(minTs, batch.minTs);
    maxTs = Math.max(maxTs, batch.maxTs);
  }
  const conditions = [...ranges].flatMap(([node, list]) =>
    list.map(([from, to]) => `(node = ${node} AND seq BETWEEN ${from} AND ${to})`),
  );
  const { rows } = await warehouse.query<{ stored: string }>(
    `SELECT count() AS stored FROM clicks
     WHERE ts BETWEEN fromUnixTimestamp64Milli({minTs:Int64}) AND fromUnixTimestamp64Milli({maxTs:Int64})
       AND (${conditions.join(' OR ')})`,
    { minTs, maxTs },
    { max_query_size: 16 * 1024 * 1024 },
  );
  return Number(rows[0]?.stored);
}

/**
 * Makes sure that repeating a token is harmless: in `clicks` and in every table that its views feed.
 * @throws OperatingError `deduplication_off` naming the table.
 */
export async function checkDeduplication(warehouse: Warehouse): Promise<void> {
  const { rows } = await warehouse.query<{ name: string; engine_full: string }>(
    `SELECT name, engine_full FROM system.tables
     WHERE database = currentDatabase() AND engine LIKE '%MergeTree'
       AND (name = 'clicks' OR name IN (
         SELECT extract(create_table_query, ' TO (?:[^ .]+\\\\.)?([^ (]+)') FROM system.tables
         WHERE database = currentDatabase() AND engine = 'MaterializedView'))`,
  );
  assert(rows.length >= 2, `clicks and its rollups are found in the schema, not ${rows.length} tables`);
  for (const { name, engine_full } of rows) {
    const { fault, settings } = windowFault(engine_full);
    if (fault === '') continue;
    const alter = `ALTER TABLE ${name} MODIFY SETTING ${settings}`;
    const mend = warehouse.cluster === '' ? alter : onCluster(alter, warehouse.cluster);
    throw new OperatingError('deduplication_off', `table ${name} keeps ${fault}: ${mend}`);
  }
}

/**
 * Why a table forgets insert tokens too early, '' when it does not, and the settings that mend it. A server's own defaults
 * are not trusted: they differ between versions, and another replica can have others.
 */
export function windowFault(engineFull: string): { fault: string; settings: string } {
  const setting = (name: string): number =>
    Number(new RegExp(`\\b${name} = (\\d+)`).exec(engineFull)?.[1] ?? 0);
  if (!engineFull.startsWith('Replicated')) {
    const window = setting('non_replicated_deduplication_window');
    return {
      fault:
        window >= MIN_DEDUPLICATION_WINDOW
          ? ''
          : `${window} insert tokens, at least ${MIN_DEDUPLICATION_WINDOW} are needed`,
      settings: `non_replicated_deduplication_window = ${DEDUPLICATION_WINDOW}`,
    };
  }
  const window = setting('replicated_deduplication_window');
  const seconds = setting('replicated_deduplication_window_seconds');
  return {
    fault:
      window >= MIN_DEDUPLICATION_WINDOW && seconds >= MIN_REPLICATED_WINDOW_SECONDS
        ? ''
        : `${window} insert tokens of ${seconds} s by its own settings, at least ${MIN_DEDUPLICATION_WINDOW} of ${MIN_REPLICATED_WINDOW_SECONDS} s are needed`,
    settings: `replicated_deduplication_window = ${DEDUPLICATION_WINDOW}, replicated_deduplication_window_seconds = ${TOKEN_SECONDS}`,
  };
}
