import type { JSONValue } from 'postgres';
import type { LedgerSql } from './db.ts';

/** Appends to the audit log: who did what to which thing. Belongs in the transaction of the change itself. */
export async function appendAuditLog(
  sql: LedgerSql,
  entry: {
    /** Such as `key:7` or `cli`. */
    actor: string;
    /** Such as `conversion.approve`. */
    action: string;
    /** Prefixed id of the thing, such as `cnv_12`. */
    subject: string;
    before?: JSONValue | undefined;
    after?: JSONValue | undefined;
  },
): Promise<void> {
  const { actor, action, subject, before = null, after = null } = entry;
  await sql`
    insert into audit_log (actor, action, subject, before, after)
    values (${actor}, ${action}, ${subject}, ${jsonOrNull(sql, before)}, ${jsonOrNull(sql, after)})`;
}

function jsonOrNull(sql: LedgerSql, value: JSONValue) {
  return value === null ? null : sql.json(value);
}
