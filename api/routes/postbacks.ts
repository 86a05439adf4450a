import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { installFormBodies } from '../bodies.ts';
import type { ApiContext, ApiServer } from '../context.ts';
import { formatId, idText } from '../ids.ts';
import { postbackInput, withoutEmptyMembers } from '../order.ts';
import { principalOf } from '../principal.ts';
import { recordOrder } from '../record-order.ts';

const answer = z.object({
  status: z.enum(['accepted', 'duplicate']),
  conversion_id: idText('conversion'),
  reason: z
    .string()
    .optional()
    .meta({ description: 'Why it was left without an affiliate, once that is decided.' }),
  ignored: z.array(z.string()).optional().meta({ description: 'Parameters that are not known here.' }),
});

const common = {
  tags: ['shops'],
  response: { 200: answer },
};
const config = { roles: ['advertiser', 'operator'], keyAsParameter: true, problems: ['conflict'] } as const;

/** Orders from shops that can only call a URL. They live in a scope of their own, which also reads forms. */
export function addPostbackRoutes(app: ApiServer, { ledger }: ApiContext): void {
  async function record(request: FastifyRequest, { order, ignored }: z.output<typeof postbackInput>) {
    const principal = principalOf(request);
    const { status, conversion } = await recordOrder({ ledger, principal, order, source: 'postback' });
    return {
      status,
      conversion_id: formatId('conversion', conversion.id),
      ...(conversion.reason !== null && { reason: conversion.reason }),
      ...(ignored.length > 0 && { ignored }),
    };
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
        summary: 'Report an order by its parameters',
        querystring: postbackInput,
      },
      preValidation: async (request) => {
        request.query = withoutEmptyMembers(request.query) as typeof request.query;
      },
      handler: async (request) => await record(request, request.query),
    });

    scope.route({
      method: 'POST',
      url: '/postback',
      config,
      schema: {
        ...common,
        operationId: 'postbackForm',
        summary: 'Report an order by parameters in the URL, in a form or in JSON; the body outweighs the URL',
        consumes: ['application/x-www-form-urlencoded', 'application/json'],
        body: postbackInput,
      },
      preValidation: async (request) => {
        const { query, body } = request as { query: unknown; body: unknown };
        const merged = Array.isArray(body) ? body : { ...(query as object), ...(body as object | undefined) };
        request.body = withoutEmptyMembers(merged) as typeof request.body;
      },
      handler: async (request) => await record(request, request.body),
    });
  });
}
