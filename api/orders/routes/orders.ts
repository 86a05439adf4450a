import { z } from 'zod';
import type { ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { formatId, idText } from '../../schemas/ids.ts';
import { conversionView, formatConversion } from '../conversion-view.ts';
import { orderInput, withoutEmptyMembers } from '../order.ts';
import { reportOrder, type ShopContext, statusUrl } from '../record-order.ts';

const answer = z
  .object({
    status: z.enum(['accepted', 'duplicate']),
    status_url: z.string().meta({ description: 'Where the decision is to be seen.' }),
    call_id: idText('postbackCall'),
    conversion: conversionView,
  })
  .meta({ id: 'ReportedConversion' });

/** Orders from shops over JSON. */
export function addOrderRoutes(app: ApiServer, context: ShopContext): void {
  app.route({
    method: 'POST',
    url: '/v1/conversions',
    config: {
      roles: ['advertiser', 'operator'],
      logAs: 'api',
      idempotent: true,
      problems: ['conflict', 'replayed', 'ip_not_allowed'],
    },
    schema: {
      operationId: 'reportConversion',
      tags: ['shops'],
      summary: 'Report an order: recorded now, attributed a moment later. Repeating it changes nothing.',
      body: orderInput,
      response: {
        200: answer.describe('It was recorded before, with the same content.'),
        202: answer.describe('It is recorded and will be attributed.'),
      },
    },
    preValidation: async (request) => {
      request.body = withoutEmptyMembers(request.body) as typeof request.body;
    },
    handler: async (request, reply) =>
      await reportOrder(context, request, reply, {
        order: request.body,
        source: 'api',
        acceptedStatus: 202,
        view: ({ status, conversion, callId }) => ({
          status,
          status_url: statusUrl(conversion.id),
          call_id: formatId('postbackCall', callId),
          conversion: formatConversion(conversion, principalOf(request)),
        }),
      }),
  });
}
