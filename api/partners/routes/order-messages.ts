import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { listReviewers } from '../../../ledger/access/users.ts';
import { type Conversion, getConversion } from '../../../ledger/conversions/conversions.ts';
import {
  closeQuestions,
  countQuestions,
  listOpenQuestions,
  listOrderMessages,
  MAX_ASKED,
  MAX_OPEN,
  type OpenQuestion,
  type OrderMessage,
  writeOrderMessage,
} from '../../../ledger/partners/order-messages.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { type Affiliate, getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { checkMatch, commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { tooOften } from '../../http/party-limits.ts';
import { inProgram, owned, principalOf, programFilter } from '../../http/principal.ts';
import { Problem, wrongState } from '../../http/problems.ts';
import { queueProgramMail } from '../../mails/program-mails.ts';
import {
  orderLink,
  partnerReasonInput,
  partnerReasonView,
  REASON_ROLES,
  readConversion,
  sayPartnerReason,
  viewPartnerReasons,
} from '../../orders/order-reasons.ts';
import { bigintId, formatId, idText, integerId } from '../../schemas/ids.ts';
import {
  bigintPageQuery,
  formatPage,
  formatTime,
  lines,
  pageOf,
  pageRequest,
  timeText,
} from '../../schemas/schemas.ts';
import { limitQuestions, mayMailReviewers } from '../limits.ts';

/** What a program says to a partner about an order, questions of the partner, and the answers. */

const WHAT = 'conversion with this id';
const TAGS = ['conversions'];
const MAX_MESSAGE_LENGTH = 2_000;
const params = z.object({ id: bigintId('conversion') });

const messageView = z
  .object({
    id: idText('orderMessage'),
    conversion_id: idText('conversion'),
    affiliate_id: idText('affiliate'),
    author: z.enum(['affiliate', 'program']),
    text: z.string(),
    created_at: timeText,
    is_open: z.boolean().meta({ description: 'A question that waits for an answer.' }),
  })
  .meta({ id: 'OrderMessage' });

const questionView = messageView
  .extend({ program_id: idText('program'), order_id: z.string(), affiliate_name: z.string() })
  .meta({ id: 'OpenQuestion' });

function formatMessage(message: OrderMessage): z.output<typeof messageView> {
  return {
    id: formatId('orderMessage', message.id),
    conversion_id: formatId('conversion', message.conversionId),
    affiliate_id: formatId('affiliate', message.affiliateId),
    author: message.author,
    text: message.text,
    created_at: formatTime(message.createdAt),
    is_open: message.isOpen,
  };
}

function formatQuestion(question: OpenQuestion): z.output<typeof questionView> {
  return {
    ...formatMessage(question),
    program_id: formatId('program', question.programId),
    order_id: question.orderId,
    affiliate_name: question.affiliateName,
  };
}

export function addOrderMessageRoutes(app: ApiServer, context: ApiContext): void {
  addReasonRoute(app, context);
  addThreadRoutes(app, context);
  addQuestionRoutes(app, context);
}

function addReasonRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'PUT',
    url: '/v1/conversions/:id/partner-reason',
    config: { roles: REASON_ROLES, idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'setPartnerReason',
      tags: TAGS,
      summary: 'Say to the partner why an order is held, rejected, or earns less; it gets a mail',
      params,
      body: partnerReasonInput,
      response: { 200: partnerReasonView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      return await commit(context, request, reply, async (tx) => {
        const conversion = inProgram(principal, await getConversion(tx, request.params.id), WHAT);
        checkMatch(request, await readConversion(tx, conversion, principal));
        const said = { conversion, reason: request.body, actor: principal.actor };
        const seconds = await sayPartnerReason(tx, context, said);
        if (seconds > 0) throw tooOften(seconds);
        const reasonOf = await viewPartnerReasons(tx, [conversion]);
        return { body: reasonOf(conversion) };
      });
    },
  });
}

function addThreadRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  const roles = ['operator', 'fraud', 'affiliate'] as const;
  app.route({
    method: 'GET',
    url: '/v1/conversions/:id/messages',
    config: { roles, problems: ['not_found'] },
    schema: {
      operationId: 'listOrderMessages',
      tags: TAGS,
      summary: 'Questions of the partner about an order, and the answers, the oldest first',
      params,
      response: { 200: z.object({ data: z.array(messageView) }) },
    },
    handler: async (request) => {
      const conversion = await getConversion(ledger, request.params.id);
      const { id } = owned(principalOf(request), conversion, WHAT);
      return { data: (await listOrderMessages(ledger, id)).map(formatMessage) };
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/conversions/:id/messages',
    config: {
      roles,
      idempotent: true,
      problems: ['not_found', 'wrong_state', 'limit_reached'],
      example: { text: 'Why was this order rejected?' },
    },
    schema: {
      operationId: 'writeOrderMessage',
      tags: TAGS,
      summary:
        'Ask about an order as its affiliate, or answer as the program; an answer is mailed, and the first open question',
      params,
      body: z.strictObject({ text: lines(MAX_MESSAGE_LENGTH) }),
      response: { 201: messageView },
    },
    handler: async (request, reply) => await write(context, request, reply),
  });
}

function addQuestionRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  app.route({
    method: 'GET',
    url: '/v1/order-questions',
    config: { roles: ['operator', 'fraud'] },
    schema: {
      operationId: 'listOpenQuestions',
      tags: TAGS,
      summary: 'Questions of partners about orders that wait for an answer, the longest waiting first',
      querystring: z.object({
        ...bigintPageQuery('orderMessage'),
        program_id: integerId('program').optional(),
      }),
      response: { 200: pageOf(questionView) },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.query.program_id);
      const page = await listOpenQuestions(ledger, { ...pageRequest(request.query), programId });
      return formatPage('orderMessage', page, formatQuestion);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/conversions/:id/messages/close',
    config: { roles: ['operator', 'fraud'], idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'closeOrderQuestions',
      tags: TAGS,
      summary: 'Close the open questions about an order without an answer; no one gets a mail',
      params,
      response: { 200: z.object({ closed: z.int() }) },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      return await commit(context, request, reply, async (tx) => {
        const { id } = inProgram(principal, await getConversion(tx, request.params.id), WHAT);
        const closed = await closeQuestions(tx, id);
        const audit = {
          action: 'order.close_questions',
          subject: formatId('conversion', id),
          after: { closed },
        };
        return { body: { closed }, ...(closed > 0 && { audit }) };
      });
    },
  });
}

async function write(
  context: ApiContext,
  request: FastifyRequest<{ Params: z.output<typeof params>; Body: { text: string } }>,
  reply: FastifyReply,
): Promise<z.output<typeof messageView>> {
  const principal = principalOf(request);
  const { text } = request.body;
  return await commit(context, request, reply, async (tx) => {
    const conversion = owned(principal, await getConversion(tx, request.params.id), WHAT);
    const affiliate = await affiliateOf(tx, conversion);
    const author = principal.affiliateId === null ? 'program' : 'affiliate';
    const { id: conversionId, programId } = conversion;
    const isMailed = author === 'program' || (await checkMayAsk(tx, { conversion, affiliate }));
    const { actor } = principal;
    const message = { conversionId, programId, affiliateId: affiliate.id, author, actor, text } as const;
    const id = await writeOrderMessage(tx, message);
    if (isMailed) await mailMessage(tx, context, { conversion, affiliate, author, text });
    const written = (await listOrderMessages(tx, conversionId)).find((one) => one.id === id);
    if (!written) throw new Error('a message that is written is there');
    const body = formatMessage(written);
    const action = author === 'program' ? 'order.answer' : 'order.ask';
    // The text stays where it can be erased.
    return { status: 201, body, audit: { action, subject: body.conversion_id, after: { message: body.id } } };
  });
}

/**
 * Before a question of an affiliate. Returns whether the reviewers get a mail: not while an earlier question about the order
 * waits, which leads them to this one too. @throws Problem `rate_limited`, `limit_reached`.
 */
async function checkMayAsk(
  tx: DatabaseTransaction,
  { conversion, affiliate }: { conversion: Conversion; affiliate: Affiliate },
): Promise<boolean> {
  // Its questions wait for each other from here on, so that two do not take the last place.
  await limitQuestions(tx, affiliate.id);
  const counted = await countQuestions(tx, { conversionId: conversion.id, affiliateId: affiliate.id });
  if (counted.asked >= MAX_ASKED) throw tooMany(`about an order a partner writes ${MAX_ASKED} messages`);
  if (counted.open >= MAX_OPEN) throw tooMany(`a partner has ${MAX_OPEN} open questions`);
  return counted.openHere === 0 && (await mayMailReviewers(tx, conversion.programId));
}

const tooMany = (limit: string) => new Problem('limit_reached', { detail: `${limit} at the most` });

/** @throws Problem `wrong_state` for an order of no affiliate, or of one that is not known any more. */
async function affiliateOf(tx: DatabaseTransaction, { affiliateId, state }: Conversion): Promise<Affiliate> {
  const affiliate = affiliateId === null ? undefined : await getAffiliate(tx, affiliateId);
  if (!affiliate || affiliate.erasedAt !== null) throw wrongState('order', `${state} and of no partner`);
  return affiliate;
}

async function mailMessage(
  tx: DatabaseTransaction,
  context: ApiContext,
  written: { conversion: Conversion; affiliate: Affiliate; author: OrderMessage['author']; text: string },
): Promise<void> {
  const { conversion, affiliate, author, text } = written;
  const { programId, orderId } = conversion;
  const values = {
    name: affiliate.name,
    order: orderId,
    message: text,
    link: orderLink(context, conversion.id),
  };
  const isQuestion = author === 'affiliate';
  for (const to of isQuestion ? await listReviewers(tx, programId) : [affiliate.email]) {
    const kind = isQuestion ? 'question_asked' : 'question_answered';
    await queueProgramMail(tx, context, { programId, kind, to, values });
  }
}
