import { z } from 'zod';
import { affiliateBalance } from '../../../ledger/audit/counts.ts';
import {
  AFFILIATE_LIST,
  AFFILIATE_STATUSES,
  createAffiliate,
  getAffiliate,
  listAffiliates,
} from '../../../ledger/programs/affiliates.ts';
import { commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { principalOf, programFilter, programRequired } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { formatMoney, moneyText } from '../../schemas/schemas.ts';
import { changeAffiliate } from '../affiliate-changes.ts';
import { affiliateView, formatAffiliate, newAffiliate, visibleAffiliate } from '../affiliate-view.ts';

const balanceView = z
  .object({
    affiliate_id: idText('affiliate'),
    pending: moneyText.meta({ description: 'In the hold, in review, or not approved by the shop yet.' }),
    available: moneyText.meta({ description: 'Goes into the next payout.' }),
    in_transit: moneyText.meta({ description: 'In a payout on its way.' }),
    paid: moneyText,
    debt: moneyText.meta({
      description: 'Zero or negative: taken back after it was paid; the next payouts net it.',
    }),
    adjustments: moneyText.meta({
      description: 'Bonuses less deductions, without an order: part of the next payout.',
    }),
  })
  .meta({ id: 'Balance' });

const params = z.object({ id: integerId('affiliate') });

const TAGS = ['affiliates'];

export function addAffiliateRoutes(app: ApiServer, context: ApiContext): void {
  addAffiliateQueries(app, context);
  addBalanceRoute(app, context);
  addAffiliateCommands(app, context);
}

function addAffiliateQueries(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  addList(app, context, {
    url: '/v1/affiliates',
    operationId: 'listAffiliates',
    tags: TAGS,
    summary: 'Affiliates, by id',
    config: { roles: ['operator', 'finance', 'fraud'] },
    kind: 'affiliate',
    list: AFFILIATE_LIST,
    filters: {
      program_id: integerId('program').optional(),
      status: z.enum(AFFILIATE_STATUSES).optional(),
      ...timeRange,
    },
    view: affiliateView,
    read: async (page, { sql, principal, query: { program_id, ...filters } }) =>
      await listAffiliates(sql, { ...page, ...filters, programId: programFilter(principal, program_id) }),
    format: (affiliates) => affiliates.map(formatAffiliate),
  });

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id',
    config: { roles: ['operator', 'finance', 'fraud', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'getAffiliate',
      tags: TAGS,
      summary: 'One affiliate',
      params,
      response: { 200: affiliateView },
    },
    handler: async (request, reply) => {
      const affiliate = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      return withEtag(reply, formatAffiliate(affiliate));
    },
  });
}

function addBalanceRoute(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/balance',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'getAffiliateBalance',
      tags: TAGS,
      summary: 'An affiliate’s money by where it is',
      params,
      response: { 200: balanceView },
    },
    handler: async (request) => {
      const affiliate = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      const balance = await affiliateBalance(ledger, affiliate.id);
      if (!balance) throw notFound('affiliate with this id');
      const money = (amountMinor: bigint) => formatMoney(amountMinor, balance.currency);
      return {
        affiliate_id: formatId('affiliate', affiliate.id),
        pending: money(balance.pendingMinor),
        available: money(balance.availableMinor),
        in_transit: money(balance.inTransitMinor),
        paid: money(balance.paidMinor),
        debt: money(balance.debtMinor),
        adjustments: money(balance.adjustmentsMinor),
      };
    },
  });
}

function addAffiliateCommands(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/affiliates',
    config: { roles: ['operator'], idempotent: true },
    schema: {
      operationId: 'createAffiliate',
      tags: TAGS,
      summary: 'Create an affiliate; it is pending until its status is set to active',
      body: z.strictObject({ program_id: integerId('program').optional(), ...newAffiliate }),
      response: { 201: affiliateView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const programId = programRequired(principal, request.body.program_id);
      return await commit(context, request, reply, async (tx) => {
        const body = formatAffiliate(await createAffiliate(tx, { ...camelKeys(request.body), programId }));
        return { status: 201, body, audit: { action: 'affiliate.create', subject: body.id, after: body } };
      });
    },
  });

  app.route({
    method: 'PATCH',
    url: '/v1/affiliates/:id',
    config: {
      roles: ['operator'],
      idempotent: true,
      ifMatch: true,
      problems: ['not_found', 'wrong_state', 'reauthentication_required'],
    },
    schema: {
      operationId: 'updateAffiliate',
      tags: TAGS,
      summary: 'Change, approve, suspend or terminate an affiliate',
      params,
      body: z.strictObject({
        ...newAffiliate,
        ref_code: newAffiliate.ref_code.exactOptional(),
        name: newAffiliate.name.exactOptional(),
        email: newAffiliate.email.exactOptional(),
      }),
      response: { 200: affiliateView },
    },
    handler: async (request, reply) =>
      await changeAffiliate(context, request, reply, {
        id: request.params.id,
        changes: camelKeys(request.body),
        action: 'affiliate.update',
      }),
  });
}
