import { csrfToken, IDLE_MS, newSessionToken } from '../../api/auth/sessions.ts';
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

export async function signedIn(
  api: TestApi,
  user: { role: Role; programId?: number; affiliateId?: number },
): Promise<SignedIn> {
  const { role, programId = null, affiliateId = null } = user;
  const email = `signed-in-${++users}@example.com`;
  const { id: userId } = await createUser(api.ledger, { email, name: 'U', role, programId, affiliateId });
  const { token, expiresAt } = newSessionToken();
  await createSession(api.ledger, { userId, token, expiresAt });
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
