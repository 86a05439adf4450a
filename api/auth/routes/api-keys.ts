import { z } from 'zod';
import { DAY_S } from '../../../core/time.ts';
import {
  API_KEY_LIST,
  type ApiKey,
  countLiveKeys,
  createApiKey,
  expireApiKey,
  getApiKey,
  keysMadeBy,
  listApiKeys,
  ROLES,
  revokeApiKeys,
} from '../../../ledger/access/api-keys.ts';
import { handOnSavedReports } from '../../../ledger/integrations/saved-reports.ts';
import { disableWebhooksMadeBy } from '../../../ledger/integrations/webhook-endpoints.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { MAX_AFFILIATE_KEYS, MAX_PROGRAM_KEYS, requireRoom } from '../../http/party-limits.ts';
import { affiliateFilter, type Principal, principalOf, programFilter } from '../../http/principal.ts';
import { notFound, Problem } from '../../http/problems.ts';
import { SCOPES } from '../../http/scopes.ts';
import { formatId, integerId } from '../../schemas/ids.ts';
import { booleanParameter, nameText, time } from '../../schemas/schemas.ts';
import { apiKeyView, createdApiKeyView, formatApiKey } from '../api-key-view.ts';
import { checkGrantedScopes, coversScopes, grantedExpiry } from '../grants.ts';
import { requireRecentSignIn } from '../recent-sign-in.ts';
import { newSigningSecret } from '../signed-calls.ts';

/** A rotated key works on for a day by default: long enough to deploy the new one. */
const DEFAULT_GRACE_S = DAY_S;
const MAX_GRACE_S = 30 * DAY_S;
const WHAT = 'live key with this id';

const TAGS = ['keys'];
const MANAGERS = ['operator', 'affiliate', 'advertiser'] as const;

const newKey = z.strictObject({
  role: z.enum(ROLES),
  name: nameText,
  program_id: integerId('program').optional(),
  affiliate_id: integerId('affiliate').optional(),
  scopes: z.array(z.enum(SCOPES)).min(1).max(SCOPES.length).optional(),
  signing: z.boolean().default(false).meta({ description: 'Also make a secret to sign calls with.' }),
  expires_at: time.optional().meta({
    description: 'Default and latest: when the key that makes it expires; never, if that does not.',
  }),
});
const rotation = z
  .strictObject({
    grace_seconds: z.int().min(0).max(MAX_GRACE_S).optional().meta({
      description: 'How long the old key still works; default a day.',
    }),
    expires_at: time.optional().meta({ description: 'When the new key expires, as for a created one.' }),
  })
  .nullish();
const params = z.object({ id: integerId('apiKey') });

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

/** Makes a key and its signing secret, if its owner has room for one more; in the answer's form. */
async function makeKey(
  { secretBox }: ApiContext,
  tx: DatabaseTransaction,
  principal: Principal,
  made: Pick<ApiKey, 'role' | 'name' | 'programId' | 'affiliateId' | 'scopes' | 'expiresAt'> & {
    signs: boolean;
    replaces?: number;
  },
): Promise<z.output<typeof createdApiKeyView>> {
  const { signs, ...given } = made;
  const owner = { programId: made.programId, affiliateId: made.affiliateId };
  await requireRoom(tx, {
    what: 'keys that work',
    owner,
    most: made.affiliateId === null ? MAX_PROGRAM_KEYS : MAX_AFFILIATE_KEYS,
    count: (sql) => countLiveKeys(sql, owner),
  });
  const signing = signs ? newSigningSecret(secretBox) : undefined;
  const { key, apiKey } = await createApiKey(tx, {
    ...given,
    signingSecret: signing?.encrypted,
    userId: principal.userBehind,
    madeBy: principal.keyId,
  });
  if (made.replaces !== undefined) {
    await handOnSavedReports(tx, { from: `key:${made.replaces}`, to: `key:${apiKey.id}` });
  }
  return { key, ...(signing && { signing_secret: signing.secret }), api_key: formatApiKey(apiKey) };
}

