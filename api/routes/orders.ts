import { z } from 'zod';
import type { ApiContext, ApiServer } from '../context.ts';
import { conversionView, formatConversion } from '../conversion-view.ts';
import { orderInput, withoutEmptyMembers } from '../order.ts';
import { principalOf } from '../principal.ts';
import { recordOrder } from '../record-order.ts';

const answer = z.object({ status: z.enum(['accepted', 'duplicate']), conversion: conversionView });

/** Orders from shops over JSON. */
export function addOrderRoutes(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/conversions',
    config: { roles: ['advertiser', 'operator'], problems: ['conflict'] },
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
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { status, conversion } = await recordOrder({
        ledger,
        principal,
        order: request.body,
        source: 'api',
      });
      return reply
        .code(status === 'accepted' ? 202 : 200)
        .send({ status, conversion: formatConversion(conversion, principal) });
    },
  });
}
