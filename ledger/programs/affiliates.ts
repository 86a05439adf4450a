import { InputError, OperatingError } from '../../core/errors.ts';
import { MAX_NAME_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, checkEmail, checkText, givenColumns } from '../postgres/input-faults.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';
import { ERASED_PREFIX } from './ref-codes.ts';

export const AFFILIATE_STATUSES = ['pending', 'active', 'suspended', 'terminated'] as const;
export type AffiliateStatus = (typeof AFFILIATE_STATUSES)[number];

export interface Affiliate {
  readonly id: number;
  readonly programId: number;
  readonly refCode: string;
  readonly name: string;
  readonly email: string;
  /** The affiliate's own customer id at the shop: an order by it is a self-referral. */
  readonly customerRef: string | null;
  readonly status: AffiliateStatus;
  /** Why its status is what it is, for the affiliate; null: not said. */
  readonly statusNote: string | null;
  /** Who recruited the affiliate: earns level 2 of its conversions. */
  readonly parentId: number | null;
  /** When it first became active. */
  readonly approvedAt: Date | null;
  readonly createdAt: Date;
  /** Who has taken its place; null: it was not merged. */
  readonly mergedInto: number | null;
  /** Since when it is not known who it was; null: it is. */
  readonly erasedAt: Date | null;
}

export interface NewAffiliate {
  readonly programId: number;
  /** 1 to 64 of `A-Z a-z 0-9 _ -`, unique in the program. */
  readonly refCode: string;
  readonly name: string;
  readonly email: string;
  readonly customerRef?: string | null | undefined;
  readonly parentId?: number | null | undefined;
  /** Default `pending`. */
  readonly status?: AffiliateStatus | undefined;
}

export type AffiliateChanges = Partial<Omit<NewAffiliate, 'programId'>>;

const AFFILIATE_COLUMNS = [
  'id',
  'programId',
  'refCode',
  'name',
  'email',
  'customerRef',
  'status',
  'statusNote',
  'parentId',
  'approvedAt',
  'createdAt',
  'mergedInto',
  'erasedAt',
];

function checkAffiliate(affiliate: AffiliateChanges): void {
  if (affiliate.refCode?.startsWith(ERASED_PREFIX)) {
    throw new InputError('ref_code', `must not begin with ${ERASED_PREFIX}: those are of erased affiliates`);
  }
  if (affiliate.name !== undefined) checkText(affiliate.name, 'name', MAX_NAME_LENGTH);
  if (affiliate.customerRef) checkText(affiliate.customerRef, 'customer_ref', MAX_NAME_LENGTH);
  if (affiliate.email !== undefined) checkEmail(affiliate.email, 'email');
}

/** @throws InputError, also for a parent of another program or a tree deeper than 20. */
export async function createAffiliate(sql: DatabaseSql, affiliate: NewAffiliate): Promise<Affiliate> {
  checkAffiliate(affiliate);
  const { programId, refCode, name, email, customerRef, parentId, status } = affiliate;
  const approvedAt = status === 'active' ? new Date() : undefined;
  const row = givenColumns({
    programId,
    refCode,
    name,
    email,
    customerRef,
    parentId,
    status,
    approvedAt,
  });
  const [created] = await answeringInput(
    sql<[Affiliate]>`insert into affiliates ${sql.values(row)} returning ${sql(AFFILIATE_COLUMNS)}`,
  );
  return created;
}

export async function getAffiliate(sql: DatabaseSql, id: number): Promise<Affiliate | undefined> {
  const [affiliate] = await sql<Affiliate[]>`
    select ${sql(AFFILIATE_COLUMNS)} from affiliates where id = ${id}`;
  return affiliate;
}

/** The affiliates with these ids, by id; unknown ids are left out. */
export async function getAffiliates(sql: DatabaseSql, ids: readonly number[]): Promise<Affiliate[]> {
  return await sql<Affiliate[]>`
    select ${sql(AFFILIATE_COLUMNS)} from affiliates where id = any(${[...ids]}::integer[]) order by id`;
}

/**
 * Which merges count: the first so many of the program. Decisions before version 7 of the rules did not keep that, so that
 * the merges before their time count; a merge that was being made then may be taken for one that was.
 */
export type MergesThen = { readonly merges: number } | { readonly before: Date | null };

/** Says of each affiliate who had its place: itself, or who had taken it by then. */
export type SuccessorThen = (affiliateId: number, then: MergesThen) => number;

/** How many merges each of these programs has seen. They follow each other under a lock: none comes between two others. */
export async function countMerges(
  sql: DatabaseSql,
  programIds: readonly number[],
): Promise<ReadonlyMap<number, number>> {
  const rows = await sql<{ programId: number; merges: number }[]>`
    select program_id, max(merge_number) as merges from affiliates
    where program_id = any(${[...new Set(programIds)]}::integer[]) and merge_number is not null
    group by program_id`;
  return new Map(rows.map(({ programId, merges }) => [programId, merges]));
}

