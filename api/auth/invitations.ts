import { WEEK_MS } from '../../core/time.ts';
import { passwordHashOf, type User } from '../../ledger/access/users.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import type { ApiContext } from '../http/context.ts';
import { passwordToken } from './passwords.ts';

const INVITATION_MS = WEEK_MS;

/** The mail with the link by which an invited user sets a password, to be sent after the commit. */
export async function invite(
  { secretBox, mailer, portalUrl }: Pick<ApiContext, 'secretBox' | 'mailer' | 'portalUrl'>,
  tx: DatabaseTransaction,
  user: User,
): Promise<() => Promise<void>> {
  const passwordHash = (await passwordHashOf(tx, user.id)) ?? null;
  const expiresAt = new Date(Date.now() + INVITATION_MS);
  const token = passwordToken(secretBox, { userId: user.id, passwordHash, expiresAt });
  return () =>
    mailer.send({
      to: user.email,
      subject: 'You are invited',
      text: `Hello ${user.name},\n\nopen ${portalUrl}/set-password?token=${token} to set a password and sign in. The link is good for a week.\n`,
    });
}
