import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import { getConversion } from '../../../ledger/conversions/conversions.ts';
import type { OrderEvent } from '../../../ledger/decisions/order-reports.ts';
import type { ApiServer } from '../../http/context.ts';
import { inProgram, principalOf } from '../../http/principal.ts';
import { bigintId } from '../../schemas/ids.ts';
import { amountText, currencyText, text, toMinor } from '../../schemas/schemas.ts';
import { refundRef } from '../order.ts';
import { reportOrder, type ShopContext } from '../record-order.ts';
import { reportAnswer, viewReport } from './orders.ts';

const note = text(MAX_NOTE_LENGTH).optional().meta({ description: 'Why; it stays in the audit log.' });

/** What operators and shops do to an order by its conversion: the same as reporting it with a status. */
export function addOrderChangeRoutes(app: ApiServer, context: ShopContext): void {
  const params = z.object({ id: bigintId('conversion') });
  const response = { 200: reportAnswer };
  const route = {
    method: 'POST',
    config: {
      roles: ['advertiser', 'operator'],
      logAs: 'api',
      idempotent: true,
      problems: ['not_found', 'conflict', 'replayed', 'ip_not_allowed'],
    },
  } as const;
  const tags = ['conversions'];

  async function report(
    request: FastifyRequest,
    reply: FastifyReply,
    options: { id: bigint; event: OrderEvent; note: string | undefined },
  ): Promise<z.output<typeof reportAnswer>> {
    const principal = principalOf(request);
    const found = await getConversion(context.ledger, options.id);
    const { programId, orderId, eventName } = inProgram(principal, found, 'conversion with this id');
    return await reportOrder(context, request, reply, {
      report: { programId, orderId, eventName, order: undefined, event: options.event },
      source: 'api',
      newStatus: 200,
      note: options.note,
      view: (reported) => viewReport(reported, principal),
    });
  }

  app.route({
    ...route,
    url: '/v1/conversions/:id/cancel',
    schema: {
      operationId: 'cancelConversion',
      tags,
      summary: 'Cancel an order: it earns nothing until it is restored. Repeating it changes nothing.',
      params,
      body: z.strictObject({ note }),
      response,
    },
    handler: async (request, reply) =>
      await report(request, reply, {
        id: request.params.id,
        event: { kind: 'cancelled' },
        note: request.body.note,
      }),
  });

  app.route({
    ...route,
    url: '/v1/conversions/:id/restore',
    schema: {
      operationId: 'restoreConversion',
      tags,
      summary:
        'Take back a cancellation, or the refund of a refund_ref: a won dispute, a failed refund, a mistake',
      params,
      body: z.strictObject({ refund_ref: refundRef.optional(), note }),
      response,
    },
    handler: async (request, reply) =>
      await report(request, reply, {
        id: request.params.id,
        event: { kind: 'restored', refundRef: request.body.refund_ref },
        note: request.body.note,
      }),
  });

  app.route({
    ...route,
    url: '/v1/conversions/:id/change',
    schema: {
      operationId: 'changeConversion',
      tags,
      summary: 'Raise or lower an order: amount is what it comes to now, refunds not taken off',
      params,
      body: z
        .strictObject({ amount: amountText, currency: currencyText, note })
        .transform((input, context) => ({ ...input, amountMinor: toMinor(input, context) })),
      response,
    },
    handler: async (request, reply) => {
      const { amountMinor, currency } = request.body;
      return await report(request, reply, {
        id: request.params.id,
        event: { kind: 'changed', total: { amountMinor, currency } },
        note: request.body.note,
      });
    },
  });
}
