import type { DatabaseSql } from '../postgres/db.ts';

/** In the order in which they follow each other when they happen at once. */
export const TIMELINE_KINDS = [
  'click',
  'order',
  'received',
  'decided',
  'reviewed',
  'earned',
  'available',
  'approved_by_shop',
  'changed',
  'refunded',
  'cancelled',
  'restored',
  'rejected',
  'payout_created',
  'payout_submitted',
  'payout_ended',
] as const;
export type TimelineKind = (typeof TIMELINE_KINDS)[number];

/** One thing that happened to a conversion or its money. */
export interface TimelineEvent {
  readonly at: Date;
  readonly kind: TimelineKind;
  /** Minor units, where money moved. */
  readonly amountMinor: bigint | null;
  readonly payoutId: bigint | null;
  /** The state a payout ended in, the shop's reference of a refund, how an order changed, or what a reviewer did and why. */
  readonly note: string | null;
  /** Who decided, where a person or a key did. */
  readonly actor: string | null;
}

/**
 * Everything that happened to a conversion, the first thing first; its clicks are the evidence's to tell. A run notes
 * the time it began as that of handing over, which is before the payouts it makes.
 */
export async function readTimeline(sql: DatabaseSql, conversionId: bigint): Promise<TimelineEvent[]> {
  return await sql<TimelineEvent[]>`
    with payouts_of as (
      select distinct p.* from payouts p join payout_items i on i.payout_id = p.id
      join commissions c on c.id = i.commission_id where c.conversion_id = ${conversionId}
    ), events (at, kind, amount_minor, payout_id, note, actor) as (
      select occurred_at, 'order', amount_minor, null::bigint, order_id, null::text
        from conversions where id = ${conversionId}
      union all
      select received_at, 'received', null, null, source, null from conversions where id = ${conversionId}
      union all
      select decided_at, 'decided', null, null, null, null
        from conversions where id = ${conversionId} and decided_at is not null
      union all
      select created_at, case kind when 'vesting' then 'available' when 'rejection' then 'rejected' else 'earned' end,
        (select coalesce(sum(e.amount_minor) filter (where e.amount_minor > 0), 0)::bigint from entries e where e.journal_id = j.id),
        null, null, null
        from journals j where conversion_id = ${conversionId} and kind in ('earning', 'restoration', 'vesting', 'rejection')
      union all
      select received_at, 'refunded', amount_minor, null,
        case when charged_back then refund_ref || ', charged back' else refund_ref end, null
        from refunds where conversion_id = ${conversionId}
      union all
      select o.received_at,
        case o.kind when 'approved' then 'approved_by_shop' when 'rejected' then 'cancelled'
          when 'refund_restored' then 'restored' else o.kind end,
        null, null,
        case o.kind when 'changed' then case when o.raised_minor > o.lowered_minor then 'raised' else 'lowered' end
          when 'refund_restored' then 'refund ' || r.refund_ref else o.kind end, null
        from order_changes o left join refunds r on r.id = o.refund_id where o.conversion_id = ${conversionId}
      union all
      select at, 'reviewed', null, null,
        concat_ws(': ', case action
          when 'conversion.approve' then 'approved' when 'conversion.reject' then 'rejected'
          when 'conversion.attribute' then 'credited' else 'hold ended'
        end || coalesce(' in case ' || (after ->> 'case'), ''), coalesce(after ->> 'note', (
          select n.text from case_notes n
          where n.case_id = substr(after ->> 'case', length('cas_') + 1)::integer and n.act = 'decision'
          order by n.id offset (after ->> 'decision')::integer - 1 limit 1
        ))), actor
        from audit_log where subject = ${`cnv_${conversionId}`}
          and action in ('conversion.approve', 'conversion.reject', 'conversion.confirm', 'conversion.attribute')
      union all
      select created_at, 'payout_created', amount_minor, id, null, null from payouts_of
      union all
      select greatest(submitted_at, created_at), 'payout_submitted', null, id, provider, null from payouts_of where submitted_at is not null
      union all
      select greatest(closed_at, created_at), 'payout_ended', null, id, state, null from payouts_of where closed_at is not null
    )
    select * from events order by at, array_position(${[...TIMELINE_KINDS]}::text[], kind)`;
}
