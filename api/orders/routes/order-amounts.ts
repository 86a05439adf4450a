import { z } from 'zod';
import { type Conversion, getConversion } from '../../../ledger/conversions/conversions.ts';
import { leftOfOrder, readAmounts } from '../../../ledger/decisions/order-amounts.ts';
import { readRefundedItems } from '../../../ledger/decisions/refund-items.ts';
import type { DatabaseSql } from '../../../ledger/postgres/db.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, principalOf } from '../../http/principal.ts';
import { bigintId } from '../../schemas/ids.ts';
import { formatMoney, moneyText } from '../../schemas/schemas.ts';

const amountsView = z
  .object({
    total: moneyText.meta({ description: 'What the order comes to now, refunds not taken off.' }),
    refunded: moneyText.meta({ description: 'By refunds that were not taken back.' }),
    left: moneyText.meta({
      description: 'What can still be refunded; a cancelled order has it again once it is restored.',
    }),
    items: z
      .array(
        z.object({
          item: z.int().meta({ description: 'Its place among the items, from 1.' }),
          quantity: z.int().meta({ description: 'Pieces that no refund has named.' }),
          amount: moneyText,
        }),
      )
      .nullable()
      .meta({ description: 'What is left of each; null: the shop has reported none.' }),
  })
  .meta({
    id: 'OrderAmounts',
    description: 'In the currency in which the order was reported, as changes and refunds are.',
  });

async function amountsOf(sql: DatabaseSql, conversion: Conversion): Promise<z.output<typeof amountsView>> {
  const amounts = await readAmounts(sql, conversion);
  const refunded = await readRefundedItems(sql, conversion.id);
  const money = (minor: bigint) => formatMoney(minor, amounts.currency);
  return {
    total: money(amounts.grossMinor - amounts.loweredMinor),
    refunded: money(amounts.refundedMinor),
    left: money(leftOfOrder(amounts)),
    items:
      conversion.items?.map(({ quantity, amountMinor }, place) => {
        const before = refunded.get(place) ?? { quantity: 0, amountMinor: 0n };
        return {
          item: place + 1,
          quantity: quantity - before.quantity,
          amount: money(amountMinor - before.amountMinor),
        };
      }) ?? null,
  };
}

/** What can be changed of an order, by who may change it. */
export function addOrderAmountsRoute(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/conversions/:id/amounts',
    config: { roles: ['operator', 'finance', 'advertiser'], problems: ['not_found'] },
    schema: {
      operationId: 'getOrderAmounts',
      tags: ['conversions'],
      summary: 'What an order comes to, and what is left of it and its items, in its own currency',
      params: z.object({ id: bigintId('conversion') }),
      response: { 200: amountsView },
    },
    handler: async (request) => {
      const found = await getConversion(ledger, request.params.id);
      const conversion = inProgram(principalOf(request), found, 'conversion with this id');
      return await amountsOf(ledger, conversion);
    },
  });
}
