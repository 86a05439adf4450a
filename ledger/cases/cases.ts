import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';
import { type Subject, storedSubject } from './subjects.ts';

/** Cases: orders that the fraud team reviews as one. */

export const CASE_STATES = ['open', 'decided', 'closed'] as const;
export type CaseState = (typeof CASE_STATES)[number];

export interface Case {
  readonly id: number;
  readonly programId: number;
  readonly title: string;
  readonly state: CaseState;
  readonly subject: Subject | null;
  /** A user. */
  readonly assignedTo: number | null;
  /** As the audit log names them. */
  readonly openedBy: string;
  readonly openedAt: Date;
  /** Null while it is open. */
  readonly endedAt: Date | null;
  readonly orders: number;
  /** Those of its orders that wait for a reviewer. */
  readonly inReview: number;
  /** What these come to, in minor units of the program's currency. */
  readonly inReviewMinor: bigint;
  readonly currency: string;
}

type CaseRow = Omit<Case, 'subject'> & {
  readonly subject: string | null;
  readonly subjectKind: Subject['kind'] | null;
};

const caseColumns = (sql: DatabaseSql) => sql`
  cases.id, cases.program_id, title, state, subject_kind, subject, assigned_to, opened_by, opened_at, ended_at,
  (select currency from programs p where p.id = cases.program_id) as currency, n.*`;

const counted = (sql: DatabaseSql) => sql`
  cross join lateral (
    select count(*)::integer as orders, (count(*) filter (where c.state = 'review'))::integer as in_review,
      coalesce(sum(c.amount_minor) filter (where c.state = 'review'), 0)::bigint as in_review_minor
    from case_orders o join conversions c on c.id = o.conversion_id
    where o.case_id = cases.id and o.removed_at is null
  ) n`;

function fromRow<Row extends CaseRow>({ subjectKind, subject, ...row }: Row) {
  return { ...row, subject: subjectKind && subject !== null ? { kind: subjectKind, value: subject } : null };
}

/** An empty one. @throws InputError naming program_id or assigned_to. */
export async function openCase(
  tx: DatabaseTransaction,
  opened: {
    programId: number;
    title: string;
    subject?: Subject | undefined;
    assignedTo?: number | undefined;
    actor: string;
  },
): Promise<number> {
  const { programId, title, subject, assignedTo = null, actor } = opened;
  const [created] = await answeringInput(tx<[{ id: number }]>`
    insert into cases (program_id, title, subject_kind, subject, assigned_to, opened_by)
    values (${programId}, ${title}, ${subject?.kind ?? null}, ${subject ? storedSubject(subject) : null}, ${assignedTo},
      ${actor})
    returning id`);
  return created.id;
}

export async function getCase(sql: DatabaseSql, id: number): Promise<Case | undefined> {
  const [row] = await sql<CaseRow[]>`
    select ${caseColumns(sql)} from cases ${counted(sql)} where cases.id = ${id}`;
  return row && fromRow(row);
}

export async function updateCase(
  tx: DatabaseTransaction,
  { id, changes }: { id: number; changes: { title?: string; assignedTo?: number | null } },
): Promise<void> {
  const { title = null, assignedTo } = changes;
  await answeringInput(tx`
    update cases set title = coalesce(${title}, title),
      assigned_to = case when ${assignedTo === undefined} then assigned_to else ${assignedTo ?? null}::integer end
    where id = ${id}`);
}

export const CASE_LIST: ListOrder = {
  id: (sql) => sql`cases.id`,
  newestFirst: true,
  sorts: {
    opened_at: 'id',
    title: { type: 'text', by: (sql) => sql`title` },
    orders: { type: 'bigint', by: (sql) => sql`n.orders::bigint` },
    in_review: { type: 'bigint', by: (sql) => sql`n.in_review_minor` },
  },
  search: (sql, { text, pattern, id }) =>
    sql`title ilike ${pattern} or subject in (${text}, ${storedSubject({ kind: 'customer', value: text })}) or cases.id = ${id}::integer`,
};

/** Cases, the newest first. */
export async function listCases(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    state?: CaseState | undefined;
    assignedTo?: number | undefined;
    /** With this order in them. */
    conversionId?: bigint | undefined;
    /** When it was opened; half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<Case, number>> {
  const { programId = null, state = null, assignedTo = null, conversionId = null } = request;
  const { from = null, to = null } = request;
  const page = listClauses(sql, CASE_LIST, request);
  const rows = await sql<(CaseRow & { sortKey: string | null })[]>`
    select ${caseColumns(sql)}, ${page.key} from cases ${counted(sql)}
    where ${page.where}
      and (${programId}::integer is null or cases.program_id = ${programId})
      and (${state}::text is null or state = ${state})
      and (${assignedTo}::integer is null or assigned_to = ${assignedTo})
      and (${conversionId}::bigint is null
        or cases.id in (
          select case_id from case_orders where conversion_id = ${conversionId} and removed_at is null))
      and (${from}::timestamptz is null or opened_at >= ${from})
      and (${to}::timestamptz is null or opened_at < ${to})
    ${page.order}`;
  return pageOf(rows.map(fromRow), request);
}

export const CASE_ACTS = ['note', 'decision', 'close', 'reopen'] as const;

/** What was said about a case, or done to it; nothing is changed or taken back. */
export interface CaseNote {
  readonly id: bigint;
  readonly act: (typeof CASE_ACTS)[number];
  readonly author: string;
  readonly text: string;
  /** Of a decision: how many of its orders; null for all else. */
  readonly approved: number | null;
  readonly rejected: number | null;
  readonly at: Date;
}

export async function addCaseNote(
  tx: DatabaseTransaction,
  note: Pick<CaseNote, 'act' | 'author' | 'text'> & { caseId: number; approved?: number; rejected?: number },
): Promise<void> {
  const { caseId, act, author, text, approved = null, rejected = null } = note;
  await tx`
    insert into case_notes (case_id, act, author, text, approved, rejected)
    values (${caseId}, ${act}, ${author}, ${text}, ${approved}, ${rejected})`;
}

/** Decisions of a case so far. */
export async function countDecisions(sql: DatabaseSql, caseId: number): Promise<number> {
  const [{ count }] = await sql<[{ count: bigint }]>`
    select count(*) from case_notes where case_id = ${caseId} and act = 'decision'`;
  return Number(count);
}

/** The first one first. */
export async function listCaseNotes(
  sql: DatabaseSql,
  { caseId, limit }: { caseId: number; limit: number },
): Promise<CaseNote[]> {
  return await sql<CaseNote[]>`
    select * from (
      select id, act, author, text, approved, rejected, at from case_notes where case_id = ${caseId}
      order by id desc limit ${limit}
    ) latest order by id`;
}

/** Opens or ends a case that the caller has locked. @throws InputError naming conversion_ids. */
export async function setCaseState(tx: DatabaseTransaction, id: number, state: CaseState): Promise<void> {
  await answeringInput(tx`
    update cases set state = ${state},
      ended_at = case when ${state === 'open'} then null else clock_timestamp() end
    where id = ${id}`);
}
