import type { DatabaseSql } from '../postgres/db.ts';

/** The result of one check of an audit. */
export interface AuditCheck {
  readonly store: 'clicks' | 'ledger';
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** The column's limit; a check that fails everywhere names thousands of leases. */
const MAX_DETAIL_LENGTH = 2_000;

/** Keeps the results of an audit of that time, for dashboards. They stay. */
export async function recordAuditChecks(
  sql: DatabaseSql,
  at: Date,
  checks: readonly AuditCheck[],
): Promise<void> {
  const rows = checks.map(({ store, name, ok, detail }) => ({
    at,
    store,
    name,
    ok,
    detail: detail.slice(0, MAX_DETAIL_LENGTH),
  }));
  await sql`insert into audit_checks ${sql.values(rows)} on conflict do nothing`;
}

/** The checks of the latest audit, and its time; undefined before the first. */
export async function readLatestAudit(
  sql: DatabaseSql,
): Promise<{ readonly at: Date; readonly checks: readonly AuditCheck[] } | undefined> {
  const rows = await sql<(AuditCheck & { at: Date })[]>`
    select at, store, name, ok, detail from audit_checks where at = (select max(at) from audit_checks) order by name`;
  const [first] = rows;
  return first && { at: first.at, checks: rows };
}
