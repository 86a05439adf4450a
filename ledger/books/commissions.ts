import { type Database, type DatabaseSql, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';
import { type Journal, postJournals } from './journals.ts';

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

/** What one affiliate earns by one conversion. */
export interface Commission {
  readonly id: bigint;
  readonly conversionId: bigint;
  readonly programId: number;
  readonly affiliateId: number;
  /** 1: the affiliate whose click won; 2: its parent; … */
  readonly level: number;
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
  'termsId',
  'currency',
  'amountMinor',
  'reversedMinor',
  'clawbackMinor',
  'volumeBeforeMinor',
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

/** Commissions, the newest first. */
export async function listCommissions(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    conversionId?: bigint | undefined;
    state?: CommissionState | undefined;
  },
): Promise<Page<Commission, bigint>> {
  const { after = null, programId = null, affiliateId = null, conversionId = null, state = null } = request;
  const rows = await sql<Commission[]>`
    select ${sql(COMMISSION_COLUMNS)} from commissions
    where (${after}::bigint is null or id < ${after})
      and (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${conversionId}::bigint is null or conversion_id = ${conversionId})
      and (${state}::text is null or state = ${state})
    order by id desc limit ${rowsToRead(request)}`;
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

/** Commissions vested in one transaction. */
export const VEST_BATCH_SIZE = 1_000;

/**
 * Makes every pending commission whose hold has ended available, in transactions of `limit`.
 * Commissions another process is working on are left to it, or to the next time.
 */
export async function vestDue(
  ledger: Database,
  options: { now: Date; limit: number; programId?: number | undefined },
): Promise<{ vested: number }> {
  const { now, limit, programId = null } = options;
  let vested = 0;
  for (;;) {
    const count = await inTransaction(ledger, async (tx) => {
      const due = await tx<Commission[]>`
        select ${tx(COMMISSION_COLUMNS)} from commissions
        where state = 'pending' and available_at <= ${now}
          and (${programId}::integer is null or program_id = ${programId})
        order by available_at, id limit ${limit} for no key update skip locked`;
      await vestCommissions(tx, due);
      return due.length;
    });
    vested += count;
    if (count < limit) return { vested };
  }
}
