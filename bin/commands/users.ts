import { invitationLink, queueNotice } from '../../api/auth/mails.ts';
import { formatUser } from '../../api/auth/user-view.ts';
import { formatId } from '../../api/schemas/ids.ts';
import { OperatingError } from '../../core/errors.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { removeSecondFactor } from '../../ledger/access/second-factors.ts';
import { endSessionsOf } from '../../ledger/access/sessions.ts';
import { createUser, findUserByEmail, listUsers, type User, updateUser } from '../../ledger/access/users.ts';
import { type DatabaseSql, type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { lockRow } from '../../ledger/postgres/lock.ts';
import { getAffiliate } from '../../ledger/programs/affiliates.ts';
import { allRows } from '../all-rows.ts';
import { readConfig } from '../environment.ts';
import { parseIntegerId } from '../ids.ts';
import { namingOptions } from '../input.ts';
import { withLedger } from '../stores.ts';
import { renderTable } from '../table.ts';

const NAME = 'afflux-users';
const ACTOR = 'command line';
const OPTIONS = {
  email: '--email',
  name: '--name',
  role: '--role',
  program_id: '--program',
  affiliate_id: '--affiliate',
};

/** `afflux users add`: makes a user and prints the one-time link by which it sets its password. */
export async function addUser(given: {
  email: string;
  name: string;
  role: Role;
  program?: string;
  affiliate?: string;
}): Promise<void> {
  const { email, name, role } = given;
  const affiliateId = given.affiliate === undefined ? null : parseIntegerId('affiliate', given.affiliate);
  const asked = given.program === undefined ? null : parseIntegerId('program', given.program);
  await withLedger(NAME, async (ledger) => {
    const { user, link } = await namingOptions(OPTIONS, () =>
      inTransaction(ledger, async (tx) => {
        const programId = asked ?? (await programOf(tx, affiliateId));
        const made = await createUser(tx, { email, name, role, programId, affiliateId });
        const after = formatUser(made);
        await appendAuditLog(tx, { actor: ACTOR, action: 'user.create', subject: after.id, after });
        return { user: made, link: await linkFor(tx, made) };
      }),
    );
    process.stdout.write(`${formatId('user', user.id)} ${user.email} is made.\n${describeLink(link)}\n`);
  });
}

/** The program of an affiliate, which need not be named beside it. */
async function programOf(sql: DatabaseSql, affiliateId: number | null): Promise<number | null> {
  return affiliateId === null ? null : ((await getAffiliate(sql, affiliateId))?.programId ?? null);
}

/** `afflux users invite`: a new one-time link for a user who has lost the first one, or the password. */
export async function inviteUser(email: string): Promise<void> {
  await withLedger(NAME, async (ledger) => {
    const link = await inTransaction(ledger, async (tx) => {
      const user = await userWith(tx, email);
      if (user.status !== 'active')
        throw new OperatingError('wrong_state', `${user.email} is ${user.status}`);
      const subject = formatId('user', user.id);
      await appendAuditLog(tx, { actor: ACTOR, action: 'user.invite', subject });
      return await linkFor(tx, user);
    });
    process.stdout.write(`${describeLink(link)}\n`);
  });
}

/** `afflux users disable` and `enable`: disabling ends every session, and what hangs on the user. */
export async function setUserStatus(email: string, status: User['status']): Promise<void> {
  await withLedger(NAME, async (ledger) => {
    await inTransaction(ledger, async (tx) => {
      const { id } = await userWith(tx, email);
      await lockRow(tx, 'users', id);
      const user = await userWith(tx, email);
      const changed = await updateUser(tx, { id, changes: { status } });
      if (status === 'disabled') await endSessionsOf(tx, { userId: id });
      const before = formatUser(user);
      const after = formatUser(changed ?? user);
      await appendAuditLog(tx, { actor: ACTOR, action: 'user.update', subject: after.id, before, after });
    });
    process.stdout.write(`${email} is ${status}.\n`);
  });
}

/** `afflux users list`: one line each. */
export async function showUsers(): Promise<void> {
  await withLedger(NAME, async (ledger) => {
    const users = await allRows((request) => listUsers(ledger, request));
    const rows = users.map((user) => [
      formatId('user', user.id),
      user.email,
      user.name,
      user.role,
      user.affiliateId !== null
        ? formatId('affiliate', user.affiliateId)
        : user.programId !== null
          ? formatId('program', user.programId)
          : 'every program',
      user.status === 'active' && !user.hasPassword ? 'invited' : user.status,
    ]);
    process.stdout.write(rows.length > 0 ? `${renderTable(rows)}\n` : 'There are no users.\n');
  });
}

async function userWith(sql: DatabaseSql, email: string): Promise<User> {
  const user = await findUserByEmail(sql, email);
  if (user) return user;
  throw new OperatingError('not_found', `there is no user with the address ${email}`);
}

async function linkFor(tx: DatabaseTransaction, user: User): Promise<string> {
  const { dataKeys, portalUrl } = readConfig();
  return await invitationLink({ secretBox: createSecretBox(dataKeys), portalUrl }, tx, user);
}

/** What the command line prints of a link, this once. */
export function describeLink(link: string): string {
  return `Sets the password, once and within a week:\n  ${link}`;
}

/** `afflux users reset-second-factor`: for a user who has lost both the authenticator app and the recovery codes. */
export async function resetSecondFactor(email: string): Promise<void> {
  const { dataKeys, portalUrl } = readConfig();
  const secretBox = createSecretBox(dataKeys);
  await withLedger(NAME, async (ledger) => {
    await inTransaction(ledger, async (tx) => {
      const user = await userWith(tx, email);
      if (!(await removeSecondFactor(tx, user.id))) {
        throw new OperatingError('wrong_state', `${email} has no second factor`);
      }
      await endSessionsOf(tx, { userId: user.id });
      await appendAuditLog(tx, {
        actor: ACTOR,
        action: 'user.second_factor_removed',
        subject: formatId('user', user.id),
      });
      await queueNotice(tx, { secretBox, portalUrl }, { user, notice: 'second_factor_removed' });
    });
    process.stdout.write(
      `The second factor of ${email} is removed, and every session has ended. The user signs in with the password alone, and sets up a new one.\n`,
    );
  });
}
