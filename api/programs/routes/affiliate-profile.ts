import { z } from 'zod';
import { BLOCKED_REASONS, type Destination, readDestination } from '../../../ledger/payouts/destinations.ts';
import { isIban, normalIban } from '../../../ledger/payouts/iban.ts';
import {
  accountOf,
  allowDestination,
  encryptPayoutDetails,
  getPayoutMethod,
  hashAccount,
  type PayoutMethod,
  removePayoutMethod,
  setPayoutMethod,
} from '../../../ledger/payouts/methods.ts';
import type { PayoutProvider } from '../../../ledger/payouts/provider.ts';
import type { DatabaseSql } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { notFound, wrongState } from '../../http/problems.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { formatOptionalTime, formatTime, nameText, plain, timeText } from '../../schemas/schemas.ts';
import { changeAffiliate } from '../affiliate-changes.ts';
import { affiliateView, newAffiliate, visibleAffiliate } from '../affiliate-view.ts';
import { mailChange } from '../change-mails.ts';

const MAX_ACCOUNT_LENGTH = 100;

const TAGS = ['affiliates'];
const PROBLEMS = ['not_found', 'reauthentication_required'] as const;

const params = z.object({ id: integerId('affiliate') });

/** These stand in files that a machine reads, and a spreadsheet would run them. */
const NO_FORMULA = /^[^=+\-@]/;
const FORMULA_FAULT = 'must not begin with =, +, - or @';

const methodInput = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('bank'),
    holder: nameText.regex(NO_FORMULA, FORMULA_FAULT),
    iban: z
      .string()
      .meta({ examples: ['DE89 3704 0044 0532 0130 00'] })
      .transform(normalIban)
      .refine(isIban, 'must be an IBAN'),
  }),
  z.strictObject({
    kind: z.literal('paypal'),
    email: plain(MAX_ACCOUNT_LENGTH)
      .regex(/^[^\s@]+@[^\s@]+$/, 'must be an e-mail address')
      .regex(NO_FORMULA, FORMULA_FAULT),
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
        changed_at: timeText,
      })
      .nullable()
      .meta({
        description: 'No payouts until then, because where they go was changed; null: no hold.',
      }),
    blocked: z.enum(BLOCKED_REASONS).nullable().meta({
      description: 'Why no payout can be made to it now; null: one can, once the rest of the terms is met.',
    }),
    refused_at: timeText.nullable().meta({
      description: 'When a payment to this account was refused or came back. Null: not since it was set.',
    }),
  })
  .meta({ id: 'PayoutMethod' });

function hintOf(method: z.output<typeof methodInput>): string {
  if (method.kind === 'bank') return `${method.iban.slice(0, 2)} … ${method.iban.slice(-4)}`;
  if (method.kind === 'paypal')
    return `${method.email.slice(0, 1)}…@${method.email.split('@')[1]}`.slice(0, 100);
  return `acct_…${method.account.slice(-4)}`;
}

function formatMethod(
  affiliateId: number,
  method: PayoutMethod | undefined,
  { changedAt, heldUntil, refusedAt, blocked }: Destination,
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
            changed_at: formatTime(changedAt),
          }
        : null,
    blocked,
    refused_at: formatOptionalTime(refusedAt),
  };
}

/** What an affiliate may change of itself: its profile and where its money goes. */
export function addAffiliateProfileRoutes(app: ApiServer, context: ApiContext): void {
  addProfileRoute(app, context);
  addMethodRoutes(app, context);
  addRemoveRoute(app, context);
  addAllowRoute(app, context);
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
      description: 'A change of the e-mail address is mailed to the old and the new one, and to the program.',
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
  const { ledger, secretBox, payoutProvider: provider } = context;

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
      return withEtag(reply, await readMethod(ledger, { affiliateId: id, provider }));
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
        const before = await readMethod(tx, { affiliateId: id, provider });
        checkMatch(request, before);
        await setPayoutMethod(tx, {
          affiliateId: id,
          kind: request.body.kind,
          details: encryptPayoutDetails(secretBox, request.body),
          accountHash: hashAccount(accountOf(request.body)),
          hint: hintOf(request.body),
          changedBy: actor,
        });
        const after = await readMethod(tx, { affiliateId: id, provider });
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

/** Where an affiliate's money goes, as it sees it. */
async function readMethod(
  sql: DatabaseSql,
  { affiliateId, provider }: { affiliateId: number; provider: PayoutProvider },
): Promise<z.output<typeof methodView>> {
  const method = await getPayoutMethod(sql, affiliateId);
  const destination = await readDestination(sql, { affiliateId, provider, now: new Date() });
  return formatMethod(affiliateId, method, destination);
}

function addRemoveRoute(app: ApiServer, context: ApiContext): void {
  const { secretBox, payoutProvider: provider } = context;
  app.route({
    method: 'DELETE',
    url: '/v1/affiliates/:id/payout-method',
    config: { roles: ['operator', 'affiliate'], idempotent: true, problems: PROBLEMS },
    schema: {
      operationId: 'removePayoutMethod',
      tags: TAGS,
      summary: 'Remove where an affiliate’s money goes: nothing is paid until another account is set',
      description: 'A payout that is not handed over yet is canceled when it would be. Confirmed by mail.',
      params,
      response: { 200: methodView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { actor } = principal;
      const { id } = request.params;
      requireRecentSignIn(request);
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'affiliates', id);
        const owner = visibleAffiliate(principal, await getAffiliate(tx, id));
        const before = await readMethod(tx, { affiliateId: id, provider });
        if (!(await removePayoutMethod(tx, id))) throw notFound('payout method of this affiliate');
        const body = await readMethod(tx, { affiliateId: id, provider });
        await mailChange(tx, secretBox, {
          before: owner,
          after: owner,
          what: 'payout method',
          now: 'removed',
          actor,
          heldUntil: null,
        });
        return { body, audit: { action: 'payout_method.remove', subject: body.affiliate_id, before } };
      });
    },
  });
}

function addAllowRoute(app: ApiServer, context: ApiContext): void {
  const { payoutProvider: provider } = context;
  app.route({
    method: 'POST',
    url: '/v1/affiliates/:id/payout-method/allow',
    config: { roles: ['operator', 'finance'], idempotent: true, problems: [...PROBLEMS, 'wrong_state'] },
    schema: {
      operationId: 'allowPayoutMethod',
      tags: TAGS,
      summary: 'Pay to an account again that a payment was refused for or came back from',
      params,
      response: { 200: methodView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      requireRecentSignIn(request);
      return await commit(context, request, reply, async (tx) => {
        visibleAffiliate(principal, await getAffiliate(tx, id));
        const before = await readMethod(tx, { affiliateId: id, provider });
        if (!(await allowDestination(tx, id))) throw wrongState('payout method', 'not refused');
        const after = await readMethod(tx, { affiliateId: id, provider });
        return {
          body: after,
          audit: { action: 'payout_method.allow', subject: after.affiliate_id, before, after },
        };
      });
    },
  });
}
