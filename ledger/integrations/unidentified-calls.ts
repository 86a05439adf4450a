import type { DatabaseSql } from '../postgres/db.ts';
import type { CallWay } from './postback-calls.ts';

/** Reports of one hour that were refused before their caller was known, by network and reason. */
export interface UnidentifiedCalls {
  /** Its beginning. */
  readonly hour: Date;
  /** Such as `192.0.2.0/24`; `0.0.0.0/0` of those that are not counted apart. */
  readonly network: string;
  readonly via: CallWay;
  /** The code of the problem. */
  readonly reason: string;
  readonly calls: number;
}

/** Adds to the counts. */
export async function addUnidentifiedCalls(
  sql: DatabaseSql,
  counts: readonly UnidentifiedCalls[],
): Promise<void> {
  if (counts.length === 0) return;
  await sql`
    insert into unidentified_calls as u (hour, network, via, reason, calls)
    select * from json_to_recordset(${sql.json(counts.map((count) => ({ ...count })))}::json)
      as r (hour timestamptz, network cidr, via text, reason text, calls bigint)
    order by hour, network, via, reason
    on conflict (hour, network, via, reason) do update set calls = u.calls + excluded.calls`;
}

/** The counts of hours from `from` on and before `to`, the newest hour and the most calls first. */
export async function listUnidentifiedCalls(
  sql: DatabaseSql,
  { from, to, limit }: { from: Date; to: Date; limit: number },
): Promise<UnidentifiedCalls[]> {
  return await sql<UnidentifiedCalls[]>`
    select hour, network::text as network, via, reason, calls::float8 as calls from unidentified_calls
    where hour >= ${from} and hour < ${to} order by hour desc, calls desc, network, via, reason limit ${limit}`;
}

/** Forgets the hours before `before`. */
export async function forgetUnidentifiedCalls(sql: DatabaseSql, options: { before: Date }): Promise<void> {
  await sql`delete from unidentified_calls where hour < ${options.before}`;
}
