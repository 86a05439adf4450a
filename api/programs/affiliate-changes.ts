import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { lockRow } from '../../ledger/postgres/lock.ts';
import { type AffiliateChanges, getAffiliate, updateAffiliate } from '../../ledger/programs/affiliates.ts';
import { requireRecentSignIn } from '../auth/recent-sign-in.ts';
import { checkMatch, commit, withEtag } from '../http/commit.ts';
import type { ApiContext } from '../http/context.ts';
import { principalOf } from '../http/principal.ts';
import { type affiliateView, formatAffiliate, visibleAffiliate } from './affiliate-view.ts';
import { mailChange } from './change-mails.ts';
import { welcomePartner } from './partner-logins.ts';

/**
 * Changes an affiliate, by itself or by an operator. Another e-mail address needs a recent sign-in, and is mailed to
 * everybody whom it concerns.
 */
export async function changeAffiliate(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  change: { id: number; changes: AffiliateChanges; action: string },
): Promise<z.output<typeof affiliateView>> {
  const { secretBox } = context;
  const { id, changes, action } = change;
  const principal = principalOf(request);
  const { actor } = principal;
  const changed = await commit(context, request, reply, async (tx) => {
    await lockRow(tx, 'affiliates', id);
    const old = visibleAffiliate(principal, await getAffiliate(tx, id));
    const before = formatAffiliate(old);
    checkMatch(request, before);
    if (changes.email !== undefined && changes.email !== old.email) requireRecentSignIn(request);
    const updated = visibleAffiliate(principal, await updateAffiliate(tx, { id, changes, actor }));
    const after = formatAffiliate(updated);
    if (updated.email !== old.email) {
      await mailChange(tx, secretBox, {
        before: old,
        after: updated,
        what: 'e-mail address',
        now: updated.email,
        actor,
        heldUntil: null,
      });
    }
    if (updated.status === 'active' && old.status === 'pending') {
      await welcomePartner(tx, context, request, { affiliate: updated, note: '' });
    }
    return { body: after, audit: { action, subject: after.id, before, after } };
  });
  return withEtag(reply, changed);
}
