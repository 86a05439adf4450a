import { z } from 'zod';
import type { NetworkMatcher } from '../../../core/ip.ts';
import { DAY_MS } from '../../../core/time.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import {
  createWebhookEndpoint,
  deleteWebhookEndpoint,
  ENDPOINT_STATUSES,
  getWebhookEndpoint,
  listWebhookEndpoints,
  rotateWebhookSecret,
  updateWebhookEndpoint,
  WEBHOOK_EVENT_TYPES,
  type WebhookEndpoint,
} from '../../../ledger/integrations/webhook-endpoints.ts';
import { addTestEvent } from '../../../ledger/integrations/webhook-queue.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { newSigningSecret } from '../../auth/signed-calls.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { owned, type Principal, principalOf, programFilter, programRequired } from '../../http/principal.ts';
import { invalidField } from '../../http/problems.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import {
  formatOptionalTime,
  formatPage,
  formatTime,
  pageOf,
  pageQuery,
  pageRequest,
  timeText,
  urlText,
} from '../../schemas/schemas.ts';
import { urlFault } from '../webhook-target.ts';

/** Both secrets sign for so long after a rotation. */
const ROTATION_MS = DAY_MS;
export const WEBHOOK_ROLES = ['operator', 'affiliate', 'advertiser'] as const;
const WHAT = 'webhook with this id';

const endpointView = z
  .object({
    id: idText('webhookEndpoint'),
    program_id: idText('program'),
    affiliate_id: idText('affiliate').nullable(),
    role: z.enum(ROLES).meta({ description: 'The role whose view the bodies have.' }),
    url: z.string(),
    events: z.array(z.enum(WEBHOOK_EVENT_TYPES)).meta({ description: 'Empty: every event.' }),
    status: z.enum(ENDPOINT_STATUSES),
    disabled_reason: z.string().nullable(),
    failing_since: timeText.nullable().meta({ description: 'Since when every attempt has failed.' }),
    created_at: timeText,
  })
  .meta({ id: 'Webhook' });
const secretText = z.string().meta({
  description: 'Shown in this answer only. Standard Webhooks libraries verify with it.',
});
const events = z.array(z.enum(WEBHOOK_EVENT_TYPES)).max(WEBHOOK_EVENT_TYPES.length);
const params = z.object({ id: integerId('webhookEndpoint') });

function formatEndpoint(endpoint: WebhookEndpoint): z.output<typeof endpointView> {
  return {
    id: formatId('webhookEndpoint', endpoint.id),
    program_id: formatId('program', endpoint.programId),
    affiliate_id: formatOptionalId('affiliate', endpoint.affiliateId),
    role: endpoint.role,
    url: endpoint.url,
    events: endpoint.events,
    status: endpoint.status,
    disabled_reason: endpoint.disabledReason,
    failing_since: formatOptionalTime(endpoint.failingSince),
    created_at: formatTime(endpoint.createdAt),
  };
}

/** The endpoint, if it is the principal's: an operator's are every one of the program, anybody else's their own. */
export function visibleEndpoint(principal: Principal, row: WebhookEndpoint | undefined): WebhookEndpoint {
  const mine = principal.role === 'operator' || row?.role === principal.role ? row : undefined;
  return owned(principal, mine, WHAT);
}

/** Webhooks: events, signed as Standard Webhooks defines it, retried for three days. */
export function addWebhookRoutes(app: ApiServer, context: WebhookContext): void {
  addReadRoutes(app, context);
  addCreateRoute(app, context);
  addChangeRoutes(app, context);
  addSecretRoutes(app, context);
}

type WebhookContext = ApiContext & { readonly allowed: NetworkMatcher };

const tags = ['webhooks'];
const roles = WEBHOOK_ROLES;

function checkUrl(url: string, allowed: NetworkMatcher): void {
  const fault = urlFault(url, allowed);
  if (fault) throw invalidField('url', fault);
}

