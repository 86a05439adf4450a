import type { AffiliateStatus } from './affiliates.ts';
import type { LedgerSql } from './db.ts';

/** An affiliate in the tree of who recruited whom. */
export interface TreeMember {
  readonly id: number;
  readonly parentId: number | null;
  readonly name: string;
  readonly status: AffiliateStatus;
  /** Negative: above the affiliate asked about; 0: itself; positive: below. */
  readonly depth: number;
  /** What it earned at every level less what was taken back, minor units. */
  readonly earnedMinor: bigint;
  readonly currency: string;
}

/** Trees are read whole: 20 levels at the most, and so many members. */
export const MAX_TREE_MEMBERS = 5_000;

/** Everybody above and below an affiliate, from the top down. */
export async function affiliateTree(sql: LedgerSql, affiliateId: number): Promise<TreeMember[]> {
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
      coalesce((select sum(c.amount_minor - c.reversed_minor) from commissions c where c.affiliate_id = a.id), 0)::bigint
        as earned_minor
    from members m join affiliates a on a.id = m.id join programs p on p.id = a.program_id
    order by m.depth, a.id limit ${MAX_TREE_MEMBERS}`;
}
