import { PassThrough } from 'node:stream';
import { z } from 'zod';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/service/log.ts';
import { startLoop } from '../../../core/service/loop.ts';
import type { Running } from '../../../core/service/service.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { readWatermark } from '../../../warehouse/watermark/watermark.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { Problem } from '../../http/problems.ts';
import { timeText } from '../../schemas/schemas.ts';

/** How often the watermark is asked for, once for all who listen: the loader writes it as often. */
const POLL_MS = 1_000;
/** Proxies drop a connection that is silent for longer; a comment keeps it. */
const HEARTBEAT_MS = 15_000;
/** Windows of one person's browser. */
const MAX_STREAMS_A_CALLER = 10;
/** Each is a connection and a timer's worth of writing. */
const MAX_STREAMS = 1_000;
/** What a client may be behind before it is dropped: a reader that does not read must not fill the memory. */
const MAX_UNREAD_BYTES = 16_384;

const freshnessView = z
  .object({
    complete_to: timeText
      .nullable()
      .meta({ description: 'Every click before this is counted; null: nothing is loaded yet.' }),
    at: timeText.meta({ description: 'When it was asked for.' }),
  })
  .meta({ id: 'Freshness' });

interface Listener {
  readonly caller: string;
  readonly stream: PassThrough;
}

/** How fresh reports are, once and for as long as somebody listens. */
export function addFreshnessRoutes(app: ApiServer, { warehouse, log }: ApiContext & { log: Logger }): void {
  const tags = ['reports'];
  const listeners = new Set<Listener>();
  let poll: Running | undefined;
  /** What was told last. */
  let last: string | null = null;
  let silentSince = Date.now();

  async function read(): Promise<z.output<typeof freshnessView>> {
    const completeTo = await readWatermark(warehouse);
    return {
      complete_to: completeTo === undefined ? null : new Date(completeTo).toISOString(),
      at: new Date().toISOString(),
    };
  }

  function tell(text: string): void {
    silentSince = Date.now();
    for (const { stream } of listeners) {
      if (stream.readableLength > MAX_UNREAD_BYTES) stream.destroy();
      else stream.write(text);
    }
  }

  async function step(): Promise<number> {
    try {
      const fresh = await read();
      if (fresh.complete_to !== last) tell(eventOf(fresh));
      last = fresh.complete_to;
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'freshness is not known');
    }
    if (Date.now() - silentSince >= HEARTBEAT_MS) tell(': still here\n\n');
    return POLL_MS;
  }

  function listen(listener: Listener, told: string | null): void {
    // Whoever came before hears of it as well, at the next look.
    if (listeners.size === 0) last = told;
    listeners.add(listener);
    poll ??= startLoop(step);
    listener.stream.once('close', () => {
      listeners.delete(listener);
      if (listeners.size > 0) return;
      void poll?.stop();
      poll = undefined;
    });
  }

  // A stream has no end of its own, and a stop waits for those under way.
  app.addHook('preClose', async () => {
    for (const { stream } of listeners) stream.end();
    await poll?.stop();
  });

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
      const caller = principalOf(request).actor;
      const own = [...listeners].filter((listener) => listener.caller === caller).length;
      if (own >= MAX_STREAMS_A_CALLER || listeners.size >= MAX_STREAMS) {
        throw new Problem('rate_limited', {
          detail: `${MAX_STREAMS_A_CALLER} streams at a time are allowed; close one`,
          headers: { 'retry-after': '5' },
        });
      }
      const fresh = await read();
      const stream = new PassThrough();
      stream.write(eventOf(fresh));
      listen({ caller, stream }, fresh.complete_to);
      // nginx would hold events back.
      reply.type('text/event-stream').header('x-accel-buffering', 'no');
      return reply.send(stream as never);
    },
  });
}

function eventOf(fresh: z.output<typeof freshnessView>): string {
  return `event: freshness\ndata: ${JSON.stringify(fresh)}\n\n`;
}
