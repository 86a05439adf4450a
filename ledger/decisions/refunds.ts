import { assert, InputError } from '../../core/errors.ts';
import { formatAmount, mulDivHalfEven } from '../../core/money.ts';
import { MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import {
  type Conversion,
  type ConversionState,
  findConversionByOrder,
  getConversion,
} from '../conversions/conversions.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { checkText } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';
import { reverseRefundedShare, stateAfterRefunds } from './reversals.ts';

export interface Refund {
  readonly id: bigint;
  readonly conversionId: bigint;
  readonly refundRef: string;
  /** In the program's currency. */
  readonly amountMinor: bigint;
  /** As it was reported, in the order's currency; null where that is the program's. */
  readonly orderAmountMinor: bigint | null;
  readonly receivedAt: Date;
}

export type RecordedRefund =
  | { readonly outcome: 'recorded'; readonly refund: Refund; readonly conversion: Conversion }
  | { readonly outcome: 'duplicate'; readonly refund: Refund; readonly conversion: Conversion }
  /** The same reference with another amount: the stored one stays. */
  | { readonly outcome: 'conflict'; readonly refund: Refund; readonly conversion: Conversion }
  | { readonly outcome: 'not_found' };

const REFUND_COLUMNS = ['id', 'conversionId', 'refundRef', 'amountMinor', 'orderAmountMinor', 'receivedAt'];

/** States with commissions to take back; before a decision the refund waits for it, after a rejection nothing is left. */
const CREDITED: ReadonlySet<ConversionState> = new Set(['attributed', 'partially_refunded', 'review']);

/**
 * Records a refund once per (order, reference) and takes back its share at every level. What is still in the hold or
 * available is reversed; what is in a payout or paid becomes debt, which the affiliate's next payout nets: a refund
 * is never refused for the moment it comes at. `amountMinor` is in the order's currency; an order that was converted
 * is refunded by the rate it was converted by, so that refunds in any parts come to what the order came to.
 * @throws InputError naming `amount` or `refund_ref`.
 */
export async function recordRefund(
  tx: DatabaseTransaction,
  refund: { programId: number; orderId: string; refundRef: string; amountMinor: bigint; actor: string },
): Promise<RecordedRefund> {
  const { refundRef, amountMinor } = refund;
  checkText(refundRef, 'refund_ref', MAX_REFERENCE_LENGTH);
  if (amountMinor <= 0n) throw new InputError('amount', 'must be more than zero');
  const [locked] = await tx<{ id: bigint }[]>`
    select id from conversions where program_id = ${refund.programId} and order_id = ${refund.orderId}
    for no key update`;
  if (!locked) return { outcome: 'not_found' };
  const before = await getConversion(tx, locked.id);
  assert(before, 'a locked conversion is there');
  const [known] = await tx<Refund[]>`
    select ${tx(REFUND_COLUMNS)} from refunds
    where conversion_id = ${before.id} and refund_ref = ${refundRef}`;
  if (known) {
    const outcome = (known.orderAmountMinor ?? known.amountMinor) === amountMinor ? 'duplicate' : 'conflict';
    return { outcome, refund: known, conversion: before };
  }
  const inBooksMinor = await refundedShare(tx, before, amountMinor);
  const [recorded] = await tx<[Refund]>`
    insert into refunds (conversion_id, refund_ref, amount_minor, order_amount_minor)
    values (${before.id}, ${refundRef}, ${inBooksMinor}, ${before.orderAmountMinor === null ? null : amountMinor})
    returning ${tx(REFUND_COLUMNS)}`;
  await applyRefund(tx, before, inBooksMinor);
  await appendAuditLog(tx, {
    actor: refund.actor,
    action: 'conversion.refund',
    subject: `cnv_${before.id}`,
    before: { state: before.state, refunded: formatAmount(before.refundedMinor, before.currency) },
    after: { refund_ref: refundRef, amount: formatAmount(inBooksMinor, before.currency) },
  });
  const conversion = await findConversionByOrder(tx, refund);
  assert(conversion, 'a locked conversion is there');
  return { outcome: 'recorded', refund: recorded, conversion };
}

/**
 * What a refund of `amountMinor` in the order's currency comes to in the books: `round(amount × refunded so far ÷ order)`
 * less what was refunded before, of the reported amounts. @throws InputError naming `amount`.
 */
async function refundedShare(
  tx: DatabaseTransaction,
  order: Conversion,
  amountMinor: bigint,
): Promise<bigint> {
  const { orderAmountMinor, orderCurrency, currency, refundedMinor } = order;
  const [row] = await tx<{ refunded: bigint }[]>`
    select coalesce(sum(coalesce(order_amount_minor, amount_minor)), 0)::bigint as refunded from refunds
    where conversion_id = ${order.id}`;
  const reportedMinor = orderAmountMinor ?? order.amountMinor;
  const beforeMinor = row?.refunded ?? 0n;
  if (beforeMinor + amountMinor > reportedMinor) {
    const left = formatAmount(reportedMinor - beforeMinor, orderCurrency ?? currency);
    throw new InputError('amount', `must not exceed what is left of the order, ${left}`);
  }
  if (orderAmountMinor === null) return amountMinor;
  return mulDivHalfEven(order.amountMinor, beforeMinor + amountMinor, orderAmountMinor) - refundedMinor;
}

async function applyRefund(tx: DatabaseTransaction, before: Conversion, amountMinor: bigint): Promise<void> {
  if (amountMinor === 0n) return;
  const { id, state } = before;
  const refundedMinor = before.refundedMinor + amountMinor;
  const credited = CREDITED.has(state);
  const next = credited ? stateAfterRefunds({ ...before, refundedMinor }) : state;
  await tx`update conversions set refunded_minor = ${refundedMinor}, state = ${next} where id = ${id}`;
  if (credited) await reverseRefundedShare(tx, id);
}

/** A refund with the order it is of. */
export interface ListedRefund extends Refund {
  readonly programId: number;
  readonly orderId: string;
  readonly affiliateId: number | null;
  /** Of the amount as it was reported. */
  readonly currency: string;
}

/** Refunds, the newest first. */
export async function listRefunds(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    conversionId?: bigint | undefined;
    orderId?: string | undefined;
    /** Of receipt; `to` is outside. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<ListedRefund, bigint>> {
  const { after = null, programId = null, affiliateId = null, conversionId = null, orderId = null } = request;
  const { from = null, to = null } = request;
  const rows = await sql<ListedRefund[]>`
    select ${sql(REFUND_COLUMNS.map((column) => `r.${column}`))}, c.program_id, c.order_id, c.affiliate_id,
      coalesce(c.order_currency, c.currency) as currency
    from refunds r join conversions c on c.id = r.conversion_id
    where (${after}::bigint is null or r.id < ${after})
      and (${programId}::integer is null or c.program_id = ${programId})
      and (${affiliateId}::integer is null or c.affiliate_id = ${affiliateId})
      and (${conversionId}::bigint is null or r.conversion_id = ${conversionId})
      and (${orderId}::text is null or c.order_id = ${orderId})
      and (${from}::timestamptz is null or r.received_at >= ${from})
      and (${to}::timestamptz is null or r.received_at < ${to})
    order by r.id desc limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}
