import { randomBytes } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { assert } from '../../../core/errors.ts';
import type { JsonValue } from '../../../core/postgres/sql.ts';
import { DAY_MS } from '../../../core/time.ts';
import {
  countSources,
  createSource,
  deleteSource,
  getSource,
  listSources,
  readSourceStates,
  rotateSourceSecret,
  SOURCE_STATUSES,
  type Source,
  updateSource,
} from '../../../ledger/integrations/sources.ts';
import type { DatabaseSql } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { auditJson, checkMatch, commit, etagOf } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { requireRoom } from '../../http/party-limits.ts';
import {
  inProgram,
  type Principal,
  principalOf,
  programFilter,
  programRequired,
} from '../../http/principal.ts';
import { invalidField, Problem } from '../../http/problems.ts';
import { formatId, integerId } from '../../schemas/ids.ts';
import { formatPage, nameText, pageOf, pageQuery, pageRequest, text } from '../../schemas/schemas.ts';
import { kindOf, SOURCE_KINDS, type SourceKindName } from '../kinds/index.ts';
import { readMapping } from '../mapping.ts';
import { addressOf, encryptSecret, newAddress } from '../proofs.ts';
import { auditedSource, formatSource, sourceView } from '../source-view.ts';

/** Sources of a program: one for each shop, provider and tracker that it works with. */
const MAX_PROGRAM_SOURCES = 50;
/** Both secrets are right for so long after a rotation: senders do not change theirs at the same moment. */
const ROTATION_MS = DAY_MS;
const MAX_SECRET_LENGTH = 500;
const SECRET_BYTES = 32;

export const SOURCE_ROLES = ['operator', 'advertiser'] as const;
const TAGS = ['shops'];
const ONE = { roles: SOURCE_ROLES, problems: ['not_found'] } as const;
const params = z.object({ id: integerId('source') });

const secretText = text(MAX_SECRET_LENGTH).meta({
  description: 'What its calls are signed with, of a kind whose vendor makes it. It is never shown.',
});
const host = z
  .string()
  .toLowerCase()
  .max(253)
  .regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'must be a host name such as track.shop.example')
  .nullable()
  .meta({ description: 'For TUNE and HasOffers: calls of /aff_lsr under this host name come to it.' });
const mappingInput = z
  .record(z.string(), z.unknown())
  .nullable()
  .meta({
    description: 'How its calls are read (docs/connect/anything.md); null: as its kind is.',
    examples: [{ fields: { order_id: 'id', amount: 'total' }, rules: [{ does: 'approved' }] }],
  });
const newSecret = z.string().nullable().meta({
  description: 'Where it is made here: put it where the calls come from. Shown in this answer only.',
});

/** The source, if it is of the principal's program. @throws Problem `not_found`. */
export function visibleSource(principal: Principal, source: Source | undefined): Source {
  return inProgram(principal, source, 'source with this id');
}

/**
 * A host name is no secret, so its calls prove themselves by one; and it is one program's for the whole platform, so an
 * operator of all programs gives it out. @throws Problem naming `host` or `secret`; `forbidden`.
 */
function checkHost(
  principal: Principal,
  { kind, host: given, hasSecret }: { kind: string; host: string | null | undefined; hasSecret: boolean },
): void {
  if (!given) return;
  if (!kindOf(kind).byHost) throw invalidField('host', 'is for TUNE and HasOffers only');
  if (principal.programId !== null)
    throw new Problem('forbidden', { detail: 'host is set by an operator of all programs' });
  if (!hasSecret)
    throw invalidField('secret', 'is required with a host: under a host name no address is secret');
}

/** The secret of a kind: given, made here, or none. @throws Problem naming `secret`. */
function secretOf(kind: string, given: string | undefined): { shown: string | null; secret: string | null } {
  const { secret: way } = kindOf(kind);
  if (way === 'none' && given !== undefined)
    throw invalidField('secret', 'has no use: calls of this kind are not signed');
  if (given !== undefined) return { shown: null, secret: given };
  if (way !== 'ours') return { shown: null, secret: null };
  const made = randomBytes(SECRET_BYTES).toString('base64url');
  return { shown: made, secret: made };
}

