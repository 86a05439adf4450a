import { parseTarget, timeText, type Warehouse, warehouseOf } from '../../warehouse/clickhouse/client.ts';
import { openOfficialTransport } from '../../warehouse/clickhouse/official.ts';
import { settleDays } from '../../warehouse/reports/settled-days.ts';
import { settle } from './sizes.ts';

/** A month of a hundred million clicks is merged in some minutes. */
const MERGE_DEADLINE_MS = 3_600_000;

/**
 * Does with clicks of the past, up to `endMs`, that were written in minutes, what is done with them in their time: the
 * watermark has passed them, the distinct visitors of complete days are counted, and parts are merged.
 */
export async function finishPast(
  warehouse: Warehouse,
  options: { url: string; endMs: number },
): Promise<void> {
  const { url, endMs } = options;
  await warehouse.insertRows('watermarks', [{ shard: 0, complete_to: timeText(endMs) }]);
  await settleDays(warehouse);
  await mergeEarlierPartitions(url);
  await settle(warehouse);
}

/**
 * Merges each partition but the newest of its table into one part, as the engine does with what gets no more clicks
 * (migration 0024): months of clicks that were written in minutes have as many parts as the month in use.
 */
async function mergeEarlierPartitions(url: string): Promise<void> {
  const target = { ...parseTarget(url), timeoutMs: MERGE_DEADLINE_MS };
  const transport = openOfficialTransport(target, 'bench');
  const warehouse = warehouseOf(target, { queries: transport, rest: transport });
  const { rows } = await warehouse.query<{ table: string; partition: string }>(
    `SELECT table, partition FROM (
       SELECT table, partition_id AS partition, count() AS parts, max(partition_id) OVER (PARTITION BY table) AS newest
       FROM system.parts
       WHERE active AND database = currentDatabase() AND match(table, '^(clicks|campaigns|velocity)')
       GROUP BY table, partition_id
     ) WHERE parts > 1 AND partition < newest`,
  );
  for (const { table, partition } of rows) {
    await warehouse.command(`OPTIMIZE TABLE ${table} PARTITION ID '${partition}' FINAL`);
  }
  await warehouse.close();
}
