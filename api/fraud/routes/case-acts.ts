import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { JsonValue } from '../../../core/postgres/sql.ts';
import { MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import { addCaseOrders, removeCaseOrder } from '../../../ledger/cases/case-orders.ts';
import { addCaseNote, type Case, getCase, setCaseState } from '../../../ledger/cases/cases.ts';
import { decideCase } from '../../../ledger/cases/decide-case.ts';
import { CONVERSION_STATES, getConversion } from '../../../ledger/conversions/conversions.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, type Principal, principalOf } from '../../http/principal.ts';
import { notFound, Problem, wrongState } from '../../http/problems.ts';
import { partnerReasonInput, sayPartnerReason } from '../../orders/order-reasons.ts';
import { bigintId, formatId, idText, integerId } from '../../schemas/ids.ts';
import { lines, text } from '../../schemas/schemas.ts';
import { type CaseDetails, caseDetailsView, conversionIds, readCase, WHAT_CASE } from '../case-view.ts';

/** What is done to a case: its orders, its notes, its decision and its end. */

const TAGS = ['fraud'];
const params = z.object({ id: integerId('case') });
const acts = {
  roles: ['operator', 'fraud'],
  idempotent: true,
  problems: ['not_found', 'wrong_state'],
} as const;
const noteBody = z.strictObject({
  note: lines(MAX_NOTE_LENGTH).meta({ description: 'Name no customer in it.' }),
});

export function addCaseActRoutes(app: ApiServer, context: ApiContext): void {
  addOrderRoutes(app, context);
  addNoteRoute(app, context);
  addDecideRoute(app, context);
  addEndRoutes(app, context);
}

/**
 * Does something to a case that is locked, and answers with the case. What `act` returns goes to the audit log; undefined:
 * nothing was changed.
 */
async function onCase(
  context: ApiContext,
  { request, reply, id }: { request: FastifyRequest; reply: FastifyReply; id: number },
  action: string,
  act: (tx: DatabaseTransaction, on: { found: Case; principal: Principal }) => Promise<JsonValue | undefined>,
): Promise<CaseDetails> {
  const principal = principalOf(request);
  return await commit(context, request, reply, async (tx) => {
    await lockRow(tx, 'cases', id);
    const found = inProgram(principal, await getCase(tx, id), WHAT_CASE);
    const after = await act(tx, { found, principal });
    const body = await readCase(tx, principal, id);
    return { body, ...(after !== undefined && { audit: { action, subject: body.id, after } }) };
  });
}

/** @throws Problem `wrong_state`. */
function requireOpen({ state }: Case): void {
  if (state !== 'open') throw wrongState('case', state);
}

function addOrderRoutes(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/cases/:id/orders',
    config: acts,
    schema: {
      operationId: 'addCaseOrders',
      tags: TAGS,
      summary: 'Add orders to an open case; those that are in it stay in it',
      params,
      body: z.strictObject({ conversion_ids: conversionIds.min(1) }),
      response: { 200: caseDetailsView },
    },
    handler: async (request, reply) =>
      await onCase(
        context,
        { request, reply, id: request.params.id },
        'case.add_orders',
        async (tx, { found, principal }) => {
          requireOpen(found);
          const { id: caseId, programId } = found;
          const ids = request.body.conversion_ids;
          const added = await addCaseOrders(tx, {
            caseId,
            programId,
            conversionIds: ids,
            actor: principal.actor,
          });
          return added === 0 ? undefined : { added };
        },
      ),
  });

  app.route({
    method: 'DELETE',
    url: '/v1/cases/:id/orders/:conversion_id',
    config: acts,
    schema: {
      operationId: 'removeCaseOrder',
      tags: TAGS,
      summary: 'Take an order out of an open case that has not decided it; the order itself stays as it is',
      params: params.extend({ conversion_id: bigintId('conversion') }),
      response: { 200: caseDetailsView },
    },
    handler: async (request, reply) =>
      await onCase(
        context,
        { request, reply, id: request.params.id },
        'case.remove_order',
        async (tx, { found }) => {
          requireOpen(found);
          const conversionId = request.params.conversion_id;
          const id = formatId('conversion', conversionId);
          const outcome = await removeCaseOrder(tx, { caseId: found.id, conversionId });
          if (outcome === 'not_found') throw notFound('order with this id in the case');
          if (outcome === 'decided')
            throw new Problem('wrong_state', { detail: `${id} was decided in this case, and stays in it` });
          return { conversion_id: id };
        },
      ),
  });
}

function addNoteRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/cases/:id/notes',
    config: { ...acts, problems: ['not_found'] },
    schema: {
      operationId: 'addCaseNote',
      tags: TAGS,
      summary: 'Write a note, which stays as it is',
      params,
      body: noteBody,
      response: { 200: caseDetailsView },
    },
    handler: async (request, reply) =>
      await onCase(
        context,
        { request, reply, id: request.params.id },
        'case.note',
        async (tx, { found, principal: { actor } }) => {
          await addCaseNote(tx, { caseId: found.id, act: 'note', author: actor, text: request.body.note });
          return { noted: true };
        },
      ),
  });
}

