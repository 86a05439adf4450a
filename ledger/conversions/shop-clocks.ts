import { CLOCK_WARNING_MS } from '../../core/time.ts';
import type { Database } from '../postgres/db.ts';

/** A program whose shop's clock is off, as far as its orders show. */
export interface ShopClock {
  readonly programId: number;
  /** That show it. */
  readonly orders: number;
  /** The greatest difference, milliseconds; above 0: ahead. */
  readonly offMs: number;
}

/**
 * Shops whose orders of the last 24 hours were of the future when they arrived, or before their own click; a time cut to
 * the minute may lie within the minute of its click.
 */
export async function shopClocks(ledger: Database): Promise<ShopClock[]> {
  return await ledger<ShopClock[]>`
    with offsets as (
      select program_id,
        case when occurred_at > received_at then extract(epoch from occurred_at - received_at)
          else extract(epoch from occurred_at - click_ts) end * 1000 as off_ms,
        occurred_at <= received_at and occurred_at = date_trunc('minute', occurred_at) as may_be_cut
      from conversions
      where received_at > clock_timestamp() - interval '24 hours'
        and (occurred_at > received_at or occurred_at < click_ts)
    )
    select program_id, count(*)::integer as orders,
      (array_agg(off_ms order by abs(off_ms) desc))[1]::float8 as off_ms
    from offsets
    where abs(off_ms) > ${CLOCK_WARNING_MS} and not (may_be_cut and off_ms > -60000)
    group by program_id order by program_id`;
}
