import { z } from 'zod';
import { ORDER_OUTCOMES } from '../../../ledger/decisions/order-reports.ts';
import type { ApiServer } from '../../http/context.ts';
import { type Principal, principalOf } from '../../http/principal.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { conversionView, formatConversion } from '../conversion-view.ts';
import { orderInput, withoutEmptyMembers } from '../order.ts';
import { type ReportedOrder, reportOrder, type ShopContext, statusUrl } from '../record-order.ts';
import { PLAIN_WORDS, withEventName } from '../shop-settings.ts';

/** What a report did, and the order after it. */
export const reportAnswer = z
  .object({
    status: z.enum(['accepted', 'duplicate']),
    outcome: z.enum(ORDER_OUTCOMES).meta({ description: 'What the report did.' }),
    status_url: z.string().meta({ description: 'Where the decision is to be seen.' }),
    call_id: idText('postbackCall'),
    conversion: conversionView,
  })
  .meta({ id: 'ReportedConversion' });

export function viewReport(
  { status, outcome, conversion, callId }: ReportedOrder,
  principal: Principal,
): z.output<typeof reportAnswer> {
  return {
    status,
    outcome,
    status_url: statusUrl(conversion.id),
    call_id: formatId('postbackCall', callId),
    conversion: formatConversion(conversion, principal),
  };
}

/** Orders from shops over JSON. */
export function addOrderRoutes(app: ApiServer, context: ShopContext): void {
  app.route({
    method: 'POST',
    url: '/v1/conversions',
    config: {
      roles: ['advertiser', 'operator'],
      logAs: 'api',
      idempotent: true,
      example: { order_id: '1001', amount: '12.34', currency: 'EUR' },
      problems: ['conflict', 'not_found', 'replayed', 'ip_not_allowed'],
    },
    schema: {
      operationId: 'reportConversion',
      tags: ['shops'],
      summary:
        'Report an order, attributed a moment later, or what happened to one. Repeating it changes nothing.',
      body: orderInput,
      response: {
        200: reportAnswer.describe(
          'It was recorded before with the same content, or what happened to it was recorded.',
        ),
        202: reportAnswer.describe('It is recorded and will be attributed.'),
      },
    },
    preValidation: async (request) => {
      const given = withoutEmptyMembers(request.body) as { program_id?: unknown } | undefined;
      const programId =
        principalOf(request).programId ?? integerId('program').safeParse(given?.program_id).data;
      const words = programId === undefined ? PLAIN_WORDS : await context.shopSettings.of(programId);
      request.body = withEventName(given, words) as typeof request.body;
    },
    handler: async (request, reply) =>
      await reportOrder(context, request, reply, {
        report: request.body,
        source: 'api',
        newStatus: 202,
        view: (reported) => viewReport(reported, principalOf(request)),
      }),
  });
}
