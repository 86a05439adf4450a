import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { csrfToken, IDLE_MS } from '../../api/auth/sessions.ts';
import { HOUR_MS } from '../../core/time.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import { createSession, findSession } from '../../ledger/access/sessions.ts';
import { createUser } from '../../ledger/access/users.ts';
import type { Answer, ApiCall, TestApi } from './api.ts';

/** A user of the portal with a session, and what a browser sends by it. */
export interface SignedIn {
  readonly userId: number;
  readonly headers: Readonly<Record<string, string>>;
  call(method: string, path: string, call?: ApiCall): Promise<Answer>;
}

let users = 0;

/** A user with a session, and without a password. */
export async function signedIn(
  api: TestApi,
  user: { role: Role; programId?: number; affiliateId?: number },
): Promise<SignedIn> {
  const { role, programId = null, affiliateId = null } = user;
  const email = `signed-in-${++users}@example.com`;
  const { id: userId } = await createUser(api.ledger, { email, name: 'U', role, programId, affiliateId });
  const token = randomBytes(32).toString('base64url');
  const expiresAt = new Date(Date.now() + HOUR_MS);
  await createSession(api.ledger, { userId, token, expiresAt, device: '', address: '127.0.0.1' });
  const session = await findSession(api.ledger, { token, idleMs: IDLE_MS });
  if (!session) throw new Error('the session does not live');
  const headers = {
    cookie: `__Host-afflux_session=${token}`,
    'x-csrf-token': csrfToken(api.secretBox, session),
  };
  return {
    userId,
    headers,
    call: (method, path, call = {}) =>
      api.call(method, path, { ...call, headers: { ...headers, ...call.headers } }),
  };
}

/** Users of the portal, and browsers in which they are signed in. */

export const PASSWORD = 'correct horse battery';

/** Calls as a browser does: with the cookies it was given. */
export interface SignedInBrowser {
  /** As it is sent: `name=value; name=value`. */
  readonly cookie: string;
  readonly csrf: string;
  call(method: string, path: string, call?: ApiCall): Promise<Answer>;
}

/** The cookies that an answer sets, as a browser sends them back. */
export function cookiesOf(answer: Answer): string {
  return answer.headers
    .getSetCookie()
    .map((cookie) => cookie.split(';')[0])
    .join('; ');
}

export interface PortalUsers {
  /** Invites a user, who sets {@link PASSWORD}. @returns The address. */
  create(role: string, more?: { email?: string; affiliate_id?: string }): Promise<string>;
  signIn(
    email: string,
    password: string,
    more?: { code?: string; headers?: ApiCall['headers'] },
  ): Promise<Answer>;
  /** A browser in which the user is signed in. */
  browser(email: string, more?: { code?: string; headers?: ApiCall['headers'] }): Promise<SignedInBrowser>;
  /** The token in the link of the last mail that has one. */
  lastToken(): Promise<string>;
}

export function createPortalUsers(api: TestApi, operatorKey: string): PortalUsers {
  let count = 0;

  function signIn(
    email: string,
    password: string,
    more: { code?: string; headers?: ApiCall['headers'] } = {},
  ) {
    const { code, headers = {} } = more;
    const json = { email, password, ...(code !== undefined && { code }) };
    return api.call('POST', '/v1/session', { json, headers });
  }

  async function lastToken(): Promise<string> {
    const texts = (await api.mails()).map(({ text }) => /token=(\S+)/.exec(text)?.[1]);
    return texts.findLast((token) => token !== undefined) ?? '';
  }

  return {
    signIn,
    lastToken,
    async create(role, more = {}) {
      const json = { email: `user${++count}@example.com`, name: 'U', role, ...more };
      const created = await api.call('POST', '/v1/users', { key: operatorKey, json });
      expect([created.status, created.body.invited]).toEqual([201, true]);
      const set = { token: await lastToken(), password: PASSWORD };
      expect((await api.call('POST', '/v1/password-resets/confirm', { json: set })).status).toBe(204);
      return json.email;
    },
    async browser(email, more = {}) {
      const answer = await signIn(email, PASSWORD, more);
      expect([answer.status, answer.body.code]).toEqual([201, undefined]);
      const cookie = cookiesOf(answer);
      const csrf = String(answer.body.csrf_token);
      return {
        cookie,
        csrf,
        call: (method, path, call = {}) =>
          api.call(method, path, { ...call, headers: { cookie, 'x-csrf-token': csrf, ...call.headers } }),
      };
    },
  };
}
