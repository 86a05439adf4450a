import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  CALL_OUTCOMES,
  CALL_WAYS,
  getCallRequest,
  getPostbackCall,
  listPostbackCalls,
  POSTBACK_CALL_LIST,
  type PostbackCall,
} from '../../../ledger/integrations/postback-calls.ts';
import { type Database, inTransaction } from '../../../ledger/postgres/db.ts';
import type { ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { inProgram, type Principal, principalOf, programFilter } from '../../http/principal.ts';
import { invalidField, notFound, Problem } from '../../http/problems.ts';
import { invalidFields } from '../../http/translate-error.ts';
import { faultsIn } from '../../http/validation.ts';
import { callerOf } from '../../orders/call-log.ts';
import { orderInput, postbackInput, type ShopReport, withoutEmptyMembers } from '../../orders/order.ts';
import { accepted, ledgerReport, type ShopContext, statusUrl } from '../../orders/record-order.ts';
import { refundInput, reportRefund } from '../../orders/routes/refunds.ts';
import { renamed, type ShopWords, withEventName } from '../../orders/shop-settings.ts';
import { bigintId, formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import { formatTime, plain, text, timeText } from '../../schemas/schemas.ts';
import type { Receiver } from '../receiver.ts';
import { unpackRequest } from '../sent-request.ts';
import { formatRequest, requestView } from '../source-view.ts';

/** Of what calls are searched by. */
const MAX_FILTER_LENGTH = 200;
const WHAT = 'call with this id';

const callView = z
  .object({
    id: idText('postbackCall'),
    received_at: timeText,
    request_id: z.string(),
    via: z.enum(CALL_WAYS),
    program_id: idText('program').nullable(),
    actor: z.string().nullable().meta({ description: 'Null: not authenticated.' }),
    ip: z.string().nullable(),
    params: z
      .unknown()
      .meta({ description: 'As they came, without keys; e-mail addresses as their hashes.' }),
    outcome: z.enum(CALL_OUTCOMES),
    status: z.int().meta({ description: 'Of the HTTP answer.' }),
    code: z.string().nullable().meta({ description: 'Why it was rejected: the code of the problem.' }),
    detail: z.string().nullable(),
    order_id: z.string().nullable(),
    conversion_id: idText('conversion').nullable(),
    replay_of: idText('postbackCall').nullable(),
    source_id: idText('source').nullable().meta({ description: 'Null: it came by no source.' }),
  })
  .meta({ id: 'PostbackCall' });

const oneCallView = callView
  .extend({
    request: requestView
      .nullable()
      .meta({ description: 'Of a call of a source: as it came, without secrets and e-mail addresses.' }),
  })
  .meta({ id: 'PostbackCallWithRequest' });

const replayView = z
  .object({
    status: z.enum(['accepted', 'duplicate', 'ignored']),
    call_id: idText('postbackCall'),
    conversion_id: idText('conversion').nullable().meta({ description: 'Null: of a call that is ignored.' }),
    status_url: z.string().nullable(),
  })
  .meta({ id: 'ReplayedCall' });

function formatCall(call: PostbackCall): z.output<typeof callView> {
  return {
    id: formatId('postbackCall', call.id),
    received_at: formatTime(call.receivedAt),
    request_id: call.requestId,
    via: call.via,
    program_id: formatOptionalId('program', call.programId),
    actor: call.actor,
    ip: call.ip,
    params: call.params,
    outcome: call.outcome,
    status: call.status,
    code: call.code,
    detail: call.detail,
    order_id: call.orderId,
    conversion_id: formatOptionalId('conversion', call.conversionId),
    replay_of: formatOptionalId('postbackCall', call.replayOf),
    source_id: formatOptionalId('source', call.sourceId),
  };
}

/** The call, if it is of the principal's program. Calls without a program are for operators of all programs. */
function visible(principal: Principal, call: PostbackCall | undefined): PostbackCall {
  return { ...inProgram(principal, call && { ...call, programId: call.programId ?? 0 }, WHAT), ...call };
}

type CallContext = ShopContext & { readonly receiver: Receiver };

/** The log of the calls of shops, and replaying them. */
export function addPostbackCallRoutes(app: ApiServer, context: CallContext): void {
  addReadRoutes(app, context);
  addReplayRoute(app, context);
}

const tags = ['shops'];
const roles = ['operator', 'fraud', 'advertiser'] as const;
const params = z.object({ id: bigintId('postbackCall') });

function addReadRoutes(app: ApiServer, context: CallContext): void {
  const { ledger } = context;

  addList(app, context, {
    url: '/v1/postback-calls',
    operationId: 'listPostbackCalls',
    tags,
    summary: 'Every call of shops with its outcome, the newest first; kept for 90 days',
    config: { roles },
    kind: 'postbackCall',
    list: POSTBACK_CALL_LIST,
    filters: {
      program_id: integerId('program').optional(),
      outcome: z.enum(CALL_OUTCOMES).optional(),
      via: z.enum(CALL_WAYS).optional(),
      source_id: integerId('source').optional(),
      code: text(MAX_FILTER_LENGTH).optional(),
      order_id: plain(MAX_FILTER_LENGTH).optional(),
      ...timeRange,
    },
    view: callView,
    read: async (page, { sql, principal, query: { program_id, source_id, order_id, ...filters } }) =>
      await listPostbackCalls(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        sourceId: source_id,
        orderId: order_id,
      }),
    format: (calls) => calls.map(formatCall),
  });

  app.route({
    method: 'GET',
    url: '/v1/postback-calls/:id',
    config: { roles, problems: ['not_found'] },
    schema: {
      operationId: 'getPostbackCall',
      tags,
      summary: 'One call',
      params,
      response: { 200: oneCallView },
    },
    handler: async (request) => {
      const { id } = request.params;
      const call = visible(principalOf(request), await getPostbackCall(ledger, id));
      const stored = call.sourceId === null ? undefined : await getCallRequest(ledger, id);
      const sent = stored && (await unpackRequest(context.secretBox, stored.request));
      return { ...formatCall(call), request: sent ? formatRequest(sent) : null };
    },
  });
}

function addReplayRoute(app: ApiServer, context: CallContext): void {
  const { ledger } = context;
  app.route({
    method: 'POST',
    url: '/v1/postback-calls/:id/replay',
    config: { roles: ['operator', 'advertiser'], logAs: 'replay', problems: ['not_found', 'conflict'] },
    schema: {
      operationId: 'replayPostbackCall',
      tags,
      summary: 'Repeat the call under the present settings; what it recorded already is not recorded twice',
      params,
      response: { 200: replayView },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const asked = visible(principal, await getPostbackCall(ledger, request.params.id));
      const call = asked.sourceId === null ? await firstCall(ledger, asked) : asked;
      const { programId } = call;
      if (programId === null)
        throw new Problem('forbidden', { detail: 'a call without a program cannot be replayed' });
      if (request.call) Object.assign(request.call, { params: call.params, programId, replayOf: call.id });
      if (call.sourceId !== null) return await replaySourceCall(context, request, call.id);
      const repeated = await replay(context, request, { ...call, programId });
      if (request.call) request.call.logged = true;
      return {
        status: repeated.status,
        call_id: formatId('postbackCall', repeated.callId),
        conversion_id: formatId('conversion', repeated.conversionId),
        status_url: statusUrl(repeated.conversionId),
      };
    },
  });
}

/** Repeats a call of a source by its present mapping. @throws Problem with why it is refused again. */
async function replaySourceCall(
  { receiver }: Pick<CallContext, 'receiver'>,
  request: FastifyRequest,
  id: bigint,
): Promise<z.output<typeof replayView>> {
  const answer = await receiver.replay(id, callerOf(request));
  if (!answer) throw notFound('source or request of this call');
  if (request.call) request.call.logged = true;
  const { outcome, callId, conversionId, refusal } = answer;
  if (outcome === 'rejected')
    throw new Problem(refusal?.code ?? 'invalid_input', { detail: refusal?.detail ?? '' });
  return {
    status: outcome,
    call_id: formatId('postbackCall', callId),
    conversion_id: formatOptionalId('conversion', conversionId),
    status_url: conversionId === null ? null : statusUrl(conversionId),
  };
}

interface ReplayedCall {
  readonly status: 'accepted' | 'duplicate';
  readonly callId: bigint;
  readonly conversionId: bigint;
}

/** The call that a replay repeats: it says by which way it came. @throws Problem. */
async function firstCall(ledger: Database, call: PostbackCall): Promise<PostbackCall> {
  let first = call;
  while (first.via === 'replay') {
    const repeated = first.replayOf === null ? undefined : await getPostbackCall(ledger, first.replayOf);
    if (!repeated) throw notFound('call that this one repeats');
    first = repeated;
  }
  return first;
}

/** A call as it is read by the way it came: names and forms of the program's own are of URLs that are called. @throws Problem. */
function reportOf({ via, params }: PostbackCall, words: ShopWords): ShopReport {
  const given = params as Record<string, unknown>;
  const isUrl = via === 'postback' || via === 'pixel';
  const named = withEventName(isUrl ? renamed(given, words).params : withoutEmptyMembers(given), words);
  const read = isUrl
    ? postbackInput.transform(({ report }) => report).safeParse(named)
    : orderInput.safeParse(named);
  if (!read.success) throw invalidFields(faultsIn(read.error));
  return read.data;
}

/** Repeats a call by the present settings of its program. @throws Problem. */
async function replay(
  context: ShopContext,
  request: FastifyRequest,
  call: PostbackCall & { programId: number },
): Promise<ReplayedCall> {
  const principal = principalOf(request);
  const line = { ...callerOf(request), via: 'replay' as const, params: call.params, replayOf: call.id };
  const { programId } = call;
  if (call.via === 'refund') {
    const refund = refundInput.safeParse(call.params);
    if (!refund.success) throw invalidFields(faultsIn(refund.error));
    const { body, status, callId } = await inTransaction(context.ledger, (tx) =>
      reportRefund(tx, { ...principal, programId }, refund.data, line),
    );
    const conversionId = bigintId('conversion').parse(body.conversion.id);
    return { status: status === 201 ? 'accepted' : 'duplicate', callId, conversionId };
  }
  const report = reportOf(call, await context.shopSettings.of(programId));
  if (report.programId !== undefined && report.programId !== programId) {
    throw invalidField('program_id', 'is another program than the caller’s');
  }
  const source = call.via === 'pixel' || call.via === 'postback' ? call.via : 'api';
  const { recorded, callId } = await context.intake.submit({
    report: ledgerReport(report, { programId, source }),
    call: line,
  });
  if (request.call) request.call.logged = true;
  const { status, conversion } = accepted(recorded, { report, callId, role: principal.role });
  return { status, callId, conversionId: conversion.id };
}
