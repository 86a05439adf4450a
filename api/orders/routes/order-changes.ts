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
import {
  checkMaySayReason,
  type PartnerReasonInput,
  partnerReasonInput,
  sayPartnerReason,
} from '../order-reasons.ts';
import { reportOrder, type ShopContext } from '../record-order.ts';
import { reportAnswer, viewReport } from './orders.ts';

const note = text(MAX_NOTE_LENGTH).optional().meta({ description: 'Why; it stays in the audit log.' });
const partner_reason = partnerReasonInput.optional();

interface OrderChange {
  readonly id: bigint;
  readonly event: OrderEvent;
  readonly note: string | undefined;
  /** For the partner. */
  readonly reason?: PartnerReasonInput | undefined;
}

async function report(
  context: ShopContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { id, event, note: why, reason }: OrderChange,
): Promise<z.output<typeof reportAnswer>> {
  const principal = principalOf(request);
  checkMaySayReason(principal, reason);
  const found = await getConversion(context.ledger, id);
  const { programId, orderId, eventName } = inProgram(principal, found, 'conversion with this id');
  const { actor } = principal;
  return await reportOrder(context, request, reply, {
    report: { programId, orderId, eventName, order: undefined, event },
    source: 'api',
    newStatus: 200,
    note: why,
    within:
      reason &&
      (async (tx, { status, conversion }) => {
        if (status === 'accepted') await sayPartnerReason(tx, context, { conversion, reason, actor });
      }),
    view: (reported) => viewReport(reported, principal),
  });
}

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

  app.route({
    ...route,
    url: '/v1/conversions/:id/cancel',
    schema: {
      operationId: 'cancelConversion',
      tags,
      summary: 'Cancel an order: it earns nothing until it is restored. Repeating it changes nothing.',
      params,
      body: z.strictObject({ note, partner_reason }),
      response,
    },
    handler: async (request, reply) =>
      await report(context, request, reply, {
        id: request.params.id,
        event: { kind: 'cancelled' },
        note: request.body.note,
        reason: request.body.partner_reason,
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
      await report(context, request, reply, {
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
        .strictObject({ amount: amountText, currency: currencyText, note, partner_reason })
        .transform((input, context) => ({ ...input, amountMinor: toMinor(input, context) })),
      response,
    },
    handler: async (request, reply) => {
      const { amountMinor, currency, partner_reason: reason } = request.body;
      return await report(context, request, reply, {
        id: request.params.id,
        event: { kind: 'changed', total: { amountMinor, currency } },
        note: request.body.note,
        reason,
      });
    },
  });
}
