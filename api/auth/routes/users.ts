import { z } from 'zod';
import { MAX_EMAIL_LENGTH } from '../../../core/text-limits.ts';
import { WEEK_MS } from '../../../core/time.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { endSessionsOf } from '../../../ledger/access/sessions.ts';
import {
  createUser,
  getUser,
  listUsers,
  passwordHashOf,
  USER_STATUSES,
  type User,
  updateUser,
} from '../../../ledger/access/users.ts';
import { queueMail } from '../../../ledger/integrations/mails.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { type Principal, principalOf, programFilter } from '../../http/principal.ts';
import { notFound, Problem } from '../../http/problems.ts';
import { formatId, integerId } from '../../schemas/ids.ts';
import { formatPage, nameText, pageOf, pageQuery, pageRequest, text } from '../../schemas/schemas.ts';
import { passwordToken } from '../sessions.ts';
import { formatUser, userView } from '../user-view.ts';

const INVITATION_MS = WEEK_MS;
const WHAT = 'user with this id';

const params = z.object({ id: integerId('user') });

function visible(principal: Principal, user: User | undefined): User {
  const foreign = principal.programId !== null && user?.programId !== principal.programId;
  if (!user || foreign) throw notFound(WHAT);
  return user;
}

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

/** People of the portal. */
export function addUserRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  const tags = ['users'];
  const roles = ['operator'] as const;

  app.route({
    method: 'GET',
    url: '/v1/users',
    config: { roles },
    schema: {
      operationId: 'listUsers',
      tags,
      summary: 'Users of the portal, by id',
      querystring: z.object({
        ...pageQuery('user'),
        program_id: integerId('program').optional(),
        affiliate_id: integerId('affiliate').optional(),
      }),
      response: { 200: pageOf(userView) },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.query.program_id);
      const affiliateId = request.query.affiliate_id;
      const page = await listUsers(ledger, { ...pageRequest(request.query), programId, affiliateId });
      return formatPage('user', page, formatUser);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/users',
    config: { roles, idempotent: true },
    schema: {
      operationId: 'createUser',
      tags,
      summary: 'Invite a user: a mail has the link to set a password',
      body: z.strictObject({
        email: text(MAX_EMAIL_LENGTH)
          .regex(/^[^\s@]+@[^\s@]+$/, 'must be an e-mail address')
          .meta({ examples: ['finance@example.com'] }),
        name: nameText,
        role: z.enum(ROLES),
        program_id: integerId('program').optional(),
        affiliate_id: integerId('affiliate').optional(),
      }),
      response: { 201: userView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      if (principal.scopes !== null) {
        throw new Problem('forbidden', {
          detail: 'a key with scopes cannot create users, which have no scopes',
        });
      }
      const { email, name, role, program_id, affiliate_id } = request.body;
      const programId = programFilter(principal, program_id) ?? null;
      return await commit(context, request, reply, async (tx) => {
        const user = await createUser(tx, {
          email,
          name,
          role,
          programId,
          affiliateId: affiliate_id ?? null,
        });
        const body = formatUser(user);
        const audit = { action: 'user.create', subject: body.id, after: body };
        await invite(context, tx, user);
        return { status: 201, body, audit };
      });
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/users/:id',
    config: { roles, problems: ['not_found'] },
    schema: { operationId: 'getUser', tags, summary: 'One user', params, response: { 200: userView } },
    handler: async (request, reply) => {
      const user = visible(principalOf(request), await getUser(ledger, request.params.id));
      return withEtag(reply, formatUser(user));
    },
  });

  app.route({
    method: 'PATCH',
    url: '/v1/users/:id',
    config: { roles, idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateUser',
      tags,
      summary: 'Rename or disable a user; disabling ends every session',
      params,
      body: z.strictObject({ name: nameText.exactOptional(), status: z.enum(USER_STATUSES).exactOptional() }),
      response: { 200: userView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'users', id);
        const before = formatUser(visible(principal, await getUser(tx, id)));
        checkMatch(request, before);
        const after = formatUser(visible(principal, await updateUser(tx, { id, changes: request.body })));
        if (after.status === 'disabled') await endSessionsOf(tx, { userId: id });
        return { body: after, audit: { action: 'user.update', subject: after.id, before, after } };
      });
      return withEtag(reply, changed);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/users/:id/invite',
    config: { roles, idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'inviteUser',
      tags,
      summary: 'Mail the link to set a password again',
      params,
      response: { 202: z.object({ invited: z.literal(true) }) },
    },
    handler: async (request, reply) => {
      return await commit(context, request, reply, async (tx) => {
        const user = visible(principalOf(request), await getUser(tx, request.params.id));
        const audit = { action: 'user.invite', subject: formatId('user', user.id) };
        await invite(context, tx, user);
        return { status: 202, body: { invited: true as const }, audit };
      });
    },
  });
}
