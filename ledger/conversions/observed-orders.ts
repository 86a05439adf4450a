import type { JsonValue } from '../../core/postgres/sql.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import type { ConversionReason, ConversionState } from './conversions.ts';

/** What decisions observed, for the comparison with other thresholds. */

/** A decided order that was credited, held or rejected, with its evidence. */
export interface ObservedOrder {
  readonly id: bigint;
  readonly orderId: string;
  readonly affiliateId: number | null;
  readonly campaignId: number | null;
  readonly amountMinor: bigint;
  readonly receivedAt: Date;
  readonly state: ConversionState;
  readonly reason: ConversionReason | null;
  /** When a reviewer approved it. */
  readonly reviewedAt: Date | null;
  /** As it was stored: parsed here, because PostgreSQL would unpack and read it once for every member asked for. */
  readonly evidence: JsonValue;
}

const STATES = ['attributed', 'review', 'rejected', 'partially_refunded', 'refunded'] as const;

/** Rows that are read at once: between two reads the process does other work. */
const ROWS_AT_ONCE = 1_000;

/**
 * The latest decided orders of a program, page by page from the newest on, received at `since` or later; `limit` at the
 * most. By the index on program, state and id, so that what is read does not grow with the other programs or the years.
 */
export async function* readObservedOrders(
  sql: DatabaseSql,
  options: { programId: number; since: Date; limit: number },
): AsyncGenerator<ObservedOrder[]> {
  const { programId, since } = options;
  let before: bigint | null = null;
  for (let left = options.limit; left > 0; ) {
    const count = Math.min(left, ROWS_AT_ONCE);
    const page: ObservedOrder[] = await sql<ObservedOrder[]>`
      select c.id, c.order_id, c.affiliate_id, c.campaign_id, c.amount_minor, c.received_at, c.state, c.reason,
        c.reviewed_at, c.evidence
      from unnest(${[...STATES]}::text[]) as s (state)
      cross join lateral (
        select * from conversions o
        where o.program_id = ${programId} and o.state = s.state and (${before}::bigint is null or o.id < ${before})
        order by o.id desc limit ${count}
      ) c
      order by c.id desc limit ${count}`;
    const recent = page.filter(({ receivedAt }) => receivedAt.getTime() >= since.getTime());
    if (recent.length > 0) yield recent;
    // Ids ascend with the time of receipt, apart from those that were recorded at the same moment.
    if (page.length < count || recent.length === 0) return;
    before = page.at(-1)?.id ?? null;
    left -= count;
  }
}
