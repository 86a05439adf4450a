import type { Fragment } from '../../core/postgres/sql.ts';
import { type Database, type DatabaseSql, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import {
  BY_AFFILIATE,
  type ListOrder,
  listClauses,
  type Page,
  type PageRequest,
  pageOf,
  type Search,
} from '../postgres/page.ts';
import { type Journal, postJournals } from './journals.ts';
import { lockProgramBalances } from './program-lock.ts';

export const COMMISSION_STATES = [
  'pending',
  'held',
  'available',
  'in_payout',
  'paid',
  'rejected',
  'reversed',
] as const;
export type CommissionState = (typeof COMMISSION_STATES)[number];

/** What a part was earned by: the order as it was decided, a raise of it, or the end of a refund or cancellation. */
export const COMMISSION_CAUSES = ['order', 'raise', 'restoration'] as const;
export type CommissionCause = (typeof COMMISSION_CAUSES)[number];

/** What one affiliate earns by one conversion, or a part of it: an order that is raised or restored earns further parts. */
export interface Commission {
  readonly id: bigint;
  readonly conversionId: bigint;
  readonly programId: number;
  readonly affiliateId: number;
  /** 1: the affiliate whose click won; 2: its parent; … */
  readonly level: number;
  /** Counts from 1 within the level. */
  readonly part: number;
  readonly cause: CommissionCause;
  readonly termsId: number;
  readonly currency: string;
  /** As earned. */
  readonly amountMinor: bigint;
  /** What refunds or a rejection took back in all. */
  readonly reversedMinor: bigint;
  /** The part of `reversedMinor` taken back as debt, because the money was on its way already. */
  readonly clawbackMinor: bigint;
  /** Level 1 under tiers: the affiliate's volume of the month before this order. */
  readonly volumeBeforeMinor: bigint | null;
  /** What of it is earned by each item of the order; null: the order had none, or it is a further part. */
  readonly itemMinor: readonly bigint[] | null;
  readonly state: CommissionState;
  /** Paid before the order was imported, outside these books: in no payout. */
  readonly paidOutside: boolean;
  readonly availableAt: Date;
  readonly createdAt: Date;
}

export const COMMISSION_COLUMNS = [
  'id',
  'conversionId',
  'programId',
  'affiliateId',
  'level',
  'part',
  'cause',
  'termsId',
  'currency',
  'amountMinor',
  'reversedMinor',
  'clawbackMinor',
  'volumeBeforeMinor',
  'itemMinor',
  'state',
  'paidOutside',
  'availableAt',
  'createdAt',
];

/** What the commission's accounts hold of it, debt left out: what can be vested, paid, or taken back directly. */
export function bookedMinor(
  commission: Pick<Commission, 'amountMinor' | 'reversedMinor' | 'clawbackMinor'>,
): bigint {
  return commission.amountMinor - commission.reversedMinor + commission.clawbackMinor;
}

/** Locks the commissions of a conversion, by id. The conversion itself is locked before. */
export async function lockCommissions(tx: DatabaseTransaction, conversionId: bigint): Promise<Commission[]> {
  return await tx<Commission[]>`
    select ${tx(COMMISSION_COLUMNS)} from commissions
    where conversion_id = ${conversionId} order by id for no key update`;
}

/** A commission with the shop's id of its order. */
export type ListedCommission = Commission & { readonly orderId: string };

export const COMMISSION_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: {
    created_at: 'id',
    amount: { type: 'bigint', by: (sql) => sql`amount_minor` },
    state: { type: 'text', by: (sql) => sql`state` },
    available_at: { type: 'bigint', by: (sql) => sql`(extract(epoch from available_at) * 1000000)::bigint` },
    affiliate: BY_AFFILIATE,
  },
  search: (sql, search) => ofOrderOrId(sql, search, sql`true`),
};

/** Commissions of an order by the shop's id, as far as the condition `seen` allows, or a commission by its own. */
function ofOrderOrId(
  sql: DatabaseSql,
  { text, id, programId }: Search & { readonly programId: number | null },
  seen: Fragment,
): Fragment {
  return sql`
    id in (
      select m.id from programs p
        join conversions c on c.program_id = p.id and c.order_id = ${text}
        join commissions m on m.conversion_id = c.id
      where ${seen} and (${programId}::integer is null or p.id = ${programId})
      union all
      select ${id}::bigint
    )`;
}

