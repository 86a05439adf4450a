import { assert, InputError } from '../../core/errors.ts';
import {
  type Conversion,
  getConversion,
  type RecordedConversion,
  recordConversion,
} from '../conversions/conversions.ts';
import type { ReportedConversion } from '../conversions/reported-conversion.ts';
import type { DatabaseTransaction } from '../postgres/db.ts';
import { leftOfOrder, lockOrder, readAmounts } from './order-amounts.ts';
import { type Author, approveForShop, cancelOrder, changeTotal, restoreOrder } from './order-changes.ts';
import { findRefund, openRefunds, type Refund, recordRefund } from './refunds.ts';

/** What shops report of orders: the order itself, or what happened to it later. */

/** An amount as it was reported, in the order's currency. */
interface ReportedAmount {
  readonly amountMinor: bigint;
  readonly currency: string;
  /** Of a refund that was exchanged: by so much rounding alone may have made it more than what is left. */
  readonly roundingMinor?: bigint | undefined;
}

/** Of what the bank of a customer takes back and may give back: known by its reference from its first report on, whichever it is. */
interface Disputed {
  /** It takes what is left where it is of more, and nothing once it was won. */
  readonly isDispute?: boolean | undefined;
}

/** What happened to an order. */
export type OrderEvent =
  | { readonly kind: 'approved' | 'cancelled' | 'rejected' }
  /** `total` is what the order comes to now, refunds not taken off. */
  | { readonly kind: 'changed'; readonly total: ReportedAmount }
  /** Without an amount: all that is left of the order. Without a reference it must be the whole order. */
  | (Disputed & {
      readonly kind: 'refunded' | 'charged_back';
      readonly amount?: ReportedAmount | undefined;
      readonly refundRef?: string | undefined;
    })
  /** The refund of this reference; without one the cancellation, or the only refund unless `only` excludes it. */
  | (Disputed & {
      readonly kind: 'restored';
      readonly refundRef?: string | undefined;
      readonly only?: 'cancellation' | undefined;
      /** What a dispute is of. */
      readonly amount?: ReportedAmount | undefined;
    });

/** What a report did. */
export const ORDER_OUTCOMES = [
  'recorded',
  'pending',
  'approved',
  'raised',
  'lowered',
  'refunded',
  'charged_back',
  'cancelled',
  'rejected',
  'restored',
  'unchanged',
] as const;
export type OrderOutcome = (typeof ORDER_OUTCOMES)[number];

export type RecordedReport =
  | {
      /** `duplicate`: it was so before, and nothing was changed. */
      readonly outcome: 'accepted' | 'duplicate';
      readonly did: OrderOutcome;
      readonly conversion: Conversion;
    }
  /** The order, or the refund, is recorded otherwise: what is stored stays. */
  | {
      readonly outcome: 'conflict';
      readonly conversion: Conversion;
      /** Fields in which the report of an order differs. */
      readonly differing?: readonly string[];
      readonly detail: string;
    }
  /** Something happened to an order that is not known here. */
  | { readonly outcome: 'not_found' };

export interface OrderReport {
  readonly programId: number;
  readonly orderId: string;
  /** Of the program's events; default: a sale. */
  readonly eventName?: string | undefined;
  /** Undefined where a report of what happened to an order does not say what the order is. */
  readonly order: ReportedConversion | undefined;
  readonly event: OrderEvent | undefined;
}

/** References of refunds of the whole order that were reported without one. */
const WHOLE_ORDER_REFS = { refunded: 'refund', charged_back: 'chargeback' } as const;

/**
 * Records one report. An order that is first heard of as cancelled or rejected is recorded, so that its own report, when it
 * comes, finds it cancelled. @throws InputError.
 */
export async function recordReport(
  tx: DatabaseTransaction,
  report: OrderReport & Author,
): Promise<RecordedReport> {
  const { order, event } = report;
  if (order && (!event || event.kind === 'approved')) {
    return await approveRecorded(tx, report, await recordConversion(tx, order));
  }
  const recorded = await recordEvent(tx, report);
  if (recorded.outcome !== 'not_found' || !order) return recorded;
  await recordConversion(tx, order);
  return await recordEvent(tx, report);
}

/** The report of an order that was recorded, now or before: `approved` ends the wait of one reported as pending. */
export async function approveRecorded(
  tx: DatabaseTransaction,
  report: OrderReport & Author,
  recorded: RecordedConversion,
): Promise<RecordedReport> {
  const { outcome, conversion } = recorded;
  if (outcome === 'conflict') {
    const { differing } = recorded;
    const how = differing.includes('amount') ? '; a new amount is reported with the status changed' : '';
    const detail = `order ${JSON.stringify(conversion.orderId)} is recorded with another ${differing.join(', ')}${how}`;
    return { outcome, conversion, differing, detail };
  }
  if (outcome === 'accepted')
    return { outcome, did: conversion.awaitsShop ? 'pending' : 'recorded', conversion };
  if (report.event && conversion.awaitsShop) return await recordEvent(tx, report);
  return { outcome, did: 'unchanged', conversion };
}

async function recordEvent(
  tx: DatabaseTransaction,
  { event, actor, note, ...order }: OrderReport & Author,
): Promise<RecordedReport> {
  assert(event, 'what happened is known');
  const conversion = await lockOrder(tx, order);
  if (!conversion) return { outcome: 'not_found' };
  const did = await applyEvent(tx, { conversion, event, author: { actor, note } });
  if (typeof did !== 'string') return { outcome: 'conflict', conversion, detail: did.conflict };
  const now = await getConversion(tx, conversion.id);
  assert(now, 'a locked conversion is there');
  return { outcome: did === 'unchanged' ? 'duplicate' : 'accepted', did, conversion: now };
}