function addReadRoutes(app: ApiServer, { ledger }: WebhookContext): void {
  app.route({
    method: 'GET',
    url: '/v1/webhooks',
    config: { roles },
    schema: {
      operationId: 'listWebhooks',
      tags,
      summary: 'Webhooks, by id',
      querystring: z.object({ ...pageQuery('webhookEndpoint'), program_id: integerId('program').optional() }),
      response: { 200: pageOf(endpointView) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const page = await listWebhookEndpoints(ledger, {
        ...pageRequest(request.query),
        programId: programFilter(principal, request.query.program_id),
        affiliateId: principal.affiliateId ?? undefined,
        role: principal.role === 'operator' ? undefined : principal.role,
      });
      return formatPage('webhookEndpoint', page, formatEndpoint);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/webhooks/:id',
    config: { roles, problems: ['not_found'] },
    schema: {
      operationId: 'getWebhook',
      tags,
      summary: 'One webhook',
      params,
      response: { 200: endpointView },
    },
    handler: async (request, reply) => {
      const endpoint = await getWebhookEndpoint(ledger, request.params.id);
      return withEtag(reply, formatEndpoint(visibleEndpoint(principalOf(request), endpoint)));
    },
  });
}

function addCreateRoute(app: ApiServer, context: WebhookContext): void {
  const { ledger, secretBox, allowed } = context;
  app.route({
    method: 'POST',
    url: '/v1/webhooks',
    config: { roles, idempotent: true },
    schema: {
      operationId: 'createWebhook',
      tags,
      summary: 'Create a webhook; an affiliate’s gets its own events only',
      body: z.strictObject({
        program_id: integerId('program').optional(),
        url: urlText.meta({ examples: ['https://partner.example/afflux'] }),
        events: events.default([]),
      }),
      response: { 201: z.object({ secret: secretText, webhook: endpointView }) },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { url, events: wanted, program_id } = request.body;
      const programId = programRequired(principal, program_id);
      checkUrl(url, allowed);
      if (!(await getProgram(ledger, programId)))
        throw invalidField('program_id', 'there is no such program');
      const { affiliateId, role } = principal;
      return await commit(context, request, reply, async (tx) => {
        const { secret, encrypted } = newSigningSecret(secretBox);
        const created = { programId, affiliateId, role, url, events: wanted, secret: encrypted };
        const webhook = formatEndpoint(await createWebhookEndpoint(tx, created));
        const audit = { action: 'webhook.create', subject: webhook.id, after: webhook };
        return { status: 201, body: { secret, webhook }, audit };
      });
    },
  });
}

function addChangeRoutes(app: ApiServer, context: WebhookContext): void {
  app.route({
    method: 'PATCH',
    url: '/v1/webhooks/:id',
    config: { roles, idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateWebhook',
      tags,
      summary: 'Change a webhook; made active again, it gets the events it missed',
      params,
      body: z.strictObject({
        url: urlText.exactOptional(),
        events: events.exactOptional(),
        status: z.enum(ENDPOINT_STATUSES).exactOptional(),
      }),
      response: { 200: endpointView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      if (request.body.url !== undefined) checkUrl(request.body.url, context.allowed);
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'webhook_endpoints', id);
        const before = formatEndpoint(visibleEndpoint(principal, await getWebhookEndpoint(tx, id)));
        checkMatch(request, before);
        const updated = await updateWebhookEndpoint(tx, { id, changes: request.body });
        const after = formatEndpoint(visibleEndpoint(principal, updated));
        return { body: after, audit: { action: 'webhook.update', subject: after.id, before, after } };
      });
      return withEtag(reply, changed);
    },
  });

  app.route({
    method: 'DELETE',
    url: '/v1/webhooks/:id',
    config: { roles, idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'deleteWebhook',
      tags,
      summary: 'Remove a webhook with its log',
      params,
      response: { 204: z.undefined().describe('It is removed.') },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'webhook_endpoints', id);
        const before = formatEndpoint(
          visibleEndpoint(principalOf(request), await getWebhookEndpoint(tx, id)),
        );
        await deleteWebhookEndpoint(tx, id);
        const audit = { action: 'webhook.delete', subject: before.program_id, before };
        return { status: 204, body: undefined, audit };
      });
    },
  });
}

function addSecretRoutes(app: ApiServer, context: WebhookContext): void {
  const { secretBox } = context;
  app.route({
    method: 'POST',
    url: '/v1/webhooks/:id/rotate-secret',
    config: { roles, idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'rotateWebhookSecret',
      tags,
      summary: 'Make a new secret; for a day both sign',
      params,
      response: { 201: z.object({ secret: secretText }) },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'webhook_endpoints', id);
        visibleEndpoint(principalOf(request), await getWebhookEndpoint(tx, id));
        const { secret, encrypted } = newSigningSecret(secretBox);
        await rotateWebhookSecret(tx, {
          id,
          secret: encrypted,
          oldUntil: new Date(Date.now() + ROTATION_MS),
        });
        const audit = { action: 'webhook.rotate_secret', subject: formatId('webhookEndpoint', id) };
        return { status: 201, body: { secret }, audit };
      });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/webhooks/:id/test',
    config: { roles, idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'testWebhook',
      tags,
      summary: 'Deliver a webhook.test as any event; the deliveries show the result',
      params,
      response: { 202: z.object({ queued: z.literal(true) }) },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        const endpoint = visibleEndpoint(principalOf(request), await getWebhookEndpoint(tx, id));
        await addTestEvent(tx, endpoint);
        return { status: 202, body: { queued: true as const } };
      });
    },
  });
}
