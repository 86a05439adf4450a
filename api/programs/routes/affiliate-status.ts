import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import { createUser } from '../../../ledger/access/users.ts';
import { queueMail } from '../../../ledger/integrations/mails.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import {
  type AffiliateStatus,
  changeAffiliateStatus,
  createAffiliate,
  getAffiliate,
} from '../../../ledger/programs/affiliates.ts';
import { checkMayCreateUsers } from '../../auth/grants.ts';
import { invite } from '../../auth/mails.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { formatUser, userView } from '../../auth/user-view.ts';
import { commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf, programRequired } from '../../http/principal.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { integerId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';
import { affiliateView, formatAffiliate, newAffiliate, visibleAffiliate } from '../affiliate-view.ts';

const params = z.object({ id: integerId('affiliate') });
const newMember = z.strictObject({ program_id: integerId('program').optional(), ...newAffiliate });
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
      response: { 201: z.object({ affiliate: affiliateView, user: userView }) },
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
        const body = { affiliate: formatAffiliate(created), user: formatUser(user) };
        const audit = { action: 'affiliate.invite', subject: body.affiliate.id, after: body };
        await invite(context, tx, user);
        return { status: 201, body, audit };
      });
    },
  });

  for (const [verb, status] of [
    ['approve', 'active'],
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

async function decide(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  decided: { id: number; verb: string; status: AffiliateStatus; note: string },
): Promise<z.output<typeof affiliateView>> {
  const { id, verb, status, note } = decided;
  const changed = await commit(context, request, reply, async (tx) => {
    await lockRow(tx, 'affiliates', id);
    const before = formatAffiliate(visibleAffiliate(principalOf(request), await getAffiliate(tx, id)));
    const body = formatAffiliate(await changeAffiliateStatus(tx, { id, status }));
    await queueMail(tx, context.secretBox, {
      to: body.email,
      subject: `Your account is ${status}`,
      text: `Hello ${body.name},\n\nyour affiliate account is ${status} now.\n\nNote: ${note}\n`,
    });
    return {
      body,
      audit: { action: `affiliate.${verb}`, subject: body.id, before, after: { ...body, note } },
    };
  });
  return withEtag(reply, changed);
}
