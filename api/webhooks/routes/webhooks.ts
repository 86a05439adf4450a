import { z } from 'zod';
import { assert, OperatingError } from '../../../core/errors.ts';
import type { NetworkMatcher } from '../../../core/ip.ts';
import { DAY_MS } from '../../../core/time.ts';
import type { Role } from '../../../ledger/access/api-keys.ts';
import {
  countWebhookEndpoints,
  createWebhookEndpoint,
  deleteWebhookEndpoint,
  ENDPOINT_KINDS,
  ENDPOINT_STATUSES,
  getWebhookEndpoint,
  listWebhookEndpoints,
  POSTBACK_EVENT_TYPES,
  rotateWebhookSecret,
  updateWebhookEndpoint,
} from '../../../ledger/integrations/webhook-endpoints.ts';
import { addTestEvent, countRecentTests } from '../../../ledger/integrations/webhook-queue.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { newSigningSecret } from '../../auth/signed-calls.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { MAX_AFFILIATE_WEBHOOKS, MAX_PROGRAM_WEBHOOKS, requireRoom } from '../../http/party-limits.ts';
import {
  affiliateFilter,
  type Principal,
  principalOf,
  programFilter,
  programRequired,
} from '../../http/principal.ts';
import { invalidField, Problem } from '../../http/problems.ts';
import { formatId, integerId } from '../../schemas/ids.ts';
import { formatPage, pageOf, pageQuery, pageRequest } from '../../schemas/schemas.ts';
import { checkedSettings, checkReadable, endpointFields } from '../endpoint-input.ts';
import { formatWebhook, visibleEndpoint, WEBHOOK_ROLES, webhookView } from '../webhook-view.ts';

/** Both secrets sign for so long after a rotation. */
const ROTATION_MS = DAY_MS;
/** Tests of a party: a person clicks a button; more would be a load on somebody else's server. */
const MAX_TESTS_A_MINUTE = 10;

const secretText = z.string().meta({
  description: 'Shown in this answer only. Standard Webhooks libraries verify with it.',
});
const params = z.object({ id: integerId('webhookEndpoint') });

const TAGS = ['webhooks'];
const ONE = { roles: WEBHOOK_ROLES, problems: ['not_found'] } as const;

type WebhookContext = ApiContext & { allowed: NetworkMatcher };

/** With whom a webhook ends: who has said where it goes. */
function behind({ userBehind, keyId }: Principal): { userId: number | null; madeBy: number | null } {
  return { userId: userBehind, madeBy: keyId };
}

/** Webhooks: events, signed as Standard Webhooks defines it, retried for three days. */
export function addWebhookRoutes(app: ApiServer, context: WebhookContext): void {
  addReadRoutes(app, context);
  addCreateRoute(app, context);
  addUpdateRoute(app, context);
  addDeleteRoute(app, context);
  addSecretRoute(app, context);
  addTestRoute(app, context);
}