interface Applied {
  readonly conversion: Conversion;
  readonly event: OrderEvent;
  readonly author: Author;
}

async function applyEvent(
  tx: DatabaseTransaction,
  { conversion, event, author }: Applied,
): Promise<OrderOutcome | { readonly conflict: string }> {
  switch (event.kind) {
    case 'approved':
      if (!conversion.awaitsShop) return 'unchanged';
      await approveForShop(tx, { conversionId: conversion.id, author });
      return 'approved';
    case 'cancelled':
    case 'rejected':
      if (conversion.cancelledAt !== null) return 'unchanged';
      await cancelOrder(tx, { conversion, kind: event.kind, author });
      return event.kind;
    case 'changed':
      checkCurrency(conversion, event.total);
      return await changeTotal(tx, { conversion, totalMinor: event.total.amountMinor, author });
    case 'refunded':
    case 'charged_back':
      return await applyRefund(tx, { conversion, event, author });
    case 'restored':
      return await applyRestoration(tx, { conversion, event, author });
  }
}

/** @throws InputError naming `currency`. */
export function checkCurrency(conversion: Conversion, reported: Pick<ReportedAmount, 'currency'>): void {
  const currency = conversion.orderCurrency ?? conversion.currency;
  if (currency === reported.currency) return;
  throw new InputError('currency', `must be ${currency}, the currency of the order`);
}

async function applyRefund(
  tx: DatabaseTransaction,
  {
    conversion,
    event,
    author,
  }: Applied & { event: Extract<OrderEvent, { kind: 'refunded' | 'charged_back' }> },
): Promise<OrderOutcome | { readonly conflict: string }> {
  const { kind, amount, refundRef, isDispute = false } = event;
  if (amount) checkCurrency(conversion, amount);
  const { programId, orderId, eventName } = conversion;
  const amounts = await readAmounts(tx, conversion);
  const total = amounts.grossMinor - amounts.loweredMinor;
  const mayExceedMinor = isDispute ? amount?.amountMinor : amount?.roundingMinor;
  const isWhole = !amount || amount.amountMinor === total || isAllLeft(amount, leftOfOrder(amounts));
  if (refundRef === undefined && !isWhole) {
    throw new InputError(
      'refund_ref',
      'is required for a part of the order, so that a repeated report counts once',
    );
  }
  // Nothing can be given back of an order of nothing; what it earns ends anyway.
  if (total === 0n && isWhole && !isDispute) {
    return await applyEvent(tx, { conversion, event: { kind: 'cancelled' }, author });
  }
  const recorded = await recordRefund(tx, {
    programId,
    orderId,
    eventName,
    refundRef: refundRef ?? WHOLE_ORDER_REFS[kind],
    amountMinor: refundRef === undefined ? undefined : amount?.amountMinor,
    mayExceedMinor,
    chargedBack: kind === 'charged_back',
    actor: author.actor,
  });
  const isWon = isDispute && recorded.outcome === 'conflict' && recorded.refund.restoredAt !== null;
  if (isWon) return 'unchanged';
  if (recorded.outcome === 'conflict') return { conflict: refundConflict(recorded.refund) };
  return recorded.outcome === 'recorded' ? kind : 'unchanged';
}

function isAllLeft({ amountMinor, roundingMinor = 0n }: ReportedAmount, leftMinor: bigint): boolean {
  return amountMinor >= leftMinor && amountMinor - leftMinor <= roundingMinor;
}

/** Why a refund is not taken under a reference that is known. */
export function refundConflict({ refundRef, restoredAt }: Refund): string {
  const reference = JSON.stringify(refundRef);
  return restoredAt === null
    ? `the refund ${reference} is recorded for the order with another amount, or of other items`
    : `the refund ${reference} was taken back: a further refund has a refund_ref of its own`;
}

async function applyRestoration(
  tx: DatabaseTransaction,
  { conversion, event, author }: Applied & { event: Extract<OrderEvent, { kind: 'restored' }> },
): Promise<OrderOutcome | { readonly conflict: string }> {
  const { refundRef, only, amount, isDispute = false } = event;
  if (refundRef !== undefined) {
    const reference = { conversionId: conversion.id, refundRef };
    let refund = await findRefund(tx, reference);
    // Won before it is heard of that it was opened: recorded now, so that it takes nothing when it is.
    if (!refund && isDispute) {
      const opened = { kind: 'charged_back', amount, refundRef, isDispute } as const;
      const did = await applyRefund(tx, { conversion, event: opened, author });
      if (did !== 'charged_back') return did;
      refund = await findRefund(tx, reference);
    }
    if (!refund) throw new InputError('refund_ref', 'is no refund of this order');
    if (refund.restoredAt !== null) return 'unchanged';
    await restoreOrder(tx, { conversion, refund, author });
    return 'restored';
  }
  if (conversion.cancelledAt !== null) {
    await restoreOrder(tx, { conversion, author });
    return 'restored';
  }
  if (only === 'cancellation') return 'unchanged';
  const [refund, another] = await openRefunds(tx, conversion.id);
  if (!refund) return 'unchanged';
  if (another) throw new InputError('refund_ref', 'is required: the order has several refunds');
  await restoreOrder(tx, { conversion, refund, author });
  return 'restored';
}
