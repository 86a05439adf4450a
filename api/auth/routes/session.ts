import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { fingerprint } from '../../../core/clicks/fingerprint.ts';
import { MAX_EMAIL_LENGTH } from '../../../core/text-limits.ts';
import { HOUR_MS } from '../../../core/time.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { appendAuditLog } from '../../../ledger/access/audit-log.ts';
import {
  createSession,
  endSession,
  endSessionsOf,
  findSession,
  forgetGuesses,
  lockedFor,
  mayGuess,
  type Session,
} from '../../../ledger/access/sessions.ts';
import { findUserByEmail, getUser, passwordHashOf, setPassword } from '../../../ledger/access/users.ts';
import { noteAffiliateSession } from '../../../ledger/conversions/decision-facts.ts';
import { queueMail } from '../../../ledger/integrations/mails.ts';
import { inTransaction } from '../../../ledger/postgres/db.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { invalidField, Problem } from '../../http/problems.ts';
import { formatId } from '../../schemas/ids.ts';
import { formatTime, text, timeText } from '../../schemas/schemas.ts';
import {
  claimOf,
  csrfToken,
  hashPassword,
  IDLE_MS,
  isPassword,
  isPasswordToken,
  newSessionToken,
  passwordToken,
  setSessionCookie,
} from '../sessions.ts';
import { formatUser, userView } from '../user-view.ts';

/** Longer ones only cost time. */
const MAX_PASSWORD_LENGTH = 200;
/** NIST SP 800-63B: at least 8; more when nothing else guards the account. */
const MIN_PASSWORD_LENGTH = 10;
const RESET_MS = HOUR_MS;

const email = text(MAX_EMAIL_LENGTH);
const password = z.string().min(1).max(MAX_PASSWORD_LENGTH);
export const newPassword = z
  .string()
  .min(MIN_PASSWORD_LENGTH, `must have at least ${MIN_PASSWORD_LENGTH} characters`)
  .max(MAX_PASSWORD_LENGTH);

const sessionView = z
  .object({
    csrf_token: z
      .string()
      .meta({ description: 'Send it as x-csrf-token with everything that changes something.' }),
    expires_at: timeText,
    user: userView,
  })
  .meta({ id: 'Session' });

/** Signing in to the portal and out of it. */
export function addSessionRoutes(app: ApiServer, context: ApiContext): void {
  const tags = ['session'];

  app.route({
    method: 'POST',
    url: '/v1/session',
    config: { roles: 'public', problems: ['unauthorized', 'locked_out'] },
    schema: {
      operationId: 'signIn',
      tags,
      summary: 'Sign in: sets the cookie of the portal',
      body: z.strictObject({ email, password }),
      response: { 201: sessionView },
    },
    handler: async (request, reply) => {
      const session = await signIn(context, request, reply, request.body);
      return reply.code(201).send(formatSession(context, session));
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
    handler: async (request) => formatSession(context, sessionOf(request)),
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
        await endSession(tx, id);
        const audit = { action: 'session.end', subject: formatId('user', user.id) };
        return { status: 204, body: undefined, audit };
      });
      setSessionCookie(reply, { token: '', portalUrl: context.portalUrl });
      return reply.send();
    },
  });
}

