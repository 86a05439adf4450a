import { z } from 'zod';
import { assert } from '../../../core/errors.ts';
import { MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import {
  type Conversion,
  findConversionByOrder,
  getConversion,
} from '../../../ledger/conversions/conversions.ts';
import { checkCurrency, refundConflict } from '../../../ledger/decisions/order-reports.ts';
import {
  type ListedRefund,
  listRefunds,
  type Refund,
  recordRefund,
} from '../../../ledger/decisions/refunds.ts';
import { insertPostbackCalls, type NewPostbackCall } from '../../../ledger/integrations/postback-calls.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { commit } from '../../http/commit.ts';
import type { ApiServer } from '../../http/context.ts';
import {
  affiliateFilter,
  inProgram,
  type Principal,
  principalOf,
  programFilter,
  programRequired,
} from '../../http/principal.ts';
import { notFound, Problem } from '../../http/problems.ts';
import { bigintId, formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import {
  amountText,
  bigintPageQuery,
  currencyText,
  formatMoney,
  formatOptionalTime,
  formatPage,
  formatTime,
  moneyText,
  pageOf,
  pageRequest,
  text,
  time,
  timeText,
} from '../../schemas/schemas.ts';
import { callerOf } from '../call-log.ts';
import { conversionView, formatConversion } from '../conversion-view.ts';
import { eventName, orderId, readAmount, refundRef } from '../order.ts';
import { refundItemsInput, toRefundedItems } from '../order-items.ts';
import { checkMaySayReason, partnerReasonInput, sayPartnerReason } from '../order-reasons.ts';
import type { ShopContext } from '../record-order.ts';
import { checkCaller } from '../shop-settings.ts';

/** A refund in a JSON body. */
export const refundInput = z
  .strictObject({
    program_id: integerId('program').optional().meta({ description: 'For keys of no single program only.' }),
    order_id: orderId.optional(),
    conversion_id: bigintId('conversion').optional().meta({ description: 'Either this or order_id.' }),
    event_name: eventName,
    refund_ref: refundRef,
    amount: amountText.optional().meta({
      description: 'What is given back now, not in all; without it, all that is left of the order.',
    }),
    currency: currencyText.optional(),
    items: refundItemsInput,
    note: text(MAX_NOTE_LENGTH).optional().meta({ description: 'Why; it stays in the audit log.' }),
    partner_reason: partnerReasonInput.optional(),
  })
  .refine((input) => (input.order_id === undefined) !== (input.conversion_id === undefined), {
    path: ['order_id'],
    message: 'give either order_id or conversion_id',
  })
  .transform((input, context) => ({
    ...input,
    reported: readAmount(input, context, false),
    refundedItems: toRefundedItems(input.items, input.currency, context),
  }));

type RefundInput = z.output<typeof refundInput>;

const refundView = z
  .object({
    id: idText('refund'),
    refund_ref: z.string(),
    amount: moneyText,
    charged_back: z.boolean(),
    items: z
      .array(
        z.object({
          item: z.int().meta({ description: 'Its place among the items, from 1.' }),
          quantity: z.int().meta({ description: '0: an amount was named.' }),
          amount: moneyText,
        }),
      )
      .nullable()
      .meta({ description: 'Of which items it is; null: of the order as a whole.' }),
    received_at: timeText,
    restored_at: timeText.nullable().meta({ description: 'When it was taken back; it counts no longer.' }),
  })
  .meta({ id: 'Refund' });

const answer = z.object({
  status: z.enum(['recorded', 'duplicate']),
  refund: refundView.nullable().meta({ description: 'Null: nothing was left of the order to refund.' }),
  conversion: conversionView,
});

function formatRefund(refund: Refund, currency: string): z.output<typeof refundView> {
  return {
    id: formatId('refund', refund.id),
    refund_ref: refund.refundRef,
    amount: formatMoney(refund.orderAmountMinor ?? refund.amountMinor, currency),
    charged_back: refund.chargedBack,
    items:
      refund.items?.map(({ item, quantity, amount }) => ({
        item: item + 1,
        quantity,
        amount: formatMoney(BigInt(amount), currency),
      })) ?? null,
    received_at: formatTime(refund.receivedAt),
    restored_at: formatOptionalTime(refund.restoredAt),
  };
}

const listedView = refundView
  .extend({
    program_id: idText('program'),
    conversion_id: idText('conversion'),
    order_id: z.string(),
    event_name: z.string(),
    affiliate_id: idText('affiliate').nullable(),
  })
  .meta({ id: 'ListedRefund' });

function formatListed(refund: ListedRefund): z.output<typeof listedView> {
  return {
    ...formatRefund(refund, refund.currency),
    program_id: formatId('program', refund.programId),
    conversion_id: formatId('conversion', refund.conversionId),
    order_id: refund.orderId,
    event_name: refund.eventName,
    affiliate_id: formatOptionalId('affiliate', refund.affiliateId),
  };
}

async function refundedConversion(
  tx: DatabaseTransaction,
  principal: Principal,
  input: RefundInput,
): Promise<Conversion> {
  const { order_id, conversion_id } = input;
  const found =
    order_id === undefined
      ? conversion_id && (await getConversion(tx, conversion_id))
      : await findConversionByOrder(tx, {
          programId: programRequired(principal, input.program_id),
          orderId: order_id,
          eventName: input.event_name,
        });
  const conversion = inProgram(principal, found || undefined, 'conversion of this order');
  const { currency } = input;
  const hasAmounts =
    input.reported ?? input.refundedItems?.some(({ amountMinor }) => amountMinor !== undefined);
  if (hasAmounts && currency !== undefined) checkCurrency(conversion, { currency });
  return conversion;
}

type RefundAnswer = z.output<typeof answer>;

/**
 * Records a refund and its line of the call log; 201 when it is new.
 * @throws Problem `not_found`, `conflict`.
 */
export async function reportRefund(
  tx: DatabaseTransaction,
  principal: Principal,
  input: RefundInput,
  call: Omit<
    NewPostbackCall,
    'programId' | 'outcome' | 'status' | 'code' | 'detail' | 'orderId' | 'conversionId'
  >,
): Promise<{ status: 200 | 201; body: RefundAnswer; callId: bigint; refunded: Conversion }> {
  const found = await refundedConversion(tx, principal, input);
  const recorded = await recordRefund(tx, {
    programId: found.programId,
    orderId: found.orderId,
    eventName: found.eventName,
    refundRef: input.refund_ref,
    amountMinor: input.reported?.amountMinor,
    items: input.refundedItems,
    note: input.note,
    actor: principal.actor,
  });
  if (recorded.outcome === 'not_found') throw notFound('conversion of this order');
  const { outcome, conversion } = recorded;
  const currency = conversion.orderCurrency ?? conversion.currency;
  const refund = outcome === 'nothing_left' ? null : formatRefund(recorded.refund, currency);
  if (outcome === 'conflict') {
    const { reported } = input;
    throw new Problem('conflict', {
      detail: refundConflict(recorded.refund),
      members: {
        recorded: refund,
        ...(reported && { reported: { amount: formatMoney(reported.amountMinor, currency) } }),
      },
    });
  }
  const status = outcome === 'recorded' ? 201 : 200;
  const [callId] = await insertPostbackCalls(tx, [
    {
      ...call,
      programId: conversion.programId,
      outcome: outcome === 'recorded' ? 'accepted' : 'duplicate',
      status,
      code: null,
      detail: null,
      orderId: conversion.orderId,
      conversionId: conversion.id,
    },
  ]);
  assert(callId, 'a line that is written has an id');
  const body = {
    status: outcome === 'recorded' ? outcome : ('duplicate' as const),
    refund,
    conversion: formatConversion(conversion, principal),
  };
  return { status, body, callId, refunded: conversion };
}

/** Refunds: partial and repeated ones add up, and none counts twice. */
export function addRefundRoutes(app: ApiServer, context: ShopContext): void {
  app.route({
    method: 'GET',
    url: '/v1/refunds',
    config: { roles: ['operator', 'finance', 'fraud', 'advertiser', 'affiliate'] },
    schema: {
      operationId: 'listRefunds',
      tags: ['conversions'],
      summary: 'Refunds, the newest first; an affiliate sees those of its own orders',
      querystring: z.object({
        ...bigintPageQuery('refund'),
        program_id: integerId('program').optional(),
        affiliate_id: integerId('affiliate').optional(),
        conversion_id: bigintId('conversion').optional(),
        order_id: orderId.optional(),
        from: time.optional().meta({ description: 'Received from here on.' }),
        to: time.optional().meta({ description: 'Received before this.' }),
      }),
      response: { 200: pageOf(listedView) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const { program_id, affiliate_id, conversion_id, order_id, from, to } = request.query;
      const page = await listRefunds(context.ledger, {
        ...pageRequest(request.query),
        programId: programFilter(principal, program_id),
        affiliateId: affiliateFilter(principal, affiliate_id),
        conversionId: conversion_id,
        orderId: order_id,
        from,
        to,
      });
      return formatPage('refund', page, formatListed);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/refunds',
    config: {
      roles: ['advertiser', 'operator', 'finance'],
      idempotent: true,
      logAs: 'refund',
      example: { order_id: '1001', refund_ref: 'r-1', amount: '2.50', currency: 'EUR' },
      problems: ['not_found', 'conflict', 'replayed', 'ip_not_allowed'],
    },
    schema: {
      operationId: 'reportRefund',
      tags: ['shops'],
      summary: 'Report a refund of an order; commissions shrink with it. Repeating it changes nothing.',
      body: refundInput,
      response: {
        200: answer.describe('It was recorded before.'),
        201: answer.describe('It is recorded.'),
      },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { partner_reason: reason } = request.body;
      checkMaySayReason(principal, reason);
      const { programId } = principal;
      if (programId !== null) checkCaller(request, await context.shopSettings.of(programId));
      const { call } = request;
      assert(call, 'the route logs its calls');
      return await commit(context, request, reply, async (tx) => {
        const line = { ...callerOf(request), via: call.via, params: call.params, replayOf: null };
        const reported = await reportRefund(tx, principal, request.body, line);
        if (reason && reported.body.status === 'recorded') {
          const { actor } = principal;
          await sayPartnerReason(tx, context, { conversion: reported.refunded, reason, actor });
        }
        call.logged = true;
        return reported;
      });
    },
  });
}
