import type { FastifyRequest } from 'fastify';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { createUser, findUserByEmail, listUsers, type User } from '../../ledger/access/users.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import type { Affiliate } from '../../ledger/programs/affiliates.ts';
import { mayCreateUsers } from '../auth/grants.ts';
import { invitationLink, shownInvitation } from '../auth/mails.ts';
import { requireRecentSignIn } from '../auth/recent-sign-in.ts';
import { formatUser } from '../auth/user-view.ts';
import type { ApiContext } from '../http/context.ts';
import { principalOf } from '../http/principal.ts';
import { queueProgramMail } from '../mails/program-mails.ts';

/**
 * Mails an affiliate that it is active now. One without a login gets one, with the link to set its password; not where the
 * caller may not create users, and not where its address is that of another user.
 * Returns the link as the caller sees it. @throws Problem `reauthentication_required`.
 */
export async function welcomePartner(
  tx: DatabaseTransaction,
  context: ApiContext,
  request: FastifyRequest,
  { affiliate, note }: { affiliate: Affiliate; note: string },
): Promise<string | null> {
  const { programId, name, email: to } = affiliate;
  const user = await newLogin(tx, request, affiliate);
  if (!user) {
    await queueProgramMail(tx, context, { programId, kind: 'partner_active', to, values: { name, note } });
    return null;
  }
  const link = await invitationLink(context, tx, user);
  const values = { name, note, link };
  await queueProgramMail(tx, context, { programId, kind: 'partner_approved', to: user.email, values });
  return shownInvitation(context, request, { link, user });
}

/** The user of an affiliate who has no password yet, made where there is none; undefined: there is no use for a link. */
async function newLogin(
  tx: DatabaseTransaction,
  request: FastifyRequest,
  { id: affiliateId, programId, name, email }: Affiliate,
): Promise<User | undefined> {
  const { rows } = await listUsers(tx, { affiliateId, limit: 2 });
  const [user] = rows;
  if (user) return rows.length === 1 && !user.hasPassword && user.status === 'active' ? user : undefined;
  if (!mayCreateUsers(principalOf(request)) || (await findUserByEmail(tx, email))) return undefined;
  // A user outlasts the session that makes it.
  requireRecentSignIn(request);
  const made = await createUser(tx, { email, name, role: 'affiliate', programId, affiliateId });
  const after = formatUser(made);
  const { actor } = principalOf(request);
  await appendAuditLog(tx, { actor, action: 'user.create', subject: after.id, after });
  return made;
}