/** For affiliates, who do not learn the shop's ids of their recruits' orders, by searching neither. */
const OWN_COMMISSION_LIST: ListOrder = {
  ...COMMISSION_LIST,
  search: (sql, search) => ofOrderOrId(sql, search, sql`m.level = 1`),
};

/** Commissions, the newest first. */
export async function listCommissions(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    conversionId?: bigint | undefined;
    state?: CommissionState | undefined;
    /** An order id finds commissions of level 1 only. */
    asAffiliate?: boolean;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<ListedCommission, bigint>> {
  const { programId = null, affiliateId = null, conversionId = null, state = null } = request;
  const { asAffiliate = false, from = null, to = null } = request;
  const page = listClauses(sql, asAffiliate ? OWN_COMMISSION_LIST : COMMISSION_LIST, request);
  const rows = await sql<ListedCommission[]>`
    select ${sql(COMMISSION_COLUMNS)},
      (select c.order_id from conversions c where c.id = commissions.conversion_id) as order_id, ${page.key}
    from commissions
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${conversionId}::bigint is null or conversion_id = ${conversionId})
      and (${state}::text is null or state = ${state})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/** Moves pending commissions that the caller has locked to available. */
export async function vestCommissions(
  tx: DatabaseTransaction,
  commissions: readonly Commission[],
): Promise<void> {
  const ids = commissions.map(({ id }) => id);
  await tx`update commissions set state = 'available' where id = any(${ids}::bigint[])`;
  await postJournals(tx, commissions.map(vestingJournal));
}

function vestingJournal(commission: Commission): Journal {
  const { id, affiliateId, programId, currency, conversionId } = commission;
  const amountMinor = bookedMinor(commission);
  return {
    key: `vest:${id}`,
    kind: 'vesting',
    programId,
    currency,
    conversionId,
    entries: [
      { affiliateId, account: 'pending', amountMinor: -amountMinor, commissionId: id },
      { affiliateId, account: 'available', amountMinor, commissionId: id },
    ],
  };
}

/** Commissions vested in one statement, and by the vesting task in one transaction. */
export const VEST_BATCH_SIZE = 1_000;

/**
 * Makes every pending commission whose hold has ended available, program by program, in transactions of `limit`.
 * Commissions that a refund or a review is working on are left to the next time.
 */
export async function vestDue(
  ledger: Database,
  options: { now: Date; limit: number; programId?: number | undefined },
): Promise<{ vested: number }> {
  const { now, limit, programId = null } = options;
  const programs = await ledger<{ id: number }[]>`
    select distinct program_id as id from commissions
    where state = 'pending' and available_at <= ${now}
      and (${programId}::integer is null or program_id = ${programId}) order by id`;
  let vested = 0;
  for (const { id } of programs) {
    let count = limit;
    while (count === limit) {
      count = await inTransaction(ledger, async (tx) => {
        await lockProgramBalances(tx, id);
        return await vestBatch(tx, { now, limit, programId: id });
      });
      vested += count;
    }
  }
  return { vested };
}

/** The same in a transaction of the caller’s, who has the lock of the program’s balances. */
export async function vestProgram(
  tx: DatabaseTransaction,
  options: { now: Date; programId: number },
): Promise<number> {
  let vested = 0;
  for (;;) {
    const count = await vestBatch(tx, { ...options, limit: VEST_BATCH_SIZE });
    vested += count;
    if (count < VEST_BATCH_SIZE) return vested;
  }
}

async function vestBatch(
  tx: DatabaseTransaction,
  { now, limit, programId }: { now: Date; limit: number; programId: number },
): Promise<number> {
  const due = await tx<Commission[]>`
    select ${tx(COMMISSION_COLUMNS)} from commissions
    where state = 'pending' and available_at <= ${now} and program_id = ${programId}
    order by available_at, id limit ${limit} for no key update skip locked`;
  await vestCommissions(tx, due);
  return due.length;
}
