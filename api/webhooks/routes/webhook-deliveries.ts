import { z } from 'zod';
import { OperatingError } from '../../../core/errors.ts';
import {
  ENDPOINT_METHODS,
  getWebhookEndpoint,
  WEBHOOK_EVENT_TYPES,
} from '../../../ledger/integrations/webhook-endpoints.ts';
import {
  DELIVERY_LIST,
  DELIVERY_STATES,
  getDelivery,
  isOvertaken,
  listAttempts,
  listDeliveries,
  replayDeliveries,
  type WebhookAttempt,
  type WebhookDelivery,
} from '../../../ledger/integrations/webhook-queue.ts';
import type { DatabaseSql } from '../../../ledger/postgres/db.ts';
import { READING_REPORTS, refusalOf } from '../../http/admission.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { type Principal, principalOf } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { bigintId, formatId, idText, integerId } from '../../schemas/ids.ts';
import { formatOptionalTime, formatTime, timeText } from '../../schemas/schemas.ts';
import { webhookBody } from '../webhook-bodies.ts';
import { requestOf } from '../webhook-request.ts';
import { visibleEndpoint, WEBHOOK_ROLES } from '../webhook-view.ts';

const deliveryView = z
  .object({
    id: idText('webhookDelivery'),
    webhook_id: idText('webhookEndpoint'),
    message_id: z.string().meta({ description: 'The header webhook-id, the same at each attempt.' }),
    type: z.enum(WEBHOOK_EVENT_TYPES),
    subject: z.string(),
    body: webhookBody.nullable().meta({
      description:
        'Null of an outgoing postback: its request says it; and of report.ready without the right to read reports.',
    }),
    request: z
      .object({ method: z.enum(ENDPOINT_METHODS), url: z.string(), body: z.string() })
      .meta({ description: 'As it is sent to the address that the webhook has now.' }),
    state: z.enum(DELIVERY_STATES).meta({
      description:
        'dead: given up after three days; superseded: a later outgoing postback or status of the same conversion took its place.',
    }),
    attempts: z.int(),
    next_attempt_at: timeText.nullable(),
    last_status: z.int().nullable(),
    last_error: z.string().nullable(),
    created_at: timeText,
    done_at: timeText.nullable(),
  })
  .meta({ id: 'WebhookDelivery' });

const attemptView = z
  .object({
    at: timeText,
    duration_ms: z.number(),
    status: z.int().nullable(),
    error: z.string().nullable(),
    response: z.string().nullable().meta({ description: 'Its beginning.' }),
  })
  .meta({ id: 'WebhookAttempt' });

/** The link of a report opens it to all, so it is for those who may read reports. */
function formatDelivery(delivery: WebhookDelivery, principal: Principal): z.output<typeof deliveryView> {
  const { method, url, body } = requestOf(delivery);
  const isHidden = delivery.type === 'report.ready' && refusalOf(principal, READING_REPORTS) !== undefined;
  return {
    id: formatId('webhookDelivery', delivery.id),
    webhook_id: formatId('webhookEndpoint', delivery.endpointId),
    message_id: delivery.messageId,
    type: delivery.type,
    subject: delivery.subject,
    body:
      delivery.kind === 'webhook' && !isHidden
        ? (JSON.parse(delivery.body) as z.output<typeof webhookBody>)
        : null,
    request: { method, url, body: isHidden ? '' : body },
    state: delivery.state,
    attempts: delivery.attempts,
    next_attempt_at: delivery.state === 'pending' ? formatTime(delivery.nextAttemptAt) : null,
    last_status: delivery.lastStatus,
    last_error: delivery.lastError,
    created_at: formatTime(delivery.createdAt),
    done_at: formatOptionalTime(delivery.doneAt),
  };
}

function formatAttempt(attempt: WebhookAttempt): z.output<typeof attemptView> {
  return {
    at: formatTime(attempt.at),
    duration_ms: attempt.durationMs,
    status: attempt.status,
    error: attempt.error,
    response: attempt.response,
  };
}

