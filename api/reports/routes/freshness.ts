import { z } from 'zod';
import type { Logger } from '../../../core/service/log.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { readWatermark } from '../../../warehouse/watermark/watermark.ts';
import { stillAdmitted } from '../../auth/live-access.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { timeText } from '../../schemas/schemas.ts';
import { FreshnessStreams } from '../freshness-streams.ts';

const freshnessView = z
  .object({
    complete_to: timeText
      .nullable()
      .meta({ description: 'Every click before this is counted; null: nothing is loaded yet.' }),
    at: timeText.meta({ description: 'When it was read.' }),
  })
  .meta({ id: 'Freshness' });

/** How fresh reports are: once, and as a stream. */
export function addFreshnessRoutes(
  app: ApiServer,
  { ledger, warehouse, log }: ApiContext & { log: Logger },
): void {
  const tags = ['reports'];

  async function read(): Promise<z.output<typeof freshnessView>> {
    const completeTo = await readWatermark(warehouse);
    return {
      complete_to: completeTo === undefined ? null : new Date(completeTo).toISOString(),
      at: new Date().toISOString(),
    };
  }

  const streams = new FreshnessStreams({
    read,
    admitted: (principals) => stillAdmitted(ledger, principals, { roles: ROLES, method: 'GET', tags }),
    log,
  });
  app.addHook('preClose', () => streams.close());

  app.route({
    method: 'GET',
    url: '/v1/freshness',
    config: { roles: ROLES },
    schema: {
      operationId: 'getFreshness',
      tags,
      summary: 'Up to when every click is counted',
      response: { 200: freshnessView },
    },
    handler: read,
  });

  app.route({
    method: 'GET',
    url: '/v1/freshness/stream',
    config: { roles: ROLES },
    schema: {
      operationId: 'streamFreshness',
      tags,
      summary: 'The same as server-sent events: one at once, and one each time it moves on',
      response: {
        200: {
          description: 'Events "freshness" whose data is what GET /v1/freshness answers.',
          content: { 'text/event-stream': { schema: z.string() } },
        },
      },
    },
    handler: async (request, reply) => {
      const stream = await streams.open(principalOf(request));
      // nginx would hold events back.
      reply.type('text/event-stream').header('x-accel-buffering', 'no');
      return reply.send(stream as never);
    },
  });
}
