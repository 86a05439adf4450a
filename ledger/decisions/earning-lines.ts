import { type EarningLine, wholeOrder } from '../books/commission-amounts.ts';
import type { BookedItem } from '../conversions/items.ts';
import type { CommissionBase } from '../programs/programs.ts';
import { ITEM_MARKS, type ItemRate } from '../programs/special-rates.ts';
import type { Terms } from '../programs/terms.ts';

/** What of an order earns, and by which rate. */

/** An order as far as it earns. */
export interface EarningOrder {
  readonly amountMinor: bigint;
  readonly items: readonly BookedItem[] | null;
  /** As it was decided; null: before there was a choice, the order's amount. */
  readonly commissionBase: CommissionBase | null;
}

/** The lines of an order. What it was raised by after it was reported is of no item, and earns by the terms' own rate. */
export function earningLines(
  { amountMinor, items, commissionBase }: EarningOrder,
  { itemRates }: Pick<Terms, 'itemRates'>,
): EarningLine[] {
  if (items === null) return wholeOrder(amountMinor);
  const lines = items.map((one, item): EarningLine => {
    const rate = rateOf(one, itemRates);
    const earns = !one.giftCard && rate?.rateBps !== 0;
    return { item, rate, earns, baseMinor: earns ? baseOf(one, commissionBase) : 0n };
  });
  const raisedMinor = items.reduce((left, { booked }) => left - booked.amountMinor, amountMinor);
  return raisedMinor > 0n ? [...lines, ...wholeOrder(raisedMinor)] : lines;
}

function baseOf({ booked }: BookedItem, base: CommissionBase | null): bigint {
  const { amountMinor, taxMinor, shippingMinor } = booked;
  if (base === 'net_of_tax') return amountMinor - taxMinor;
  return base === 'net_of_tax_and_shipping' ? amountMinor - taxMinor - shippingMinor : amountMinor;
}

/** The most specific rate for an item. */
function rateOf(item: BookedItem, rates: readonly ItemRate[]): ItemRate | null {
  for (const mark of ITEM_MARKS) {
    const rate =
      item[mark] === null ? undefined : rates.find(({ by, name }) => by === mark && name === item[mark]);
    if (rate) return rate;
  }
  return null;
}
