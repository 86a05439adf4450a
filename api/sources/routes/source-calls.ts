import { z } from 'zod';
import { getCallRequest } from '../../../ledger/integrations/postback-calls.ts';
import { getSource, listRefusedCalls, type Source } from '../../../ledger/integrations/sources.ts';
import { answerOnce } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { invalidField, notFound } from '../../http/problems.ts';
import { callerOf } from '../../orders/call-log.ts';
import { bigintId, formatId, idText, integerId } from '../../schemas/ids.ts';
import { readMapping } from '../mapping.ts';
import type { Receiver } from '../receiver.ts';
import { keptHeaders, type SentRequest, unpackRequest } from '../sent-request.ts';
import { formatReading, readingView } from '../source-view.ts';
import { SOURCE_ROLES, visibleSource } from './sources.ts';

/** Calls of one repetition: some seconds. */
const MAX_REPLAYED = 500;
const MAX_QUERY_LENGTH = 8_192;
/** Beside the mapping, within what a body may have. */
const MAX_TRIED_LENGTH = 48 * 1024;

const replayView = z
  .object({
    accepted: z.int(),
    duplicate: z.int(),
    ignored: z.int(),
    rejected: z.int(),
    next: idText('postbackCall').nullable().meta({ description: 'Pass it as after; null: that was all.' }),
  })
  .meta({ id: 'SourceReplay' });

const request = z
  .strictObject({
    method: z.enum(['GET', 'POST']).default('POST'),
    query: z.string().max(MAX_QUERY_LENGTH).default(''),
    headers: z.record(z.string().toLowerCase(), z.string()).default({}),
    body: z.string().max(MAX_TRIED_LENGTH).default(''),
  })
  .meta({ description: 'A call that was not made.' });

const params = z.object({ id: integerId('source') });
const TAGS = ['shops'];
const config = { roles: SOURCE_ROLES, idempotent: true, problems: ['not_found'] } as const;

/** Trying a mapping, and doing stored calls again. */
export function addSourceCallRoutes(app: ApiServer, context: ApiContext & { receiver: Receiver }): void {
  const { ledger, receiver, secretBox } = context;

  app.route({
    method: 'POST',
    url: '/v1/sources/:id/try',
    config: { ...config, example: { request: { body: '{"order_id": "1001", "amount": "12.34"}' } } },
    schema: {
      operationId: 'trySource',
      tags: TAGS,
      summary: 'Show what a mapping makes of a call, without recording anything',
      params,
      body: z.strictObject({
        mapping: z
          .record(z.string(), z.unknown())
          .nullable()
          .optional()
          .meta({ description: 'Default: the present one of the source.' }),
        call_id: bigintId('postbackCall').optional().meta({ description: 'A stored call of the source.' }),
        request: request.optional(),
      }),
      response: { 200: readingView },
    },
    handler: async (http, reply) => {
      const source = visibleSource(principalOf(http), await getSource(ledger, http.params.id));
      const { mapping, call_id: callId, request: given } = http.body;
      if ((callId === undefined) === (given === undefined))
        throw invalidField('call_id', 'give either call_id or request');
      const read = mapping ? readMapping(mapping) : undefined;
      const sent = given ? madeUp(given) : await storedRequest(source, callId);
      return await answerOnce(context, http, reply, async () => ({
        body: formatReading(
          await receiver.read(mapping === null ? { ...source, mapping: null } : source, sent, read),
        ),
      }));
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/sources/:id/replay',
    config,
    schema: {
      operationId: 'replaySource',
      tags: TAGS,
      summary: `Do refused calls again by the present mapping, the oldest first, ${MAX_REPLAYED} at a time; none counts twice`,
      params,
      body: z.strictObject({
        after: bigintId('postbackCall').optional().meta({ description: 'Only calls behind this one.' }),
      }),
      response: { 200: replayView },
    },
    handler: async (http, reply) => {
      const source = visibleSource(principalOf(http), await getSource(ledger, http.params.id));
      const { after } = http.body;
      return await answerOnce(context, http, reply, async () => {
        const ids = await listRefusedCalls(ledger, { sourceId: source.id, limit: MAX_REPLAYED, after });
        const counts = { accepted: 0, duplicate: 0, ignored: 0, rejected: 0 };
        for (const id of ids) {
          const answer = await receiver.replay(id, callerOf(http));
          if (answer) counts[answer.outcome]++;
        }
        const last = ids.at(-1);
        const next =
          ids.length === MAX_REPLAYED && last !== undefined ? formatId('postbackCall', last) : null;
        return { body: { ...counts, next } };
      });
    },
  });

  async function storedRequest(source: Source, callId: bigint | undefined): Promise<SentRequest> {
    const stored = callId === undefined ? undefined : await getCallRequest(ledger, callId);
    if (stored?.sourceId !== source.id) throw notFound('call of this source with this id');
    return await unpackRequest(secretBox, stored.request);
  }
}

function madeUp({ body, headers, ...rest }: z.output<typeof request>): SentRequest {
  return { ...rest, headers: keptHeaders(headers), body: Buffer.from(body) };
}
