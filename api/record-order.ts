import { type Conversion, type ConversionSource, recordConversion } from '../ledger/conversions.ts';
import type { Ledger } from '../ledger/db.ts';
import { formatConversion } from './conversion-view.ts';
import type { Order } from './order.ts';
import { type Principal, programRequired } from './principal.ts';
import { Problem } from './problems.ts';
import { formatMoney, formatTime } from './schemas.ts';

/**
 * Records a reported order once.
 * @throws Problem `conflict` that shows both, when the order is recorded with other content; InputError.
 */
export async function recordOrder(options: {
  ledger: Ledger;
  principal: Principal;
  order: Order;
  source: ConversionSource;
}): Promise<{ status: 'accepted' | 'duplicate'; conversion: Conversion }> {
  const { ledger, principal, order, source } = options;
  const programId = programRequired(principal, order.programId);
  const recorded = await recordConversion(ledger, { ...order, programId, source });
  const { outcome, conversion } = recorded;
  if (outcome !== 'conflict') return { status: outcome, conversion };
  throw new Problem('conflict', {
    detail: `order ${JSON.stringify(order.orderId)} is recorded with another ${recorded.differing.join(', ')}`,
    members: {
      differing: recorded.differing,
      recorded: formatConversion(conversion, principal),
      reported: {
        order_id: order.orderId,
        amount: formatMoney(order.amountMinor, order.currency),
        occurred_at: order.occurredAt === undefined ? null : formatTime(order.occurredAt),
        click_id: order.clickId ?? null,
        customer_id: order.customerId ?? null,
        ip: order.ip ?? null,
      },
    },
  });
}
