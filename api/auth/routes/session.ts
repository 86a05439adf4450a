import { z } from 'zod';
import { MAX_EMAIL_LENGTH } from '../../../core/text-limits.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { secondFactorState } from '../../../ledger/access/second-factors.ts';
import { endSession, type Session } from '../../../ledger/access/sessions.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { formatId } from '../../schemas/ids.ts';
import { formatOptionalTime, formatTime, plain, text, timeText } from '../../schemas/schemas.ts';
import { password } from '../passwords.ts';
import { MAX_CODE_LENGTH } from '../second-factor.ts';
import { csrfToken, removeSessionCookie, sessionOf } from '../sessions.ts';
import { confirmSignIn, signIn } from '../sign-in.ts';
import { formatUser, userView } from '../user-view.ts';

const code = text(MAX_CODE_LENGTH).optional().meta({
  description: 'Of a user with a second factor: the code of the authenticator app, or a recovery code.',
});

const sessionView = z
  .object({
    csrf_token: z
      .string()
      .meta({ description: 'Send it as x-csrf-token with everything that changes something.' }),
    expires_at: timeText,
    user: userView,
    second_factor: z.object({
      enrolled_at: timeText.nullable(),
      recovery_codes_left: z.int(),
      required: z.boolean().meta({
        description: 'A program requires it; without it every other route answers enrolment_required.',
      }),
    }),
  })
  .meta({ id: 'Session' });

async function formatSession(
  { ledger, secretBox }: ApiContext,
  session: Session,
): Promise<z.output<typeof sessionView>> {
  const { enrolledAt, recoveryCodesLeft, required } = await secondFactorState(ledger, session.user.id);
  return {
    csrf_token: csrfToken(secretBox, session),
    expires_at: formatTime(session.expiresAt),
    user: formatUser(session.user),
    second_factor: {
      enrolled_at: formatOptionalTime(enrolledAt),
      recovery_codes_left: recoveryCodesLeft,
      required,
    },
  };
}

/** Signing in to the portal and out of it. */
export function addSessionRoutes(app: ApiServer, context: ApiContext): void {
  const tags = ['session'];

  app.route({
    method: 'POST',
    url: '/v1/session',
    config: { roles: 'public', problems: ['unauthorized', 'second_factor_required', 'locked_out'] },
    schema: {
      operationId: 'signIn',
      tags,
      summary: 'Sign in: sets the cookie of the portal',
      body: z.strictObject({ email: plain(MAX_EMAIL_LENGTH), password, code }),
      response: { 201: sessionView },
    },
    handler: async (request, reply) => {
      const session = await signIn(context, request, reply, request.body);
      return reply.code(201).send(await formatSession(context, session));
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/session',
    config: { roles: ROLES },
    schema: {
      operationId: 'getSession',
      tags,
      summary: 'The signed-in user, and the token that changes need',
      response: { 200: sessionView },
    },
    handler: async (request) => await formatSession(context, sessionOf(request)),
  });

  app.route({
    method: 'POST',
    url: '/v1/session/confirm',
    config: { roles: ROLES, problems: ['second_factor_required', 'locked_out'] },
    schema: {
      operationId: 'confirmSignIn',
      tags,
      summary: 'Give the password again, where a request was answered with reauthentication_required',
      body: z.strictObject({ password, code }),
      response: { 204: z.undefined().describe('The sign-in is recent again.') },
    },
    handler: async (request, reply) => await confirmSignIn(context, request, reply, request.body),
  });

  app.route({
    method: 'DELETE',
    url: '/v1/session',
    config: { roles: ROLES },
    schema: {
      operationId: 'signOut',
      tags,
      summary: 'Sign out',
      response: { 204: z.undefined().describe('Signed out.') },
    },
    handler: async (request, reply) => {
      const { id, user } = sessionOf(request);
      await commit(context, request, reply, async (tx) => {
        await endSession(tx, { id, userId: user.id });
        const audit = { action: 'session.end', subject: formatId('user', user.id) };
        return { status: 204, body: undefined, audit };
      });
      removeSessionCookie(reply, context);
      return reply.send();
    },
  });
}
