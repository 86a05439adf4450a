import type { JsonValue } from '../../core/postgres/sql.ts';
import { DAY_MS } from '../../core/time.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';

/** Applications of partners, from the form to the decision. */

export const APPLICATION_STATES = ['pending', 'approved', 'rejected'] as const;

export interface Answer {
  /** The question as it was put. */
  readonly label: string;
  readonly answer: string;
}

/** An application whose address is confirmed. */
export interface Application {
  readonly id: number;
  readonly programId: number;
  readonly state: (typeof APPLICATION_STATES)[number];
  readonly name: string;
  readonly email: string;
  /** ISO 3166-1 alpha-2, as the applicant says. */
  readonly country: string | null;
  readonly answers: readonly Answer[];
  /** Which conditions were accepted, at `confirmedAt`; null: there were none. */
  readonly conditionsVersion: number | null;
  readonly appliedAt: Date;
  readonly confirmedAt: Date;
  readonly decidedAt: Date | null;
  readonly decidedBy: string | null;
  /** Of the decision, for the applicant. */
  readonly note: string | null;
  readonly affiliateId: number | null;
}

/** The link of a mail is good for so long from its sending; what was not confirmed by then is deleted. */
const CONFIRM_MS = 2 * DAY_MS;
/** Who was rejected may ask why for half a year, and who waits that long waits no more: there is no reason to know them. */
const KEPT_DAYS = 180;
/** Of a program that wait for a decision: more than its people read; strangers fill no database. */
export const MAX_PENDING = 5_000;

const COLUMNS = [
  'id',
  'programId',
  'state',
  'name',
  'email',
  'country',
  'answers',
  'conditionsVersion',
  'appliedAt',
  'confirmedAt',
  'decidedAt',
  'decidedBy',
  'note',
  'affiliateId',
];

/** Keeps an application until its address is confirmed, beside others of the address; its mail is sent at `mailedAt`. */
export async function keepApplication(
  tx: DatabaseTransaction,
  application: Pick<
    Application,
    'programId' | 'name' | 'email' | 'country' | 'answers' | 'conditionsVersion'
  > & { readonly tokenHash: Buffer; readonly mailedAt: Date },
): Promise<void> {
  const { answers, mailedAt, ...rest } = application;
  const expiresAt = new Date(mailedAt.getTime() + CONFIRM_MS);
  const row = { ...rest, answers: tx.json(answers as unknown as JsonValue), expiresAt };
  await tx`insert into applications ${tx.values(row)}`;
}

/** An application as its applicant sees it before confirming its address. */
export type UnconfirmedApplication = Pick<
  Application,
  'programId' | 'name' | 'email' | 'country' | 'answers' | 'conditionsVersion'
>;

/** The application of a token that can still be used. */
export async function getUnconfirmed(
  sql: DatabaseSql,
  { tokenHash, now }: { tokenHash: Buffer; now: Date },
): Promise<UnconfirmedApplication | undefined> {
  const [application] = await sql<UnconfirmedApplication[]>`
    select program_id, name, email, country, answers, conditions_version from applications
    where token_hash = ${tokenHash} and expires_at > ${now}`;
  return application;
}

/** Whether the address has an account, or an application that waits for a decision. */
export async function isKnownAddress(
  sql: DatabaseSql,
  { programId, email }: { programId: number; email: string },
): Promise<boolean> {
  const [row] = await sql<[{ isKnown: boolean }]>`
    select exists (select from users where email = ${email})
      or exists (select from affiliates where program_id = ${programId} and lower(email) = ${email})
      or exists (select from applications where program_id = ${programId} and email = ${email} and state = 'pending')
      as is_known`;
  return row.isKnown;
}

/** Whether {@link MAX_PENDING} of the program wait for a decision. */
async function isFull(sql: DatabaseSql, programId: number): Promise<boolean> {
  const [row] = await sql<[{ isFull: boolean }]>`
    select count(*) >= ${MAX_PENDING} as is_full
    from (
      select from applications where program_id = ${programId} and state = 'pending' limit ${MAX_PENDING}
    ) as waiting`;
  return row.isFull;
}

/**
 * Confirms the address of an application by its token, once. Undefined for any other token; `full`: the program has as
 * many as can wait. @throws InputError.
 */
export async function confirmApplication(
  tx: DatabaseTransaction,
  { tokenHash, now }: { tokenHash: Buffer; now: Date },
): Promise<Application | 'full' | undefined> {
  const waiting = await getUnconfirmed(tx, { tokenHash, now });
  if (waiting && (await isFull(tx, waiting.programId))) return 'full';
  const confirmed = tx<Application[]>`
    update applications set state = 'pending', token_hash = null, confirmed_at = clock_timestamp()
    where token_hash = ${tokenHash} and expires_at > ${now}
    returning ${tx(COLUMNS)}`;
  const [application] = await answeringInput(confirmed);
  return application;
}

export async function getApplication(sql: DatabaseSql, id: number): Promise<Application | undefined> {
  const [application] = await sql<Application[]>`
    select ${sql(COLUMNS)} from applications where id = ${id} and state <> 'unconfirmed'`;
  return application;
}

/** Applications by id; those whose address is not confirmed are left out. */
export async function listApplications(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    state?: Application['state'] | undefined;
  },
): Promise<Page<Application, number>> {
  const { programId = null, state = null } = request;
  const rows = await sql<Application[]>`
    select ${sql(COLUMNS)} from applications
    where id > ${request.after ?? 0} and state <> 'unconfirmed'
      and (${programId}::integer is null or program_id = ${programId})
      and (${state}::text is null or state = ${state})
    order by id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

/** Decides a pending application, once; undefined: it is not pending any more. */
export async function decideApplication(
  tx: DatabaseTransaction,
  decision: { id: number; actor: string; note: string | null } & (
    | { state: 'approved'; affiliateId: number }
    | { state: 'rejected'; affiliateId: null }
  ),
): Promise<Application | undefined> {
  const { id, state, actor, note, affiliateId } = decision;
  const [application] = await tx<Application[]>`
    update applications set state = ${state}, affiliate_id = ${affiliateId}, note = ${note}, decided_by = ${actor},
      decided_at = clock_timestamp()
    where id = ${id} and state = 'pending' returning ${tx(COLUMNS)}`;
  return application;
}

/** Deletes an application that made no affiliate; who has one is erased with it. Returns whether it did. */
export async function removeApplication(tx: DatabaseTransaction, id: number): Promise<boolean> {
  const removed = await tx`delete from applications where id = ${id} and affiliate_id is null`.affected();
  return removed === 1;
}

/** Deletes what was not confirmed in time, what was rejected long ago, and what was not decided about for as long. */
export async function forgetApplications(sql: DatabaseSql, { now }: { now: Date }): Promise<void> {
  const oldest = new Date(now.getTime() - KEPT_DAYS * DAY_MS);
  await sql`
    delete from applications
    where state = 'unconfirmed' and expires_at < ${now} or state = 'rejected' and decided_at < ${oldest}
      or state = 'pending' and confirmed_at < ${oldest}`;
}
