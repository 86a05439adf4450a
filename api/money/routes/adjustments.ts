import { z } from 'zod';
import { MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import {
  ADJUSTMENT_KINDS,
  type Adjustment,
  adjustBalance,
  forfeitBalance,
  listAdjustments,
} from '../../../ledger/books/balance-adjustments.ts';
import { lockProgramBalances } from '../../../ledger/books/program-lock.ts';
import { requireNoOpenPayout } from '../../../ledger/payouts/merges.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { invalidField, wrongState } from '../../http/problems.ts';
import { visibleAffiliate } from '../../programs/affiliate-view.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import {
  amountText,
  bigintPageQuery,
  currencyText,
  formatMoney,
  formatPage,
  formatTime,
  moneyText,
  pageOf,
  pageRequest,
  text,
  timeText,
  toMinor,
} from '../../schemas/schemas.ts';

const adjustmentView = z
  .object({
    id: idText('adjustment'),
    affiliate_id: idText('affiliate'),
    kind: z.enum(ADJUSTMENT_KINDS),
    amount: moneyText.meta({ description: 'What the affiliate gains; negative: what it loses.' }),
    note: z.string(),
    other_affiliate_id: idText('affiliate').nullable().meta({ description: 'Of a merge.' }),
    created_at: timeText,
  })
  .meta({ id: 'Adjustment', description: 'Money without an order. The next payout takes it up.' });

function formatAdjustment(adjustment: Adjustment): z.output<typeof adjustmentView> {
  return {
    id: formatId('adjustment', adjustment.id),
    affiliate_id: formatId('affiliate', adjustment.affiliateId),
    kind: adjustment.kind,
    amount: formatMoney(adjustment.amountMinor, adjustment.currency),
    note: adjustment.note,
    other_affiliate_id: formatOptionalId('affiliate', adjustment.otherAffiliateId),
    created_at: formatTime(adjustment.createdAt),
  };
}

const note = text(MAX_NOTE_LENGTH).meta({
  description: 'Why: the affiliate sees it, and the audit log has it.',
});
const newAdjustment = z
  .strictObject({
    kind: z.enum(['bonus', 'deduction']),
    amount: amountText,
    currency: currencyText.meta({ description: 'That of the program.' }),
    note,
  })
  .transform((input, context) => ({ ...input, amountMinor: toMinor(input, context) }))
  .refine(({ amountMinor }) => amountMinor > 0n, { path: ['amount'], message: 'must be above zero' });

const TAGS = ['money'];
const params = z.object({ id: integerId('affiliate') });
const config = {
  roles: ['operator', 'finance'],
  idempotent: true,
  problems: ['not_found', 'wrong_state', 'reauthentication_required'],
} as const;

/** Bonuses and deductions, and what terminated affiliates forfeit. */
export function addAdjustmentRoutes(app: ApiServer, context: ApiContext): void {
  addAdjustmentList(app, context);
  addAdjustmentCommand(app, context);
  addForfeitRoute(app, context);
}

function addAdjustmentList(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/adjustments',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'listAdjustments',
      tags: TAGS,
      summary: 'Bonuses, deductions and the like of an affiliate, the newest first',
      params,
      querystring: z.object(bigintPageQuery('adjustment')),
      response: { 200: pageOf(adjustmentView) },
    },
    handler: async (request) => {
      const { id } = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      const page = await listAdjustments(ledger, { ...pageRequest(request.query), affiliateId: id });
      return formatPage('adjustment', page, formatAdjustment);
    },
  });
}

function addAdjustmentCommand(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/affiliates/:id/adjustments',
    config: {
      ...config,
      example: { kind: 'bonus', amount: '25.00', currency: 'EUR', note: 'Partner of the month' },
    },
    schema: {
      operationId: 'adjustBalance',
      tags: TAGS,
      summary: 'Give an affiliate a bonus, or take a deduction, without an order; the opposite evens it out',
      params,
      body: newAdjustment,
      response: { 201: adjustmentView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      requireRecentSignIn(request);
      const { kind, amountMinor, currency, note } = request.body;
      return await commit(context, request, reply, async (tx) => {
        const found = visibleAffiliate(principal, await getAffiliate(tx, request.params.id));
        // So that it comes before a payout that is built, or after it: who gave a bonus does not approve what pays it.
        await lockProgramBalances(tx, found.programId);
        await lockRow(tx, 'affiliates', found.id);
        const affiliate = visibleAffiliate(principal, await getAffiliate(tx, found.id));
        if (affiliate.mergedInto !== null) throw wrongState('affiliate', 'merged');
        const { programId, id: affiliateId } = affiliate;
        const program = await getProgram(tx, programId);
        if (program?.currency !== currency)
          throw invalidField('currency', `must be ${program?.currency}, that of the program`);
        const { actor } = principal;
        const adjusted = { programId, affiliateId, currency, kind, amountMinor, note, actor };
        const body = formatAdjustment(await adjustBalance(tx, adjusted));
        return {
          status: 201,
          body,
          audit: { action: `affiliate.${kind}`, subject: body.affiliate_id, after: body },
        };
      });
    },
  });
}

function addForfeitRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/affiliates/:id/forfeit',
    config,
    schema: {
      operationId: 'forfeitBalance',
      tags: TAGS,
      summary:
        'Let a terminated affiliate give up all that it has and was not paid, also what is in the hold',
      description: 'To pay it instead, start a run for it: affiliate_id of POST /v1/payouts/run.',
      params,
      body: z.strictObject({ note }),
      response: { 201: adjustmentView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { actor } = principal;
      requireRecentSignIn(request);
      return await commit(context, request, reply, async (tx) => {
        const found = visibleAffiliate(principal, await getAffiliate(tx, request.params.id));
        await lockProgramBalances(tx, found.programId);
        await lockRow(tx, 'affiliates', found.id);
        const {
          id: affiliateId,
          programId,
          status,
          mergedInto,
        } = visibleAffiliate(principal, await getAffiliate(tx, found.id));
        // What it still gets is its successor's.
        if (mergedInto !== null) throw wrongState('affiliate', 'merged');
        if (status !== 'terminated') throw wrongState('affiliate', status);
        await requireNoOpenPayout(tx, affiliateId);
        const adjustment = await forfeitBalance(tx, {
          programId,
          affiliateId,
          note: request.body.note,
          actor,
        });
        if (!adjustment) throw wrongState('balance', 'zero or below: there is nothing to forfeit');
        const body = formatAdjustment(adjustment);
        return {
          status: 201,
          body,
          audit: { action: 'affiliate.forfeit', subject: body.affiliate_id, after: body },
        };
      });
    },
  });
}
