import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ApiServer } from '../../http/context.ts';
import { invalidField, Problem } from '../../http/problems.ts';
import { invalidFields, translateError } from '../../http/translate-error.ts';
import { faultsIn } from '../../http/validation.ts';
import { integerId } from '../../schemas/ids.ts';
import { callerOf } from '../call-log.ts';
import { orderFields, orderShape, toOrder, withoutEmptyMembers } from '../order.ts';
import { accepted, type ShopContext } from '../record-order.ts';
import { isAllowed } from '../shop-settings.ts';

/** A transparent GIF of one pixel. */
const GIF = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
const MAX_HEADER_CHARS = 4_096;

/** What the customer's own request says of the customer; the page need not. */
const pixelFields = Object.fromEntries(
  Object.keys(orderFields)
    .filter((name) => !['ip', 'user_agent', 'accept_language'].includes(name))
    .map((name) => [name, z.unknown().optional().meta({ description: 'As in /postback.' })]),
);
const pixelInput = orderShape.transform(toOrder);

function programOf(query: unknown): number | undefined {
  const { program_id: said } = query as { program_id?: unknown };
  return integerId('program').safeParse(said).data;
}

/**
 * Orders reported by the customer's browser. A page shows a picture whatever happens, so the outcome stands in a
 * header, and in the log of calls.
 */
export function addPixelRoute(app: ApiServer, context: ShopContext): void {
  async function record(request: FastifyRequest): Promise<string> {
    const header = (name: string) => String(request.headers[name] ?? '').slice(0, MAX_HEADER_CHARS);
    const said = withoutEmptyMembers({
      ...(request.query as object),
      ip: request.ip,
      user_agent: header('user-agent'),
      accept_language: header('accept-language'),
    });
    const { call } = request;
    const id = programOf(request.query);
    if (id === undefined || !call) throw invalidField('program_id', 'is required');
    call.programId = id;
    const { pixel, allowedIps } = await context.shopSettings.of(id);
    if (!pixel) throw new Problem('forbidden', { detail: 'the program takes no orders from browsers' });
    const read = pixelInput.safeParse(said);
    if (!read.success) throw invalidFields(faultsIn(read.error));
    const order = { ...read.data, programId: id };
    if (!isAllowed(request.ip, allowedIps)) {
      throw new Problem('ip_not_allowed', {
        detail: `calls from ${request.ip} are not allowed by the program`,
      });
    }
    const { recorded, callId } = await context.intake.submit({
      order: { ...order, source: 'pixel' },
      call: { ...callerOf(request), via: 'pixel', params: call.params },
    });
    call.logged = true;
    return accepted(recorded, { order, callId, principal: { role: 'affiliate' } }).status;
  }

  app.route({
    method: 'GET',
    url: '/pixel',
    exposeHeadRoute: false,
    config: { roles: 'public', logAs: 'pixel' },
    schema: {
      operationId: 'pixel',
      tags: ['shops'],
      summary: 'Report an order from the customer’s browser, where the program allows it; always a picture',
      querystring: z.looseObject(pixelFields),
      response: {
        200: {
          description: 'A picture. Afflux-Status says accepted, duplicate, or rejected and why.',
          content: { 'image/gif': { schema: z.unknown() } },
        },
      },
    },
    handler: async (request, reply) => {
      const status = await record(request).catch((error: unknown) => {
        const problem = translateError(error);
        if (problem.code === 'internal' || problem.code === 'unavailable') throw error;
        request.problem = problem;
        return `rejected; code=${problem.code}`;
      });
      return reply
        .header('afflux-status', status)
        .type('image/gif')
        .send(GIF as never);
    },
  });
}
