import type { FastifyRequest } from 'fastify';
import { networkOf } from '../../core/ip.ts';
import type { ApiServer, Quotas } from './context.ts';
import { partyOf } from './principal.ts';
import { Problem } from './problems.ts';

/**
 * Limits of one party, over all its keys and users: requests a minute, and reports and exports at a time. Counted in this process;
 * several of them allow as much each. Calls by which shops report orders are not counted: none is to be lost to a quota.
 */

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route reads much, a report or an export; the number of concurrent ones of a party is limited. */
    isQuery?: boolean;
  }
  interface FastifyRequest {
    /** Of a route with `isQuery`: what goes on after the answer, and counts until it ends. Does not reject. */
    lastingQuery: Promise<void> | undefined;
  }
}

const WINDOW_S = 60;
/** Affiliates are many, and each needs few requests. */
const AFFILIATE_SHARE = 0.1;
/** Of an address without credentials: signing in, and pixels. */
const STRANGER_SHARE = 0.1;
/** Failed authentication of an address: a shop with an old key is to be noticed, a guesser slowed. */
const FAILURE_SHARE = 0.01;
/** Callers that are counted in a window; the longest known gives way, so that strangers cannot fill the memory. */
const MAX_COUNTED = 100_000;

interface RequestCounts {
  /** Counts one request of a caller; the headers that announce what is left. @throws Problem `rate_limited`. */
  take(policy: string, caller: string, limit: number): Readonly<Record<string, string>>;
}

/** Requests in windows of a minute. */
function createRequestCounts(): RequestCounts {
  let window = 0;
  let counts = new Map<string, number>();

  return {
    take(policy, caller, limit) {
      const now = Date.now() / 1_000;
      const current = Math.floor(now / WINDOW_S);
      if (current !== window) {
        window = current;
        counts = new Map();
      }
      const key = `${policy} ${caller}`;
      const used = (counts.get(key) ?? 0) + 1;
      counts.set(key, used);
      if (counts.size > MAX_COUNTED) counts.delete(counts.keys().next().value ?? '');
      const resetS = Math.max(1, Math.ceil((current + 1) * WINDOW_S - now));
      // draft-ietf-httpapi-ratelimit-headers-10
      const headers = {
        'ratelimit-policy': `"${policy}";q=${limit};w=${WINDOW_S}`,
        ratelimit: `"${policy}";r=${Math.max(0, limit - used)};t=${resetS}`,
      };
      if (used <= limit) return headers;
      throw new Problem('rate_limited', {
        detail: `${limit} ${policy} a minute are allowed; try again in ${resetS} s`,
        headers: { ...headers, 'retry-after': String(resetS) },
      });
    },
  };
}

/**
 * Counts a failed authentication of the request's address, a /64 of IPv6. The right key is always looked up and always
 * passes, so a stranger behind the same address locks no shop out. @throws Problem `rate_limited`.
 */
export type CountFailure = (request: FastifyRequest) => Readonly<Record<string, string>>;

export function createFailureCounts({ requestsPerMinute }: Quotas): CountFailure {
  const counts = createRequestCounts();
  const limit = Math.max(1, Math.floor(requestsPerMinute * FAILURE_SHARE));
  return ({ visitorIp }) => counts.take('failed authentications', networkOf(visitorIp ?? 'unknown'), limit);
}

export function installQuotas(app: ApiServer, { requestsPerMinute, concurrentQueries }: Quotas): void {
  const counts = createRequestCounts();
  const queries = new Map<string, number>();
  app.decorateRequest('lastingQuery', undefined);

  app.addHook('onRequest', async (request, reply) => {
    const { config, schema } = request.routeOptions;
    // A source has no key: its address is one.
    const isKnown = config.roles !== 'public' || config.logAs === 'source';
    if (request.is404 || (config.logAs && isKnown)) return;
    const [tag] = (schema as { tags?: readonly string[] } | undefined)?.tags ?? ['system'];
    if (config.roles === 'public' && tag === 'system') return;
    const limit = Math.max(1, Math.floor(requestsPerMinute * shareOf(request)));
    reply.headers(counts.take('requests', callerOf(request), limit));
  });

  app.addHook('preHandler', async (request, reply) => {
    if (!request.routeOptions.config.isQuery) return;
    const caller = callerOf(request);
    const running = queries.get(caller) ?? 0;
    if (running >= concurrentQueries) {
      throw new Problem('rate_limited', {
        detail: `${concurrentQueries} reports and exports at a time are allowed; wait for one to end`,
        headers: { 'retry-after': '1' },
      });
    }
    queries.set(caller, running + 1);
    // Also when the caller disconnects during an export.
    reply.raw.once('close', () => void Promise.resolve(request.lastingQuery).then(() => release(caller)));
  });

  function release(caller: string): void {
    const left = (queries.get(caller) ?? 1) - 1;
    if (left > 0) queries.set(caller, left);
    else queries.delete(caller);
  }
}

function callerOf({ principal, visitorIp }: FastifyRequest): string {
  return principal ? partyOf(principal) : networkOf(visitorIp ?? 'unknown');
}

function shareOf({ principal }: FastifyRequest): number {
  if (!principal) return STRANGER_SHARE;
  return principal.role === 'affiliate' ? AFFILIATE_SHARE : 1;
}
