import { mulDivHalfEven } from '../../core/money/rates.ts';
import { type Conversion, getConversion, type OrderName } from '../conversions/conversions.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { DEFAULT_EVENT } from '../programs/events.ts';

/** What an order came to and what is left of it, in the currency it was reported in. */
export interface OrderAmounts {
  readonly currency: string;
  /** What it came to at its highest. */
  readonly grossMinor: bigint;
  /** What changes took off it. */
  readonly loweredMinor: bigint;
  /** The sum of its refunds, without those that were taken back. */
  readonly refundedMinor: bigint;
}

/** Locks an order, so that what happens to it happens one after the other. */
export async function lockOrder(
  tx: DatabaseTransaction,
  { programId, orderId, eventName = DEFAULT_EVENT }: OrderName,
): Promise<Conversion | undefined> {
  const [locked] = await tx<{ id: bigint }[]>`
    select id from conversions
    where program_id = ${programId} and order_id = ${orderId} and event_name = ${eventName} for no key update`;
  return locked && (await getConversion(tx, locked.id));
}

export async function readAmounts(sql: DatabaseSql, conversion: Conversion): Promise<OrderAmounts> {
  const [sums] = await sql<[{ loweredMinor: bigint; refundedMinor: bigint }]>`
    select
      (select coalesce(sum(lowered_minor), 0)::bigint from order_changes where conversion_id = ${conversion.id}) as lowered_minor,
      (select coalesce(sum(coalesce(order_amount_minor, amount_minor)), 0)::bigint from refunds r
        where conversion_id = ${conversion.id}
          and not exists (select from order_changes where refund_id = r.id)) as refunded_minor`;
  return {
    currency: conversion.orderCurrency ?? conversion.currency,
    grossMinor: conversion.orderAmountMinor ?? conversion.amountMinor,
    ...sums,
  };
}

/** What is left of an order, whether or not it is cancelled: what can still be refunded. */
export function leftOfOrder({ grossMinor, loweredMinor, refundedMinor }: OrderAmounts): bigint {
  return grossMinor - loweredMinor - refundedMinor;
}

/**
 * What was taken back comes to in the books: `round(amount × taken back ÷ order)`, so that parts of any size add up to what
 * the order came to.
 */
export function refundedInBooks(
  { amountMinor, orderAmountMinor }: Conversion,
  { loweredMinor, refundedMinor }: OrderAmounts,
): bigint {
  const takenMinor = loweredMinor + refundedMinor;
  if (orderAmountMinor === null || takenMinor === 0n) return takenMinor;
  return mulDivHalfEven(amountMinor, takenMinor, orderAmountMinor);
}
