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
  /** Which conditions were accepted, at `appliedAt`; null: there were none. */
  readonly conditionsVersion: number | null;
  readonly appliedAt: Date;
  readonly confirmedAt: Date;
  readonly decidedAt: Date | null;
  readonly decidedBy: string | null;
  /** Of the decision, for the applicant. */
  readonly note: string | null;
  readonly affiliateId: number | null;
}

/** The link of the mail is good for so long; what was not confirmed by then is deleted. */
export const CONFIRM_MS = 2 * DAY_MS;
/** Who was rejected may ask why for half a year; then there is no reason to know them. */
const REJECTED_KEPT_DAYS = 180;

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

/** Keeps an application until its address is confirmed; a later one of the address takes its place, and voids its link. */
export async function keepApplication(
  tx: DatabaseTransaction,
  application: Pick<
    Application,
    'programId' | 'name' | 'email' | 'country' | 'answers' | 'conditionsVersion'
  > & { readonly tokenHash: Buffer },
): Promise<void> {
  const { programId, email, answers, ...rest } = application;
  const row = { ...rest, answers: tx.json(answers as unknown as JsonValue) };
  await tx`
    insert into applications ${tx.values({ programId, email, ...row })}
    on conflict (program_id, email) where state = 'unconfirmed'
    do update set ${tx.set(row)}, applied_at = clock_timestamp()`;
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

/** Confirms the address of an application by its token, once. Undefined for any other token. @throws InputError. */
export async function confirmApplication(
  tx: DatabaseTransaction,
  { tokenHash, now }: { tokenHash: Buffer; now: Date },
): Promise<Application | undefined> {
  const oldest = new Date(now.getTime() - CONFIRM_MS);
  const confirmed = tx<Application[]>`
    update applications set state = 'pending', token_hash = null, confirmed_at = clock_timestamp()
    where token_hash = ${tokenHash} and applied_at > ${oldest}
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

/** Deletes what was not confirmed in time, and what was rejected long ago. */
export async function forgetApplications(sql: DatabaseSql, { now }: { now: Date }): Promise<void> {
  const ago = (ms: number) => new Date(now.getTime() - ms);
  await sql`
    delete from applications
    where state = 'unconfirmed' and applied_at < ${ago(CONFIRM_MS)}
      or state = 'rejected' and decided_at < ${ago(REJECTED_KEPT_DAYS * DAY_MS)}`;
}
