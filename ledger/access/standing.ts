import type { DatabaseSql } from '../postgres/db.ts';

/**
 * What the status of an affiliate leaves to its keys and users: everything (pending, active); reading what is its own
 * (suspended); reading its account and earnings (terminated). Who belongs to no affiliate has all.
 */
export type Standing = 'full' | 'reads' | 'earnings';

/** The standing by a column that holds the affiliate, such as `apiKeys.affiliateId`. */
export function standingOf(sql: DatabaseSql, affiliateColumn: string) {
  return sql`
    case (select status from affiliates where affiliates.id = ${sql(affiliateColumn)})
      when 'suspended' then 'reads' when 'terminated' then 'earnings' else 'full' end as standing`;
}
