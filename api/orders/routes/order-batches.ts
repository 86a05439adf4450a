import { z } from 'zod';
import { assert, InputError } from '../../../core/errors.ts';
import { ORDER_OUTCOMES } from '../../../ledger/decisions/order-reports.ts';
import { insertPostbackCalls, type NewPostbackCall } from '../../../ledger/integrations/postback-calls.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { commit } from '../../http/commit.ts';
import type { ApiServer } from '../../http/context.ts';
import { type Principal, principalOf } from '../../http/principal.ts';
import { invalidField, Problem, problemBody } from '../../http/problems.ts';
import { invalidFields, translateError } from '../../http/translate-error.ts';
import { faultsIn } from '../../http/validation.ts';
import { noteNewOrder } from '../../http/wire/request-ids.ts';
import { bigintId, formatId, idText, integerId } from '../../schemas/ids.ts';
import { callerOf, loggedParams } from '../call-log.ts';
import {
  type IntakeAnswer,
  type IntakeEntry,
  isNewOrder,
  type OrderChecks,
  recordEntries,
} from '../intake.ts';
import { orderInput, type ShopReport, withoutEmptyMembers } from '../order.ts';
import { accepted, callProgram, ledgerReport, type ShopContext, statusUrl } from '../record-order.ts';
import { type ShopWords, withEventName } from '../shop-settings.ts';

/** Larger batches would hold their locks for seconds. */
const MAX_BATCH_ORDERS = 1_000;
/** A thousand orders of 2 KiB. */
const MAX_BATCH_BYTES = 2 * 1024 * 1024;

const itemAnswer = z
  .object({
    index: z.int().meta({ description: 'Place in the batch, from 0.' }),
    status: z.enum(['accepted', 'duplicate', 'rejected']),
    outcome: z
      .enum(ORDER_OUTCOMES)
      .nullable()
      .meta({ description: 'What the report did; null: nothing, it was rejected.' }),
    order_id: z.string().nullable(),
    conversion_id: idText('conversion').nullable(),
    conversion_status: z.string().nullable(),
    status_url: z.string().nullable(),
    call_id: idText('postbackCall'),
    problem: z
      .looseObject({ code: z.string(), detail: z.string() })
      .nullable()
      .meta({ description: 'Why it was rejected: as the order alone would have been answered.' }),
  })
  .meta({ id: 'BatchItem' });
type ItemAnswer = z.output<typeof itemAnswer>;

const batchAnswer = z
  .object({
    accepted: z.int(),
    duplicate: z.int(),
    rejected: z.int(),
    items: z.array(itemAnswer),
  })
  .meta({ id: 'BatchAnswer' });

const orderItem = z.record(z.string(), z.unknown()).meta({
  description: 'As POST /v1/conversions takes it. Each is checked and answered by itself.',
  examples: [{ order_id: '1001', amount: '12.34', currency: 'EUR' }],
});

/** One order of a batch, or why it is none. */
interface Item {
  readonly index: number;
  readonly call: IntakeEntry['call'];
  readonly report: ShopReport | Problem;
}

export function addOrderBatchRoute(app: ApiServer, context: ShopContext): void {
  app.route({
    method: 'POST',
    url: '/v1/conversions/batch',
    config: {
      roles: ['advertiser', 'operator'],
      logAs: 'batch',
      idempotent: true,
      problems: ['replayed', 'ip_not_allowed'],
    },
    bodyLimit: MAX_BATCH_BYTES,
    schema: {
      operationId: 'reportConversions',
      tags: ['shops'],
      summary:
        'Report up to 1,000 orders, or what happened to them; each is answered by itself, and repeating them changes nothing',
      body: z.strictObject({
        program_id: integerId('program')
          .optional()
          .meta({ description: 'For keys of no single program only.' }),
        conversions: z.array(orderItem).min(1).max(MAX_BATCH_ORDERS),
      }),
      response: { 200: batchAnswer },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const programId = await callProgram(context, request, request.body.program_id);
      const words = await context.shopSettings.of(programId);
      const caller = { ...callerOf(request), via: 'batch' as const };
      const items = request.body.conversions.map((given, index): Item => {
        const call = { ...caller, params: loggedParams(given) };
        return { index, call, report: readReport(given, { programId, words }) };
      });
      return await commit(context, request, reply, async (tx) => {
        const answers = [
          ...(await recordGood(tx, items, { ...context, programId, principal })),
          ...(await logRefused(tx, items, programId)),
        ];
        for (const { outcome, conversion_id: id } of answers) {
          if (outcome !== null && id !== null && isNewOrder({ did: outcome }))
            noteNewOrder(request, bigintId('conversion').parse(id));
        }
        assert(request.call, 'the route logs its calls');
        request.call.logged = true;
        return { body: summaryOf(answers) };
      });
    },
  });
}

