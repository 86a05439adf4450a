import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import { formatAmount, parseAmount } from '../../core/money.ts';
import { MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { type BookedItem, MAX_ITEMS, MAX_QUANTITY, type OrderItem } from '../../ledger/conversions/items.ts';
import type { RefundedItem } from '../../ledger/decisions/refund-items.ts';
import { amountText, formatMoney, moneyText, text, toMinor } from '../schemas/schemas.ts';

/** Items of an order: as shops report them, and as they are shown. */

const mark = text(MAX_REFERENCE_LENGTH).optional();
const item = z.strictObject({
  sku: mark,
  brand: mark,
  category: mark,
  quantity: z.int().min(1).max(MAX_QUANTITY).default(1),
  amount: amountText.meta({
    description:
      'What the customer paid for the line: of all pieces, discount taken off, tax and shipping included.',
  }),
  discount: amountText.optional().meta({ description: 'What was taken off; shown only.' }),
  tax: amountText.optional().meta({ description: 'Of the amount.' }),
  shipping: amountText.optional().meta({ description: 'Of the amount.' }),
  gift_card: z.boolean().optional().meta({ description: 'The line sells a gift card: it earns nothing.' }),
});
const itemList = z.array(item).min(1).max(MAX_ITEMS);

/** The items of a report, also as JSON in one field, which is all that a postback and a table have. */
export const itemsInput = z
  .union([
    itemList,
    z
      .string()
      .transform((json, context): unknown => {
        try {
          return JSON.parse(json);
        } catch {
          context.addIssue({ code: 'custom', message: 'must be JSON: an array of items' });
          return z.NEVER;
        }
      })
      .pipe(itemList),
  ])
  .optional()
  .meta({
    description:
      'What was bought, line by line; the amounts come to that of the order. In a postback, a pixel or a table: as JSON in this one field.',
  });

/** Items in minor units of the order's currency; what is wrong with one is an issue by its field. */
export function toItems(
  items: z.output<typeof itemsInput>,
  currency: string,
  context: z.RefinementCtx,
): OrderItem[] | undefined {
  return items?.map((given, i) => {
    const minor = (field: 'amount' | 'discount' | 'tax' | 'shipping'): bigint => {
      const value = given[field];
      if (value === undefined) return 0n;
      try {
        return parseAmount(value, currency, field);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        context.addIssue({ code: 'custom', path: ['items', i, error.field], message: error.reason });
        return 0n;
      }
    };
    const { sku = null, brand = null, category = null, quantity, gift_card: giftCard = false } = given;
    return {
      sku,
      brand,
      category,
      quantity,
      amountMinor: minor('amount'),
      discountMinor: minor('discount'),
      taxMinor: minor('tax'),
      shippingMinor: minor('shipping'),
      giftCard,
    };
  });
}

/** What a refund gives back of an item. */
export const refundItemsInput = z
  .array(
    z
      .strictObject({
        item: z
          .int()
          .min(1)
          .max(MAX_ITEMS)
          .optional()
          .meta({ description: 'Its place among the items, from 1.' }),
        sku: text(MAX_REFERENCE_LENGTH)
          .optional()
          .meta({ description: 'Of one item only; else name its place.' }),
        quantity: z.int().min(1).max(MAX_QUANTITY).optional(),
        amount: amountText.optional(),
      })
      .refine(({ item: place, sku }) => (place === undefined) !== (sku === undefined), {
        path: ['item'],
        message: 'give either item or sku',
      })
      .refine(({ quantity, amount }) => quantity === undefined || amount === undefined, {
        path: ['amount'],
        message: 'give either quantity or amount',
      }),
  )
  .min(1)
  .max(MAX_ITEMS)
  .optional()
  .meta({
    description:
      'Of which items it is: pieces, an amount, or without either all that is left of the item. What these items earned is taken back, and nothing of the others.',
  });

/** In minor units; amounts need the currency of the order. */
export function toRefundedItems(
  items: z.output<typeof refundItemsInput>,
  currency: string | undefined,
  context: z.RefinementCtx,
): RefundedItem[] | undefined {
  return items?.map(({ item: place, sku, quantity, amount }, i) => {
    const named = { item: place, sku, quantity };
    if (amount === undefined) return named;
    if (currency === undefined) {
      context.addIssue({ code: 'custom', path: ['currency'], message: 'is required' });
      return named;
    }
    return { ...named, amountMinor: toMinor({ amount, currency }, context, ['items', String(i)]) };
  });
}

export const itemView = z
  .object({
    sku: z.string().nullable(),
    brand: z.string().nullable(),
    category: z.string().nullable(),
    quantity: z.int(),
    amount: moneyText,
    discount: moneyText,
    tax: moneyText,
    shipping: moneyText,
    gift_card: z.boolean(),
    booked: z.string().meta({ description: 'The amount in the program’s currency.' }),
  })
  .meta({ id: 'OrderItem' });

export function formatItem(
  { sku, brand, category, quantity, giftCard, booked, ...amounts }: BookedItem,
  { orderCurrency, currency }: { orderCurrency: string | null; currency: string },
): z.output<typeof itemView> {
  const money = (minor: bigint) => formatMoney(minor, orderCurrency ?? currency);
  return {
    sku,
    brand,
    category,
    quantity,
    amount: money(amounts.amountMinor),
    discount: money(amounts.discountMinor),
    tax: money(amounts.taxMinor),
    shipping: money(amounts.shippingMinor),
    gift_card: giftCard,
    booked: formatAmount(booked.amountMinor, currency),
  };
}
