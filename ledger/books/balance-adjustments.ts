import { randomUUID } from 'node:crypto';
import { assert } from '../../core/errors.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';
import { balancingEntry, type Entry, postJournals } from './journals.ts';
import { lockProgramBalances } from './program-lock.ts';

/**
 * Money of affiliates that no order explains, on an account of its own, which the next payout takes up: bonuses and
 * deductions, what a terminated affiliate forfeits, and what one that was merged hands over. Nothing is changed afterwards:
 * a mistake is evened out by the opposite.
 */

export const ADJUSTMENT_KINDS = ['bonus', 'deduction', 'forfeiture', 'merge'] as const;
export type AdjustmentKind = (typeof ADJUSTMENT_KINDS)[number];

export interface Adjustment {
  readonly id: bigint;
  readonly programId: number;
  readonly affiliateId: number;
  readonly currency: string;
  readonly kind: AdjustmentKind;
  /** What the affiliate gains; below zero: what it loses. */
  readonly amountMinor: bigint;
  /** Why; the affiliate sees it. */
  readonly note: string;
  /** As the audit log names them. */
  readonly actor: string;
  /** Of a merge: who has the opposite. */
  readonly otherAffiliateId: number | null;
  readonly createdAt: Date;
}

const COLUMNS = [
  'id',
  'programId',
  'affiliateId',
  'currency',
  'kind',
  'amountMinor',
  'note',
  'actor',
  'otherAffiliateId',
  'createdAt',
];

type NewAdjustment = Omit<Adjustment, 'id' | 'createdAt'>;

/** Posts what belongs together as one journal; the program bears what does not sum to zero. */
async function postAdjustments(
  tx: DatabaseTransaction,
  adjustments: readonly [NewAdjustment, ...NewAdjustment[]],
): Promise<Adjustment[]> {
  const [{ kind, programId, currency }] = adjustments;
  const entries = adjustments.map(
    ({ affiliateId, amountMinor }): Entry => ({ affiliateId, account: 'adjustments', amountMinor }),
  );
  const key = `adjustment:${randomUUID()}`;
  const posted = await postJournals(tx, [
    { key, kind, programId, currency, entries: [...entries, balancingEntry('commission_expense', entries)] },
  ]);
  const journalId = posted.get(key);
  assert(journalId, 'a journal with a key of its own is posted');
  const rows = adjustments.map((adjustment) => ({ ...adjustment, journalId }));
  return await tx<Adjustment[]>`
    insert into adjustments ${tx.values(rows)} returning ${tx(COLUMNS)}`;
}

/** Gives a bonus, or takes a deduction. `amountMinor` is above zero. */
export async function adjustBalance(
  tx: DatabaseTransaction,
  options: Omit<NewAdjustment, 'kind' | 'otherAffiliateId'> & { kind: 'bonus' | 'deduction' },
): Promise<Adjustment> {
  const { kind, amountMinor } = options;
  assert(amountMinor > 0n, 'a bonus or a deduction is above zero');
  const signed = kind === 'bonus' ? amountMinor : -amountMinor;
  const [adjustment] = await postAdjustments(tx, [
    { ...options, amountMinor: signed, otherAffiliateId: null },
  ]);
  assert(adjustment, 'an adjustment that is posted has a row');
  return adjustment;
}

/** What can still become a payout of an affiliate: all that it has but what is on its way or paid. */
interface Left {
  readonly currency: string;
  /** With what is in the hold. */
  readonly minor: bigint;
  /** Without it. */
  readonly vestedMinor: bigint;
}

async function readLeft(tx: DatabaseTransaction, affiliateId: number): Promise<Left> {
  const [left] = await tx<[Left]>`
    select currency, sum(balance_minor)::bigint as minor,
      coalesce(sum(balance_minor) filter (where kind <> 'pending'), 0)::bigint as vested_minor
    from accounts where affiliate_id = ${affiliateId} and kind in ('pending', 'available', 'debt', 'adjustments')
    group by currency`;
  return left;
}

/**
 * A terminated affiliate gives up all that it has and that is not paid, also what is in the hold. Its commissions stay as
 * they are: the adjustment evens them out, so that a refund that comes later is taken off the same sum. Undefined: nothing
 * is left, or it owes. The caller knows that no payout is on its way.
 */
export async function forfeitBalance(
  tx: DatabaseTransaction,
  options: { programId: number; affiliateId: number; note: string; actor: string },
): Promise<Adjustment | undefined> {
  await lockProgramBalances(tx, options.programId);
  const { minor, currency } = await readLeft(tx, options.affiliateId);
  if (minor <= 0n) return undefined;
  const [adjustment] = await postAdjustments(tx, [
    { ...options, kind: 'forfeiture', currency, amountMinor: -minor, otherAffiliateId: null },
  ]);
  return adjustment;
}

/**
 * Hands over what an affiliate has, or owes, to the one it was merged into, but for what is in the hold: that follows when
 * it is vested, and what becomes of its orders and payouts later follows too. The caller has the lock of the program's balances.
 */
export async function handOverBalance(
  tx: DatabaseTransaction,
  options: { programId: number; affiliateId: number; toAffiliateId: number; note: string; actor: string },
): Promise<bigint> {
  const { programId, affiliateId, toAffiliateId, note, actor } = options;
  const { vestedMinor, currency } = await readLeft(tx, affiliateId);
  if (vestedMinor === 0n) return 0n;
  const common = { programId, currency, kind: 'merge', note, actor } as const;
  await postAdjustments(tx, [
    { ...common, affiliateId, amountMinor: -vestedMinor, otherAffiliateId: toAffiliateId },
    { ...common, affiliateId: toAffiliateId, amountMinor: vestedMinor, otherAffiliateId: affiliateId },
  ]);
  return vestedMinor;
}

/** What affiliates of a program that were merged have got since: see {@link handOverBalance}. */
export async function handOverMerged(
  tx: DatabaseTransaction,
  { programId, actor }: { programId: number; actor: string },
): Promise<void> {
  const merged = await tx<{ id: number; successorId: number }[]>`
    with recursive successors (id, successor_id) as (
      select f.id, f.merged_into from affiliates f
      where f.program_id = ${programId} and f.merged_into is not null and 0 <> (
        select sum(balance_minor) from accounts
        where affiliate_id = f.id and kind in ('available', 'debt', 'adjustments')
      )
      union all
      select s.id, f.merged_into from successors s join affiliates f on f.id = s.successor_id
      where f.merged_into is not null
    )
    select s.id, s.successor_id from successors s join affiliates f on f.id = s.successor_id
    where f.merged_into is null order by s.id`;
  for (const { id, successorId } of merged) {
    const note = `Merged: aff_${id} into aff_${successorId}`;
    await handOverBalance(tx, { programId, affiliateId: id, toAffiliateId: successorId, note, actor });
  }
}

/** Adjustments of an affiliate, the newest first. */
export async function listAdjustments(
  sql: DatabaseSql,
  request: PageRequest<bigint> & { affiliateId: number },
): Promise<Page<Adjustment, bigint>> {
  const { affiliateId, after = null } = request;
  const rows = await sql<Adjustment[]>`
    select ${sql(COLUMNS)} from adjustments
    where affiliate_id = ${affiliateId} and (${after}::bigint is null or id < ${after})
    order by id desc limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}
