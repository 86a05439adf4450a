import type { FastifyReply, FastifyRequest } from 'fastify';
import { renderSVG } from 'uqr';
import { z } from 'zod';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import {
  removeSecondFactor,
  replaceRecoveryCodes,
  secondFactorState,
  startSecondFactor,
} from '../../../ledger/access/second-factors.ts';
import { endSessionsOf } from '../../../ledger/access/sessions.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { invalidField, Problem } from '../../http/problems.ts';
import { formatId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';
import { guess, sessionLimits } from '../guesses.ts';
import { type Notice, queueNotice } from '../notices.ts';
import { requireRecentSignIn } from '../recent-sign-in.ts';
import { confirmEnrolment, MAX_CODE_LENGTH, newRecoveryCodes, newSecret } from '../second-factor.ts';
import { sessionOf } from '../sessions.ts';

const recoveryCodes = z.object({
  recovery_codes: z.array(z.string()).meta({ description: 'Each works once; this answer alone shows them.' }),
});

const startedView = z
  .object({
    secret: z.string().meta({ description: 'Base 32, to be typed into the app.' }),
    uri: z.string().meta({ description: 'The secret as otpauth: URI.' }),
    qr_svg: z.string().meta({ description: 'The URI as QR code.' }),
  })
  .meta({ id: 'StartedSecondFactor' });

/** Setting up a second factor, and removing it. */
export function addSecondFactorRoutes(app: ApiServer, context: ApiContext): void {
  const tags = ['session'];
  const problems = ['reauthentication_required', 'wrong_state'] as const;

  app.route({
    method: 'POST',
    url: '/v1/session/second-factor',
    config: { roles: ROLES, problems },
    schema: {
      operationId: 'startSecondFactor',
      tags,
      summary: 'Make the secret of a second factor (TOTP); the first code of the app puts it in force',
      response: { 201: startedView },
    },
    handler: async (request, reply) => await start(context, request, reply),
  });

  app.route({
    method: 'POST',
    url: '/v1/session/second-factor/confirm',
    config: { roles: ROLES, problems: [...problems, 'locked_out'] },
    schema: {
      operationId: 'confirmSecondFactor',
      tags,
      summary: 'Put the second factor in force by its first code; every other session of the user ends',
      body: z.strictObject({ code: text(MAX_CODE_LENGTH) }),
      response: { 201: recoveryCodes },
    },
    handler: async (request, reply) => await confirm(context, request, reply, request.body.code),
  });

  app.route({
    method: 'POST',
    url: '/v1/session/second-factor/recovery-codes',
    config: { roles: ROLES, problems },
    schema: {
      operationId: 'replaceRecoveryCodes',
      tags,
      summary: 'Make new recovery codes; those before are void',
      response: { 201: recoveryCodes },
    },
    handler: async (request, reply) => {
      requireRecentSignIn(request);
      return await change(context, request, reply, 'recovery_codes_replaced', async (tx, userId) => {
        const { enrolledAt } = await secondFactorState(tx, userId);
        if (enrolledAt === null) throw notEnrolled();
        return { status: 201, body: await freshRecoveryCodes(tx, userId) };
      });
    },
  });

  app.route({
    method: 'DELETE',
    url: '/v1/session/second-factor',
    config: { roles: ROLES, problems },
    schema: {
      operationId: 'removeSecondFactor',
      tags,
      summary: 'Remove the second factor; where a program requires one, a new one must be set up next',
      response: { 204: z.undefined().describe('It is removed.') },
    },
    handler: async (request, reply) => {
      requireRecentSignIn(request);
      return await change(context, request, reply, 'second_factor_removed', async (tx, userId) => {
        if (!(await removeSecondFactor(tx, userId))) throw notEnrolled();
        return { status: 204, body: undefined };
      });
    },
  });
}

function notEnrolled(): Problem {
  return new Problem('wrong_state', { detail: 'there is no second factor' });
}

async function start(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<z.output<typeof startedView>> {
  requireRecentSignIn(request);
  const { user } = sessionOf(request);
  const { secret, uri, encrypted } = newSecret(context.secretBox, user.email);
  return await commit(context, request, reply, async (tx) => {
    if (!(await startSecondFactor(tx, { userId: user.id, secret: encrypted }))) {
      throw new Problem('wrong_state', { detail: 'there is a second factor: remove it before a new one' });
    }
    return { status: 201, body: { secret, uri, qr_svg: renderSVG(uri) } };
  });
}

async function confirm(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  code: string,
): Promise<z.output<typeof recoveryCodes>> {
  requireRecentSignIn(request);
  const { ledger, secretBox } = context;
  const session = sessionOf(request);
  return await guess(ledger, sessionLimits(session), () =>
    change(context, request, reply, 'second_factor_added', async (tx, userId) => {
      if (!(await confirmEnrolment(tx, secretBox, { userId, code }))) {
        throw invalidField('code', 'is not the code that the app shows now');
      }
      // They were signed in by the password alone.
      await endSessionsOf(tx, { userId, except: session.id });
      return { status: 201, body: await freshRecoveryCodes(tx, userId) };
    }),
  );
}

/** A change of the user's second factor: one transaction, in the audit log under the name of its mail. */
async function change<Body>(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  notice: Notice,
  work: (tx: DatabaseTransaction, userId: number) => Promise<{ status: number; body: Body }>,
): Promise<Body> {
  const { user } = sessionOf(request);
  return await commit(context, request, reply, async (tx) => {
    const result = await work(tx, user.id);
    const audit = { action: `user.${notice}`, subject: formatId('user', user.id) };
    await queueNotice(tx, context, { user, notice });
    return { ...result, audit };
  });
}

async function freshRecoveryCodes(
  tx: DatabaseTransaction,
  userId: number,
): Promise<z.output<typeof recoveryCodes>> {
  const { codes, hashes } = newRecoveryCodes();
  await replaceRecoveryCodes(tx, { userId, hashes });
  return { recovery_codes: codes };
}
