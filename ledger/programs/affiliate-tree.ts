import type { DatabaseSql } from '../postgres/db.ts';
import type { AffiliateStatus } from './affiliates.ts';

/** An affiliate in the tree of who recruited whom. */
export interface TreeMember {
  readonly id: number;
  readonly parentId: number | null;
  readonly name: string;
  readonly status: AffiliateStatus;
  /** Negative: above the affiliate asked about; 0: itself; positive: below. */
  readonly depth: number;
  /** What it earned at every level, minor units: see the view earned_commissions. */
  readonly earnedMinor: bigint;
  readonly currency: string;
}

/** Trees are read whole: 20 levels at the most, and so many members. */
export const MAX_TREE_MEMBERS = 5_000;

/** Everybody above and below an affiliate, from the top down. */
export async function affiliateTree(sql: DatabaseSql, affiliateId: number): Promise<TreeMember[]> {
  return await sql<TreeMember[]>`
    with recursive up (id, depth) as (
      select parent_id, -1 from affiliates where id = ${affiliateId} and parent_id is not null
      union all
      select a.parent_id, up.depth - 1 from up join affiliates a on a.id = up.id where a.parent_id is not null
    ), down (id, depth) as (
      select ${affiliateId}::integer, 0
      union all
      select a.id, down.depth + 1 from down join affiliates a on a.parent_id = down.id
    ), members as (
      select * from up union all select * from down
    )
    select a.id, a.parent_id, a.name, a.status, m.depth, p.currency,
      coalesce((select sum(c.earned_minor) from earned_commissions c where c.affiliate_id = a.id), 0)::bigint
        as earned_minor
    from members m join affiliates a on a.id = m.id join programs p on p.id = a.program_id
    order by m.depth, a.id limit ${MAX_TREE_MEMBERS}`;
}

/** An affiliate that another one recruited, at whatever depth, as that one may see it. */
export interface SubAffiliate {
  readonly id: number;
  readonly parentId: number | null;
  readonly name: string;
  readonly status: AffiliateStatus;
  /** At which level the one asking earns by its clicks: 2 for those it recruited itself. */
  readonly level: number;
  readonly createdAt: Date;
  /** Credited conversions of it by which the one asking earned. */
  readonly credited: number;
  /** What the one asking earned by it, minor units. */
  readonly earnedMinor: bigint;
  readonly currency: string;
}

/** Everybody below an affiliate, level by level, with what it earned by each. */
export async function subAffiliates(sql: DatabaseSql, affiliateId: number): Promise<SubAffiliate[]> {
  return await sql<SubAffiliate[]>`
    with recursive down (id, level) as (
      select id, 2 from affiliates where parent_id = ${affiliateId}
      union all
      select a.id, down.level + 1 from down join affiliates a on a.parent_id = down.id
    ), earned as (
      select v.affiliate_id, sum(c.earned_minor)::bigint as earned_minor,
        (count(distinct v.id) filter (where v.state in ('attributed', 'partially_refunded')))::integer as credited
      from earned_commissions c join conversions v on v.id = c.conversion_id
      where c.affiliate_id = ${affiliateId} and c.level > 1 group by v.affiliate_id
    )
    select a.id, a.parent_id, a.name, a.status, d.level, a.created_at, p.currency,
      coalesce(e.credited, 0) as credited, coalesce(e.earned_minor, 0)::bigint as earned_minor
    from down d join affiliates a on a.id = d.id join programs p on p.id = a.program_id
    left join earned e on e.affiliate_id = a.id
    order by d.level, a.id limit ${MAX_TREE_MEMBERS}`;
}