export function addApiKeyRoutes(app: ApiServer, context: ApiContext): void {
  addList(app, context, {
    url: '/v1/api-keys',
    operationId: 'listApiKeys',
    tags: TAGS,
    summary: 'Keys, without what is secret of them',
    config: { roles: MANAGERS },
    kind: 'apiKey',
    list: API_KEY_LIST,
    filters: { program_id: integerId('program').optional(), ...timeRange },
    view: apiKeyView,
    read: async (page, { sql, principal, query: { program_id, ...filters } }) =>
      await listApiKeys(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        affiliateId: affiliateFilter(principal, undefined),
        role: principal.role === 'operator' ? undefined : principal.role,
      }),
    format: (keys) => keys.map(formatApiKey),
  });
  addCreateRoute(app, context);
  addRotateRoute(app, context);
  addRevokeRoute(app, context);
}

function addCreateRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/api-keys',
    config: { roles: MANAGERS, idempotent: true, problems: ['limit_reached', 'reauthentication_required'] },
    schema: {
      operationId: 'createApiKey',
      tags: TAGS,
      summary: 'Create a key; this answer is the only one that shows it',
      body: newKey,
      response: { 201: createdApiKeyView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      requireRecentSignIn(request);
      const { role, name, scopes, signing: signs, expires_at, program_id, affiliate_id } = request.body;
      checkGrantedScopes(principal, { role, scopes });
      // An operator of one program cannot make a key that sees more than its own.
      const programId = programFilter(principal, program_id) ?? null;
      const affiliateId = affiliateFilter(principal, affiliate_id) ?? null;
      const expiresAt = grantedExpiry(principal, expires_at);
      const made = { role, name, scopes: scopes ?? null, expiresAt, programId, affiliateId, signs };
      return await commit(context, request, reply, async (tx) => {
        const body = await makeKey(context, tx, principal, made);
        const audit = { action: 'api_key.create', subject: body.api_key.id, after: body.api_key };
        return { status: 201, body, audit };
      });
    },
  });
}

function addRotateRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/api-keys/:id/rotate',
    config: {
      roles: MANAGERS,
      idempotent: true,
      problems: ['not_found', 'limit_reached', 'reauthentication_required'],
    },
    schema: {
      operationId: 'rotateApiKey',
      tags: TAGS,
      summary:
        'Make a key that takes over from this one, with its saved reports; the old one works on for a while',
      params,
      body: rotation,
      response: { 201: createdApiKeyView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      requireRecentSignIn(request);
      const { id } = request.params;
      const { grace_seconds = DEFAULT_GRACE_S, expires_at } = request.body ?? {};
      const expiresAt = grantedExpiry(principal, expires_at);
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'api_keys', id);
        const old = manageable(principal, await getApiKey(tx, id));
        if (!coversScopes(principal, old.scopes)) {
          throw new Problem('forbidden', { detail: 'that key has scopes which your own key lacks' });
        }
        // First: without a grace it makes the room for the new one.
        await expireApiKey(tx, { id, at: new Date(Date.now() + grace_seconds * 1_000) });
        const { role, name, programId, affiliateId, scopes, signs } = old;
        const taken = { role, name, programId, affiliateId, scopes, signs, expiresAt, replaces: id };
        const body = await makeKey(context, tx, principal, taken);
        const audit = { action: 'api_key.rotate', subject: formatId('apiKey', id), after: body.api_key };
        return { status: 201, body, audit };
      });
    },
  });
}

function addRevokeRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'DELETE',
    url: '/v1/api-keys/:id',
    config: { roles: MANAGERS, idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'revokeApiKey',
      tags: TAGS,
      summary: 'Revoke a key, at once and for ever',
      params,
      querystring: z.object({
        with_made: booleanParameter({ fallback: false }).meta({
          description:
            'Also end the keys and webhooks that it has made, and those that these have: for a key in wrong hands.',
        }),
      }),
      response: { 204: z.undefined().describe('It is revoked.') },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'api_keys', id);
        const before = formatApiKey(manageable(principal, await getApiKey(tx, id)));
        const withMade = request.query.with_made;
        const ids = withMade ? [id, ...(await keysMadeBy(tx, id))] : [id];
        await revokeApiKeys(tx, { ids, now: new Date() });
        if (withMade) await disableWebhooksMadeBy(tx, ids);
        const after = { revoked: ids.map((key) => formatId('apiKey', key)) };
        const audit = { action: 'api_key.revoke', subject: before.id, before, after };
        return { status: 204, body: undefined, audit };
      });
    },
  });
}
