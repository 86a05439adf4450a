import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import { getConversion } from '../../../ledger/conversions/conversions.ts';
import {
  approveConversion,
  confirmConversion,
  type ReviewOutcome,
  rejectConversion,
} from '../../../ledger/decisions/reviews.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, principalOf } from '../../http/principal.ts';
import { notFound, wrongState } from '../../http/problems.ts';
import { conversionView, formatConversion } from '../../orders/conversion-view.ts';
import { partnerReasonInput, sayPartnerReason } from '../../orders/order-reasons.ts';
import { bigintId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';

const WHAT = 'conversion with this id';

const params = z.object({ id: bigintId('conversion') });
const note = z.strictObject({
  note: text(MAX_NOTE_LENGTH).meta({ description: 'Why; it stays in the audit log.' }),
});

/** Decisions of people about conversions; the ledger writes their audit entries. */
export function addReviewRoutes(app: ApiServer, context: ApiContext): void {
  const tags = ['conversions'];
  const response = { 200: conversionView };
  const reviewed = {
    config: { roles: ['operator', 'fraud'], idempotent: true, problems: ['not_found', 'wrong_state'] },
  } as const;

  app.route({
    method: 'POST',
    url: '/v1/conversions/:id/approve',
    ...reviewed,
    schema: {
      operationId: 'approveConversion',
      tags,
      summary: 'Credit a conversion in review',
      params,
      body: note,
      response,
    },
    handler: async (request, reply) =>
      await decide(context, request, reply, request.params.id, (tx, decision) =>
        approveConversion(tx, { ...decision, note: request.body.note }),
      ),
  });

  app.route({
    method: 'POST',
    url: '/v1/conversions/:id/reject',
    ...reviewed,
    schema: {
      operationId: 'rejectConversion',
      tags,
      summary: 'Reject a conversion in review; the reason for the partner is shown to it, and mailed',
      params,
      body: note.extend({ partner_reason: partnerReasonInput.optional() }),
      response,
    },
    handler: async (request, reply) =>
      await decide(context, request, reply, request.params.id, async (tx, decision) => {
        const { note: why, partner_reason: reason } = request.body;
        const result = await rejectConversion(tx, { ...decision, note: why });
        const conversion = await getConversion(tx, decision.conversionId);
        if (reason && result.outcome === 'done' && conversion)
          await sayPartnerReason(tx, context, { conversion, reason, actor: decision.reviewer });
        return result;
      }),
  });

  app.route({
    method: 'POST',
    url: '/v1/conversions/:id/confirm',
    config: { roles: ['operator'], idempotent: true, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'confirmConversion',
      tags,
      summary: 'End the hold of an attributed conversion: its commissions are available now',
      params,
      response,
    },
    handler: async (request, reply) =>
      await decide(context, request, reply, request.params.id, (tx, { conversionId, reviewer }) =>
        confirmConversion(tx, { conversionId, actor: reviewer, now: new Date() }),
      ),
  });
}

async function decide(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  conversionId: bigint,
  work: (
    tx: DatabaseTransaction,
    decision: { conversionId: bigint; reviewer: string },
  ) => Promise<ReviewOutcome>,
): Promise<z.output<typeof conversionView>> {
  const principal = principalOf(request);
  return await commit(context, request, reply, async (tx) => {
    inProgram(principal, await getConversion(tx, conversionId), WHAT);
    const result = await work(tx, { conversionId, reviewer: principal.actor });
    if (result.outcome === 'not_found') throw notFound(WHAT);
    if (result.outcome === 'wrong_state') throw wrongState('conversion', result.state);
    const conversion = inProgram(principal, await getConversion(tx, conversionId), WHAT);
    return { body: formatConversion(conversion, principal) };
  });
}
