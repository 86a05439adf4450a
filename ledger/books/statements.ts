import type { DatabaseSql } from '../postgres/db.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';

/** Amounts of an affiliate by where they are, minor units; debt is zero or negative. */
export interface StatementAmounts {
  readonly pendingMinor: bigint;
  readonly availableMinor: bigint;
  readonly inTransitMinor: bigint;
  readonly paidMinor: bigint;
  readonly debtMinor: bigint;
  /** Without an order; below zero: deductions. */
  readonly adjustmentsMinor: bigint;
}

/** One movement: a journal, as far as it touches the affiliate. */
export interface StatementLine extends StatementAmounts {
  /** Of the journal. */
  readonly id: bigint;
  readonly at: Date;
  readonly kind: string;
  readonly conversionId: bigint | null;
  /** The shop's id of the order, where the affiliate's own click won it. */
  readonly orderId: string | null;
  readonly payoutId: bigint | null;
  /** Of a payout's movements: a hint of where it goes. */
  readonly destinationHint: string | null;
  /** Of an adjustment: why. */
  readonly note: string | null;
}

const sums = (sql: DatabaseSql) => sql`
  coalesce(sum(e.amount_minor) filter (where a.kind = 'pending'), 0)::bigint as pending_minor,
  coalesce(sum(e.amount_minor) filter (where a.kind = 'available'), 0)::bigint as available_minor,
  coalesce(sum(e.amount_minor) filter (where a.kind = 'in_transit'), 0)::bigint as in_transit_minor,
  coalesce(sum(e.amount_minor) filter (where a.kind = 'paid'), 0)::bigint as paid_minor,
  coalesce(sum(e.amount_minor) filter (where a.kind = 'debt'), 0)::bigint as debt_minor,
  coalesce(sum(e.amount_minor) filter (where a.kind = 'adjustments'), 0)::bigint as adjustments_minor`;

/** What an affiliate had when `at` began: the sum of every entry before it. */
export async function balanceAt(
  sql: DatabaseSql,
  options: { affiliateId: number; at: Date },
): Promise<StatementAmounts> {
  const [amounts] = await sql<[StatementAmounts]>`
    select ${sums(sql)} from accounts a join entries e on e.account_id = a.id join journals j on j.id = e.journal_id
    where a.affiliate_id = ${options.affiliateId} and j.created_at < ${options.at}`;
  return amounts;
}

/** Movements of an affiliate's money in a half-open range, the first one first. */
export async function listStatement(
  sql: DatabaseSql,
  request: PageRequest<bigint> & { affiliateId: number; from: Date; to: Date },
): Promise<Page<StatementLine, bigint>> {
  const { affiliateId, from, to, after = 0n } = request;
  const rows = await sql<StatementLine[]>`
    select j.id, j.created_at as at, j.kind, j.conversion_id, c.order_id, j.payout_id, p.destination_hint, d.note,
      ${sums(sql)}
    from accounts a join entries e on e.account_id = a.id join journals j on j.id = e.journal_id
    left join payouts p on p.id = j.payout_id
    left join conversions c on c.id = j.conversion_id and c.affiliate_id = ${affiliateId}
    left join adjustments d on d.journal_id = j.id and d.affiliate_id = a.affiliate_id
    where a.affiliate_id = ${affiliateId} and j.created_at >= ${from} and j.created_at < ${to} and j.id > ${after}
    group by j.id, p.id, c.id, d.id order by j.id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}
