import type { FastifyReply, FastifyRequest } from 'fastify';

/** The portal's cookies: scripts cannot read them, other sites cannot send them with a change. */

interface CookieOptions {
  /** Such as `afflux_session`. */
  readonly name: string;
  readonly portalUrl: string;
}

function isSecure(portalUrl: string): boolean {
  return portalUrl.startsWith('https:');
}

/** Cookies are for this host alone when the portal is on https: the prefix makes browsers insist on it. */
export function cookieName({ name, portalUrl }: CookieOptions): string {
  return isSecure(portalUrl) ? `__Host-${name}` : name;
}

export function setCookie(
  reply: FastifyReply,
  options: CookieOptions & { value: string; maxAgeMs: number },
): void {
  const attributes = [
    'Path=/',
    'HttpOnly',
    'SameSite=Lax',
    `Max-Age=${options.maxAgeMs / 1_000}`,
    ...(isSecure(options.portalUrl) ? ['Secure'] : []),
  ];
  reply.header('set-cookie', [`${cookieName(options)}=${options.value}`, ...attributes].join('; '));
}

/** The value of a cookie, whatever stands in it. */
export function readCookie(request: FastifyRequest, options: CookieOptions): string | undefined {
  const name = cookieName(options);
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [key, value] = part.trim().split('=', 2);
    if (key === name && value) return value;
  }
  return undefined;
}
