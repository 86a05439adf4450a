import type { ConversionState, ConversionStatus } from '../conversions/conversions.ts';
import type { PayoutState } from '../payouts/payouts.ts';
import type { DatabaseSql } from '../postgres/db.ts';

/** How many conversions of a program are in each state. */
export async function countConversions(
  sql: DatabaseSql,
  options: { programId: number },
): Promise<{ state: ConversionState; status: ConversionStatus; conversions: bigint; amountMinor: bigint }[]> {
  return await sql<
    { state: ConversionState; status: ConversionStatus; conversions: bigint; amountMinor: bigint }[]
  >`
    select state, status, count(*) as conversions, sum(amount_minor)::bigint as amount_minor
    from conversions_with_status where program_id = ${options.programId}
    group by state, status order by state, status`;
}

/** What each level of a program earned and gave back. */
export async function sumCommissions(
  sql: DatabaseSql,
  options: { programId: number },
): Promise<{ level: number; commissions: bigint; earnedMinor: bigint; reversedMinor: bigint }[]> {
  return await sql<{ level: number; commissions: bigint; earnedMinor: bigint; reversedMinor: bigint }[]>`
    select level, count(*) as commissions, sum(amount_minor)::bigint as earned_minor,
      sum(reversed_minor)::bigint as reversed_minor
    from commissions where program_id = ${options.programId} group by level order by level`;
}

/** How many payouts of a program are in each state, and of how much. */
export async function countPayouts(
  sql: DatabaseSql,
  options: { programId: number },
): Promise<{ state: PayoutState; payouts: bigint; amountMinor: bigint }[]> {
  return await sql<{ state: PayoutState; payouts: bigint; amountMinor: bigint }[]>`
    select state, count(*) as payouts, sum(amount_minor)::bigint as amount_minor
    from payouts where program_id = ${options.programId} group by state order by state`;
}

/** An affiliate's money by account, minor units; `debtMinor` is zero or negative, so that they add up. */
export interface Balance {
  readonly affiliateId: number;
  readonly currency: string;
  readonly pendingMinor: bigint;
  readonly availableMinor: bigint;
  readonly inTransitMinor: bigint;
  readonly paidMinor: bigint;
  readonly debtMinor: bigint;
  /** Without an order; below zero: deductions. */
  readonly adjustmentsMinor: bigint;
}

/** Undefined when there is no such affiliate. */
export async function affiliateBalance(sql: DatabaseSql, affiliateId: number): Promise<Balance | undefined> {
  const [balance] = await sql<Balance[]>`
    select affiliate_id, currency,
      sum(balance_minor) filter (where kind = 'pending')::bigint as pending_minor,
      sum(balance_minor) filter (where kind = 'available')::bigint as available_minor,
      sum(balance_minor) filter (where kind = 'in_transit')::bigint as in_transit_minor,
      sum(balance_minor) filter (where kind = 'paid')::bigint as paid_minor,
      sum(balance_minor) filter (where kind = 'debt')::bigint as debt_minor,
      sum(balance_minor) filter (where kind = 'adjustments')::bigint as adjustments_minor
    from accounts where affiliate_id = ${affiliateId} group by affiliate_id, currency`;
  return balance;
}
