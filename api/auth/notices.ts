import type { SecretBox } from '../../core/secret-box.ts';
import type { User } from '../../ledger/access/users.ts';
import { queueMail } from '../../ledger/integrations/mails.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';

/** Mails about an account's own security: a user who did not do it has to hear of it. */

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
  { secretBox, portalUrl }: { secretBox: SecretBox; portalUrl: string },
  { user, notice }: { user: Pick<User, 'email' | 'name'>; notice: Notice },
): Promise<void> {
  const [subject, text] = NOTICES[notice];
  await queueMail(tx, secretBox, {
    to: user.email,
    subject,
    text: `Hello ${user.name},\n\n${text}\n\nIf this was not you, set a new password at ${portalUrl}/portal/forgotten and tell an operator of the program.\n`,
  });
}
