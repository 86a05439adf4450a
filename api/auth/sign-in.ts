import type { FastifyReply, FastifyRequest } from 'fastify';
import { fingerprint } from '../../core/clicks/fingerprint.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import type { GuessLimit } from '../../ledger/access/guess-limits.ts';
import { findSession, renewAuthentication, type Session } from '../../ledger/access/sessions.ts';
import { findUserByEmail, passwordHashOf, type User } from '../../ledger/access/users.ts';
import { noteAffiliateSession } from '../../ledger/conversions/decision-facts.ts';
import { type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { commit } from '../http/commit.ts';
import type { ApiContext } from '../http/context.ts';
import { invalidField, Problem } from '../http/problems.ts';
import { formatId } from '../schemas/ids.ts';
import { codeLimits, guess, sessionLimits, signInLimits } from './guesses.ts';
import { knownDevice, setKnownDevice } from './known-devices.ts';
import { queueNotice } from './mails.ts';
import { isPassword } from './passwords.ts';
import { type CodeCheck, checkCode } from './second-factor.ts';
import { IDLE_MS, sessionOf, setSessionCookie, startSession } from './sessions.ts';

interface Given {
  readonly password: string;
  readonly code?: string | undefined;
}

/**
 * Begins a session and sets its cookie.
 * @throws Problem `unauthorized`, `second_factor_required`, `invalid_input` (code), `locked_out`.
 */
export async function signIn(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  given: Given & { email: string },
): Promise<Session> {
  const { ledger, secretBox, portalUrl } = context;
  const user = await findUserByEmail(ledger, given.email);
  const device = user && knownDevice(request, { userId: user.id, secretBox, portalUrl });
  const limits = signInLimits({ email: given.email, ip: request.visitorIp, device });
  const hash = user?.status === 'active' ? user.passwordHash : undefined;
  const isRight = await guess(ledger, limits, () => isPassword(hash, given.password));
  if (!user || !isRight)
    throw new Problem('unauthorized', { detail: 'the address or the password is wrong' });
  const code = await requireCode(context, {
    userId: user.id,
    code: given.code,
    limits: codeLimits({ userId: user.id, device }),
  });
  const token = await inTransaction(ledger, async (tx) => {
    const subject = formatId('user', user.id);
    await appendAuditLog(tx, { actor: `user:${user.id}`, action: 'session.create', subject });
    await noteVisit(tx, request, user);
    if (code === 'recovery_code') await queueNotice(tx, context, { user, notice: 'recovery_code_used' });
    return await startSession(tx, request, user.id);
  });
  const session = await findSession(ledger, { token, idleMs: IDLE_MS });
  if (!session) throw new Problem('unauthorized', { detail: 'the user was disabled during the sign-in' });
  setSessionCookie(reply, { token, portalUrl });
  setKnownDevice(reply, { userId: user.id, secretBox, portalUrl });
  return session;
}

/** An affiliate's own orders are recognised by the address and the browser of its sign-ins. */
async function noteVisit(tx: DatabaseTransaction, request: FastifyRequest, user: User): Promise<void> {
  const { programId, affiliateId } = user;
  const ip = request.visitorIp;
  if (programId === null || affiliateId === null || ip === null) return;
  const { 'user-agent': agent = '', 'accept-language': language = '' } = request.headers;
  const visit = { ip, fingerprint: fingerprint(agent, language), now: new Date() };
  await noteAffiliateSession(tx, { programId, affiliateId, ...visit });
}

/** Makes the sign-in of a session recent. @throws Problem `invalid_input` (password, code), `locked_out`. */
export async function confirmSignIn(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  given: Given,
): Promise<undefined> {
  const session = sessionOf(request);
  const { user } = session;
  await checkOwnPassword(context, session, { field: 'password', password: given.password });
  await requireCode(context, {
    userId: user.id,
    code: given.code,
    limits: codeLimits({ userId: user.id, device: `session ${session.id}` }),
  });
  return await commit(context, request, reply, async (tx) => {
    await renewAuthentication(tx, session.id);
    const audit = { action: 'session.confirm', subject: formatId('user', user.id) };
    return { status: 204, body: undefined, audit };
  });
}

/** The password of a signed-in user. @throws Problem `invalid_input` naming `field`, `locked_out`. */
export async function checkOwnPassword(
  { ledger }: ApiContext,
  session: Session,
  { field, password }: { field: string; password: string },
): Promise<void> {
  const hash = await passwordHashOf(ledger, session.user.id);
  const isRight = await guess(ledger, sessionLimits(session), () => isPassword(hash, password));
  if (!isRight) throw invalidField(field, 'is wrong');
}

/**
 * The code of a user who has a second factor, after the right password.
 * @throws Problem `second_factor_required`, `invalid_input` (code), `locked_out`.
 */
async function requireCode(
  { ledger, secretBox }: ApiContext,
  options: { userId: number; code: string | undefined; limits: readonly GuessLimit[] },
): Promise<CodeCheck> {
  let outcome: CodeCheck = 'missing';
  const check = async (): Promise<boolean> => {
    outcome = await checkCode(ledger, secretBox, options);
    return outcome !== 'wrong';
  };
  // Without a code nothing is guessed.
  if (options.code === undefined) await check();
  else await guess(ledger, options.limits, check);
  if (outcome === 'missing') {
    throw new Problem('second_factor_required', {
      detail: 'send the code of the authenticator app, or a recovery code, as code',
    });
  }
  if (outcome === 'wrong') {
    throw invalidField('code', 'is wrong or was used before; the app shows a new code every 30 seconds');
  }
  return outcome;
}
