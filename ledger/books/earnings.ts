import type { DatabaseSql } from '../postgres/db.ts';

/** What an affiliate earned on one day, by the time of the orders, minor units: see the view earned_commissions. */
export interface DayEarnings {
  /** `2026-11-24`, in the time zone asked for. */
  readonly day: string;
  /** Credited conversions of which it earned. */
  readonly credited: number;
  readonly earnedMinor: bigint;
  /** The part of it that comes from affiliates it recruited. */
  readonly fromRecruitsMinor: bigint;
}

/** What the affiliate of its click has earned by each conversion, level 1, in minor units of its currency; else 0n. */
export async function ownEarnings(
  sql: DatabaseSql,
  conversionIds: readonly bigint[],
): Promise<(conversionId: bigint) => bigint> {
  const rows = await sql<{ id: bigint; earned: bigint }[]>`
    select conversion_id as id, sum(earned_minor)::bigint as earned from earned_commissions
    where conversion_id = any(${[...conversionIds]}::bigint[]) and level = 1 group by 1`;
  const earned = new Map(rows.map(({ id, earned }) => [id, earned]));
  return (conversionId) => earned.get(conversionId) ?? 0n;
}

/** Earnings of a half-open range by day; days without any are left out. */
export async function earningsByDay(
  sql: DatabaseSql,
  options: { affiliateId: number; from: Date; to: Date; timeZone: string },
): Promise<DayEarnings[]> {
  const { affiliateId, from, to, timeZone } = options;
  return await sql<DayEarnings[]>`
    select to_char(c.occurred_at at time zone ${timeZone}, 'YYYY-MM-DD') as day, 
      (count(distinct c.id) filter (where c.state in ('attributed', 'partially_refunded')))::integer as credited,
      sum(m.earned_minor)::bigint as earned_minor,
      coalesce(sum(m.earned_minor) filter (where m.level > 1), 0)::bigint as from_recruits_minor
    from earned_commissions m join conversions c on c.id = m.conversion_id
    where m.affiliate_id = ${affiliateId} and c.occurred_at >= ${from} and c.occurred_at < ${to}
    group by 1 order by 1`;
}
