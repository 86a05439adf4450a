import { z } from 'zod';
import { DAY_MS } from '../../../core/time.ts';
import { CALL_WAYS } from '../../../ledger/integrations/postback-calls.ts';
import { listUnidentifiedCalls } from '../../../ledger/integrations/unidentified-calls.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { everyProgram, principalOf } from '../../http/principal.ts';
import { formatTime, rowLimit, time, timeText } from '../../schemas/schemas.ts';

const MAX_ROWS = 1_000;

const unidentifiedCallsView = z
  .object({
    hour: timeText,
    network: z.string().meta({ description: '0.0.0.0/0: of networks that are not counted apart.' }),
    via: z.enum(CALL_WAYS),
    reason: z.string().meta({ description: 'The code of the problem.' }),
    calls: z.int(),
  })
  .meta({ id: 'UnidentifiedCalls' });

/** Reports whose caller was not known. They belong to no program. */
export function addUnidentifiedCallRoute(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/unidentified-calls',
    config: { roles: ['operator', 'fraud'] },
    schema: {
      operationId: 'listUnidentifiedCalls',
      tags: ['shops'],
      summary:
        'Reports refused before their caller was known, counted by hour; for keys of no single program',
      querystring: z.object({
        from: time.optional().meta({ description: 'Default: a day ago.' }),
        to: time.optional().meta({ description: 'Default: now.' }),
        limit: rowLimit({ max: MAX_ROWS, fallback: MAX_ROWS }),
      }),
      response: { 200: z.object({ data: z.array(unidentifiedCallsView) }) },
    },
    handler: async (request) => {
      everyProgram(principalOf(request));
      const { from = new Date(Date.now() - DAY_MS), to = new Date(), limit } = request.query;
      const counts = await listUnidentifiedCalls(ledger, { from, to, limit });
      return { data: counts.map(({ hour, ...count }) => ({ hour: formatTime(hour), ...count })) };
    },
  });
}
