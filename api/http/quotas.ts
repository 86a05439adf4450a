import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiServer, Quotas } from './context.ts';
import { Problem } from './problems.ts';

/**
 * Limits of one caller: requests a minute, and reports at a time. Counted in this process; several of them
 * allow as much each. Calls by which shops report orders are not counted: none is to be lost to a quota.
 */

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route queries the warehouse; the number of concurrent queries of a caller is limited. */
    isQuery?: boolean;
  }
}

const WINDOW_S = 60;
/** Affiliates are many, and each needs few requests. */
const AFFILIATE_SHARE = 0.1;
/** Of an address without credentials: signing in, and pixels. */
const STRANGER_SHARE = 0.1;

export function installQuotas(app: ApiServer, { requestsPerMinute, concurrentQueries }: Quotas): void {
  let window = 0;
  let counts = new Map<string, number>();
  const queries = new Map<string, number>();

  function count(caller: string): { used: number; resetS: number } {
    const now = Date.now() / 1_000;
    const current = Math.floor(now / WINDOW_S);
    if (current !== window) {
      window = current;
      counts = new Map();
    }
    const used = (counts.get(caller) ?? 0) + 1;
    counts.set(caller, used);
    return { used, resetS: Math.max(1, Math.ceil((current + 1) * WINDOW_S - now)) };
  }

  function takeRequest(request: FastifyRequest, reply: FastifyReply): void {
    const limit = Math.max(1, Math.floor(requestsPerMinute * shareOf(request)));
    const { used, resetS } = count(callerOf(request));
    // draft-ietf-httpapi-ratelimit-headers-10
    reply.header('ratelimit-policy', `"requests";q=${limit};w=${WINDOW_S}`);
    reply.header('ratelimit', `"requests";r=${Math.max(0, limit - used)};t=${resetS}`);
    if (used <= limit) return;
    throw new Problem('rate_limited', {
      detail: `${limit} requests a minute are allowed; try again in ${resetS} s`,
      headers: { 'retry-after': String(resetS) },
    });
  }

  app.addHook('onRequest', async (request, reply) => {
    const { config, schema } = request.routeOptions;
    if (request.is404 || (config.logAs && config.roles !== 'public')) return;
    const [tag] = (schema as { tags?: readonly string[] } | undefined)?.tags ?? ['system'];
    if (config.roles === 'public' && tag === 'system') return;
    takeRequest(request, reply);
  });

  app.addHook('preHandler', async (request, reply) => {
    if (!request.routeOptions.config.isQuery) return;
    const caller = callerOf(request);
    const running = queries.get(caller) ?? 0;
    if (running >= concurrentQueries) {
      throw new Problem('rate_limited', {
        detail: `${concurrentQueries} reports at a time are allowed; wait for one to end`,
        headers: { 'retry-after': '1' },
      });
    }
    queries.set(caller, running + 1);
    // Also when the caller disconnects during an export.
    reply.raw.once('close', () => {
      const left = (queries.get(caller) ?? 1) - 1;
      if (left > 0) queries.set(caller, left);
      else queries.delete(caller);
    });
  });
}

function callerOf({ principal, ip }: FastifyRequest): string {
  return principal?.actor ?? `ip:${ip}`;
}

function shareOf({ principal }: FastifyRequest): number {
  if (!principal) return STRANGER_SHARE;
  return principal.role === 'affiliate' ? AFFILIATE_SHARE : 1;
}
