import type { LedgerSql } from '../postgres/db.ts';

/** What one check of an audit found. */
export interface Proof {
  readonly store: 'clicks' | 'ledger';
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** The column's limit; a proof that fails everywhere names thousands of leases. */
const DETAIL_CHARS = 2_000;

/** Keeps the results of an audit of that time, for dashboards. They stay. */
export async function recordProofs(sql: LedgerSql, at: Date, proofs: readonly Proof[]): Promise<void> {
  const rows = proofs.map(({ store, name, ok, detail }) => ({
    at,
    store,
    name,
    ok,
    detail: detail.slice(0, DETAIL_CHARS),
  }));
  await sql`insert into audit_checks ${sql.values(rows)} on conflict do nothing`;
}

/** What the latest audit found, and when; undefined before the first. */
export async function readLatestProofs(
  sql: LedgerSql,
): Promise<{ readonly at: Date; readonly checks: readonly Proof[] } | undefined> {
  const rows = await sql<(Proof & { at: Date })[]>`
    select at, store, name, ok, detail from audit_checks where at = (select max(at) from audit_checks) order by name`;
  const [first] = rows;
  return first && { at: first.at, checks: rows };
}
