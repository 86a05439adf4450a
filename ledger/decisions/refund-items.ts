import { InputError } from '../../core/errors.ts';
import { mulDivHalfEven } from '../../core/money/rates.ts';
import { formatAmount } from '../../core/money.ts';
import type { Conversion } from '../conversions/conversions.ts';
import type { BookedItem } from '../conversions/items.ts';
import type { DatabaseSql } from '../postgres/db.ts';

/** Refunds that say of which items they are: what these items earned is taken back, and nothing of the others. */

/** What a shop gives back of an item: all that is left of it, some pieces, or an amount. */
export interface RefundedItem {
  /** Its place among the order's items, from 1; either this or the sku of one item. */
  readonly item?: number | undefined;
  readonly sku?: string | undefined;
  readonly quantity?: number | undefined;
  /** In the order's currency. */
  readonly amountMinor?: bigint | undefined;
}

/** As the refund keeps it. */
export type StoredRefundItem = {
  /** Its place among the order's items, from 0. */
  readonly item: number;
  /** Pieces; 0: an amount was named. */
  readonly quantity: number;
  /** Minor units of the order's currency. */
  readonly amount: string;
};

/** What was refunded of an item before. */
interface Before {
  readonly quantity: number;
  readonly amountMinor: bigint;
}

/** By their place, what was refunded of items by refunds that were not taken back. */
export async function readRefundedItems(
  sql: DatabaseSql,
  conversionId: bigint,
): Promise<Map<number, Before>> {
  const rows = await sql<{ item: number; quantity: bigint; amountMinor: bigint }[]>`
    select (one ->> 'item')::integer as item, sum((one ->> 'quantity')::bigint)::bigint as quantity,
      sum((one ->> 'amount')::bigint)::bigint as amount_minor
    from refunds r cross join jsonb_array_elements(r.items) as one
    where conversion_id = ${conversionId} and not exists (select from order_changes where refund_id = r.id)
    group by 1`;
  return new Map(
    rows.map(({ item, quantity, amountMinor }) => [item, { quantity: Number(quantity), amountMinor }]),
  );
}

/** What each named item is refunded by. @throws InputError naming a member of `items`. */
export async function resolveItems(
  sql: DatabaseSql,
  { id, items, orderCurrency, currency }: Conversion,
  asked: readonly RefundedItem[],
): Promise<StoredRefundItem[]> {
  if (items === null) throw new InputError('items', 'the order was reported without items');
  const before = await readRefundedItems(sql, id);
  const resolved: StoredRefundItem[] = [];
  for (const [i, one] of asked.entries()) {
    const place = placeOf(items, one, `items.${i}`);
    if (resolved.some(({ item }) => item === place)) throw new InputError(`items.${i}`, 'is named twice');
    const item = items[place] as BookedItem;
    const { quantity, amountMinor } = refundOf(item, one, {
      before: before.get(place) ?? { quantity: 0, amountMinor: 0n },
      field: `items.${i}`,
      currency: orderCurrency ?? currency,
    });
    if (amountMinor === 0n) throw new InputError(`items.${i}`, 'has nothing left to refund');
    resolved.push({ item: place, quantity, amount: String(amountMinor) });
  }
  return resolved;
}

/**
 * Whether a repeated refund names the items that it named before. "All that is left" of an item was more then.
 * @throws InputError naming a member of `items`.
 */
export function namesSameItems(
  { items }: Conversion,
  stored: readonly StoredRefundItem[] | null,
  asked: readonly RefundedItem[],
): boolean {
  if (items === null || asked.length !== stored?.length) return false;
  return asked.every((one, i) => {
    const place = placeOf(items, one, `items.${i}`);
    const known = stored.find(({ item }) => item === place);
    return (
      known !== undefined &&
      (one.quantity === undefined || one.quantity === known.quantity) &&
      (one.amountMinor === undefined || one.amountMinor === BigInt(known.amount))
    );
  });
}

function placeOf(items: readonly BookedItem[], { item, sku }: RefundedItem, field: string): number {
  if (item !== undefined) {
    if (item >= 1 && item <= items.length) return item - 1;
    throw new InputError(`${field}.item`, `must be 1 to ${items.length}`);
  }
  const places = items.flatMap((one, place) => (sku !== undefined && one.sku === sku ? [place] : []));
  const [place, another] = places;
  if (place === undefined) throw new InputError(`${field}.sku`, 'is no item of the order');
  if (another === undefined) return place;
  throw new InputError(`${field}.sku`, 'is of several items of the order: name one by its place, item');
}

function refundOf(
  item: BookedItem,
  asked: RefundedItem,
  { before, field, currency }: { before: Before; field: string; currency: string },
): Before {
  const leftMinor = item.amountMinor - before.amountMinor;
  const leftQuantity = item.quantity - before.quantity;
  if (asked.amountMinor !== undefined) {
    if (asked.amountMinor > 0n && asked.amountMinor <= leftMinor) {
      return { quantity: 0, amountMinor: asked.amountMinor };
    }
    throw new InputError(
      `${field}.amount`,
      `must be more than zero, and at most ${formatAmount(leftMinor, currency)}`,
    );
  }
  const { quantity = leftQuantity } = asked;
  if (asked.quantity !== undefined && quantity > leftQuantity) {
    throw new InputError(`${field}.quantity`, `must be at most ${leftQuantity}, which are left`);
  }
  if (asked.quantity === undefined || quantity === leftQuantity) return { quantity, amountMinor: leftMinor };
  // By sums alone, so that pieces come to the line in any parts.
  const upTo = (pieces: number) => mulDivHalfEven(item.amountMinor, BigInt(pieces), BigInt(item.quantity));
  const amountMinor = upTo(before.quantity + quantity) - upTo(before.quantity);
  // An amount that was named before may have taken from these pieces.
  if (amountMinor > leftMinor) return { quantity, amountMinor: leftMinor };
  return { quantity, amountMinor };
}
