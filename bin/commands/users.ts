import { queueNotice } from '../../api/auth/notices.ts';
import { OperatingError } from '../../core/errors.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { removeSecondFactor } from '../../ledger/access/second-factors.ts';
import { endSessionsOf } from '../../ledger/access/sessions.ts';
import { findUserByEmail } from '../../ledger/access/users.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { readConfig } from '../environment.ts';
import { withLedger } from '../stores.ts';

/** `afflux users reset-second-factor`: for a user who has lost both the authenticator app and the recovery codes. */
export async function resetSecondFactor(email: string): Promise<void> {
  const { dataKeys, portalUrl } = readConfig();
  const secretBox = createSecretBox(dataKeys);
  await withLedger('afflux-users', async (ledger) => {
    await inTransaction(ledger, async (tx) => {
      const user = await findUserByEmail(tx, email);
      if (!user) throw new OperatingError('not_found', `there is no user with the address ${email}`);
      if (!(await removeSecondFactor(tx, user.id))) {
        throw new OperatingError('wrong_state', `${email} has no second factor`);
      }
      await endSessionsOf(tx, { userId: user.id });
      await appendAuditLog(tx, {
        actor: 'command line',
        action: 'user.second_factor_removed',
        subject: `usr_${user.id}`,
      });
      await queueNotice(tx, { secretBox, portalUrl }, { user, notice: 'second_factor_removed' });
    });
    process.stdout.write(
      `The second factor of ${email} is removed, and every session has ended. The user signs in with the password alone, and sets up a new one.\n`,
    );
  });
}
