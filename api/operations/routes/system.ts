import type { Registry } from 'prom-client';
import { z } from 'zod';
import { errorText } from '../../../core/errors.ts';
import { METRICS_REFUSAL, mayReadMetrics } from '../../../core/service/metrics-access.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { Problem } from '../../http/problems.ts';
import { anyParameters } from '../../schemas/schemas.ts';

/** A store that needs longer than this to say that it is there is not ready for requests. */
const READINESS_TIMEOUT_MS = 2_000;

/** Health, readiness and the OpenAPI document: open to anyone who reaches the port; and metrics, to who has their token. */
export function addSystemRoutes(
  app: ApiServer,
  { ledger, warehouse, metrics, secretBox }: ApiContext & { metrics: Registry },
): void {
  const config = { roles: 'public' } as const;
  const plain = (description: string) => ({
    description,
    content: { 'text/plain': { schema: z.string() } },
  });

  app.route({
    method: 'GET',
    url: '/healthz',
    config,
    schema: {
      operationId: 'getHealth',
      tags: ['system'],
      summary: 'The process runs',
      querystring: anyParameters,
      response: { 200: plain('It runs.') },
    },
    handler: async (_request, reply) => reply.type('text/plain').send('ok\n'),
  });

  app.route({
    method: 'GET',
    url: '/readyz',
    config,
    schema: {
      operationId: 'getReadiness',
      tags: ['system'],
      summary: 'PostgreSQL and ClickHouse answer',
      querystring: anyParameters,
      response: { 200: plain('Ready.'), 503: plain('Not ready, with the reason.') },
    },
    handler: async (_request, reply) => {
      const faults = await Promise.all([
        fault('PostgreSQL', ledger`select 1`),
        fault('ClickHouse', warehouse.query('SELECT 1')),
      ]);
      const reason = faults.filter((text) => text !== undefined).join('; ');
      reply.type('text/plain');
      return reason === '' ? reply.send('ready\n') : reply.code(503).send(`${reason}\n`);
    },
  });

  app.route({
    method: 'GET',
    url: '/metrics',
    config: { ...config, problems: ['unauthorized'] },
    schema: {
      operationId: 'getMetrics',
      tags: ['system'],
      summary: 'Metrics in the Prometheus text format, by the token that `afflux metrics-token` prints',
      querystring: anyParameters,
      response: { 200: plain('The metrics.') },
    },
    handler: async (request, reply) => {
      const { headers, text } = METRICS_REFUSAL;
      if (!mayReadMetrics(secretBox, request.headers.authorization)) {
        throw new Problem('unauthorized', { detail: text, headers });
      }
      return reply.type(metrics.contentType).send(await metrics.metrics());
    },
  });

  app.route({
    method: 'GET',
    url: '/openapi.json',
    config,
    schema: { hide: true },
    handler: async () => app.swagger(),
  });
}

async function fault(store: string, answer: PromiseLike<unknown>): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`${store} does not answer`), READINESS_TIMEOUT_MS);
  });
  try {
    return await Promise.race([Promise.resolve(answer).then(() => undefined), late]);
  } catch (error) {
    return `${store} does not answer: ${errorText(error)}`;
  } finally {
    clearTimeout(timer);
  }
}