/** Changing a password, and setting one by the link of a mail. */
export function addPasswordRoutes(app: ApiServer, context: ApiContext): void {
  const tags = ['session'];

  app.route({
    method: 'POST',
    url: '/v1/session/password',
    config: { roles: ROLES, problems: ['locked_out'] },
    schema: {
      operationId: 'changePassword',
      tags,
      summary: 'Change one’s own password; every other session of the user ends',
      body: z.strictObject({ current_password: password, new_password: newPassword }),
      response: { 204: z.undefined().describe('It is changed.') },
    },
    handler: async (request, reply) => await changePassword(context, request, reply, request.body),
  });

  app.route({
    method: 'POST',
    url: '/v1/password-resets',
    config: { roles: 'public' },
    schema: {
      operationId: 'requestPasswordReset',
      tags,
      summary: 'Mail a link to set a password; the answer is the same for unknown addresses',
      body: z.strictObject({ email }),
      response: { 202: z.object({ requested: z.literal(true) }) },
    },
    handler: async (request, reply) => {
      await mailPasswordReset(context, request.body.email);
      return reply.code(202).send({ requested: true as const });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/password-resets/confirm',
    config: { roles: 'public' },
    schema: {
      operationId: 'setPassword',
      tags,
      summary: 'Set a password by the token of a mail; every session of the user ends',
      body: z.strictObject({ token: text(500), password: newPassword }),
      response: { 204: z.undefined().describe('It is set.') },
    },
    handler: async (request, reply) => {
      await resetPassword(context, request.body);
      return reply.code(204).send();
    },
  });
}

function formatSession({ secretBox }: ApiContext, session: Session): z.output<typeof sessionView> {
  return {
    csrf_token: csrfToken(secretBox, session),
    expires_at: formatTime(session.expiresAt),
    user: formatUser(session.user),
  };
}

/** @throws Problem `locked_out`. */
async function checkGuess({ ledger }: ApiContext, address: string): Promise<void> {
  if (await mayGuess(ledger, address)) return;
  const seconds = Math.max(1, await lockedFor(ledger, address));
  throw new Problem('locked_out', {
    detail: `there were too many wrong passwords for this address; try again in ${seconds} s`,
    headers: { 'retry-after': String(seconds) },
  });
}

/** Begins a session and sets its cookie. @throws Problem `unauthorized`, `locked_out`. */
async function signIn(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  given: { email: string; password: string },
): Promise<Session> {
  const { ledger, portalUrl } = context;
  await checkGuess(context, given.email);
  const user = await findUserByEmail(ledger, given.email);
  const right = await isPassword(user?.status === 'active' ? user.passwordHash : undefined, given.password);
  if (!user || !right) throw new Problem('unauthorized', { detail: 'the address or the password is wrong' });
  await forgetGuesses(ledger, given.email);
  const { token, expiresAt } = newSessionToken();
  await inTransaction(ledger, async (tx) => {
    await createSession(tx, { userId: user.id, token, expiresAt });
    const actor = `user:${user.id}`;
    await appendAuditLog(tx, { actor, action: 'session.create', subject: formatId('user', user.id) });
    const { programId, affiliateId } = user;
    if (programId === null || affiliateId === null) return;
    const agent = request.headers['user-agent'] ?? '';
    await noteAffiliateSession(tx, {
      programId,
      affiliateId,
      ip: request.ip,
      fingerprint: fingerprint(agent, request.headers['accept-language'] ?? ''),
      now: new Date(),
    });
  });
  const session = await findSession(ledger, { token, idleMs: IDLE_MS });
  if (!session) throw new Problem('unauthorized', { detail: 'the user was disabled during the sign-in' });
  setSessionCookie(reply, { token, portalUrl });
  return session;
}

async function changePassword(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  given: { current_password: string; new_password: string },
): Promise<undefined> {
  const { ledger } = context;
  const { id: sessionId, user } = sessionOf(request);
  await checkGuess(context, user.email);
  if (!(await isPassword(await passwordHashOf(ledger, user.id), given.current_password))) {
    throw invalidField('current_password', 'is wrong');
  }
  await forgetGuesses(ledger, user.email);
  const hash = await hashPassword(given.new_password);
  return await commit(context, request, reply, async (tx) => {
    await setPassword(tx, { id: user.id, hash });
    await endSessionsOf(tx, { userId: user.id, except: sessionId });
    const audit = { action: 'password.change', subject: formatId('user', user.id) };
    return { status: 204, body: undefined, audit };
  });
}

async function mailPasswordReset(context: ApiContext, address: string): Promise<void> {
  const { ledger, secretBox, portalUrl } = context;
  const user = await findUserByEmail(ledger, address);
  if (user?.status !== 'active') return;
  const expiresAt = new Date(Date.now() + RESET_MS);
  const token = passwordToken(secretBox, { userId: user.id, passwordHash: user.passwordHash, expiresAt });
  await inTransaction(ledger, (tx) =>
    queueMail(tx, secretBox, {
      to: user.email,
      subject: 'Set a new password',
      text: `To set a new password, open ${portalUrl}/set-password?token=${token}\n\nThe link is valid for an hour and for one use. If you did not ask for it, nothing has changed.\n`,
    }),
  );
}

/** @throws Problem `invalid_input` for a token that is invalid, expired or already used. */
async function resetPassword(
  { ledger, secretBox }: ApiContext,
  given: { token: string; password: string },
): Promise<void> {
  const claim = claimOf(given.token);
  const wrong = invalidField('token', 'is invalid, expired or already used');
  if (!claim || claim.expiresAt.getTime() < Date.now()) throw wrong;
  const hash = await hashPassword(given.password);
  await inTransaction(ledger, async (tx) => {
    await tx`select from users where id = ${claim.userId} for no key update`;
    const before = await passwordHashOf(tx, claim.userId);
    const user = await getUser(tx, claim.userId);
    if (before === undefined || !user || !isPasswordToken(secretBox, given.token, before)) throw wrong;
    await setPassword(tx, { id: user.id, hash });
    await endSessionsOf(tx, { userId: user.id });
    await forgetGuesses(tx, user.email);
    await appendAuditLog(tx, {
      actor: `user:${user.id}`,
      action: 'password.set',
      subject: formatId('user', user.id),
    });
  });
}

function sessionOf(request: { session: Session | undefined }): Session {
  if (request.session) return request.session;
  throw new Problem('forbidden', { detail: 'this needs a session of the portal; an API key has none' });
}
