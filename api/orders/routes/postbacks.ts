import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { ORDER_OUTCOMES } from '../../../ledger/decisions/order-reports.ts';
import { installFormBodies } from '../../http/bodies.ts';
import type { ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { formatId, idText } from '../../schemas/ids.ts';
import { anyParameters } from '../../schemas/schemas.ts';
import { loggedParams } from '../call-log.ts';
import { reasonFor } from '../conversion-view.ts';
import { postbackInput } from '../order.ts';
import { reportOrder, type ShopContext, statusUrl } from '../record-order.ts';
import { PLAIN_WORDS, renamed, withEventName } from '../shop-settings.ts';

const answer = z
  .object({
    status: z.enum(['accepted', 'duplicate']),
    outcome: z.enum(ORDER_OUTCOMES).meta({ description: 'What the call did.' }),
    conversion_id: idText('conversion'),
    conversion_status: z.string().meta({ description: 'pending until it is decided.' }),
    status_url: z.string().meta({ description: 'Where the decision is to be seen.' }),
    call_id: idText('postbackCall'),
    reason: z
      .string()
      .optional()
      .meta({ description: 'Why it was left without an affiliate, once that is decided.' }),
    ignored: z.array(z.string()).optional().meta({ description: 'Parameters that are not known here.' }),
  })
  .meta({ id: 'PostbackAnswer' });

const common = {
  tags: ['shops'],
  response: { 200: answer },
};
const config = {
  roles: ['advertiser', 'operator'],
  keyAsParameter: true,
  logAs: 'postback',
  problems: ['conflict', 'not_found', 'replayed', 'ip_not_allowed'],
} as const;

/** Orders from shops that can only call a URL. They live in a scope of their own, which also reads forms. */
export function addPostbackRoutes(app: ApiServer, context: ShopContext): void {
  async function record(
    request: FastifyRequest,
    reply: FastifyReply,
    { report, ignored }: z.output<typeof postbackInput>,
  ): Promise<z.output<typeof answer>> {
    return await reportOrder(context, request, reply, {
      report,
      source: 'postback',
      newStatus: 200,
      view: ({ status, outcome, conversion, callId }) => ({
        status,
        outcome,
        conversion_id: formatId('conversion', conversion.id),
        conversion_status: conversion.status,
        status_url: statusUrl(conversion.id),
        call_id: formatId('postbackCall', callId),
        ...(conversion.reason !== null && {
          reason: String(reasonFor(principalOf(request), conversion.reason)),
        }),
        ...(ignored.length > 0 && { ignored }),
      }),
    });
  }

  /** What came, under our names. */
  async function ours(request: FastifyRequest, params: object): Promise<unknown> {
    if (request.call) request.call.params = loggedParams(params);
    const { programId } = principalOf(request);
    const words = programId === null ? PLAIN_WORDS : await context.shopSettings.of(programId);
    return withEventName(renamed(params as Record<string, unknown>, words).params, words);
  }

  app.register(async (scope: ApiServer) => {
    installFormBodies(scope);

    scope.route({
      method: 'GET',
      url: '/postback',
      // A HEAD request must change nothing, so there is none.
      exposeHeadRoute: false,
      config,
      schema: {
        ...common,
        operationId: 'postback',
        summary:
          'Report an order, or what happened to one, by parameters under our names or the program’s own',
        querystring: postbackInput,
      },
      preValidation: async (request) => {
        request.query = (await ours(request, request.query)) as typeof request.query;
      },
      handler: async (request, reply) => await record(request, reply, request.query),
    });

    scope.route({
      method: 'POST',
      url: '/postback',
      config: { ...config, example: { order_id: '1001', amount: '12.34', currency: 'EUR' } },
      schema: {
        ...common,
        operationId: 'postbackForm',
        summary: 'The same by parameters in the URL, in a form or in JSON; the body outweighs the URL',
        consumes: ['application/x-www-form-urlencoded', 'application/json'],
        querystring: anyParameters,
        body: postbackInput,
      },
      preValidation: async (request) => {
        const { query, body } = request as { query: unknown; body: unknown };
        const merged = Array.isArray(body) ? body : { ...(query as object), ...(body as object | undefined) };
        request.body = (Array.isArray(merged) ? merged : await ours(request, merged)) as typeof request.body;
      },
      handler: async (request, reply) => await record(request, reply, request.body),
    });
  });
}
