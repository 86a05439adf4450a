import { InputError } from '../../core/errors.ts';
import { hiddenCharacter, plainText } from '../../core/text/plain-text.ts';
import { MAX_CODE_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, checkText, givenColumns } from '../postgres/input-faults.ts';
import {
  affiliateName,
  BY_AFFILIATE,
  type ListOrder,
  listClauses,
  type Page,
  type PageRequest,
  pageOf,
} from '../postgres/page.ts';

/**
 * A code by which an affiliate is credited without a click. At any moment it is of one affiliate of the program at the
 * most; withdrawn or ended, it can be given to another one, whose it is from then on.
 */
export interface Coupon {
  readonly id: number;
  readonly programId: number;
  /** Under whose terms, with those of the affiliate, orders are credited. */
  readonly campaignId: number;
  readonly affiliateId: number;
  /** As it was made; it is the same in any case. */
  readonly code: string;
  /** Null: from the beginning of time. */
  readonly validFrom: Date | null;
  /** Outside of its validity; null: without an end. */
  readonly validUntil: Date | null;
  /** For good: from then on it is valid no longer. */
  readonly withdrawnAt: Date | null;
  readonly createdAt: Date;
}

export interface NewCoupon {
  readonly programId: number;
  readonly affiliateId: number;
  /** May be left out in a program of one campaign. */
  readonly campaignId?: number | undefined;
  readonly code: string;
  /** Default: null for a code that is new to the program, else now. */
  readonly validFrom?: Date | null | undefined;
  readonly validUntil?: Date | null | undefined;
}

export interface CouponChanges {
  readonly validFrom?: Date | null | undefined;
  readonly validUntil?: Date | null | undefined;
}

const COUPON_COLUMNS = [
  'id',
  'programId',
  'campaignId',
  'affiliateId',
  'code',
  'validFrom',
  'validUntil',
  'withdrawnAt',
  'createdAt',
];

/** By what codes are compared. */
export function couponKey(code: string): string {
  return plainText(code).toLowerCase();
}

/** @throws InputError naming code, affiliate_id, campaign_id or valid_until. */
export async function createCoupon(sql: DatabaseSql, coupon: NewCoupon): Promise<Coupon> {
  const { programId, affiliateId, validUntil } = coupon;
  const code = plainText(coupon.code);
  const key = couponKey(coupon.code);
  const hidden = hiddenCharacter(code);
  if (hidden !== undefined) throw new InputError('code', `must not contain the hidden character ${hidden}`);
  checkText(code, 'code', MAX_CODE_LENGTH);
  if (code.includes(',')) throw new InputError('code', 'must not contain a comma, which separates codes');
  const campaignId = coupon.campaignId ?? (await onlyCampaign(sql, programId));
  const validFrom =
    coupon.validFrom === undefined && (await isKnown(sql, { programId, key }))
      ? new Date()
      : coupon.validFrom;
  const row = { programId, campaignId, affiliateId, code, codeKey: key, validFrom, validUntil };
  const [created] = await answeringInput(
    sql<[Coupon]>`insert into coupons ${sql.values(givenColumns(row))} returning ${sql(COUPON_COLUMNS)}`,
  );
  return created;
}

/** The campaign of what names none. @throws InputError naming campaign_id where the program has none, or several. */
export async function onlyCampaign(sql: DatabaseSql, programId: number): Promise<number> {
  const [one, another] = await sql<{ id: number }[]>`
    select id from campaigns where program_id = ${programId} and status <> 'ended' order by id limit 2`;
  if (one && !another) return one.id;
  throw new InputError(
    'campaign_id',
    `is required: the program has ${one ? 'several campaigns' : 'no campaign'}`,
  );
}

async function isKnown(
  sql: DatabaseSql,
  { programId, key }: { programId: number; key: string },
): Promise<boolean> {
  const [known] = await sql`
    select from coupons where program_id = ${programId} and code_key = ${key} limit 1`;
  return known !== undefined;
}

export async function getCoupon(sql: DatabaseSql, id: number): Promise<Coupon | undefined> {
  const [coupon] = await sql<Coupon[]>`select ${sql(COUPON_COLUMNS)} from coupons where id = ${id}`;
  return coupon;
}

