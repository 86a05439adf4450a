import { randomBytes } from 'node:crypto';
import Bowser from 'bowser';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SecretBox } from '../../core/secret-box.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { createSession, findSession, type Session } from '../../ledger/access/sessions.ts';
import type { Database, DatabaseSql } from '../../ledger/postgres/db.ts';
import { type Principal, principalOfUser } from '../http/principal.ts';
import { Problem } from '../http/problems.ts';
import { cookieName, readCookie, setCookie } from './cookies.ts';

/** Sessions of the portal: a cookie that scripts cannot read, and a token that other sites cannot know. */

declare module 'fastify' {
  interface FastifyRequest {
    /** Set when the caller came with the portal's cookie. */
    session: Session | undefined;
  }
}

const NAME = 'afflux_session';
const SESSION_MS = 7 * DAY_MS;
/** A browser left open is signed out over night. */
export const IDLE_MS = 12 * HOUR_MS;
/** 256 bits: a token cannot be guessed, so its plain SHA-256 is safe to store. */
const TOKEN_BYTES = 32;
export const CSRF_HEADER = 'x-csrf-token';
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);
const MAX_DEVICE_LENGTH = 100;
/** A User-Agent this long says nothing more. */
const MAX_USER_AGENT_LENGTH = 500;

/** The name of the cookie; see {@link cookieName}. */
export function sessionCookieName(portalUrl: string): string {
  return cookieName({ name: NAME, portalUrl });
}

/** Records a session of a user who has given the password, and what it is recognised by. @returns Its token. */
export async function startSession(
  sql: DatabaseSql,
  request: FastifyRequest,
  userId: number,
): Promise<string> {
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  const expiresAt = new Date(Date.now() + SESSION_MS);
  const device = deviceName(request.headers['user-agent'] ?? '');
  await createSession(sql, { userId, token, expiresAt, device, address: request.visitorIp ?? 'unknown' });
  return token;
}

/** "Firefox on Linux", as far as the browser says. */
function deviceName(userAgent: string): string {
  if (userAgent === '') return '';
  const { browser, os } = Bowser.parse(userAgent.slice(0, MAX_USER_AGENT_LENGTH));
  return [browser.name, os.name].filter(Boolean).join(' on ').slice(0, MAX_DEVICE_LENGTH);
}

export function setSessionCookie(reply: FastifyReply, options: { token: string; portalUrl: string }): void {
  setCookie(reply, { name: NAME, value: options.token, maxAgeMs: SESSION_MS, portalUrl: options.portalUrl });
}

export function removeSessionCookie(reply: FastifyReply, { portalUrl }: { portalUrl: string }): void {
  setCookie(reply, { name: NAME, value: '', maxAgeMs: 0, portalUrl });
}

function sessionToken(request: FastifyRequest, portalUrl: string): string | undefined {
  const value = readCookie(request, { name: NAME, portalUrl });
  return value !== undefined && /^[\w-]{40,50}$/.test(value) ? value : undefined;
}

/** The session that a request came by. @throws Problem `forbidden` for an API key. */
export function sessionOf(request: { session: Session | undefined }): Session {
  if (request.session) return request.session;
  throw new Problem('forbidden', { detail: 'this needs a session of the portal; an API key has none' });
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
