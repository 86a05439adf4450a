import { appendAuditLog } from '../access/audit-log.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';

/** Batches of payouts that are paid by a file which a person takes to a bank or to PayPal. */

/** Who has downloaded a file, and when. */
export interface Download {
  readonly at: Date;
  readonly by: string;
}

export interface FileBatch {
  readonly id: bigint;
  readonly programId: number;
  readonly runId: bigint;
  readonly batchKey: string;
  readonly provider: string;
  readonly createdAt: Date;
  readonly payouts: number;
  /** Of those, the ones that are paid, have failed or came back: what the bank does with the file is past. */
  readonly ended: number;
  readonly amountMinor: bigint;
  readonly currency: string;
  /** The first one first. */
  readonly downloads: readonly Download[];
}

const FILE_PROVIDERS = ['bank_csv', 'sepa_xml', 'paypal_csv'];

/** A download is an entry of the audit log on its batch, and nothing else. */
const ACTION = 'payout_file.download';

/** Batches whose payouts stand in files, the newest first. */
export async function listFileBatches(
  sql: DatabaseSql,
  request: PageRequest<bigint> & { programId?: number | undefined; id?: bigint | undefined },
): Promise<Page<FileBatch, bigint>> {
  const { programId = null, id = null, after = null } = request;
  const rows = await sql<(Omit<FileBatch, 'downloads'> & { downloads: { at: string; by: string }[] })[]>`
    select b.id, b.program_id, b.run_id, b.batch_key, b.provider, b.created_at, p.payouts, p.ended, p.amount_minor, p.currency,
      coalesce((
        select json_agg(json_build_object('at', a.at, 'by', a.actor) order by a.id) from audit_log a
        where a.subject = 'bat_' || b.id and a.action = ${ACTION}
      ), '[]') as downloads
    from payout_batches b cross join lateral (
      select count(*)::integer as payouts, count(closed_at)::integer as ended, sum(amount_minor)::bigint as amount_minor, max(currency) as currency
      from payouts where batch_id = b.id and submitted_at is not null
    ) p
    where p.payouts > 0 and b.provider = any(${FILE_PROVIDERS})
      and (${programId}::integer is null or b.program_id = ${programId})
      and (${id}::bigint is null or b.id = ${id}) and (${after}::bigint is null or b.id < ${after})
    order by b.id desc limit ${rowsToRead(request)}`;
  const batches = rows.map(({ downloads, ...batch }) => ({
    ...batch,
    downloads: downloads.map(({ at, by }) => ({ at: new Date(at), by })),
  }));
  return pageOf(batches, request);
}

/** Those of these keys of batches that the books do not have, in their order. */
export async function findUnknownBatches(sql: DatabaseSql, batchKeys: readonly string[]): Promise<string[]> {
  const rows = await sql<{ key: string }[]>`
    select key from unnest(${batchKeys}::text[]) with ordinality as given (key, place)
    where not exists (select from payout_batches where batch_key = key) order by place`;
  return rows.map(({ key }) => key);
}

/** How many batches were handed over as files. */
export async function countFileBatches(sql: DatabaseSql): Promise<number> {
  const [row] = await sql<{ batches: number }[]>`
    select count(*)::integer as batches from payout_batches b
    where provider = any(${FILE_PROVIDERS})
      and exists (select from payouts where batch_id = b.id and submitted_at is not null)`;
  return row?.batches ?? 0;
}

/** A batch, locked, so that of two downloads at once the second sees the first. */
export async function lockFileBatch(tx: DatabaseTransaction, id: bigint): Promise<FileBatch | undefined> {
  await tx`select from payout_batches where id = ${id} for no key update`;
  return (await listFileBatches(tx, { limit: 1, id })).rows[0];
}

/** Records that somebody has the files now. */
export async function noteDownload(
  tx: DatabaseTransaction,
  { batch, actor, files }: { batch: FileBatch; actor: string; files: readonly string[] },
): Promise<void> {
  const after = { files: [...files], payouts: batch.payouts };
  await appendAuditLog(tx, { actor, action: ACTION, subject: `bat_${batch.id}`, after });
}
