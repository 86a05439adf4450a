import type { Database, DatabaseSql } from '../postgres/db.ts';

/** What a program, campaign, affiliate or link is called; a link by its code. */
export interface Name {
  readonly kind: 'program' | 'campaign' | 'affiliate' | 'link';
  readonly id: number;
  readonly programId: number;
  readonly name: string;
}

/** Rows handed over at a time: one insert into the mirror. */
const FETCH_ROWS = 5_000;

/** The mark before which nothing was read. */
export const FROM_THE_BEGINNING = '0';

/**
 * Hands every name written by a transaction that was not finished when `since` was taken to `take`, with a version that
 * grows from read to read, and returns the mark for the next time: the oldest transaction still running now.
 */
export async function readNameChanges(
  ledger: Database,
  options: { since: string; take: (names: readonly Name[], version: bigint) => Promise<void> },
): Promise<string> {
  const { since, take } = options;
  return await ledger.begin('isolation level repeatable read read only', async (tx) => {
    const [snapshot] = await tx<{ xmin: string; version: bigint }[]>`
      select pg_snapshot_xmin(pg_current_snapshot())::text as xmin,
        (extract(epoch from clock_timestamp()) * 1000)::bigint as version`;
    if (!snapshot) throw new Error('a snapshot has an answer');
    const batches = tx<Name[]>`
      select 'program' as kind, id, id as program_id, name from programs where change_xid >= ${since}::xid8
      union all
      select 'campaign', id, program_id, name from campaigns where change_xid >= ${since}::xid8
      union all
      select 'affiliate', id, program_id, name from affiliates where change_xid >= ${since}::xid8
      union all
      select 'link', id, program_id, code from links where change_xid >= ${since}::xid8`.cursor(FETCH_ROWS);
    for await (const rows of batches) await take(rows, snapshot.version);
    return snapshot.xmin;
  });
}

/** What affiliates and campaigns are called now, by id. */
export async function namesById(
  sql: DatabaseSql,
  ids: { affiliates: readonly number[]; campaigns: readonly number[] },
): Promise<{ affiliates: ReadonlyMap<number, string>; campaigns: ReadonlyMap<number, string> }> {
  const rows = await sql<{ kind: 'affiliate' | 'campaign'; id: number; name: string }[]>`
    select 'affiliate' as kind, id, name from affiliates where id = any(${[...ids.affiliates]}::integer[])
    union all
    select 'campaign', id, name from campaigns where id = any(${[...ids.campaigns]}::integer[])`;
  const of = (kind: string) =>
    new Map(rows.filter((row) => row.kind === kind).map(({ id, name }) => [id, name] as const));
  return { affiliates: of('affiliate'), campaigns: of('campaign') };
}
