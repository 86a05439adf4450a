import { formatIp, parseIp } from '../../core/ip.ts';
import { createVisitorAddressReader } from '../../core/net/forwarded.ts';
import type { ApiContext, ApiServer } from './context.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller's address, always one that PostgreSQL takes; null where a trusted proxy names none. */
    visitorIp: string | null;
  }
}

/** In the place of Fastify's own `ip`, which passes on whatever text a proxy sent. */
export function installVisitorAddress(
  app: ApiServer,
  { trustedProxies }: Pick<ApiContext, 'trustedProxies'>,
): void {
  const visitorAddress = createVisitorAddressReader(trustedProxies);
  app.decorateRequest('visitorIp', null);
  app.addHook('onRequest', async (request) => {
    const peer = parseIp(request.socket.remoteAddress ?? '');
    const { headersDistinct } = request.raw;
    const address =
      peer &&
      visitorAddress([peer], () => ({
        xForwardedFor: headersDistinct['x-forwarded-for'] ?? [],
        forwarded: headersDistinct.forwarded ?? [],
      }));
    request.visitorIp = address ? formatIp(address) : null;
  });
}
