import { WEEK_MS } from '../../core/time.ts';
import { passwordHashOf, type User } from '../../ledger/access/users.ts';
import { queueMail } from '../../ledger/integrations/mails.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import type { ApiContext } from '../http/context.ts';
import { passwordToken } from './passwords.ts';

const INVITATION_MS = WEEK_MS;

/** Mails the link by which an invited user sets a password. */
export async function invite(
  { secretBox, portalUrl }: Pick<ApiContext, 'secretBox' | 'portalUrl'>,
  tx: DatabaseTransaction,
  user: User,
): Promise<void> {
  const passwordHash = (await passwordHashOf(tx, user.id)) ?? null;
  const expiresAt = new Date(Date.now() + INVITATION_MS);
  const token = passwordToken(secretBox, { userId: user.id, passwordHash, expiresAt });
  await queueMail(tx, secretBox, {
    to: user.email,
    subject: 'You are invited',
    text: `Hello ${user.name},\n\nopen ${portalUrl}/set-password?token=${token} to set a password and sign in. The link is good for a week.\n`,
  });
}
