import type { FastifyRequest } from 'fastify';
import { MINUTE_MS } from '../../core/time.ts';
import { Problem } from '../http/problems.ts';

/** A stolen cookie or an unlocked computer is to find it over; who works on a payout is not to be asked twice. */
export const RECENT_SIGN_IN_MS = 10 * MINUTE_MS;

/**
 * For what moves money, or gives somebody a right that outlasts the session: the password must have been given in this
 * session within {@link RECENT_SIGN_IN_MS}. A key passes: its rights are its scopes.
 * @throws Problem `reauthentication_required`.
 */
export function requireRecentSignIn({ session }: FastifyRequest): void {
  if (!session || Date.now() - session.authenticatedAt.getTime() <= RECENT_SIGN_IN_MS) return;
  throw new Problem('reauthentication_required', {
    detail: `confirm the password at POST /v1/session/confirm, then repeat the request; it counts for ${RECENT_SIGN_IN_MS / MINUTE_MS} minutes`,
  });
}
