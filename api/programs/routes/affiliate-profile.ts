import { z } from 'zod';
import { type Destination, readDestination } from '../../../ledger/payouts/destinations.ts';
import {
  accountOf,
  encryptPayoutDetails,
  getPayoutMethod,
  hashAccount,
  type PayoutMethod,
  setPayoutMethod,
} from '../../../ledger/payouts/methods.ts';
import type { DatabaseSql } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { formatTime, nameText, text, timeText } from '../../schemas/schemas.ts';
import { changeAffiliate } from '../affiliate-changes.ts';
import { affiliateView, newAffiliate, visibleAffiliate } from '../affiliate-view.ts';
import { mailChange } from '../change-mails.ts';

const MAX_ACCOUNT_LENGTH = 100;

const TAGS = ['affiliates'];
const PROBLEMS = ['not_found', 'reauthentication_required'] as const;

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
    version: z.int().nullable().meta({ description: 'Counts the accounts that the affiliate has had.' }),
    updated_at: timeText.nullable().meta({ description: 'When the account was last changed.' }),
    hold: z
      .object({
        until: timeText,
        changed: z.enum(['payout_method', 'email']),
        changed_at: timeText,
      })
      .nullable()
      .meta({
        description: 'No payouts until then, because where they go was changed; null: no hold.',
      }),
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

function formatMethod(
  affiliateId: number,
  method: PayoutMethod | undefined,
  { kind, changedAt, heldUntil }: Destination,
): z.output<typeof methodView> {
  return {
    affiliate_id: formatId('affiliate', affiliateId),
    kind: method?.kind ?? null,
    hint: method?.hint ?? null,
    version: method?.version ?? null,
    updated_at: method ? formatTime(method.updatedAt) : null,
    hold:
      changedAt && heldUntil
        ? {
            until: formatTime(heldUntil),
            changed: kind === 'email' ? 'email' : 'payout_method',
            changed_at: formatTime(changedAt),
          }
        : null,
  };
}

/** What an affiliate may change of itself: its profile and where its money goes. */
export function addAffiliateProfileRoutes(app: ApiServer, context: ApiContext): void {
  addProfileRoute(app, context);
  addMethodRoutes(app, context);
}

function addProfileRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'PATCH',
    url: '/v1/affiliates/:id/profile',
    config: { roles: ['operator', 'affiliate'], idempotent: true, ifMatch: true, problems: PROBLEMS },
    schema: {
      operationId: 'updateProfile',
      tags: TAGS,
      summary: 'What an affiliate may change of itself',
      description:
        'A change of the e-mail address is mailed to the old and the new one, and to the program. Where the provider pays to the address, payouts are on hold for payout_method_hold_days.',
      params,
      body: z.strictObject({ name: nameText.exactOptional(), email: newAffiliate.email.exactOptional() }),
      response: { 200: affiliateView },
    },
    handler: async (request, reply) =>
      await changeAffiliate(context, request, reply, {
        id: request.params.id,
        changes: request.body,
        action: 'affiliate.profile',
      }),
  });
}

function addMethodRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, secretBox, payoutProvider } = context;
  const provider = payoutProvider.name;

  async function readMethod(sql: DatabaseSql, affiliateId: number): Promise<z.output<typeof methodView>> {
    const method = await getPayoutMethod(sql, affiliateId);
    const destination = await readDestination(sql, { affiliateId, provider, now: new Date() });
    return formatMethod(affiliateId, method, destination);
  }

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/payout-method',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'getPayoutMethod',
      tags: TAGS,
      summary: 'Where an affiliate’s money goes, by a hint, and whether payouts are on hold',
      params,
      response: { 200: methodView },
    },
    handler: async (request, reply) => {
      const { id } = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      return withEtag(reply, await readMethod(ledger, id));
    },
  });

  app.route({
    method: 'PUT',
    url: '/v1/affiliates/:id/payout-method',
    config: { roles: ['operator', 'affiliate'], idempotent: true, ifMatch: true, problems: PROBLEMS },
    schema: {
      operationId: 'setPayoutMethod',
      tags: TAGS,
      summary: 'Set where an affiliate’s money goes; stored encrypted, and confirmed by mail',
      description:
        'Another account than before, the first one as well, gets no payout for payout_method_hold_days of the program. The affiliate, its users and the program’s people hear of it by mail.',
      params,
      body: methodInput,
      response: { 200: methodView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { actor } = principal;
      const { id } = request.params;
      requireRecentSignIn(request);
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'affiliates', id);
        const owner = visibleAffiliate(principal, await getAffiliate(tx, id));
        const before = await readMethod(tx, id);
        checkMatch(request, before);
        await setPayoutMethod(tx, {
          affiliateId: id,
          kind: request.body.kind,
          details: encryptPayoutDetails(secretBox, request.body),
          accountHash: hashAccount(accountOf(request.body)),
          hint: hintOf(request.body),
          changedBy: actor,
        });
        const after = await readMethod(tx, id);
        const { heldUntil } = await readDestination(tx, { affiliateId: id, provider, now: new Date() });
        const now = `${after.hint}`;
        const what = 'payout method';
        await mailChange(tx, secretBox, { before: owner, after: owner, what, now, actor, heldUntil });
        return {
          body: after,
          audit: { action: 'payout_method.set', subject: after.affiliate_id, before, after },
        };
      });
      return withEtag(reply, changed);
    },
  });
}
