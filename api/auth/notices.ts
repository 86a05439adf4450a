import type { User } from '../../ledger/access/users.ts';
import type { Mail } from '../http/mailer.ts';

/** Mails about an account's own security: whoever did not do it has to hear of it. */

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

export function noticeMail(user: Pick<User, 'email' | 'name'>, notice: Notice, portalUrl: string): Mail {
  const [subject, text] = NOTICES[notice];
  return {
    to: user.email,
    subject,
    text: `Hello ${user.name},\n\n${text}\n\nIf this was not you, set a new password at ${portalUrl}/portal/forgotten and tell an operator of the program.\n`,
  };
}