function addReadRoutes(app: ApiServer, context: WebhookContext): void {
  app.route({
    method: 'GET',
    url: '/v1/webhooks',
    config: { roles: WEBHOOK_ROLES },
    schema: {
      operationId: 'listWebhooks',
      tags: TAGS,
      summary: 'Webhooks, by id',
      querystring: z.object({ ...pageQuery('webhookEndpoint'), program_id: integerId('program').optional() }),
      response: { 200: pageOf(webhookView) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const page = await listWebhookEndpoints(context.ledger, {
        ...pageRequest(request.query),
        programId: programFilter(principal, request.query.program_id),
        affiliateId: principal.affiliateId ?? undefined,
        role: principal.role === 'operator' ? undefined : principal.role,
      });
      return formatPage('webhookEndpoint', page, formatWebhook);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/webhooks/:id',
    config: ONE,
    schema: {
      operationId: 'getWebhook',
      tags: TAGS,
      summary: 'One webhook',
      params,
      response: { 200: webhookView },
    },
    handler: async (request, reply) => {
      const endpoint = await getWebhookEndpoint(context.ledger, request.params.id);
      return withEtag(reply, formatWebhook(visibleEndpoint(principalOf(request), endpoint)));
    },
  });
}

const createBody = z.strictObject({
  program_id: integerId('program').optional(),
  affiliate_id: integerId('affiliate').optional().meta({
    description: 'Of an outgoing postback: the operator makes it for this affiliate, whose own it is then.',
  }),
  kind: z.enum(ENDPOINT_KINDS).default('webhook'),
  url: endpointFields.url,
  events: endpointFields.events.exactOptional(),
  method: endpointFields.method.exactOptional(),
  statuses: endpointFields.statuses.exactOptional(),
  event_names: endpointFields.event_names.exactOptional(),
});

/** Whose the new endpoint is, and for whose eyes. @throws Problem. */
async function ownerOf(
  { ledger }: ApiContext,
  principal: Principal,
  { kind, program_id, affiliate_id }: z.output<typeof createBody>,
): Promise<{ programId: number; affiliateId: number | null; role: Role }> {
  const programId = programRequired(principal, program_id);
  const { role } = principal;
  if (kind === 'outgoing_postback' && role === 'advertiser') {
    throw invalidField(
      'kind',
      'an advertiser has webhooks only: outgoing postbacks tell what affiliates earn',
    );
  }
  const affiliateId = affiliateFilter(principal, affiliate_id) ?? null;
  if (affiliateId === principal.affiliateId) return { programId, affiliateId, role };
  if (kind === 'webhook' || role !== 'operator') {
    throw invalidField('affiliate_id', 'is for outgoing postbacks that an operator makes for an affiliate');
  }
  const affiliate = affiliateId === null ? undefined : await getAffiliate(ledger, affiliateId);
  if (affiliate?.programId !== programId)
    throw invalidField('affiliate_id', 'there is no such affiliate in the program');
  return { programId, affiliateId, role: 'affiliate' };
}

function addCreateRoute(app: ApiServer, context: WebhookContext): void {
  app.route({
    method: 'POST',
    url: '/v1/webhooks',
    config: { roles: WEBHOOK_ROLES, idempotent: true, problems: ['limit_reached'] },
    schema: {
      operationId: 'createWebhook',
      tags: TAGS,
      summary: 'Create a webhook or an outgoing postback; an affiliate’s hears of its own only',
      body: createBody,
      response: { 201: z.object({ secret: secretText, webhook: webhookView }) },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { program_id, affiliate_id, kind, ...settings } = request.body;
      const owner = await ownerOf(context, principal, request.body);
      const { programId, affiliateId } = owner;
      const program = await getProgram(context.ledger, programId);
      if (!program) throw invalidField('program_id', 'there is no such program');
      const isPostback = kind === 'outgoing_postback';
      const given = checkedSettings(settings, { kind, program, allowed: context.allowed });
      const wanted = {
        ...given,
        kind,
        url: given.url ?? settings.url,
        method: given.method ?? (isPostback ? 'GET' : 'POST'),
        events: given.events ?? (isPostback ? [...POSTBACK_EVENT_TYPES] : []),
      };
      checkReadable(principal, wanted);
      return await commit(context, request, reply, async (tx) => {
        await requireRoom(tx, {
          what: 'webhooks',
          owner,
          most: affiliateId === null ? MAX_PROGRAM_WEBHOOKS : MAX_AFFILIATE_WEBHOOKS,
          count: (sql) => countWebhookEndpoints(sql, owner),
        });
        const { secret, encrypted } = newSigningSecret(context.secretBox);
        const created = { ...owner, ...wanted, secret: encrypted, ...behind(principal) };
        const webhook = formatWebhook(await createWebhookEndpoint(tx, created));
        const audit = { action: 'webhook.create', subject: webhook.id, after: webhook };
        return { status: 201, body: { secret, webhook }, audit };
      });
    },
  });
}

function addUpdateRoute(app: ApiServer, context: WebhookContext): void {
  app.route({
    method: 'PATCH',
    url: '/v1/webhooks/:id',
    config: { roles: WEBHOOK_ROLES, idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateWebhook',
      tags: TAGS,
      summary: 'Change a webhook; made active again, it gets what it missed until its keeps_until',
      params,
      body: z.strictObject({
        url: endpointFields.url.exactOptional(),
        events: endpointFields.events.exactOptional(),
        method: endpointFields.method.exactOptional(),
        statuses: endpointFields.statuses.exactOptional(),
        event_names: endpointFields.event_names.exactOptional(),
        status: z.enum(ENDPOINT_STATUSES).exactOptional(),
      }),
      response: { 200: webhookView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'webhook_endpoints', id);
        const endpoint = visibleEndpoint(principal, await getWebhookEndpoint(tx, id));
        const before = formatWebhook(endpoint);
        checkMatch(request, before);
        const program = await getProgram(tx, endpoint.programId);
        assert(program, 'an endpoint has a program');
        const { status, ...settings } = request.body;
        const changes = {
          ...checkedSettings(settings, { kind: endpoint.kind, program, allowed: context.allowed }),
          ...(status !== undefined && { status }),
          ...(settings.url !== undefined && behind(principal)),
        };
        const updated = visibleEndpoint(principal, await updateWebhookEndpoint(tx, { id, changes }));
        if (updated.status === 'active') checkReadable(principal, updated);
        const after = formatWebhook(updated);
        return { body: after, audit: { action: 'webhook.update', subject: after.id, before, after } };
      });
      return withEtag(reply, changed);
    },
  });
}

