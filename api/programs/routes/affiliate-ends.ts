import { z } from 'zod';
import { OperatingError } from '../../../core/errors.ts';
import { MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import { eraseAffiliate } from '../../../ledger/audit/erase.ts';
import { readDestination } from '../../../ledger/payouts/destinations.ts';
import { mergeAffiliates } from '../../../ledger/payouts/merges.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { integerId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';
import { affiliateView, formatAffiliate, visibleAffiliate } from '../affiliate-view.ts';
import { mailMerge } from '../change-mails.ts';

const params = z.object({ id: integerId('affiliate') });
const note = text(MAX_NOTE_LENGTH).meta({ description: 'Why; it stays in the audit log.' });
const config = {
  roles: ['operator'],
  idempotent: true,
  problems: ['not_found', 'wrong_state', 'reauthentication_required'],
} as const;

/** How an affiliate ends: as another one, or as no one known. */
export function addAffiliateEndRoutes(app: ApiServer, context: ApiContext): void {
  const tags = ['affiliates'];

  app.route({
    method: 'POST',
    url: '/v1/affiliates/:id/merge',
    config: {
      ...config,
      scopes: ['money:write'],
      example: { into_affiliate_id: 'aff_2', note: 'One person' },
    },
    schema: {
      operationId: 'mergeAffiliate',
      tags,
      summary: 'Let another affiliate of the program take the place of this one, which ends as terminated',
      description:
        'Links, recruits, and what it has or owes go to the other one, and later orders of its clicks and customers. What is decided stays as it is. The account of the other one is on hold as a changed one is, and both hear of it by mail. Refused while one of its payouts is open. A key with scopes needs `money:write` beside `affiliates:write`, because money moves.',
      params,
      body: z.strictObject({ into_affiliate_id: integerId('affiliate'), note }),
      response: { 200: affiliateView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { actor } = principal;
      requireRecentSignIn(request);
      const { id } = request.params;
      const { into_affiliate_id: intoAffiliateId, note } = request.body;
      return await commit(context, request, reply, async (tx) => {
        const merged = visibleAffiliate(principal, await getAffiliate(tx, id));
        const { programId } = merged;
        await mergeAffiliates(tx, { programId, affiliateId: id, intoAffiliateId, note, actor });
        const into = visibleAffiliate(principal, await getAffiliate(tx, intoAffiliateId));
        const { heldUntil } = await readDestination(tx, {
          affiliateId: intoAffiliateId,
          provider: context.payoutProvider,
          now: new Date(),
        });
        await mailMerge(tx, context.secretBox, { merged, into, actor, heldUntil });
        return { body: formatAffiliate(visibleAffiliate(principal, await getAffiliate(tx, id))) };
      });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/affiliates/:id/erase',
    config,
    schema: {
      operationId: 'eraseAffiliate',
      tags,
      summary: 'Remove who a terminated affiliate was; the books stay under its id',
      description:
        'Names, addresses, payout method, users, sessions and what the audit log says of them go, for good. Its balance has to be zero: pay it, or let it forfeit. Its monthly statements say who it is, so it is refused until those of all its movements are made, two days into the next month.',
      params,
      response: { 200: affiliateView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      requireRecentSignIn(request);
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        const { programId } = visibleAffiliate(principal, await getAffiliate(tx, id));
        const fault = await eraseAffiliate(tx, { programId, affiliateId: id });
        if (fault !== undefined) throw new OperatingError('wrong_state', fault);
        const body = formatAffiliate(visibleAffiliate(principal, await getAffiliate(tx, id)));
        return { body, audit: { action: 'affiliate.erase', subject: body.id } };
      });
    },
  });
}