/** Who has taken the place of these affiliates, one merge after the other. */
export async function readSuccessors(sql: DatabaseSql, ids: readonly number[]): Promise<SuccessorThen> {
  const rows =
    ids.length === 0
      ? []
      : await sql<{ id: number; mergedInto: number; mergedAt: Date; mergeNumber: number }[]>`
          with recursive merged (id, merged_into, merged_at, merge_number) as (
            select id, merged_into, merged_at, merge_number from affiliates
            where id = any(${[...new Set(ids)]}::integer[]) and merged_into is not null
            union
            select a.id, a.merged_into, a.merged_at, a.merge_number
            from merged m join affiliates a on a.id = m.merged_into where a.merged_into is not null
          )
          select id, merged_into, merged_at, merge_number from merged`;
  const merges = new Map(rows.map((row) => [row.id, row]));
  return (affiliateId, then) => {
    let present = affiliateId;
    let merge = merges.get(present);
    while (
      merge &&
      ('merges' in then
        ? merge.mergeNumber <= then.merges
        : then.before === null || merge.mergedAt <= then.before)
    ) {
      present = merge.mergedInto;
      merge = merges.get(present);
    }
    return present;
  };
}

/** Who was merged into these affiliates by the first so many merges of the program, through others as well. */
export async function readPredecessors(
  sql: DatabaseSql,
  ids: readonly number[],
): Promise<(affiliateId: number, merges: number) => number[]> {
  const rows = await sql<{ root: number; id: number; mergeNumber: number }[]>`
    with recursive merged (root, id, merge_number) as (
      select merged_into, id, merge_number from affiliates where merged_into = any(${[...new Set(ids)]}::integer[])
      union
      select m.root, a.id, greatest(m.merge_number, a.merge_number)
      from merged m join affiliates a on a.merged_into = m.id
    )
    select root, id, merge_number from merged`;
  return (affiliateId, merges) =>
    rows.flatMap(({ root, id, mergeNumber }) => (root === affiliateId && mergeNumber <= merges ? [id] : []));
}

/** The affiliates of a program with this address, in whatever case, by id. */
export async function affiliatesOfEmail(
  sql: DatabaseSql,
  { programId, email }: { programId: number; email: string },
): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select id from affiliates where program_id = ${programId} and lower(email) = lower(${email}) order by id`;
  return rows.map(({ id }) => id);
}

export const AFFILIATE_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: false,
  sorts: {
    created_at: 'id',
    name: { type: 'text', by: (sql) => sql`lower(name)` },
    email: { type: 'text', by: (sql) => sql`lower(email)` },
    status: { type: 'text', by: (sql) => sql`status` },
  },
  search: (sql, { pattern, text, id }) =>
    sql`name ilike ${pattern} or email ilike ${pattern} or ref_code = ${text} or customer_ref = ${text} or id = ${id}::integer`,
};

/** Affiliates by id, of one program or of all. */
export async function listAffiliates(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    status?: AffiliateStatus | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<Affiliate, number>> {
  const { programId = null, status = null, from = null, to = null } = request;
  const page = listClauses(sql, AFFILIATE_LIST, request);
  const rows = await sql<Affiliate[]>`
    select ${sql(AFFILIATE_COLUMNS)}, ${page.key} from affiliates
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${status}::text is null or status = ${status})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/**
 * Changes the given columns. Another e-mail address remembers its actor.
 * @throws InputError, also for a parent that descends from the affiliate; OperatingError `wrong_state` for a status that
 * cannot follow the present one.
 * Returns undefined when there is no such affiliate.
 */
export async function updateAffiliate(
  sql: DatabaseSql,
  options: { id: number; changes: AffiliateChanges; actor: string },
): Promise<Affiliate | undefined> {
  checkAffiliate(options.changes);
  const { refCode, name, email, customerRef, parentId, status } = options.changes;
  const emailChangedBy = email === undefined ? undefined : options.actor;
  const given = givenColumns({ refCode, name, email, emailChangedBy, customerRef, parentId, status });
  if (Object.keys(given).length === 0) return await getAffiliate(sql, options.id);
  // What was said of the status before says nothing of this one.
  const unsaid = status === undefined ? sql`` : sql`, status_note = null`;
  const approval = status === 'active' ? sql`, approved_at = coalesce(approved_at, now())` : sql``;
  const [affiliate] = await answeringInput(
    sql<Affiliate[]>`
      update affiliates set ${sql.set(given)} ${unsaid} ${approval} where id = ${options.id}
      returning ${sql(AFFILIATE_COLUMNS)}`,
  );
  return affiliate;
}

/**
 * Moves an existing affiliate to another status, where the database allows that transition.
 * @throws OperatingError `wrong_state`, also when it has that status already.
 */
export async function changeAffiliateStatus(
  sql: DatabaseSql,
  options: { id: number; status: AffiliateStatus; note: string },
): Promise<Affiliate> {
  const { id, status, note } = options;
  const [affiliate] = await answeringInput(
    sql<Affiliate[]>`
      update affiliates set status = ${status}, status_note = ${note},
        approved_at = case when ${status} = 'active' then coalesce(approved_at, now()) else approved_at end
      where id = ${id} and status <> ${status}
      returning ${sql(AFFILIATE_COLUMNS)}`,
  );
  if (!affiliate) throw new OperatingError('wrong_state', `the affiliate is ${status} already`);
  return affiliate;
}
