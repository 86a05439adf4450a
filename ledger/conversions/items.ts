import { InputError } from '../../core/errors.ts';
import { allocate } from '../../core/money/rates.ts';
import { formatAmount } from '../../core/money.ts';
import { MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { checkText } from '../postgres/input-faults.ts';
import { ITEM_MARKS, type ItemMark } from '../programs/special-rates.ts';

/** Items of an order: what was bought, line by line. Their amounts add up to that of the order as it was reported. */

/** More lines than any cart has: one order must not hold up those that are recorded with it. */
export const MAX_ITEMS = 200;
export const MAX_QUANTITY = 1_000_000;

/** What the customer paid for a line, discount taken off; tax and shipping are parts of it. */
interface LineAmounts {
  readonly amountMinor: bigint;
  readonly taxMinor: bigint;
  readonly shippingMinor: bigint;
}

/** One line, in minor units of the order's currency. */
export interface OrderItem extends LineAmounts, Readonly<Record<ItemMark, string | null>> {
  readonly quantity: number;
  /** What was taken off before; shown only. */
  readonly discountMinor: bigint;
  /** A gift card earns nothing: it earns when it is spent. */
  readonly giftCard: boolean;
}

/** With its amounts in the program's currency, so that all lines come to the order's amount in the books. */
export interface BookedItem extends OrderItem {
  readonly booked: LineAmounts;
}

/** @throws InputError naming `items`, or a member of one. */
export function checkItems(
  items: readonly OrderItem[],
  { amountMinor, currency }: { amountMinor: bigint; currency: string },
): void {
  if (items.length === 0) throw new InputError('items', 'must not be empty');
  if (items.length > MAX_ITEMS) throw new InputError('items', `must not exceed ${MAX_ITEMS}`);
  for (const [i, item] of items.entries()) {
    for (const mark of ITEM_MARKS) {
      const name = item[mark];
      if (name !== null) checkText(name, `items.${i}.${mark}`, MAX_REFERENCE_LENGTH);
    }
    if (!Number.isInteger(item.quantity) || item.quantity < 1 || item.quantity > MAX_QUANTITY) {
      throw new InputError(`items.${i}.quantity`, `must be 1 to ${MAX_QUANTITY}`);
    }
    if (item.taxMinor + item.shippingMinor > item.amountMinor) {
      throw new InputError(`items.${i}.amount`, 'must include its tax and shipping');
    }
  }
  const sumMinor = items.reduce((sum, item) => sum + item.amountMinor, 0n);
  if (sumMinor === amountMinor) return;
  const [sum, amount] = [sumMinor, amountMinor].map((minor) => formatAmount(minor, currency));
  throw new InputError('items', `come to ${sum} in sum, and the amount of the order is ${amount}`);
}

/** An item as JSON keeps it: amounts are text, what there is not is left out. */
export type StoredItem = Partial<Readonly<Record<ItemMark, string>>> & {
  readonly quantity: number;
  readonly amount: string;
  readonly discount?: string;
  readonly tax?: string;
  readonly shipping?: string;
  readonly giftCard?: true;
  /** Amount, tax and shipping in the program's currency, where that is not the order's. */
  readonly booked?: readonly [amount: string, tax: string, shipping: string];
};

/**
 * Items as they are stored. `exchangedMinor` is what the order comes to in its program's currency, where that is another
 * one: it is cut to the parts of the lines, so that they add up to it.
 */
export function storedItems(items: readonly OrderItem[], exchangedMinor: bigint | undefined): StoredItem[] {
  const parts = items.flatMap(({ amountMinor, taxMinor, shippingMinor }) => [
    amountMinor - taxMinor - shippingMinor,
    taxMinor,
    shippingMinor,
  ]);
  const booked = exchangedMinor === undefined ? undefined : allocate(exchangedMinor, parts);
  return items.map((item, i): StoredItem => {
    const { sku, brand, category, quantity, amountMinor, discountMinor, taxMinor, shippingMinor, giftCard } =
      item;
    const [net = 0n, tax = 0n, shipping = 0n] = booked?.slice(3 * i, 3 * i + 3) ?? [];
    return {
      ...(sku !== null && { sku }),
      ...(brand !== null && { brand }),
      ...(category !== null && { category }),
      quantity,
      amount: String(amountMinor),
      ...(discountMinor > 0n && { discount: String(discountMinor) }),
      ...(taxMinor > 0n && { tax: String(taxMinor) }),
      ...(shippingMinor > 0n && { shipping: String(shippingMinor) }),
      ...(giftCard && { giftCard }),
      ...(booked && { booked: [String(net + tax + shipping), String(tax), String(shipping)] as const }),
    };
  });
}

export function itemFromStored(stored: StoredItem): BookedItem {
  const { sku = null, brand = null, category = null, quantity, booked } = stored;
  const { amount, discount = '0', tax = '0', shipping = '0', giftCard = false } = stored;
  const amounts = linesOf([amount, tax, shipping]);
  return {
    sku,
    brand,
    category,
    quantity,
    ...amounts,
    discountMinor: BigInt(discount),
    giftCard,
    booked: booked ? linesOf(booked) : amounts,
  };
}

function linesOf([amount, tax, shipping]: readonly [string, string, string]): LineAmounts {
  return { amountMinor: BigInt(amount), taxMinor: BigInt(tax), shippingMinor: BigInt(shipping) };
}
