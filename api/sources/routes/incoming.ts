import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Source } from '../../../ledger/integrations/sources.ts';
import type { ApiServer } from '../../http/context.ts';
import { Problem } from '../../http/problems.ts';
import type { CountFailure } from '../../http/quotas.ts';
import { noteNewOrder } from '../../http/wire/request-ids.ts';
import { callerOf } from '../../orders/call-log.ts';
import { isNewOrder } from '../../orders/intake.ts';
import { formatId, formatOptionalId } from '../../schemas/ids.ts';
import { kindOf } from '../kinds/index.ts';
import type { Receiver } from '../receiver.ts';
import { actorOf, type CallAnswer, STORED_STATUS } from '../record-calls.ts';
import { keptHeaders, MAX_SOURCE_BODY_BYTES } from '../sent-request.ts';

export interface IncomingContext {
  readonly receiver: Receiver;
  readonly countFailure: CountFailure;
}

const MAX_ADDRESS_LENGTH = 64;
const NO_SOURCE = 'there is no source at this address: copy it from the source again';

/**
 * Where sources call: `/in/{address}`, in whatever form they send, and `/aff_lsr` under a host name of the source. A call
 * that is stored is answered 2xx, whether it could be read or not: senders give up on an address that refuses.
 */
export function addIncomingRoutes(app: ApiServer, { receiver, countFailure }: IncomingContext): void {
  async function take(
    request: FastifyRequest,
    reply: FastifyReply,
    source: Source | undefined,
  ): Promise<CallAnswer> {
    if (!source) throw new Problem('not_found', { detail: NO_SOURCE, headers: countFailure(request) });
    if (request.call) Object.assign(request.call, { programId: source.programId, sourceId: source.id });
    const { body } = request;
    const sent = {
      method: request.method,
      query: request.url.split('?').slice(1).join('?'),
      headers: keptHeaders(request.headers),
      body: Buffer.isBuffer(body) ? body : Buffer.alloc(0),
    };
    let headers: ReturnType<CountFailure> | undefined;
    const countOnce = () => {
      headers ??= countFailure(request);
      return headers;
    };
    const caller = { ...callerOf(request), actor: actorOf(source) };
    const answer = await receiver.receive(source, sent, { caller, onGuess: countOnce });
    if (!answer) {
      const detail =
        'the call is not signed with the secret of the source, and too many of such calls are stored or came in this hour';
      throw new Problem('unauthorized', { detail, headers: countOnce() });
    }
    if (answer.conversionId !== null && answer.did.some((did) => did !== null && isNewOrder({ did })))
      noteNewOrder(request, answer.conversionId);
    if (request.call) request.call.logged = true;
    if (headers) reply.headers(headers);
    reply.code(answer.outcome === 'rejected' ? STORED_STATUS : 200);
    return answer;
  }

  app.register(async (scope: ApiServer) => {
    scope.removeAllContentTypeParsers();
    // Whatever its type says: the bytes are what is signed.
    scope.addContentTypeParser(
      '*',
      { parseAs: 'buffer' },
      async (_request: FastifyRequest, body: Buffer) => body,
    );
    const route = {
      method: ['GET', 'POST'],
      exposeHeadRoute: false,
      bodyLimit: MAX_SOURCE_BODY_BYTES,
      config: { roles: 'public', logAs: 'source' },
      // The formats of others, of no use to clients of this API.
      schema: { hide: true, tags: ['shops'] },
    } as const;

    scope.route({
      ...route,
      method: [...route.method],
      url: '/in/:address',
      handler: async (request, reply) => {
        const { address } = request.params as { address: string };
        const source = address.length <= MAX_ADDRESS_LENGTH ? await receiver.bySecret(address) : undefined;
        return viewOf(await take(request, reply, source));
      },
    });

    scope.route({
      ...route,
      method: [...route.method],
      url: '/aff_lsr',
      handler: async (request, reply) => {
        const source = await receiver.byHost(request.hostname.toLowerCase());
        const answer = await take(request, reply, source && isByHost(source) ? source : undefined);
        // As TUNE answers: "Receiving Conversions via Postback URL".
        const text =
          answer.outcome === 'rejected'
            ? `success=false; err_msg=${answer.refusal?.code ?? ''};`
            : 'success=true;';
        return reply.type('text/plain; charset=utf-8').send(text as never);
      },
    });
  });
}

/** Under a host name no address is secret: without a secret anybody could report. */
function isByHost({ kind, secret }: Source): boolean {
  return kindOf(kind).byHost === true && secret !== null;
}

function viewOf({ callId, outcome, did, conversionId, refusal, ignored }: CallAnswer): object {
  return {
    status: outcome === 'rejected' ? 'stored' : outcome,
    call_id: formatId('postbackCall', callId),
    ...(did.length > 0 && { did: did.filter((one) => one !== null) }),
    ...(conversionId !== null && { conversion_id: formatOptionalId('conversion', conversionId) }),
    ...(refusal && { code: refusal.code, detail: refusal.detail }),
    ...(ignored !== undefined && { detail: ignored }),
  };
}
