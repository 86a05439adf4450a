import { z } from 'zod';
import { DAY_S } from '../../../core/time.ts';
import {
  type ApiKey,
  createApiKey,
  expireApiKey,
  getApiKey,
  listApiKeys,
  ROLES,
  revokeApiKey,
} from '../../../ledger/access/api-keys.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { affiliateFilter, type Principal, principalOf, programFilter } from '../../http/principal.ts';
import { invalidField, notFound, Problem } from '../../http/problems.ts';
import { SCOPES } from '../../http/scopes.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import {
  formatOptionalTime,
  formatPage,
  formatTime,
  nameText,
  pageOf,
  pageQuery,
  pageRequest,
  time,
  timeText,
} from '../../schemas/schemas.ts';
import { requireRecentSignIn } from '../recent-sign-in.ts';
import { newSigningSecret } from '../signed-calls.ts';

/** A rotated key works on for a day by default: long enough to deploy the new one. */
const DEFAULT_GRACE_S = DAY_S;
const MAX_GRACE_S = 30 * DAY_S;
const WHAT = 'live key with this id';

const apiKeyView = z
  .object({
    id: idText('apiKey'),
    role: z.enum(ROLES),
    name: z.string(),
    program_id: idText('program').nullable().meta({ description: 'Null: every program.' }),
    affiliate_id: idText('affiliate').nullable(),
    scopes: z.array(z.string()).nullable().meta({ description: 'Null: all that the role may do.' }),
    signs: z.boolean().meta({ description: 'Whether calls may be signed with it instead of carrying it.' }),
    replaces: idText('apiKey').nullable().meta({ description: 'The key it took over from.' }),
    created_at: timeText,
    expires_at: timeText.nullable(),
    revoked_at: timeText.nullable(),
    last_used_at: timeText.nullable().meta({ description: 'Within a minute or so.' }),
  })
  .meta({ id: 'ApiKey' });

const createdView = z
  .object({
    key: z.string().meta({ description: 'Shown in this answer only.' }),
    signing_secret: z
      .string()
      .optional()
      .meta({ description: 'To sign calls with, as Standard Webhooks does; shown in this answer only.' }),
    api_key: apiKeyView,
  })
  .meta({ id: 'CreatedApiKey' });

const newKey = z.strictObject({
  role: z.enum(ROLES),
  name: nameText,
  program_id: integerId('program').optional(),
  affiliate_id: integerId('affiliate').optional(),
  scopes: z.array(z.enum(SCOPES)).min(1).max(SCOPES.length).optional(),
  signing: z.boolean().default(false).meta({ description: 'Also make a secret to sign calls with.' }),
  expires_at: time.optional(),
});

const params = z.object({ id: integerId('apiKey') });

function formatApiKey(key: ApiKey): z.output<typeof apiKeyView> {
  return {
    id: formatId('apiKey', key.id),
    role: key.role,
    name: key.name,
    program_id: formatOptionalId('program', key.programId),
    affiliate_id: formatOptionalId('affiliate', key.affiliateId),
    scopes: key.scopes,
    signs: key.signs,
    replaces: formatOptionalId('apiKey', key.replaces),
    created_at: formatTime(key.createdAt),
    expires_at: formatOptionalTime(key.expiresAt),
    revoked_at: formatOptionalTime(key.revokedAt),
    last_used_at: formatOptionalTime(key.lastUsedAt),
  };
}

/** A new key has at most the role and the scopes of its creator. */
function checkGrant(principal: Principal, asked: z.output<typeof newKey>): void {
  if (principal.role !== 'operator' && asked.role !== principal.role) {
    throw new Problem('forbidden', {
      detail: `this caller can create keys of the role ${principal.role} only`,
    });
  }
  const own = principal.scopes;
  if (own === null) return;
  const beyond = asked.scopes?.find((scope) => !own.includes(scope));
  if (asked.scopes === undefined || beyond !== undefined) {
    throw invalidField('scopes', `must be among ${own.join(', ')}, the scopes of your own key`);
  }
}

/** The key, if it is live and the principal's to manage. @throws Problem `not_found`. */
function manageable(principal: Principal, key: ApiKey | undefined): ApiKey {
  const { programId, affiliateId, role } = principal;
  const mine =
    key !== undefined &&
    key.revokedAt === null &&
    (key.expiresAt === null || key.expiresAt.getTime() > Date.now()) &&
    (programId === null || key.programId === programId) &&
    (affiliateId === null || key.affiliateId === affiliateId) &&
    (role === 'operator' || key.role === role);
  if (!mine) throw notFound(WHAT);
  return key;
}

