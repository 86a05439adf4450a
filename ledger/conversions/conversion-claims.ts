import type { DatabaseSql } from '../postgres/db.ts';
import type { FraudSettings } from '../programs/programs.ts';
import { CONVERSION_COLUMNS, type Conversion, fromStored, type StoredConversion } from './conversions.ts';

/** Conversions as a queue: which are due to be decided, who works on them, and when they are tried again. */

/** A conversion to decide, with what its program's rules compare with. */
export interface ClaimedConversion extends Conversion, FraudSettings {
  readonly rulesVersion: number;
}

/** A worker that died with a claim keeps its conversions from the others for so long. */
const CLAIM_MS = 60_000;

/** What a look at the queue tells. */
export type DueConversion = Pick<Conversion, 'id' | 'clickId' | 'receivedAt' | 'attempts'>;

/** Up to `limit` conversions that are due, the longest waiting first. Takes none of them, and waits for no lock. */
export async function dueConversions(
  sql: DatabaseSql,
  options: { limit: number; now: Date },
): Promise<DueConversion[]> {
  const { limit, now } = options;
  return await sql<DueConversion[]>`
    select id, click_id, received_at, attempts from conversions
    where ${isDue(sql, now)} order by next_attempt_at, id limit ${limit}`;
}

const isDue = (sql: DatabaseSql, now: Date) => sql`
  next_attempt_at <= ${now} and (claimed_until is null or claimed_until <= ${now})`;

/**
 * Takes up to `limit` conversions that are due, the longest waiting first, and none of `except`; others skip them for a
 * minute. Due are those that were not decided yet, and unattributed ones whose click may still come.
 */
export async function claimConversions(
  sql: DatabaseSql,
  options: { limit: number; now: Date; except?: readonly bigint[] },
): Promise<ClaimedConversion[]> {
  const { limit, now, except = [] } = options;
  const rows = await sql<(StoredConversion & FraudSettings & { readonly rulesVersion: number })[]>`
    with due as (
      select id from conversions
      where ${isDue(sql, now)} and id <> all(${except}::bigint[])
      order by next_attempt_at, id limit ${limit} for no key update skip locked
    ), claimed as (
      update conversions c set claimed_until = ${new Date(now.getTime() + CLAIM_MS)}
      from due where c.id = due.id
      returning c.*
    )
    select ${sql(CONVERSION_COLUMNS.map((column) => `c.${column}`))}, conversion_status(c.state, null) as status,
      p.fingerprint_match, p.fraud_rules, p.coupon_evidence, p.rules_version
    from claimed c join programs p on p.id = c.program_id order by c.id`;
  return rows.map(fromStored);
}

/** When each conversion is tried again; null: never. */
export interface Postponement {
  readonly conversionId: bigint;
  readonly nextAttemptAt: Date | null;
}

/** Puts conversions off: the clicks of undecided ones may still arrive, those of unattributed ones may yet. */
export async function postponeConversions(
  sql: DatabaseSql,
  postponements: readonly Postponement[],
): Promise<void> {
  const rows = postponements.map(({ conversionId, nextAttemptAt }) => ({
    id: conversionId.toString(),
    at: nextAttemptAt?.toISOString() ?? null,
  }));
  await sql`
    update conversions c set state = case when state = 'received' then 'awaiting_click' else state end,
      attempts = attempts + 1, claimed_until = null, next_attempt_at = p.at
    from jsonb_to_recordset(${sql.json(rows)}::jsonb) as p (id bigint, at timestamptz)
    where c.id = p.id and state in ('received', 'awaiting_click', 'unattributed')`;
}
