import { z } from 'zod';
import { type Conversion, findConversionByOrder, getConversion } from '../../ledger/conversions.ts';
import type { LedgerTransaction } from '../../ledger/db.ts';
import { type RecordedRefund, type Refund, recordRefund } from '../../ledger/refunds.ts';
import { commit } from '../commit.ts';
import type { ApiContext, ApiServer } from '../context.ts';
import { conversionView, formatConversion } from '../conversion-view.ts';
import { bigintId, formatId, idText, integerId } from '../ids.ts';
import { orderId } from '../order.ts';
import { inProgram, type Principal, principalOf, programRequired } from '../principal.ts';
import { invalidField, notFound, Problem } from '../problems.ts';
import {
  amountText,
  currencyText,
  formatMoney,
  formatTime,
  moneyText,
  text,
  timeText,
  toMinor,
} from '../schemas.ts';

const MAX_REFERENCE_CHARS = 200;

const refundInput = z
  .strictObject({
    program_id: integerId('program').optional().meta({ description: 'For keys of no single program only.' }),
    order_id: orderId.optional(),
    conversion_id: bigintId('conversion').optional().meta({ description: 'Either this or order_id.' }),
    refund_ref: text(MAX_REFERENCE_CHARS).meta({
      description: 'The shop’s own reference of the refund; it counts once per order.',
    }),
    amount: amountText.meta({ description: 'What is given back now, not in all.' }),
    currency: currencyText,
  })
  .refine((input) => (input.order_id === undefined) !== (input.conversion_id === undefined), {
    path: ['order_id'],
    message: 'give either order_id or conversion_id',
  })
  .transform((input, context) => ({ ...input, amountMinor: toMinor(input, context) }));

type RefundInput = z.output<typeof refundInput>;

const refundView = z
  .object({ id: idText('refund'), refund_ref: z.string(), amount: moneyText, received_at: timeText })
  .meta({ id: 'Refund' });

const answer = z.object({
  status: z.enum(['recorded', 'duplicate']),
  refund: refundView,
  conversion: conversionView,
});

function formatRefund(refund: Refund, currency: string): z.output<typeof refundView> {
  return {
    id: formatId('refund', refund.id),
    refund_ref: refund.refundRef,
    amount: formatMoney(refund.amountMinor, currency),
    received_at: formatTime(refund.receivedAt),
  };
}

async function refundedConversion(
  tx: LedgerTransaction,
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
        });
  const conversion = inProgram(principal, found || undefined, 'conversion of this order');
  if (conversion.currency === input.currency) return conversion;
  throw invalidField('currency', `must be ${conversion.currency}, the currency of the order`);
}

/** Refunds from shops: partial and repeated ones add up, and none counts twice. */
export function addRefundRoutes(app: ApiServer, context: ApiContext): void {
  async function record(
    tx: LedgerTransaction,
    principal: Principal,
    input: RefundInput,
  ): Promise<RecordedRefund> {
    const conversion = await refundedConversion(tx, principal, input);
    return await recordRefund(tx, {
      programId: conversion.programId,
      orderId: conversion.orderId,
      refundRef: input.refund_ref,
      amountMinor: input.amountMinor,
      actor: principal.actor,
    });
  }

  app.route({
    method: 'POST',
    url: '/v1/refunds',
    config: {
      roles: ['advertiser', 'operator', 'finance'],
      idempotent: true,
      problems: ['not_found', 'conflict'],
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
      return await commit(context, request, reply, async (tx) => {
        const recorded = await record(tx, principal, request.body);
        if (recorded.outcome === 'not_found') throw notFound('conversion of this order');
        const { outcome, conversion } = recorded;
        const refund = formatRefund(recorded.refund, conversion.currency);
        if (outcome === 'conflict') {
          throw new Problem('conflict', {
            detail: 'this refund_ref is recorded for the order with another amount',
            members: {
              recorded: refund,
              reported: { amount: formatMoney(request.body.amountMinor, conversion.currency) },
            },
          });
        }
        const body = { status: outcome, refund, conversion: formatConversion(conversion, principal) };
        return { status: outcome === 'recorded' ? 201 : 200, body };
      });
    },
  });
}
