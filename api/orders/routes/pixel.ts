import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { PIXEL_GIF, PIXEL_MEDIA_TYPE } from '../../../core/pixel.ts';
import { MAX_HEADER_LENGTH } from '../../../core/text-limits.ts';
import type { ApiServer } from '../../http/context.ts';
import { invalidFields, translateError } from '../../http/translate-error.ts';
import { faultsIn } from '../../http/validation.ts';
import { integerId } from '../../schemas/ids.ts';
import { orderFields, orderShape, toReport, withoutEmptyMembers } from '../order.ts';
import { STATUS_FIELDS } from '../order-status.ts';
import { reportOrder, type ShopContext } from '../record-order.ts';
import { PLAIN_WORDS, renamed, withEventName } from '../shop-settings.ts';

/** Without the fields that the browser's own headers and address give. */
const pixelFields = Object.fromEntries(
  Object.keys(orderFields)
    .filter((name) => !['ip', 'user_agent', 'accept_language'].includes(name))
    .map((name) => [name, z.unknown().optional().meta({ description: 'As in /postback.' })]),
);
/** Anybody can imitate a browser: it reports orders, and nothing that happens to them later. */
const pixelInput = orderShape.transform((input, context) => {
  const { event, ...report } = toReport(input, context);
  if (event === undefined || (event.kind === 'approved' && report.order))
    return { ...report, event: undefined };
  const path = STATUS_FIELDS.filter((field) => input[field] !== undefined && input[field] !== 'order').slice(
    0,
    1,
  );
  context.addIssue({
    code: 'custom',
    path,
    message: 'is not taken from a browser, which reports orders only',
  });
  return z.NEVER;
});

/**
 * Orders reported by the customer's browser. A page shows a picture whatever happens, so the outcome stands in a
 * header, and in the log of calls.
 */
export function addPixelRoute(app: ApiServer, context: ShopContext): void {
  async function record(request: FastifyRequest, reply: FastifyReply): Promise<string> {
    const { query, visitorIp, call } = request;
    const header = (name: string) => String(request.headers[name] ?? '').slice(0, MAX_HEADER_LENGTH);
    // A line of the log belongs to the program that is named, also when the rest is refused.
    const programId = integerId('program').safeParse((query as { program_id?: unknown }).program_id).data;
    if (call && programId !== undefined) call.programId = programId;
    const words = programId === undefined ? PLAIN_WORDS : await context.shopSettings.of(programId);
    const named = withoutEmptyMembers({
      ...renamed(query as Record<string, unknown>, words).params,
      ip: visitorIp ?? undefined,
      user_agent: header('user-agent'),
      accept_language: header('accept-language'),
    });
    const read = pixelInput.safeParse(withEventName(named, words));
    if (!read.success) throw invalidFields(faultsIn(read.error));
    return await reportOrder(context, request, reply, {
      report: read.data,
      source: 'pixel',
      newStatus: 200,
      view: ({ status }) => status,
    });
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
          description:
            'A picture. Afflux-Status is accepted, duplicate, or rejected with the code of the problem.',
          content: { [PIXEL_MEDIA_TYPE]: { schema: z.unknown() } },
        },
      },
    },
    handler: async (request, reply) => {
      const status = await record(request, reply).catch((error: unknown) => {
        const problem = translateError(error);
        if (problem.code === 'internal' || problem.code === 'unavailable') throw error;
        request.problem = problem;
        return `rejected; code=${problem.code}`;
      });
      return reply
        .header('afflux-status', status)
        .type(PIXEL_MEDIA_TYPE)
        .send(PIXEL_GIF as never);
    },
  });
}
