import type { JsonValue } from '../../core/postgres/sql.ts';
import { keptJson } from '../../core/secret-forms.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';

/** One change: who did what to which thing. */
export interface AuditEntry {
  /** Such as `key:7`, `user:3` or `command line`. */
  readonly actor: string;
  /** Such as `conversion.approve`. */
  readonly action: string;
  /** Prefixed id of the thing, such as `cnv_12`. */
  readonly subject: string;
  readonly before?: JsonValue | undefined;
  readonly after?: JsonValue | undefined;
}

/** An entry as it was written. */
export interface WrittenAuditEntry extends Required<AuditEntry> {
  readonly id: bigint;
  readonly at: Date;
  /** The program of the subject; null for what belongs to none. */
  readonly programId: number | null;
}

/**
 * Appends to the audit log, without keys and signing secrets. Belongs in the transaction of the change itself. Of affiliates
 * and users it has pseudonyms (migrations/0035_operator_acts.sql): erasing one leaves the log as it was written.
 */
export async function appendAuditLog(sql: DatabaseSql, entry: AuditEntry): Promise<void> {
  const { actor, action, subject, before = null, after = null } = entry;
  await sql`
    insert into audit_log (actor, action, subject, before, after)
    values (${actor}, ${action}, ${subject}, ${jsonOrNull(sql, before)}, ${jsonOrNull(sql, after)})`;
}

function jsonOrNull(sql: DatabaseSql, value: JsonValue) {
  return value === null ? null : sql.json(keptJson(value));
}

export const AUDIT_LOG_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: { at: 'id' },
  search: (sql, { text, pattern, id }) =>
    sql`subject = ${text} or actor = ${text} or action ilike ${pattern} or id = ${id}::bigint`,
};

/** Entries, the newest first. */
export async function listAuditLog(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    programId?: number | undefined;
    actor?: string | undefined;
    action?: string | undefined;
    subject?: string | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<WrittenAuditEntry, bigint>> {
  const { programId = null, actor = null, action = null, subject = null } = request;
  const { from = null, to = null } = request;
  const page = listClauses(sql, AUDIT_LOG_LIST, request);
  const rows = await sql<WrittenAuditEntry[]>`
    select id, at, program_id, actor, action, subject, without_pseudonyms(before) as before,
      without_pseudonyms(after) as after, ${page.key}
    from audit_log
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${actor}::text is null or actor = ${actor})
      and (${action}::text is null or action = ${action})
      and (${subject}::text is null or subject = ${subject})
      and (${from}::timestamptz is null or at >= ${from})
      and (${to}::timestamptz is null or at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}