/** What sends orders: `/in/{address}` takes its calls. */
export function addSourceRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addCreateRoute(app, context);
  addUpdateRoute(app, context);
  addDeleteRoute(app, context);
  addSecretRoute(app, context);
}

/** The ETag is of what can be changed: each call of the source changes the rest. */
function withSettingsEtag(reply: FastifyReply, view: z.output<typeof sourceView>): typeof view {
  reply.header('etag', etagOf(auditedSource(view)));
  return view;
}

async function viewed(
  { secretBox, portalUrl }: ApiContext,
  sql: DatabaseSql,
  sources: readonly Source[],
): Promise<z.output<typeof sourceView>[]> {
  const states = await readSourceStates(
    sql,
    sources.map(({ id, kind }) => ({ id, isSigned: kindOf(kind).signature !== undefined })),
    new Date(),
  );
  return sources.map((source, i) =>
    formatSource(source, { address: addressOf(secretBox, source), state: states[i], portalUrl }),
  );
}

async function viewOne(
  context: ApiContext,
  sql: DatabaseSql,
  source: Source,
): Promise<z.output<typeof sourceView>> {
  const [view] = await viewed(context, sql, [source]);
  assert(view, 'a source has a view');
  return view;
}

function addReadRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  app.route({
    method: 'GET',
    url: '/v1/sources',
    config: { roles: SOURCE_ROLES },
    schema: {
      operationId: 'listSources',
      tags: TAGS,
      summary: 'What sends orders, by id; GET /v1/postback-calls?source_id= lists the calls',
      querystring: z.object({ ...pageQuery('source'), program_id: integerId('program').optional() }),
      response: { 200: pageOf(sourceView) },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.query.program_id);
      const page = await listSources(ledger, { ...pageRequest(request.query), programId });
      const views = await viewed(context, ledger, page.rows);
      return formatPage('source', { ...page, rows: views }, (view) => view);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/sources/:id',
    config: ONE,
    schema: {
      operationId: 'getSource',
      tags: TAGS,
      summary: 'One source',
      params,
      response: { 200: sourceView },
    },
    handler: async (request, reply) => {
      const source = visibleSource(principalOf(request), await getSource(ledger, request.params.id));
      return withSettingsEtag(reply, await viewOne(context, ledger, source));
    },
  });
}

function addCreateRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/sources',
    config: { roles: SOURCE_ROLES, idempotent: true, problems: ['limit_reached'] },
    schema: {
      operationId: 'createSource',
      tags: TAGS,
      summary: 'Create a source: an address that takes the calls of a shop, a payment provider or a tracker',
      body: z.strictObject({
        program_id: integerId('program').optional(),
        kind: z.enum(SOURCE_KINDS),
        name: nameText.optional().meta({ description: 'Default: the name of its kind.' }),
        secret: secretText.optional(),
        host: host.optional(),
        mapping: mappingInput.optional(),
      }),
      response: { 201: z.object({ source: sourceView, secret: newSecret }) },
    },
    handler: async (request, reply) => {
      const { kind, name = kindOf(kind).title, host: hostName = null, mapping = null } = request.body;
      const programId = programRequired(principalOf(request), request.body.program_id);
      if (mapping !== null) readMapping(mapping);
      const { shown, secret } = secretOf(kind, request.body.secret);
      checkHost(principalOf(request), { kind, host: hostName, hasSecret: secret !== null });
      if (!(await getProgram(context.ledger, programId)))
        throw invalidField('program_id', 'there is no such program');
      return await commit(context, request, reply, async (tx) => {
        await requireRoom(tx, {
          what: 'sources',
          owner: { programId, affiliateId: null },
          most: MAX_PROGRAM_SOURCES,
          count: (sql) => countSources(sql, programId),
        });
        const source = await createSource(tx, {
          programId,
          kind,
          name,
          host: hostName,
          mapping: mapping as JsonValue,
          secret: secret === null ? null : encryptSecret(context.secretBox, secret),
          ...newAddress(context.secretBox),
        });
        const view = await viewOne(context, tx, source);
        const audit = { action: 'source.create', subject: view.id, after: auditJson(auditedSource(view)) };
        return { status: 201, body: { source: view, secret: shown }, audit };
      });
    },
  });
}

function addUpdateRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'PATCH',
    url: '/v1/sources/:id',
    config: { ...ONE, idempotent: true, ifMatch: true },
    schema: {
      operationId: 'updateSource',
      tags: TAGS,
      summary: 'Change a source; calls of a disabled one are stored and not done',
      params,
      body: z.strictObject({
        name: nameText.exactOptional(),
        status: z.enum(SOURCE_STATUSES).exactOptional(),
        host: host.exactOptional(),
        mapping: mappingInput.exactOptional(),
      }),
      response: { 200: sourceView },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      const { mapping, ...rest } = request.body;
      if (mapping) readMapping(mapping);
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'sources', id);
        const before = visibleSource(principalOf(request), await getSource(tx, id));
        const audited = auditedSource(await viewOne(context, tx, before));
        checkMatch(request, audited);
        const { kind, secret } = before;
        checkHost(principalOf(request), { kind, host: rest.host, hasSecret: secret !== null });
        const changes = { ...rest, ...(mapping !== undefined && { mapping: mapping as JsonValue }) };
        const after = await updateSource(tx, { id, changes });
        const view = await viewOne(context, tx, visibleSource(principalOf(request), after));
        const audit = {
          action: 'source.update',
          subject: view.id,
          before: auditJson(audited),
          after: auditJson(auditedSource(view)),
        };
        return { body: view, audit };
      });
      return withSettingsEtag(reply, changed);
    },
  });
}

function addDeleteRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'DELETE',
    url: '/v1/sources/:id',
    config: { ...ONE, idempotent: true },
    schema: {
      operationId: 'deleteSource',
      tags: TAGS,
      summary:
        'Remove a source; its orders and its calls stay, and calls that were refused cannot be repeated',
      params,
      response: { 204: z.undefined().describe('It is removed.') },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'sources', id);
        const source = visibleSource(principalOf(request), await getSource(tx, id));
        const before = auditJson(auditedSource(await viewOne(context, tx, source)));
        await deleteSource(tx, id);
        return {
          status: 204,
          body: undefined,
          audit: { action: 'source.delete', subject: formatId('program', source.programId), before },
        };
      });
    },
  });
}

function addSecretRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/sources/:id/rotate-secret',
    config: { ...ONE, idempotent: true, example: { secret: 'shpss_0123456789abcdef' } },
    schema: {
      operationId: 'rotateSourceSecret',
      tags: TAGS,
      summary:
        'Set the secret that the vendor shows, or make a new one; for a day the old one is right as well',
      params,
      body: z.strictObject({ secret: secretText.optional() }),
      response: { 201: z.object({ secret: newSecret, source: sourceView }) },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'sources', id);
        const { kind } = visibleSource(principalOf(request), await getSource(tx, id));
        const { shown, secret } = secretOf(kind as SourceKindName, request.body.secret);
        if (secret === null)
          throw invalidField('secret', 'is required: copy it from where the calls come from');
        await rotateSourceSecret(tx, {
          id,
          secret: encryptSecret(context.secretBox, secret),
          oldUntil: new Date(Date.now() + ROTATION_MS),
        });
        const view = await viewOne(context, tx, visibleSource(principalOf(request), await getSource(tx, id)));
        const audit = { action: 'source.rotate_secret', subject: view.id };
        return { status: 201, body: { secret: shown, source: view }, audit };
      });
    },
  });
}