/** What was delivered, what was not, and doing it again. */
export function addWebhookDeliveryRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addReplayRoutes(app, context);
}

const tags = ['webhooks'];
const config = { roles: WEBHOOK_ROLES, problems: ['not_found'] } as const;
const deliveryParams = z.object({ id: bigintId('webhookDelivery') });
const endpointParams = z.object({ id: integerId('webhookEndpoint') });

async function visibleDelivery(sql: DatabaseSql, principal: Principal, id: bigint): Promise<WebhookDelivery> {
  const delivery = await getDelivery(sql, id);
  if (!delivery) throw notFound('webhook with this id');
  visibleEndpoint(principal, await getWebhookEndpoint(sql, delivery.endpointId));
  return delivery;
}

function addReadRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  addList(app, context, {
    url: '/v1/webhooks/:id/deliveries',
    operationId: 'listWebhookDeliveries',
    tags,
    summary: 'What was and is to be delivered, the newest first',
    config,
    kind: 'webhookDelivery',
    list: DELIVERY_LIST,
    params: endpointParams,
    filters: { state: z.enum(DELIVERY_STATES).optional(), ...timeRange },
    view: deliveryView,
    read: async (page, { sql, principal, params, query }) => {
      visibleEndpoint(principal, await getWebhookEndpoint(sql, params.id));
      return await listDeliveries(sql, { ...page, ...query, endpointId: params.id });
    },
    format: (deliveries, principal) => deliveries.map((delivery) => formatDelivery(delivery, principal)),
  });

  app.route({
    method: 'GET',
    url: '/v1/webhook-deliveries/:id',
    config,
    schema: {
      operationId: 'getWebhookDelivery',
      tags,
      summary: 'One delivery with every attempt',
      params: deliveryParams,
      response: { 200: deliveryView.extend({ log: z.array(attemptView) }) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const delivery = await visibleDelivery(ledger, principal, request.params.id);
      const log = await listAttempts(ledger, delivery.id);
      return { ...formatDelivery(delivery, principal), log: log.map(formatAttempt) };
    },
  });
}

function addReplayRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  app.route({
    method: 'POST',
    url: '/v1/webhook-deliveries/:id/replay',
    config: { roles: WEBHOOK_ROLES, idempotent: true, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'replayWebhookDelivery',
      tags,
      summary: 'Deliver it again, at once, under the same message id',
      description:
        'An outgoing postback is refused when the order has changed since: it would overwrite what the tracker has.',
      params: deliveryParams,
      response: { 202: z.object({ replayed: z.int() }) },
    },
    handler: async (request, reply) => {
      const { id } = await visibleDelivery(ledger, principalOf(request), request.params.id);
      return await commit(context, request, reply, async (tx) => {
        if (await isOvertaken(tx, id)) {
          throw new OperatingError('wrong_state', 'a later postback or status of this order took its place');
        }
        const replayed = await replayDeliveries(tx, { deliveryId: id });
        const audit = { action: 'webhook_delivery.replay', subject: formatId('webhookDelivery', id) };
        return { status: 202, body: { replayed }, audit };
      });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/webhooks/:id/replay-dead',
    config: { ...config, idempotent: true },
    schema: {
      operationId: 'replayDeadWebhookDeliveries',
      tags,
      summary: 'Deliver everything again that was given up',
      params: endpointParams,
      response: { 202: z.object({ replayed: z.int() }) },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      visibleEndpoint(principalOf(request), await getWebhookEndpoint(ledger, id));
      return await commit(context, request, reply, async (tx) => {
        const replayed = await replayDeliveries(tx, { deadOf: id });
        const audit = {
          action: 'webhook.replay_dead',
          subject: formatId('webhookEndpoint', id),
          after: { replayed },
        };
        return { status: 202, body: { replayed }, audit };
      });
    },
  });
}
