import { createHmac, randomBytes } from 'node:crypto';
import { hash, verify } from '@node-rs/argon2';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SecretBox } from '../../core/secret-box.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { findSession, type Session } from '../../ledger/access/sessions.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { type Principal, principalOfUser } from '../http/principal.ts';
import { Problem } from '../http/problems.ts';
import { formatId } from '../schemas/ids.ts';

/** Sessions of the portal: a cookie that scripts cannot read, and a token that other sites cannot know. */

declare module 'fastify' {
  interface FastifyRequest {
    /** Set when the caller came with the portal's cookie. */
    session: Session | undefined;
  }
}

const SESSION_DAYS = 7;
/** A browser left open is signed out over night. */
export const IDLE_MS = 12 * HOUR_MS;
/** 256 bits: a token cannot be guessed, so its plain SHA-256 is safe to store. */
const TOKEN_BYTES = 32;
const CSRF_HEADER = 'x-csrf-token';
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** What OWASP recommends for argon2id, and the library's default: 19 MiB, two passes, parallelism 1. */
const ARGON2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

export async function hashPassword(password: string): Promise<string> {
  return await hash(password.normalize('NFC'), ARGON2);
}

let dummyHash: Promise<string> | undefined;

/** Whether the password is right. An account that does not exist takes as long. */
export async function isPassword(stored: string | null | undefined, password: string): Promise<boolean> {
  dummyHash ??= hashPassword(randomBytes(TOKEN_BYTES).toString('hex'));
  const right = await verify(stored ?? (await dummyHash), password.normalize('NFC'));
  return right && stored !== null && stored !== undefined;
}

/** Cookies are for this host alone when the portal is on https: the prefix makes browsers insist on it. */
function cookieName(secure: boolean): string {
  return secure ? '__Host-afflux_session' : 'afflux_session';
}

export function isSecure(portalUrl: string): boolean {
  return portalUrl.startsWith('https:');
}

export function newSessionToken(): { token: string; expiresAt: Date } {
  return {
    token: randomBytes(TOKEN_BYTES).toString('base64url'),
    expiresAt: new Date(Date.now() + SESSION_DAYS * DAY_MS),
  };
}

/** Sets the cookie; an empty token removes it. */
export function setSessionCookie(reply: FastifyReply, options: { token: string; portalUrl: string }): void {
  const secure = isSecure(options.portalUrl);
  const maxAge = options.token === '' ? 0 : (SESSION_DAYS * DAY_MS) / 1_000;
  const attributes = [
    'Path=/',
    'HttpOnly',
    'SameSite=Lax',
    `Max-Age=${maxAge}`,
    ...(secure ? ['Secure'] : []),
  ];
  reply.header('set-cookie', [`${cookieName(secure)}=${options.token}`, ...attributes].join('; '));
}

function sessionToken(request: FastifyRequest, portalUrl: string): string | undefined {
  const name = cookieName(isSecure(portalUrl));
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [key, value] = part.trim().split('=', 2);
    if (key === name && value && /^[\w-]{40,50}$/.test(value)) return value;
  }
  return undefined;
}

/** The token that goes with a session: only a page of ours can have read it. */
export function csrfToken(secretBox: SecretBox, session: Pick<Session, 'id'>): string {
  return secretBox.sign('csrf', String(session.id));
}

/**
 * The principal of the cookie, or undefined when there is no session.
 * @throws Problem `csrf_token_missing` when something would be changed without the token.
 */
export async function sessionPrincipal(
  request: FastifyRequest,
  { ledger, secretBox, portalUrl }: { ledger: Database; secretBox: SecretBox; portalUrl: string },
): Promise<Principal | undefined> {
  const token = sessionToken(request, portalUrl);
  if (token === undefined) return undefined;
  const session = await findSession(ledger, { token, idleMs: IDLE_MS });
  if (!session) return undefined;
  if (!SAFE_METHODS.has(request.method)) {
    const given = String(request.headers[CSRF_HEADER] ?? '');
    if (!secretBox.verify('csrf', String(session.id), given)) {
      throw new Problem('csrf_token_missing', {
        detail: `send the csrf_token of the session as ${CSRF_HEADER}`,
      });
    }
  }
  request.session = session;
  return principalOfUser(session.user, { standing: session.standing, sessionId: session.id });
}

/** Signs the right to set a password. Single use: the signature covers the current password hash. */
export function passwordToken(
  secretBox: SecretBox,
  options: { userId: number; passwordHash: string | null; expiresAt: Date },
): string {
  const claim = `${formatId('user', options.userId)}.${Math.floor(options.expiresAt.getTime() / 1_000)}`;
  return `${claim}.${secretBox.sign('password', `${claim}.${fingerprintOf(options.passwordHash)}`)}`;
}

/** What a token claims, if it has the form of one; {@link isPasswordToken} proves it. */
export function claimOf(token: string): { userId: number; expiresAt: Date } | undefined {
  const match = /^usr_([1-9]\d{0,9})\.(\d{10})\.[\w-]+$/.exec(token);
  return match ? { userId: Number(match[1]), expiresAt: new Date(Number(match[2]) * 1_000) } : undefined;
}

export function isPasswordToken(secretBox: SecretBox, token: string, passwordHash: string | null): boolean {
  const [user, expires, signature = ''] = token.split('.');
  return secretBox.verify('password', `${user}.${expires}.${fingerprintOf(passwordHash)}`, signature);
}

function fingerprintOf(passwordHash: string | null): string {
  return createHmac('sha256', 'password')
    .update(passwordHash ?? '')
    .digest('base64url');
}
