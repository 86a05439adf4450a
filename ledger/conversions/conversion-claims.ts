import type { DatabaseSql } from '../postgres/db.ts';
import type { FraudSettings } from '../programs/programs.ts';
import { CONVERSION_COLUMNS, type Conversion, fromStored, type StoredConversion } from './conversions.ts';

/**
 * Conversions as a queue: which are due to be decided, who works on them, and when they are tried again. `now` is always the
 * worker's clock: another worker that is up to half a minute ahead takes nothing that is renewed in time.
 */

/** A conversion to decide, with what its program's rules compare with. */
export interface ClaimedConversion extends Conversion, FraudSettings {
  readonly rulesVersion: number;
}

/** A worker that died with a claim keeps its conversions from the others for so long. */
export const CLAIM_MS = 60_000;

/** What a look at the queue tells. */
export type DueConversion = Pick<Conversion, 'id' | 'clickId' | 'receivedAt' | 'attempts'>;

/**
 * Up to `limit` conversions that are due, the longest waiting first; those behind the conversion `after`. Takes none of them,
 * and waits for no lock. Due are those that were not decided yet, and unattributed ones whose click may still come.
 */
export async function dueConversions(
  sql: DatabaseSql,
  options: { limit: number; now: Date; after?: bigint | undefined },
): Promise<DueConversion[]> {
  const { limit, now, after } = options;
  const behind =
    after === undefined
      ? sql``
      : sql`and (next_attempt_at, id) > (select next_attempt_at, id from conversions where id = ${after})`;
  return await sql<DueConversion[]>`
    select id, click_id, received_at, attempts from conversions
    where ${isDue(sql, now)} ${behind} order by next_attempt_at, id limit ${limit}`;
}

const isDue = (sql: DatabaseSql, now: Date) => sql`
  next_attempt_at <= ${now} and (claimed_until is null or claimed_until <= ${now})`;

/**
 * Takes up to `limit` of the conversions `ids`, the longest waiting first, and leaves those that others took meanwhile: all
 * others skip them for {@link CLAIM_MS}.
 */
export async function claimConversions(
  sql: DatabaseSql,
  options: { ids: readonly bigint[]; limit: number; now: Date },
): Promise<ClaimedConversion[]> {
  const { ids, limit, now } = options;
  const rows = await sql<(StoredConversion & FraudSettings & { readonly rulesVersion: number })[]>`
    with due as (
      select id from conversions
      where id = any(${[...ids]}::bigint[]) and ${isDue(sql, now)}
      order by next_attempt_at, id limit ${limit} for no key update skip locked
    ), claimed as (
      update conversions c set claimed_until = ${claimEnd(now)}
      from due where c.id = due.id
      returning c.*
    )
    select ${sql(CONVERSION_COLUMNS.map((column) => `c.${column}`))}, conversion_status(c.state, null) as status,
      p.fingerprint_match, p.fraud_rules, p.coupon_evidence, p.rules_version
    from claimed c join programs p on p.id = c.program_id order by c.id`;
  return rows.map(fromStored);
}

const claimEnd = (now: Date): Date => new Date(now.getTime() + CLAIM_MS);

/**
 * Keeps claimed conversions from others for another {@link CLAIM_MS}. Those of them that are done stay so, and those that are
 * locked are being written: waiting for them could be mutual.
 */
export async function renewClaims(
  sql: DatabaseSql,
  { ids, now }: { ids: readonly bigint[]; now: Date },
): Promise<void> {
  await sql`
    with claimed as (
      select id from conversions where id = any(${[...ids]}::bigint[]) and claimed_until is not null
      for no key update skip locked
    )
    update conversions c set claimed_until = ${claimEnd(now)} from claimed where c.id = claimed.id`;
}

/** When a claimed conversion is tried again; null: never. */
export interface Postponement {
  readonly conversion: Pick<ClaimedConversion, 'id' | 'state' | 'attempts'>;
  readonly nextAttemptAt: Date | null;
}

/**
 * Puts claimed conversions off: the clicks of undecided ones may still arrive, those of unattributed ones may yet. One that
 * another worker decided or put off meanwhile, because the claim had lapsed, stays as that one left it.
 */
export async function postponeConversions(
  sql: DatabaseSql,
  postponements: readonly Postponement[],
): Promise<void> {
  const rows = postponements.map(({ conversion: { id, state, attempts }, nextAttemptAt }) => ({
    ...{ id: id.toString(), state, attempts },
    at: nextAttemptAt?.toISOString() ?? null,
  }));
  await sql`
    update conversions c set state = case when c.state = 'received' then 'awaiting_click' else c.state end,
      attempts = c.attempts + 1, claimed_until = null, next_attempt_at = p.at
    from jsonb_to_recordset(${sql.json(rows)}::jsonb) as p (id bigint, state text, attempts integer, at timestamptz)
    where c.id = p.id and c.state = p.state and c.attempts = p.attempts
      and c.state in ('received', 'awaiting_click', 'unattributed')`;
}

/** Ends claims as if they had not been, but behind all that is due at `now`: what fails again must not come first for ever. */
export async function giveBackConversions(
  sql: DatabaseSql,
  options: { conversions: readonly Postponement['conversion'][]; now: Date },
): Promise<void> {
  const { now } = options;
  const rows = options.conversions.map(({ id, state, attempts }) => ({ id: id.toString(), state, attempts }));
  await sql`
    update conversions c set claimed_until = null, next_attempt_at = ${now}
    from jsonb_to_recordset(${sql.json(rows)}::jsonb) as p (id bigint, state text, attempts integer)
    where c.id = p.id and c.state = p.state and c.attempts = p.attempts and c.claimed_until is not null
      and c.state in ('received', 'awaiting_click', 'unattributed')`;
}
