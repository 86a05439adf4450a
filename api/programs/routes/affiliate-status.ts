import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import { createUser } from '../../../ledger/access/users.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import {
  type Affiliate,
  type AffiliateStatus,
  changeAffiliateStatus,
  createAffiliate,
  getAffiliate,
} from '../../../ledger/programs/affiliates.ts';
import { checkMayCreateUsers } from '../../auth/grants.ts';
import { invite, shownInvitation } from '../../auth/mails.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { formatUser, invitationLinkText, userView } from '../../auth/user-view.ts';
import { commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf, programRequired } from '../../http/principal.ts';
import { queueProgramMail } from '../../mails/program-mails.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { integerId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';
import { affiliateView, formatAffiliate, newAffiliate, visibleAffiliate } from '../affiliate-view.ts';
import { welcomePartner } from '../partner-logins.ts';

const params = z.object({ id: integerId('affiliate') });
const newMember = z.strictObject({ program_id: integerId('program').optional(), ...newAffiliate });
const approvedView = affiliateView
  .extend({ invitation_link: invitationLinkText })
  .meta({ id: 'ApprovedAffiliate' });
const decision = z.strictObject({
  note: text(MAX_NOTE_LENGTH).meta({ description: 'Why: kept in the audit log, and part of the mail.' }),
});

/** What an operator decides about an affiliate: inviting it, and its status. */
export function addAffiliateStatusRoutes(app: ApiServer, context: ApiContext): void {
  const tags = ['affiliates'];

  app.route({
    method: 'POST',
    url: '/v1/affiliates/invite',
    config: {
      roles: ['operator'],
      idempotent: true,
      problems: ['reauthentication_required'],
      example: { ref_code: 'ann', name: 'Ann', email: 'ann@example.com' },
    },
    schema: {
      operationId: 'inviteAffiliate',
      tags,
      summary: 'Create an affiliate with a user of the portal, and mail the link to set a password',
      body: newMember,
      response: {
        201: z.object({ affiliate: affiliateView, user: userView, invitation_link: invitationLinkText }),
      },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      checkMayCreateUsers(principal);
      requireRecentSignIn(request);
      const programId = programRequired(principal, request.body.program_id);
      return await commit(context, request, reply, async (tx) => {
        const created = await createAffiliate(tx, { ...camelKeys(request.body), programId });
        const { id: affiliateId, name, email } = created;
        const user = await createUser(tx, { email, name, role: 'affiliate', programId, affiliateId });
        const after = { affiliate: formatAffiliate(created), user: formatUser(user) };
        const audit = { action: 'affiliate.invite', subject: after.affiliate.id, after };
        const link = await invite(context, tx, user);
        const body = { ...after, invitation_link: shownInvitation(context, request, { link, user }) };
        return { status: 201, body, audit };
      });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/affiliates/:id/approve',
    config: {
      roles: ['operator'],
      idempotent: true,
      problems: ['not_found', 'wrong_state', 'reauthentication_required'],
    },
    schema: {
      operationId: 'approveAffiliate',
      tags,
      summary: 'Make an affiliate active, give it a login if it has none, and mail it both with the note',
      params,
      body: decision,
      response: { 200: approvedView },
    },
    handler: async (request, reply) => await approve(context, request, reply),
  });

  for (const [verb, status] of [
    ['suspend', 'suspended'],
    ['terminate', 'terminated'],
  ] as const) {
    app.route({
      method: 'POST',
      url: `/v1/affiliates/:id/${verb}`,
      config: { roles: ['operator'], idempotent: true, problems: ['not_found', 'wrong_state'] },
      schema: {
        operationId: `${verb}Affiliate`,
        tags,
        summary: `Make an affiliate ${status}, and mail it the decision with the note`,
        params,
        body: decision,
        response: { 200: affiliateView },
      },
      handler: async (request, reply) =>
        await decide(context, request, reply, {
          id: request.params.id,
          verb,
          status,
          note: request.body.note,
        }),
    });
  }
}

/** Another status, in the transaction that mails it. @throws Problem `not_found`, `wrong_state`. */
async function changeStatus(
  tx: DatabaseTransaction,
  request: FastifyRequest,
  { id, status, note }: { id: number; status: AffiliateStatus; note: string },
): Promise<{ before: z.output<typeof affiliateView>; changed: Affiliate }> {
  await lockRow(tx, 'affiliates', id);
  const before = formatAffiliate(visibleAffiliate(principalOf(request), await getAffiliate(tx, id)));
  return { before, changed: await changeAffiliateStatus(tx, { id, status, note }) };
}

async function approve(
  context: ApiContext,
  request: FastifyRequest<{ Params: z.output<typeof params>; Body: z.output<typeof decision> }>,
  reply: FastifyReply,
): Promise<z.output<typeof approvedView>> {
  const { id } = request.params;
  const { note } = request.body;
  const answer = await commit(context, request, reply, async (tx) => {
    const { before, changed } = await changeStatus(tx, request, { id, status: 'active', note });
    const after = formatAffiliate(changed);
    const invitation_link = await welcomePartner(tx, context, request, { affiliate: changed, note });
    const audit = { action: 'affiliate.approve', subject: after.id, before, after: { ...after, note } };
    return { body: { ...after, invitation_link }, audit };
  });
  const { invitation_link: _, ...affiliate } = answer;
  withEtag(reply, affiliate);
  return answer;
}

async function decide(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  decided: { id: number; verb: string; status: 'suspended' | 'terminated'; note: string },
): Promise<z.output<typeof affiliateView>> {
  const { verb, note, status } = decided;
  const changed = await commit(context, request, reply, async (tx) => {
    const { before, changed: affiliate } = await changeStatus(tx, request, decided);
    const { programId, name, email: to } = affiliate;
    await queueProgramMail(tx, context, { programId, kind: `partner_${status}`, to, values: { name, note } });
    const body = formatAffiliate(affiliate);
    return {
      body,
      audit: { action: `affiliate.${verb}`, subject: body.id, before, after: { ...body, note } },
    };
  });
  return withEtag(reply, changed);
}
