import type { FastifyRequest } from 'fastify';
import type { SecretBox } from '../../core/secret-box.ts';
import { HOUR_MS, WEEK_MS } from '../../core/time.ts';
import { passwordHashOf, type User } from '../../ledger/access/users.ts';
import { queueMail } from '../../ledger/integrations/mails.ts';
import type { DatabaseSql, DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { principalOf } from '../http/principal.ts';
import { queueProgramMail } from '../mails/program-mails.ts';
import { mayCreateUsers } from './grants.ts';
import { passwordToken } from './passwords.ts';
import { requireRecentSignIn } from './recent-sign-in.ts';

/** Mails about accounts, each in the transaction of what it tells of. */

const INVITATION_MS = WEEK_MS;
const RESET_MS = HOUR_MS;

interface MailContext {
  readonly secretBox: SecretBox;
  readonly portalUrl: string;
}

/** The link by which a user sets a password: for a week, and for one use. */
export async function invitationLink(
  { secretBox, portalUrl }: MailContext,
  sql: DatabaseSql,
  user: Pick<User, 'id'>,
): Promise<string> {
  const passwordHash = (await passwordHashOf(sql, user.id)) ?? null;
  const expiresAt = new Date(Date.now() + INVITATION_MS);
  return `${portalUrl}/set-password?token=${passwordToken(secretBox, { userId: user.id, passwordHash, expiresAt })}`;
}

/** Mails the link by which an invited user sets a password: a partner's in the words of its program. Returns the link. */
export async function invite(context: MailContext, tx: DatabaseTransaction, user: User): Promise<string> {
  const link = await invitationLink(context, tx, user);
  const { email: to, name, programId } = user;
  if (user.affiliateId !== null && programId !== null) {
    await queueProgramMail(tx, context, { programId, kind: 'partner_invited', to, values: { name, link } });
    return link;
  }
  await queueMail(tx, context.secretBox, {
    to: user.email,
    subject: 'You are invited',
    text: `Hello ${user.name},\n\nopen ${link} to set a password and sign in. The link is good for a week.\n`,
  });
  return link;
}

/**
 * The link as it is shown to who has invited the user: where no mail brings it, and only while the account is no one's yet.
 * A link to an account that has a password would be a way into it, and one for a key of limited rights a way around them.
 * @throws Problem `reauthentication_required`: what it opens outlasts the session.
 */
export function shownInvitation(
  { sendsMails }: { readonly sendsMails: boolean },
  request: FastifyRequest,
  { link, user }: { link: string; user: Pick<User, 'hasPassword'> },
): string | null {
  if (sendsMails || user.hasPassword || !mayCreateUsers(principalOf(request))) return null;
  requireRecentSignIn(request);
  return link;
}

/** Mails the link by which a user sets a new password. */
export async function queueReset(
  tx: DatabaseTransaction,
  { secretBox, portalUrl }: MailContext,
  user: User & { readonly passwordHash: string | null },
): Promise<void> {
  const expiresAt = new Date(Date.now() + RESET_MS);
  const token = passwordToken(secretBox, { userId: user.id, passwordHash: user.passwordHash, expiresAt });
  await queueMail(tx, secretBox, {
    to: user.email,
    subject: 'Set a new password',
    text: `To set a new password, open ${portalUrl}/set-password?token=${token}\n\nThe link is valid for an hour and for one use. If you did not ask for it, nothing has changed.\n`,
  });
}

/** Changes of an account's own security: a user who did not make them has to hear of them. */
const NOTICES = {
  password_changed: [
    'Your password was changed',
    'the password of your account was changed, and every other session was signed out.',
  ],
  second_factor_added: [
    'Your second factor is set up',
    'a second factor was set up for your account. From now on you sign in with the code of an authenticator app.',
  ],
  second_factor_removed: [
    'Your second factor was removed',
    'the second factor of your account was removed. You sign in with your password alone.',
  ],
  recovery_codes_replaced: [
    'Your recovery codes were replaced',
    'new recovery codes were made for your account. The codes before are void.',
  ],
  recovery_code_used: [
    'A recovery code was used',
    'somebody signed in to your account with your password and a recovery code. Each code works once: make new ones before they run out.',
  ],
} as const;

export type Notice = keyof typeof NOTICES;

/** Mails a notice in the transaction of the change. */
export async function queueNotice(
  tx: DatabaseTransaction,
  { secretBox, portalUrl }: MailContext,
  { user, notice }: { user: Pick<User, 'email' | 'name'>; notice: Notice },
): Promise<void> {
  const [subject, text] = NOTICES[notice];
  await queueMail(tx, secretBox, {
    to: user.email,
    subject,
    text: `Hello ${user.name},\n\n${text}\n\nIf this was not you, set a new password at ${portalUrl}/portal/forgotten and tell an operator of the program.\n`,
  });
}
