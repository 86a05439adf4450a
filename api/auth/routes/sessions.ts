import { z } from 'zod';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { endSession, endSessionsOf, listSessions } from '../../../ledger/access/sessions.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { notFound } from '../../http/problems.ts';
import { bigintId, formatId, idText } from '../../schemas/ids.ts';
import {
  bigintPageQuery,
  formatPage,
  formatTime,
  pageOf,
  pageRequest,
  timeText,
} from '../../schemas/schemas.ts';
import { IDLE_MS, sessionOf } from '../sessions.ts';

const listedSession = z
  .object({
    id: idText('session'),
    is_current: z.boolean().meta({ description: 'The session of this request.' }),
    device: z.string().meta({ description: 'Browser and system, such as "Firefox on Linux"; may be empty.' }),
    address: z.string().meta({ description: 'The IP address of the sign-in.' }),
    created_at: timeText,
    last_seen_at: timeText.meta({ description: 'To the minute.' }),
    expires_at: timeText,
  })
  .meta({ id: 'ListedSession' });

/** Where a user is signed in, and ending that. */
export function addOwnSessionsRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  const tags = ['session'];

  app.route({
    method: 'GET',
    url: '/v1/sessions',
    config: { roles: ROLES },
    schema: {
      operationId: 'listSessions',
      tags,
      summary: 'The sessions of the signed-in user, the newest first',
      querystring: z.object(bigintPageQuery('session')),
      response: { 200: pageOf(listedSession) },
    },
    handler: async (request) => {
      const { id: currentId, user } = sessionOf(request);
      const page = await listSessions(ledger, {
        ...pageRequest(request.query),
        userId: user.id,
        idleMs: IDLE_MS,
      });
      return formatPage('session', page, ({ id, device, address, createdAt, lastSeenAt, expiresAt }) => ({
        id: formatId('session', id),
        is_current: id === currentId,
        device,
        address,
        created_at: formatTime(createdAt),
        last_seen_at: formatTime(lastSeenAt),
        expires_at: formatTime(expiresAt),
      }));
    },
  });

  app.route({
    method: 'DELETE',
    url: '/v1/sessions/:id',
    config: { roles: ROLES, problems: ['not_found'] },
    schema: {
      operationId: 'endSession',
      tags,
      summary: 'Sign out one of the user’s sessions',
      params: z.object({ id: bigintId('session') }),
      response: { 204: z.undefined().describe('It has ended.') },
    },
    handler: async (request, reply) => {
      const { user } = sessionOf(request);
      return await commit(context, request, reply, async (tx) => {
        const hasEnded = await endSession(tx, { id: request.params.id, userId: user.id });
        if (!hasEnded) throw notFound('session of yours with this id');
        const audit = { action: 'session.end', subject: formatId('user', user.id) };
        return { status: 204, body: undefined, audit };
      });
    },
  });

  app.route({
    method: 'DELETE',
    url: '/v1/sessions',
    config: { roles: ROLES },
    schema: {
      operationId: 'endOtherSessions',
      tags,
      summary: 'Sign out every session of the user but the one of this request',
      response: { 200: z.object({ ended: z.int() }) },
    },
    handler: async (request, reply) => {
      const { id, user } = sessionOf(request);
      return await commit(context, request, reply, async (tx) => {
        const ended = await endSessionsOf(tx, { userId: user.id, except: id });
        const audit = { action: 'session.end_others', subject: formatId('user', user.id) };
        return { body: { ended }, audit };
      });
    },
  });
}
