import { assert, OperatingError } from '../../core/errors.ts';
import { DAY_MS } from '../../core/time.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { readWatermark } from '../watermark/watermark.ts';
import { IS_SETTLED } from './report-tables.ts';

/** A run ends after so many days, so that it never takes long: the next one goes on. */
const MAX_DAYS = 400;
/** Distinct addresses and visitors behind the valid clicks they were counted for. */
const packed = (states: string): string =>
  `bitShiftLeft(sum(t.valid_clicks), 32) + uniqCombinedMerge(14)(t.${states})`;
/** One state in memory at a time: the table is in this order. The client gives up soon after, and the server need not go on. */
const LIMITS = { optimize_aggregation_in_order: 1, max_execution_time: 55 } as const;

/**
 * Counts the distinct addresses and visitors of every campaign's complete days, so that reports read numbers in the place
 * of states. A day that got clicks later is counted again. Done twice, or by two at a time, it changes nothing. Not for a
 * cluster: it would count the shard of one server. Returns how many days it counted.
 * @throws OperatingError of the first day that could not be counted, when the others are.
 */
export async function settleDays(
  warehouse: Warehouse,
  { signal }: { signal?: AbortSignal } = {},
): Promise<number> {
  assert(warehouse.cluster === '', 'the days of a cluster are not settled');
  const completeTo = await readWatermark(warehouse);
  if (completeTo === undefined) return 0;
  const { rows } = await warehouse.query<{ from: string }>(
    `SELECT toString(toUnixTimestamp(day) * 1000) AS from
     FROM (SELECT t.day AS day, ${IS_SETTLED} AS is_settled FROM campaigns_daily AS t
       WHERE t.day < fromUnixTimestamp64Milli({today:Int64}) GROUP BY t.day, t.campaign_id)
     WHERE NOT is_settled GROUP BY day ORDER BY day DESC LIMIT ${MAX_DAYS}`,
    { today: Math.floor(completeTo / DAY_MS) * DAY_MS },
  );
  let settled = 0;
  let failure: OperatingError | undefined;
  for (const { from } of rows) {
    if (signal?.aborted) break;
    try {
      await settleDay(warehouse, Number(from));
      settled++;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      failure ??= error;
    }
  }
  if (failure) throw failure;
  return settled;
}

async function settleDay(warehouse: Warehouse, from: number): Promise<void> {
  await warehouse.command(
    `INSERT INTO campaigns_daily (day, program_id, campaign_id, settled_ips, settled_visitors)
     SELECT t.day, t.program_id, t.campaign_id, ${packed('ips')}, ${packed('distinct_visitors')}
     FROM campaigns_daily AS t WHERE t.day = fromUnixTimestamp64Milli({from:Int64})
     GROUP BY t.day, t.program_id, t.campaign_id`,
    { from },
    LIMITS,
  );
}
