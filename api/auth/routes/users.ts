import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MAX_EMAIL_LENGTH } from '../../../core/text-limits.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { endSessionsOf } from '../../../ledger/access/sessions.ts';
import {
  createUser,
  getUser,
  listUsers,
  USER_LIST,
  USER_STATUSES,
  type User,
  updateUser,
} from '../../../ledger/access/users.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { type Principal, principalOf, programFilter } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { formatId, integerId } from '../../schemas/ids.ts';
import { nameText, plain } from '../../schemas/schemas.ts';
import { checkMayCreateUsers } from '../grants.ts';
import { invite, shownInvitation } from '../mails.ts';
import { requireRecentSignIn } from '../recent-sign-in.ts';
import { formatUser, invitationLinkText, userView } from '../user-view.ts';

const WHAT = 'user with this id';
const ROLES_OF_ROUTES = ['operator'] as const;
const TAGS = ['users'];

const params = z.object({ id: integerId('user') });

const invitedUser = userView.extend({ invitation_link: invitationLinkText }).meta({ id: 'InvitedUser' });

const newUser = z.strictObject({
  email: plain(MAX_EMAIL_LENGTH)
    .regex(/^[^\s@]+@[^\s@]+$/, 'must be an e-mail address')
    .meta({ examples: ['finance@example.com'] }),
  name: nameText,
  role: z.enum(ROLES),
  program_id: integerId('program').optional(),
  affiliate_id: integerId('affiliate').optional(),
});

const userChanges = z.strictObject({
  name: nameText.exactOptional(),
  status: z.enum(USER_STATUSES).exactOptional(),
});

function visible(principal: Principal, user: User | undefined): User {
  const foreign = principal.programId !== null && user?.programId !== principal.programId;
  if (!user || foreign) throw notFound(WHAT);
  return user;
}

/** People of the portal. */
export function addUserRoutes(app: ApiServer, context: ApiContext): void {
  addReadingRoutes(app, context);
  addChangingRoutes(app, context);
}

function addReadingRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  addList(app, context, {
    url: '/v1/users',
    operationId: 'listUsers',
    tags: TAGS,
    summary: 'Users of the portal, by id',
    config: { roles: ROLES_OF_ROUTES },
    kind: 'user',
    list: USER_LIST,
    filters: {
      program_id: integerId('program').optional(),
      affiliate_id: integerId('affiliate').optional(),
      role: z.enum(ROLES).optional(),
      status: z.enum(USER_STATUSES).optional(),
      ...timeRange,
    },
    view: userView,
    read: async (page, { sql, principal, query: { program_id, affiliate_id, ...filters } }) =>
      await listUsers(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        affiliateId: affiliate_id,
      }),
    format: (users) => users.map(formatUser),
  });

  app.route({
    method: 'GET',
    url: '/v1/users/:id',
    config: { roles: ROLES_OF_ROUTES, problems: ['not_found'] },
    schema: { operationId: 'getUser', tags: TAGS, summary: 'One user', params, response: { 200: userView } },
    handler: async (request, reply) => {
      const user = visible(principalOf(request), await getUser(ledger, request.params.id));
      return withEtag(reply, formatUser(user));
    },
  });
}

function addChangingRoutes(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/users',
    config: { roles: ROLES_OF_ROUTES, idempotent: true, problems: ['reauthentication_required'] },
    schema: {
      operationId: 'createUser',
      tags: TAGS,
      summary: 'Invite a user: a mail has the link to set a password',
      body: newUser,
      response: { 201: invitedUser },
    },
    handler: async (request, reply) => await create(context, request, reply, request.body),
  });

  app.route({
    method: 'PATCH',
    url: '/v1/users/:id',
    config: { roles: ROLES_OF_ROUTES, idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateUser',
      tags: TAGS,
      summary: 'Rename or disable a user; disabling ends every session',
      params,
      body: userChanges,
      response: { 200: userView },
    },
    handler: async (request, reply) =>
      await update(context, request, reply, { id: request.params.id, changes: request.body }),
  });

  app.route({
    method: 'POST',
    url: '/v1/users/:id/invite',
    config: {
      roles: ROLES_OF_ROUTES,
      idempotent: true,
      problems: ['not_found', 'reauthentication_required'],
    },
    schema: {
      operationId: 'inviteUser',
      tags: TAGS,
      summary: 'Mail the link to set a password again',
      params,
      response: {
        202: z.object({ invited: z.literal(true), invitation_link: invitationLinkText }),
      },
    },
    handler: async (request, reply) => {
      return await commit(context, request, reply, async (tx) => {
        const user = visible(principalOf(request), await getUser(tx, request.params.id));
        const audit = { action: 'user.invite', subject: formatId('user', user.id) };
        const link = await invite(context, tx, user);
        const invitation_link = shownInvitation(context, request, { link, user });
        return { status: 202, body: { invited: true as const, invitation_link }, audit };
      });
    },
  });
}

async function create(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  given: z.output<typeof newUser>,
): Promise<z.output<typeof invitedUser>> {
  const principal = principalOf(request);
  // A user outlasts the session that makes it.
  requireRecentSignIn(request);
  checkMayCreateUsers(principal);
  const { email, name, role, program_id, affiliate_id } = given;
  const programId = programFilter(principal, program_id) ?? null;
  return await commit(context, request, reply, async (tx) => {
    const affiliateId = affiliate_id ?? null;
    const user = await createUser(tx, { email, name, role, programId, affiliateId });
    const after = formatUser(user);
    const audit = { action: 'user.create', subject: after.id, after };
    const link = await invite(context, tx, user);
    const body = { ...after, invitation_link: shownInvitation(context, request, { link, user }) };
    return { status: 201, body, audit };
  });
}

async function update(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { id, changes }: { id: number; changes: z.output<typeof userChanges> },
): Promise<z.output<typeof userView>> {
  const principal = principalOf(request);
  const changed = await commit(context, request, reply, async (tx) => {
    await lockRow(tx, 'users', id);
    const before = formatUser(visible(principal, await getUser(tx, id)));
    checkMatch(request, before);
    const after = formatUser(visible(principal, await updateUser(tx, { id, changes })));
    if (after.status === 'disabled') await endSessionsOf(tx, { userId: id });
    return { body: after, audit: { action: 'user.update', subject: after.id, before, after } };
  });
  return withEtag(reply, changed);
}