export function addApiKeyRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, secretBox } = context;
  const tags = ['keys'];
  const roles = ['operator', 'affiliate', 'advertiser'] as const;

  function signingSecretFor(wanted: boolean): { signingSecret?: Buffer; shown?: { signing_secret: string } } {
    if (!wanted) return {};
    const { secret, encrypted } = newSigningSecret(secretBox);
    return { signingSecret: encrypted, shown: { signing_secret: secret } };
  }

  app.route({
    method: 'GET',
    url: '/v1/api-keys',
    config: { roles },
    schema: {
      operationId: 'listApiKeys',
      tags,
      summary: 'Keys, without what is secret of them',
      querystring: z.object({ ...pageQuery('apiKey'), program_id: integerId('program').optional() }),
      response: { 200: pageOf(apiKeyView) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const page = await listApiKeys(ledger, {
        ...pageRequest(request.query),
        programId: programFilter(principal, request.query.program_id),
        affiliateId: affiliateFilter(principal, undefined),
        role: principal.role === 'operator' ? undefined : principal.role,
      });
      return formatPage('apiKey', page, formatApiKey);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/api-keys',
    config: { roles, idempotent: true, problems: ['reauthentication_required'] },
    schema: {
      operationId: 'createApiKey',
      tags,
      summary: 'Create a key; this answer is the only one that shows it',
      body: newKey,
      response: { 201: createdView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      requireRecentSignIn(request);
      const { body } = request;
      checkGrant(principal, body);
      // An operator of one program cannot make a key that sees more than its own.
      const programId = programFilter(principal, body.program_id);
      const affiliateId = affiliateFilter(principal, body.affiliate_id);
      const { signingSecret, shown } = signingSecretFor(body.signing);
      const { role, name, scopes, expires_at: expiresAt } = body;
      return await commit(context, request, reply, async (tx) => {
        const made = { role, name, scopes, expiresAt, programId, affiliateId, signingSecret };
        const { key, apiKey } = await createApiKey(tx, made);
        const view = formatApiKey(apiKey);
        const audit = { action: 'api_key.create', subject: view.id, after: view };
        return { status: 201, body: { key, ...shown, api_key: view }, audit };
      });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/api-keys/:id/rotate',
    config: { roles, idempotent: true, problems: ['not_found', 'reauthentication_required'] },
    schema: {
      operationId: 'rotateApiKey',
      tags,
      summary: 'Make a key that takes over from this one, which works on for a while',
      params,
      body: z
        .strictObject({
          grace_seconds: z.int().min(0).max(MAX_GRACE_S).optional().meta({
            description: 'How long the old key still works; default a day.',
          }),
          expires_at: time.optional().meta({ description: 'When the new key expires; default never.' }),
        })
        .nullish(),
      response: { 201: createdView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      requireRecentSignIn(request);
      const { id } = request.params;
      const { grace_seconds = DEFAULT_GRACE_S, expires_at: expiresAt } = request.body ?? {};
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'api_keys', id);
        const old = manageable(principal, await getApiKey(tx, id));
        const { signingSecret, shown } = signingSecretFor(old.signs);
        const { role, name, programId, affiliateId, scopes } = old;
        const taken = { role, name, programId, affiliateId, scopes, expiresAt, signingSecret, replaces: id };
        const { key, apiKey } = await createApiKey(tx, taken);
        await expireApiKey(tx, { id, at: new Date(Date.now() + grace_seconds * 1_000) });
        const view = formatApiKey(apiKey);
        const audit = { action: 'api_key.rotate', subject: formatId('apiKey', id), after: view };
        return { status: 201, body: { key, ...shown, api_key: view }, audit };
      });
    },
  });

  app.route({
    method: 'DELETE',
    url: '/v1/api-keys/:id',
    config: { roles, idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'revokeApiKey',
      tags,
      summary: 'Revoke a key, at once and for ever',
      params,
      response: { 204: z.undefined().describe('It is revoked.') },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'api_keys', id);
        const before = formatApiKey(manageable(principal, await getApiKey(tx, id)));
        await revokeApiKey(tx, { id, now: new Date() });
        return {
          status: 204,
          body: undefined,
          audit: { action: 'api_key.revoke', subject: before.id, before },
        };
      });
    },
  });
}
