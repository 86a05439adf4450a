import { assert, InputError } from '../../core/errors.ts';
import { formatAmount } from '../../core/money.ts';
import { MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { type Conversion, getConversion } from '../conversions/conversions.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { checkText } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';
import { adjustCommissions, writeChange } from './adjustments.ts';
import { leftOfOrder, lockOrder, readAmounts, refundedInBooks } from './order-amounts.ts';
import { namesSameItems, type RefundedItem, resolveItems, type StoredRefundItem } from './refund-items.ts';

export interface Refund {
  readonly id: bigint;
  readonly conversionId: bigint;
  readonly refundRef: string;
  /** In the program's currency. */
  readonly amountMinor: bigint;
  /** As it was reported, in the order's currency; null where that is the program's. */
  readonly orderAmountMinor: bigint | null;
  /** Whether the customer's bank took the money back. */
  readonly chargedBack: boolean;
  readonly receivedAt: Date;
  /** Of which items it is; null: of the order as a whole. */
  readonly items: readonly StoredRefundItem[] | null;
  /** It was taken back then: the order is as without it. */
  readonly restoredAt: Date | null;
}

export type RecordedRefund =
  | { readonly outcome: 'recorded'; readonly refund: Refund; readonly conversion: Conversion }
  | { readonly outcome: 'duplicate'; readonly refund: Refund; readonly conversion: Conversion }
  /** The same reference with another amount or other items, or after it was taken back: what is stored stays. */
  | { readonly outcome: 'conflict'; readonly refund: Refund; readonly conversion: Conversion }
  /** All that is left was to be refunded, and that is nothing. */
  | { readonly outcome: 'nothing_left'; readonly conversion: Conversion }
  | { readonly outcome: 'not_found' };

/** To be read from `refunds r`. */
export const REFUND_COLUMNS = [
  'r.id',
  'r.conversionId',
  'r.refundRef',
  'r.amountMinor',
  'r.orderAmountMinor',
  'r.chargedBack',
  'r.receivedAt',
  'r.items',
];

/** When a refund `r` was taken back. */
export const restoredAt = (sql: DatabaseSql) =>
  sql`(select received_at from order_changes where refund_id = r.id) as restored_at`;

export interface NewRefund {
  readonly programId: number;
  readonly orderId: string;
  readonly eventName?: string | undefined;
  readonly refundRef: string;
  /** In the order's currency; undefined: all that is left of the order, or what its items come to. */
  readonly amountMinor?: bigint | undefined;
  /** More than what is left by no more than this is all that is left; default: by nothing. */
  readonly mayExceedMinor?: bigint | undefined;
  readonly items?: readonly RefundedItem[] | undefined;
  readonly chargedBack?: boolean | undefined;
  readonly actor: string;
  /** Why; it goes to the audit log. */
  readonly note?: string | undefined;
}

/**
 * Records a refund once per (order, reference) and takes back its share at every level. What is still in the hold or
 * available is reversed; what is in a payout or paid becomes debt, which the affiliate's next payout nets: a refund
 * is never refused for the moment it comes at. An order that was converted is refunded by the rate it was converted by, so
 * that refunds in any parts come to what the order came to. @throws InputError naming `amount`, `refund_ref` or a member of
 * `items`.
 */
export async function recordRefund(tx: DatabaseTransaction, refund: NewRefund): Promise<RecordedRefund> {
  const { refundRef, chargedBack = false, actor } = refund;
  checkText(refundRef, 'refund_ref', MAX_REFERENCE_LENGTH);
  if (refund.amountMinor !== undefined && refund.amountMinor <= 0n) {
    throw new InputError('amount', 'must be more than zero');
  }
  const before = await lockOrder(tx, refund);
  if (!before) return { outcome: 'not_found' };
  const known = await findRefund(tx, { conversionId: before.id, refundRef });
  if (known) {
    const beyondMinor = (refund.amountMinor ?? 0n) - (known.orderAmountMinor ?? known.amountMinor);
    const sameAmount =
      refund.amountMinor === undefined || (beyondMinor >= 0n && beyondMinor <= (refund.mayExceedMinor ?? 0n));
    const sameItems = !refund.items || namesSameItems(before, known.items, refund.items);
    const outcome = sameAmount && sameItems && known.restoredAt === null ? 'duplicate' : 'conflict';
    return { outcome, refund: known, conversion: before };
  }
  const amounts = await readAmounts(tx, before);
  const leftMinor = leftOfOrder(amounts);
  const items = refund.items && (await resolveItems(tx, before, refund.items));
  const amountMinor = amountOf(refund, { items, leftMinor, currency: amounts.currency });
  if (amountMinor > leftMinor) {
    const left = formatAmount(leftMinor, amounts.currency);
    throw new InputError('amount', `must not exceed what is left of the order, ${left}`);
  }
  if (amountMinor === 0n) return { outcome: 'nothing_left', conversion: before };
  const refundedMinor = refundedInBooks(before, {
    ...amounts,
    refundedMinor: amounts.refundedMinor + amountMinor,
  });
  const inBooksMinor = refundedMinor - refundedInBooks(before, amounts);
  const [{ id }] = await tx<[{ id: bigint }]>`
    insert into refunds (conversion_id, refund_ref, amount_minor, order_amount_minor, charged_back, items)
    values (${before.id}, ${refundRef}, ${inBooksMinor}, ${before.orderAmountMinor === null ? null : amountMinor}, ${chargedBack},
      ${items ? tx.json(items) : null}::jsonb)
    returning id`;
  const change = before.cancelledAt === null ? { refundedMinor } : {};
  await adjustCommissions(tx, await writeChange(tx, before.id, change), `refund:${id}`);
  await appendAuditLog(tx, {
    actor,
    action: 'conversion.refund',
    subject: `cnv_${before.id}`,
    before: { state: before.state, refunded: formatAmount(before.refundedMinor, before.currency) },
    after: { refund_ref: refundRef, amount: formatAmount(inBooksMinor, before.currency), note: refund.note },
  });
  const recorded = await findRefund(tx, { conversionId: before.id, refundRef });
  const conversion = await getConversion(tx, before.id);
  assert(recorded && conversion, 'what was written is there');
  return { outcome: 'recorded', refund: recorded, conversion };
}

/** @throws InputError naming `amount`. */
function amountOf(
  refund: NewRefund,
  {
    items,
    leftMinor,
    currency,
  }: { items: readonly StoredRefundItem[] | undefined; leftMinor: bigint; currency: string },
): bigint {
  if (!items) {
    const { amountMinor = leftMinor, mayExceedMinor = 0n } = refund;
    return amountMinor > leftMinor && amountMinor - leftMinor <= mayExceedMinor ? leftMinor : amountMinor;
  }
  const sumMinor = items.reduce((sum, { amount }) => sum + BigInt(amount), 0n);
  if (refund.amountMinor !== undefined && refund.amountMinor !== sumMinor) {
    throw new InputError('amount', `must be what the items come to, ${formatAmount(sumMinor, currency)}`);
  }
  return sumMinor;
}

/** The refund of an order by its reference. */
export async function findRefund(
  sql: DatabaseSql,
  { conversionId, refundRef }: { conversionId: bigint; refundRef: string },
): Promise<Refund | undefined> {
  const [refund] = await sql<Refund[]>`
    select ${sql(REFUND_COLUMNS)}, ${restoredAt(sql)} from refunds r
    where conversion_id = ${conversionId} and refund_ref = ${refundRef}`;
  return refund;
}

/** Refunds of an order that were not taken back. */
export async function openRefunds(sql: DatabaseSql, conversionId: bigint): Promise<Refund[]> {
  return await sql<Refund[]>`
    select ${sql(REFUND_COLUMNS)}, null::timestamptz as restored_at from refunds r
    where conversion_id = ${conversionId} and not exists (select from order_changes where refund_id = r.id)
    order by id`;
}

/** A refund with the order it is of. */
export interface ListedRefund extends Refund {
  readonly programId: number;
  readonly orderId: string;
  readonly eventName: string;
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
    select ${sql(REFUND_COLUMNS)}, ${restoredAt(sql)}, c.program_id, c.order_id, c.event_name, c.affiliate_id,
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
