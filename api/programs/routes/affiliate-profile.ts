import { z } from 'zod';
import { queueMail } from '../../../ledger/integrations/mails.ts';
import {
  accountOf,
  encryptPayoutDetails,
  getPayoutMethod,
  hashAccount,
  type PayoutMethod,
  setPayoutMethod,
} from '../../../ledger/payouts/methods.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getAffiliate, updateAffiliate } from '../../../ledger/programs/affiliates.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { formatTime, nameText, text, timeText } from '../../schemas/schemas.ts';
import { affiliateView, formatAffiliate, newAffiliate, visibleAffiliate } from '../affiliate-view.ts';

const MAX_ACCOUNT_LENGTH = 100;

const params = z.object({ id: integerId('affiliate') });

const methodInput = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('bank'),
    holder: nameText,
    iban: z
      .string()
      .meta({ examples: ['DE89 3704 0044 0532 0130 00'] })
      .transform((value) => value.replace(/\s/g, '').toUpperCase())
      .refine(isIban, 'must be an IBAN'),
  }),
  z.strictObject({
    kind: z.literal('paypal'),
    email: text(MAX_ACCOUNT_LENGTH).regex(/^[^\s@]+@[^\s@]+$/, 'must be an e-mail address'),
  }),
  z.strictObject({
    kind: z.literal('stripe'),
    account: z.string().regex(/^acct_[A-Za-z0-9]{8,50}$/, 'must be an account such as acct_1032D82eZvKYlo2C'),
  }),
]);

const methodView = z
  .object({
    affiliate_id: idText('affiliate'),
    kind: z.enum(['bank', 'paypal', 'stripe']).nullable().meta({ description: 'Null: none is set.' }),
    hint: z
      .string()
      .nullable()
      .meta({ description: 'Enough to recognise it by; the rest is stored encrypted.' }),
    updated_at: timeText.nullable(),
  })
  .meta({ id: 'PayoutMethod' });

/** ISO 13616: the rest of the number modulo 97 is 1. */
function isIban(iban: string): boolean {
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{10,30}$/.test(iban)) return false;
  const turned = iban.slice(4) + iban.slice(0, 4);
  const digits = turned.replace(/[A-Z]/g, (letter) => String(letter.charCodeAt(0) - 55));
  return BigInt(digits) % 97n === 1n;
}

function hintOf(method: z.output<typeof methodInput>): string {
  if (method.kind === 'bank') return `${method.iban.slice(0, 2)} … ${method.iban.slice(-4)}`;
  if (method.kind === 'paypal')
    return `${method.email.slice(0, 1)}…@${method.email.split('@')[1]}`.slice(0, 100);
  return `acct_…${method.account.slice(-4)}`;
}

function formatMethod(affiliateId: number, method: PayoutMethod | undefined): z.output<typeof methodView> {
  return {
    affiliate_id: formatId('affiliate', affiliateId),
    kind: method?.kind ?? null,
    hint: method?.hint ?? null,
    updated_at: method ? formatTime(method.updatedAt) : null,
  };
}

/** What an affiliate may change of itself: its profile and where its money goes. */
export function addAffiliateProfileRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, secretBox } = context;
  const tags = ['affiliates'];

  app.route({
    method: 'PATCH',
    url: '/v1/affiliates/:id/profile',
    config: { roles: ['operator', 'affiliate'], idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateProfile',
      tags,
      summary: 'What an affiliate may change of itself',
      params,
      body: z.strictObject({ name: nameText.exactOptional(), email: newAffiliate.email.exactOptional() }),
      response: { 200: affiliateView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'affiliates', id);
        const before = formatAffiliate(visibleAffiliate(principal, await getAffiliate(tx, id)));
        checkMatch(request, before);
        const updated = await updateAffiliate(tx, { id, changes: request.body });
        const after = formatAffiliate(visibleAffiliate(principal, updated));
        return { body: after, audit: { action: 'affiliate.profile', subject: after.id, before, after } };
      });
      return withEtag(reply, changed);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/payout-method',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'getPayoutMethod',
      tags,
      summary: 'Where an affiliate’s money goes, by a hint',
      params,
      response: { 200: methodView },
    },
    handler: async (request, reply) => {
      const { id } = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      return withEtag(reply, formatMethod(id, await getPayoutMethod(ledger, id)));
    },
  });

  app.route({
    method: 'PUT',
    url: '/v1/affiliates/:id/payout-method',
    config: { roles: ['operator', 'affiliate'], idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'setPayoutMethod',
      tags,
      summary: 'Set where an affiliate’s money goes; stored encrypted, and confirmed by mail',
      params,
      body: methodInput,
      response: { 200: methodView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'affiliates', id);
        const owner = visibleAffiliate(principal, await getAffiliate(tx, id));
        const before = formatMethod(id, await getPayoutMethod(tx, id));
        checkMatch(request, before);
        const details = encryptPayoutDetails(secretBox, request.body);
        const { kind } = request.body;
        const after = formatMethod(
          id,
          await setPayoutMethod(tx, {
            affiliateId: id,
            kind,
            details,
            accountHash: hashAccount(accountOf(request.body)),
            hint: hintOf(request.body),
          }),
        );
        // An account that was taken over changes this first; its owner should hear of it.
        await queueMail(tx, secretBox, {
          to: owner.email,
          subject: 'Your payout method was changed',
          text: `Hello ${owner.name},\n\nyour payouts go to ${after.hint} from now on. If that was not you, write to us at once.\n`,
        });
        return {
          body: after,
          audit: { action: 'payout_method.set', subject: after.affiliate_id, before, after },
        };
      });
      return withEtag(reply, changed);
    },
  });
}