function addDeleteRoute(app: ApiServer, context: WebhookContext): void {
  app.route({
    method: 'DELETE',
    url: '/v1/webhooks/:id',
    config: { roles: WEBHOOK_ROLES, idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'deleteWebhook',
      tags: TAGS,
      summary: 'Remove a webhook with its log',
      params,
      response: { 204: z.undefined().describe('It is removed.') },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'webhook_endpoints', id);
        const before = formatWebhook(visibleEndpoint(principalOf(request), await getWebhookEndpoint(tx, id)));
        await deleteWebhookEndpoint(tx, id);
        const audit = { action: 'webhook.delete', subject: before.program_id, before };
        return { status: 204, body: undefined, audit };
      });
    },
  });
}

function addSecretRoute(app: ApiServer, context: WebhookContext): void {
  app.route({
    method: 'POST',
    url: '/v1/webhooks/:id/rotate-secret',
    config: { roles: WEBHOOK_ROLES, idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'rotateWebhookSecret',
      tags: TAGS,
      summary: 'Make a new secret; for a day both sign',
      params,
      response: { 201: z.object({ secret: secretText }) },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'webhook_endpoints', id);
        visibleEndpoint(principalOf(request), await getWebhookEndpoint(tx, id));
        const { secret, encrypted } = newSigningSecret(context.secretBox);
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
}

function addTestRoute(app: ApiServer, context: WebhookContext): void {
  app.route({
    method: 'POST',
    url: '/v1/webhooks/:id/test',
    config: { roles: WEBHOOK_ROLES, idempotent: true, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'testWebhook',
      tags: TAGS,
      summary: 'Deliver a webhook.test as any event; the deliveries show the result',
      params,
      response: { 202: z.object({ queued: z.literal(true) }) },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        const endpoint = visibleEndpoint(principalOf(request), await getWebhookEndpoint(tx, id));
        if (endpoint.status === 'disabled') {
          throw new OperatingError('wrong_state', 'the webhook is disabled: set its status to active first');
        }
        if ((await countRecentTests(tx, endpoint)) >= MAX_TESTS_A_MINUTE) {
          throw new Problem('rate_limited', {
            detail: `${MAX_TESTS_A_MINUTE} tests a minute are allowed, over all webhooks of a party`,
            headers: { 'retry-after': '60' },
          });
        }
        await addTestEvent(tx, endpoint);
        return { status: 202, body: { queued: true as const } };
      });
    },
  });
}
