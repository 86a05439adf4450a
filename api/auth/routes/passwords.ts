import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MAX_EMAIL_LENGTH } from '../../../core/text-limits.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { appendAuditLog } from '../../../ledger/access/audit-log.ts';
import { takeGuess } from '../../../ledger/access/guess-limits.ts';
import { endSessionsOf } from '../../../ledger/access/sessions.ts';
import {
  findUserByEmail,
  getUser,
  normalEmail,
  passwordHashOf,
  setPassword,
  type User,
} from '../../../ledger/access/users.ts';
import { type DatabaseSql, inTransaction } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { invalidField } from '../../http/problems.ts';
import { formatId } from '../../schemas/ids.ts';
import { plain, text } from '../../schemas/schemas.ts';
import { setKnownDevice } from '../known-devices.ts';
import { queueNotice, queueReset } from '../mails.ts';
import {
  checkNewPassword,
  claimOf,
  hashPassword,
  isPasswordToken,
  newPassword,
  password,
} from '../passwords.ts';
import { sessionOf } from '../sessions.ts';
import { checkOwnPassword } from '../sign-in.ts';

/** Reset mails of one address: a second one within this time would only help somebody to flood it. */
const RESET_MAILS = { burst: 1, everyS: 900 };

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
      summary:
        'Mail a link to set a password, once in a quarter of an hour; the answer is the same for unknown addresses',
      body: z.strictObject({ email: plain(MAX_EMAIL_LENGTH) }),
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
      const { id: userId } = await resetPassword(context, request.body);
      // Who reads the user's mail is not a stranger: guesses of strangers keep this browser from nothing.
      setKnownDevice(reply, { ...context, userId });
      return reply.code(204).send();
    },
  });
}

/** What a guess at a user's password would begin with. */
async function programNamesOf(sql: DatabaseSql, { programId }: User): Promise<string[]> {
  const program = programId === null ? undefined : await getProgram(sql, programId);
  return program ? [program.name] : [];
}

async function changePassword(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  given: { current_password: string; new_password: string },
): Promise<undefined> {
  const { ledger } = context;
  const session = sessionOf(request);
  const { user } = session;
  await checkOwnPassword(context, session, { field: 'current_password', password: given.current_password });
  const programNames = await programNamesOf(ledger, user);
  checkNewPassword(given.new_password, { field: 'new_password', user, programNames });
  const hash = await hashPassword(given.new_password);
  return await commit(context, request, reply, async (tx) => {
    await setPassword(tx, { id: user.id, hash });
    await endSessionsOf(tx, { userId: user.id, except: session.id });
    const audit = { action: 'password.change', subject: formatId('user', user.id) };
    await queueNotice(tx, context, { user, notice: 'password_changed' });
    return { status: 204, body: undefined, audit };
  });
}

/**
 * The answer is the same for every address, and nearly its time: the limit is written for each, and the one thing more
 * that is done for a user, the mail, is done once in a quarter of an hour, which is too seldom to measure.
 */
async function mailPasswordReset(context: ApiContext, address: string): Promise<void> {
  await inTransaction(context.ledger, async (tx) => {
    const wait = await takeGuess(tx, [{ of: `reset mail ${normalEmail(address)}`, ...RESET_MAILS }]);
    const user = wait === 0 ? await findUserByEmail(tx, address) : undefined;
    if (user?.status === 'active') await queueReset(tx, context, user);
  });
}

/** The user whose right to set a password the token signs. @throws Problem `invalid_input` for any other token. */
async function tokenHolder(sql: DatabaseSql, { secretBox }: ApiContext, token: string): Promise<User> {
  const claim = claimOf(token);
  if (claim && claim.expiresAt.getTime() >= Date.now()) {
    const hash = await passwordHashOf(sql, claim.userId);
    const user = await getUser(sql, claim.userId);
    if (hash !== undefined && user && isPasswordToken(secretBox, token, hash)) return user;
  }
  throw invalidField('token', 'is invalid, expired or already used');
}

/** @throws Problem `invalid_input` naming `token` or `password`. */
async function resetPassword(context: ApiContext, given: { token: string; password: string }): Promise<User> {
  const { ledger } = context;
  const holder = await tokenHolder(ledger, context, given.token);
  const programNames = await programNamesOf(ledger, holder);
  checkNewPassword(given.password, { field: 'password', user: holder, programNames });
  const hash = await hashPassword(given.password);
  await inTransaction(ledger, async (tx) => {
    // Of two uses at once the second finds the hash of the first, and its token void.
    await lockRow(tx, 'users', holder.id);
    const user = await tokenHolder(tx, context, given.token);
    await setPassword(tx, { id: user.id, hash });
    await endSessionsOf(tx, { userId: user.id });
    const audit = { actor: `user:${user.id}`, action: 'password.set', subject: formatId('user', user.id) };
    await appendAuditLog(tx, audit);
    // The first password is that of an invitation.
    if (user.hasPassword) await queueNotice(tx, context, { user, notice: 'password_changed' });
  });
  return holder;
}
