import { expect } from 'vitest';
import type { Answer, ApiCall, TestApi } from './api.ts';

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