const decidedView = z
  .object({
    case: caseDetailsView,
    approved: z.array(idText('conversion')),
    rejected: z.array(idText('conversion')),
    skipped: z
      .array(z.object({ conversion_id: idText('conversion'), state: z.enum(CONVERSION_STATES) }))
      .meta({ description: 'Not in review any more: decided, refunded or cancelled meanwhile.' }),
  })
  .meta({ id: 'CaseDecided' });

function addDecideRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/cases/:id/decide',
    config: { ...acts, example: { note: 'one person', approve: [], reject: ['cnv_1'] } },
    schema: {
      operationId: 'decideCase',
      tags: TAGS,
      summary:
        'Credit and reject orders of a case at once, each as its own review does; what is in review no more is skipped',
      params,
      body: z
        .strictObject({
          note: text(MAX_NOTE_LENGTH).meta({
            description:
              'Why; a note of the case, which the explanation of every order that is decided shows. Name no customer in it.',
          }),
          approve: conversionIds.default([]),
          reject: conversionIds.default([]),
          partner_reason: partnerReasonInput.optional(),
        })
        .refine(({ approve, reject }) => approve.length + reject.length > 0, {
          path: ['approve'],
          message: 'or reject must name an order',
        }),
      response: { 200: decidedView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const { note, approve, reject, partner_reason: reason } = request.body;
      return await commit(context, request, reply, async (tx) => {
        inProgram(principal, await getCase(tx, id), WHAT_CASE);
        const result = await decideCase(tx, { caseId: id, reviewer: principal.actor, note, approve, reject });
        if (result.outcome === 'not_found') throw notFound(WHAT_CASE);
        if (result.outcome === 'wrong_state') throw wrongState('case', result.state);
        if (result.outcome === 'nothing_in_review')
          throw new Problem('wrong_state', { detail: 'none of these orders is in review any more' });
        if (reason) {
          const asked = result.rejected.filter((one) => reject.includes(one));
          await sayReasons(tx, context, { reject: asked, reason, actor: principal.actor });
        }
        const { approved, rejected, skipped } = result;
        const body = {
          case: await readCase(tx, principal, id),
          approved: approved.map((one) => formatId('conversion', one)),
          rejected: rejected.map((one) => formatId('conversion', one)),
          skipped: skipped.map(({ conversionId, state }) => ({
            conversion_id: formatId('conversion', conversionId),
            state,
          })),
        };
        const after = { approved: approved.length, rejected: rejected.length, skipped: skipped.length };
        return { body, audit: { action: 'case.decide', subject: formatId('case', id), after } };
      });
    },
  });
}

/** To the partner of each rejected order, as the review of one does. */
async function sayReasons(
  tx: DatabaseTransaction,
  context: ApiContext,
  {
    reject,
    reason,
    actor,
  }: { reject: readonly bigint[]; reason: z.output<typeof partnerReasonInput>; actor: string },
): Promise<void> {
  for (const id of reject) {
    const conversion = await getConversion(tx, id);
    if (conversion) await sayPartnerReason(tx, context, { conversion, reason, actor });
  }
}

function addEndRoutes(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/cases/:id/close',
    config: acts,
    schema: {
      operationId: 'closeCase',
      tags: TAGS,
      summary: 'End a case without a decision; its orders stay as they are',
      params,
      body: noteBody,
      response: { 200: caseDetailsView },
    },
    handler: async (request, reply) =>
      await onCase(
        context,
        { request, reply, id: request.params.id },
        'case.close',
        async (tx, { found, principal: { actor } }) => {
          requireOpen(found);
          await setCaseState(tx, found.id, 'closed');
          await addCaseNote(tx, { caseId: found.id, act: 'close', author: actor, text: request.body.note });
          return { state: 'closed' };
        },
      ),
  });

  app.route({
    method: 'POST',
    url: '/v1/cases/:id/reopen',
    config: acts,
    schema: {
      operationId: 'reopenCase',
      tags: TAGS,
      summary: 'Open a case that has ended, as long as none of its orders is in another open case',
      params,
      body: noteBody,
      response: { 200: caseDetailsView },
    },
    handler: async (request, reply) =>
      await onCase(
        context,
        { request, reply, id: request.params.id },
        'case.reopen',
        async (tx, { found, principal: { actor } }) => {
          if (found.state === 'open') throw wrongState('case', found.state);
          await setCaseState(tx, found.id, 'open');
          await addCaseNote(tx, { caseId: found.id, act: 'reopen', author: actor, text: request.body.note });
          return { state: 'open' };
        },
      ),
  });
}