export const COUPON_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: false,
  sorts: {
    created_at: 'id',
    code: { type: 'text', by: (sql) => sql`code_key` },
    affiliate: BY_AFFILIATE,
  },
  search: (sql, { pattern, id }) =>
    sql`code ilike ${pattern} or ${affiliateName(sql)} ilike ${pattern} or id = ${id}::integer`,
};

/** Coupons by id. */
export async function listCoupons(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    campaignId?: number | undefined;
    /** In any case. */
    code?: string | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<Coupon, number>> {
  const { programId = null, affiliateId = null, campaignId = null, code, from = null, to = null } = request;
  const key = code === undefined ? null : couponKey(code);
  const page = listClauses(sql, COUPON_LIST, request);
  const rows = await sql<Coupon[]>`
    select ${sql(COUPON_COLUMNS)}, ${page.key} from coupons
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${campaignId}::integer is null or campaign_id = ${campaignId})
      and (${key}::text is null or code_key = ${key})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/**
 * Changes the validity. Orders that were decided stay as they are. @throws InputError, OperatingError `wrong_state` for
 * one that is withdrawn. Returns undefined when there is no such coupon.
 */
export async function updateCoupon(
  sql: DatabaseSql,
  options: { id: number; changes: CouponChanges },
): Promise<Coupon | undefined> {
  const { validFrom, validUntil } = options.changes;
  const given = givenColumns({ validFrom, validUntil });
  if (Object.keys(given).length === 0) return await getCoupon(sql, options.id);
  const [coupon] = await answeringInput(
    sql<Coupon[]>`
      update coupons set ${sql.set(given)} where id = ${options.id} returning ${sql(COUPON_COLUMNS)}`,
  );
  return coupon;
}

/** Ends a coupon for good. Withdrawing it again changes nothing. Returns undefined when there is no such coupon. */
export async function withdrawCoupon(
  sql: DatabaseSql,
  { id, now }: { id: number; now: Date },
): Promise<Coupon | undefined> {
  await sql`update coupons set withdrawn_at = ${now} where id = ${id} and withdrawn_at is null`;
  return await getCoupon(sql, id);
}

/** A coupon with what it was worth at a moment. */
export interface FoundCoupon
  extends Pick<Coupon, 'id' | 'campaignId' | 'affiliateId' | 'validFrom' | 'validUntil'> {
  readonly isValid: boolean;
  /** Its affiliate is terminated. */
  readonly isTerminated: boolean;
}

/**
 * The coupons of codes at a moment, one answer each: the one that is valid then, else the newest of the code; undefined
 * for a code of no affiliate. `validUntil` is the time of its withdrawal where that is earlier, and who was merged is its
 * successor.
 */
export async function findCoupons(
  sql: DatabaseSql,
  questions: readonly { programId: number; code: string; at: Date }[],
): Promise<(FoundCoupon | undefined)[]> {
  const answers: (FoundCoupon | undefined)[] = questions.map(() => undefined);
  if (questions.length === 0) return answers;
  const asked = questions.map(({ programId, code, at }, index) => ({
    index,
    program_id: programId,
    key: couponKey(code),
    at: at.toISOString(),
  }));
  const rows = await sql<(FoundCoupon & { index: number })[]>`
    select q.index, c.*
    from json_to_recordset(${sql.json(asked)}::json) as q (index integer, program_id integer, key text, at timestamptz)
    cross join lateral (
      select c.id, c.campaign_id, a.id as affiliate_id, c.valid_from,
        least(c.valid_until, c.withdrawn_at) as valid_until, a.status = 'terminated' as is_terminated,
        coalesce(c.valid_from, '-infinity') <= q.at and q.at < coalesce(least(c.valid_until, c.withdrawn_at), 'infinity')
          as is_valid
      from coupons c cross join lateral (
        with recursive successors (id, merged_into, status) as (
          select id, merged_into, status from affiliates where id = c.affiliate_id
          union all
          select f.id, f.merged_into, f.status from successors s join affiliates f on f.id = s.merged_into
        )
        select id, status from successors where merged_into is null
      ) a
      where c.program_id = q.program_id and c.code_key = q.key
      order by is_valid desc, c.id desc limit 1
    ) c`;
  for (const { index, ...coupon } of rows) answers[index] = coupon;
  return answers;
}
