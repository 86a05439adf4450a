import type { JSONValue } from 'postgres';
import type { LedgerSql } from './db.ts';

/** Appends to the audit log: who did what to which thing. Belongs in the transaction of the change itself. */
export async function appendAuditLog(
  _sql: LedgerSql,
  _entry: {
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
  throw new Error('not built yet');
}
