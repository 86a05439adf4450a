import { z } from 'zod';
import { type ApiKey, createApiKey, listApiKeys, ROLES, revokeApiKey } from '../../ledger/api-keys.ts';
import { appendAuditLog } from '../../ledger/audit-log.ts';
import { inTransaction } from '../../ledger/db.ts';
import { camelKeys } from '../camel-keys.ts';
import type { ApiContext, ApiServer } from '../context.ts';
import { formatId, formatOptionalId, idText, integerId } from '../ids.ts';
import { principalOf, programFilter } from '../principal.ts';
import { notFound } from '../problems.ts';
import { formatOptionalTime, formatTime, nameText, time, timeText } from '../schemas.ts';

const apiKeyView = z
  .object({
    id: idText('apiKey'),
    role: z.enum(ROLES),
    name: z.string(),
    program_id: idText('program').nullable().meta({ description: 'Null: every program.' }),
    affiliate_id: idText('affiliate').nullable(),
    created_at: timeText,
    expires_at: timeText.nullable(),
    revoked_at: timeText.nullable(),
    last_used_at: timeText.nullable().meta({ description: 'Within a minute or so.' }),
  })
  .meta({ id: 'ApiKey' });

const newKey = z.strictObject({
  role: z.enum(ROLES),
  name: nameText,
  program_id: integerId('program').optional(),
  affiliate_id: integerId('affiliate').optional(),
  expires_at: time.optional(),
});

function formatApiKey(key: ApiKey): z.output<typeof apiKeyView> {
  return {
    id: formatId('apiKey', key.id),
    role: key.role,
    name: key.name,
    program_id: formatOptionalId('program', key.programId),
    affiliate_id: formatOptionalId('affiliate', key.affiliateId),
    created_at: formatTime(key.createdAt),
    expires_at: formatOptionalTime(key.expiresAt),
    revoked_at: formatOptionalTime(key.revokedAt),
    last_used_at: formatOptionalTime(key.lastUsedAt),
  };
}

export function addApiKeyRoutes(app: ApiServer, { ledger }: ApiContext): void {
  const tags = ['keys'];

  app.route({
    method: 'GET',
    url: '/v1/api-keys',
    config: { roles: ['operator'] },
    schema: {
      operationId: 'listApiKeys',
      tags,
      summary: 'Keys, without what is secret of them',
      querystring: z.object({ program_id: integerId('program').optional() }),
      response: { 200: z.object({ data: z.array(apiKeyView) }) },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.query.program_id);
      return { data: (await listApiKeys(ledger, { programId })).map(formatApiKey) };
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/api-keys',
    config: { roles: ['operator'] },
    schema: {
      operationId: 'createApiKey',
      tags,
      summary: 'Create a key; this answer is the only one that shows it',
      body: newKey,
      response: { 201: z.object({ key: z.string(), api_key: apiKeyView }) },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      // An operator of one program cannot make a key that sees more than its own.
      const programId = programFilter(principal, request.body.program_id);
      const created = await inTransaction(ledger, async (tx) => {
        const { key, apiKey } = await createApiKey(tx, { ...camelKeys(request.body), programId });
        const view = formatApiKey(apiKey);
        await appendAuditLog(tx, {
          actor: principal.actor,
          action: 'api_key.create',
          subject: view.id,
          after: view,
        });
        return { key, api_key: view };
      });
      return reply.code(201).send(created);
    },
  });

  app.route({
    method: 'DELETE',
    url: '/v1/api-keys/:id',
    config: { roles: ['operator'], problems: ['not_found'] },
    schema: {
      operationId: 'revokeApiKey',
      tags,
      summary: 'Revoke a key, at once and for ever',
      params: z.object({ id: integerId('apiKey') }),
      response: { 204: z.undefined().describe('It is revoked.') },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      await inTransaction(ledger, async (tx) => {
        const programId = principal.programId ?? undefined;
        const mine = (await listApiKeys(tx, { programId })).some((key) => key.id === id);
        const revoked = mine && (await revokeApiKey(tx, { id, now: new Date() }));
        if (!revoked) throw notFound('live key with this id');
        await appendAuditLog(tx, {
          actor: principal.actor,
          action: 'api_key.revoke',
          subject: formatId('apiKey', id),
        });
      });
      return reply.code(204).send();
    },
  });
}