function summaryOf(answers: readonly ItemAnswer[]): z.output<typeof batchAnswer> {
  const count = (status: ItemAnswer['status']) => answers.filter((item) => item.status === status).length;
  return {
    accepted: count('accepted'),
    duplicate: count('duplicate'),
    rejected: count('rejected'),
    items: answers.toSorted((a, b) => a.index - b.index),
  };
}

function readReport(
  given: unknown,
  { programId, words }: { programId: number; words: ShopWords },
): ShopReport | Problem {
  const read = orderInput.safeParse(withEventName(withoutEmptyMembers(given), words));
  if (!read.success) return invalidFields(faultsIn(read.error));
  const named = read.data.programId;
  if (named === undefined || named === programId) return read.data;
  return invalidField('program_id', 'must be the program of the batch');
}

async function recordGood(
  tx: DatabaseTransaction,
  items: readonly Item[],
  { programId, principal, ...checks }: OrderChecks & { programId: number; principal: Principal },
): Promise<ItemAnswer[]> {
  const good = items.flatMap(({ index, call, report }) =>
    report instanceof Problem
      ? []
      : [{ index, report, entry: { report: ledgerReport(report, { programId, source: 'api' }), call } }],
  );
  const answers = await recordEntries(tx, { ...checks, entries: good.map(({ entry }) => entry) });
  return good.map(({ index, report }, i) => {
    const answer = answers[i];
    assert(answer, 'every order has an answer');
    return itemOf(index, report, answer, principal);
  });
}

function itemOf(
  index: number,
  report: ShopReport,
  { recorded, callId }: IntakeAnswer,
  principal: Principal,
): ItemAnswer {
  try {
    const { status, outcome, conversion } = accepted(recorded, { report, callId, role: principal.role });
    return {
      index,
      status,
      outcome,
      order_id: conversion.orderId,
      conversion_id: formatId('conversion', conversion.id),
      conversion_status: conversion.status,
      status_url: statusUrl(conversion.id),
      call_id: formatId('postbackCall', callId),
      problem: null,
    };
  } catch (error) {
    if (!(error instanceof Problem || error instanceof InputError)) throw error;
    return rejectedItem({ index, orderId: report.orderId, callId, problem: translateError(error) });
  }
}

async function logRefused(
  tx: DatabaseTransaction,
  items: readonly Item[],
  programId: number,
): Promise<ItemAnswer[]> {
  const refused = items.flatMap(({ index, call, report: problem }) => {
    if (!(problem instanceof Problem)) return [];
    const { order_id: orderId } = call.params as { order_id?: unknown };
    return [{ index, call, problem, orderId: typeof orderId === 'string' ? orderId : null }];
  });
  const ids = await insertPostbackCalls(
    tx,
    refused.map(
      ({ call, problem, orderId }): NewPostbackCall => ({
        ...call,
        programId,
        orderId,
        outcome: 'rejected',
        status: 422,
        code: problem.code,
        detail: problem.message,
        conversionId: null,
        replayOf: null,
      }),
    ),
  );
  return refused.map((item, i) => rejectedItem({ ...item, callId: ids[i] ?? 0n }));
}

function rejectedItem(item: {
  index: number;
  orderId: string | null;
  callId: bigint;
  problem: Problem;
}): ItemAnswer {
  const { request_id: _, ...body } = problemBody(item.problem, '');
  return {
    index: item.index,
    status: 'rejected',
    outcome: null,
    order_id: item.orderId,
    conversion_id: null,
    conversion_status: null,
    status_url: null,
    call_id: formatId('postbackCall', item.callId),
    problem: body as ItemAnswer['problem'],
  };
}
