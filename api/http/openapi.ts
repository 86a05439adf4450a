import type { SwaggerOptions } from '@fastify/swagger';
import type { RouteOptions } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { assert } from '../../core/errors.ts';
import { IDEMPOTENCY_HEADER, IDEMPOTENCY_HOURS } from './commit.ts';
import { PROBLEM_CODES, PROBLEM_MEDIA_TYPE, PROBLEMS, type ProblemCode } from './problems.ts';

/** The document at /openapi.json is generated from the routes' own schemas; nothing in it is written twice. */

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    code: z.enum(PROBLEM_CODES),
    detail: z.string(),
    field: z.string().optional().meta({ description: 'The first field at fault.' }),
    errors: z
      .array(z.object({ field: z.string(), message: z.string(), code: z.enum(['no_rate']).optional() }))
      .optional(),
    request_id: z.string(),
  })
  .loose()
  .meta({ id: 'Problem', description: 'RFC 9457 problem details.' });

export const swaggerOptions: SwaggerOptions = {
  openapi: {
    openapi: '3.1.0',
    info: {
      title: 'Afflux',
      version: '1',
      description:
        'Affiliate programs: orders and refunds from shops, links and money of affiliates, reports with their freshness. ' +
        'Amounts are decimal text, times are ISO 8601 in UTC, ids carry a prefix, lists are read page by page with a cursor. ' +
        'Every operation that changes something takes an Idempotency-Key; sessions, passwords and postbacks ignore it.',
    },
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        session: { type: 'apiKey', in: 'cookie', name: '__Host-afflux_session' },
      },
    },
    security: [{ bearer: [] }, { session: [] }],
  },
  transform: jsonSchemaTransform,
  transformObject: (document) => withExamples(withoutUnused(jsonSchemaTransformObject(document))),
};

type Document = ReturnType<typeof jsonSchemaTransformObject>;

/** Examples of bodies stand beside their schemas; routes give them as `x-example`, which the generator passes on. */
function withExamples(document: Document): Document {
  const operations = Object.values(document.paths ?? {}).flatMap((methods) => Object.values(methods ?? {}));
  for (const operation of operations as Record<string, unknown>[]) {
    const { 'x-example': example, requestBody } = operation;
    if (example === undefined) continue;
    const { content } = requestBody as { content: Record<string, { example?: unknown }> };
    for (const media of Object.values(content)) media.example = example;
    delete operation['x-example'];
  }
  return document;
}

/** Every named schema comes in a variant for requests and one for answers; most are used as one of them only. */
function withoutUnused(document: Document): Document {
  if (!('components' in document)) return document;
  const text = JSON.stringify(document);
  const schemas = Object.entries(document.components?.schemas ?? {});
  const used = schemas.filter(([name]) => text.includes(`"#/components/schemas/${name}"`));
  const kept = {
    ...document,
    components: { ...document.components, schemas: Object.fromEntries(used) },
  } as Document;
  // What was left out may have been the only one to use another.
  return used.length === schemas.length ? kept : withoutUnused(kept);
}

/** Problems that any route answers when the server or a database fails. */
const ALWAYS: readonly ProblemCode[] = ['internal', 'unavailable', 'rate_limited'];

/** Adds to a route's schema the problems that follow from what it is: its key, its parameters, its body. */
export function documentProblems(route: RouteOptions): void {
  const { config, schema } = route;
  if (!schema || schema.hide) return;
  assert(config?.roles, `route ${String(route.method)} ${route.url} has roles`);
  const codes = new Set<ProblemCode>([...ALWAYS, ...(config.problems ?? [])]);
  if (config.roles !== 'public') codes.add('unauthorized').add('forbidden').add('enrolment_required');
  if (schema.params || schema.querystring || schema.body) codes.add('invalid_input');
  if (route.method !== 'GET') {
    codes.add('malformed_body').add('body_too_large').add('unsupported_media_type');
  }
  if (config.isQuery) codes.add('too_costly');
  // With the portal's cookie a change needs the token of the session.
  if (config.roles !== 'public' && route.method !== 'GET') codes.add('csrf_token_missing');
  if (config.example !== undefined) Object.assign(schema, { 'x-example': config.example });
  const headers = headersOf(config);
  if (headers) {
    schema.headers = headers;
    codes.add('invalid_input');
    if (config.idempotent) codes.add('idempotency_key_reused');
    if (config.ifMatch) codes.add('precondition_failed');
  }
  if (config.roles === 'public') schema.security = [];
  else Object.assign(schema, { 'x-roles': config.roles });
  schema.response = { ...problemResponses([...codes]), ...(schema.response as object | undefined) };
}

const MAX_HEADER_LENGTH = 255;

/** Headers that change what a route does; the others pass as they are. */
function headersOf(config: { idempotent?: boolean; ifMatch?: boolean }): z.ZodType | undefined {
  if (!config.idempotent && !config.ifMatch) return undefined;
  const visible = z
    .string()
    .regex(/^[\x21-\x7e]+$/, 'must be visible ASCII')
    .max(MAX_HEADER_LENGTH);
  return z.looseObject({
    ...(config.idempotent && {
      [IDEMPOTENCY_HEADER]: visible.optional().meta({
        description: `Repeating the request with the same key within ${IDEMPOTENCY_HOURS} hours gives the first answer, changes nothing and mails nothing.`,
      }),
    }),
    ...(config.ifMatch && {
      'if-match': z.string().max(1_000).optional().meta({
        description: 'The ETag that was read: a change made since is not overwritten.',
      }),
    }),
  });
}

function problemResponses(codes: readonly ProblemCode[]): Record<number, object> {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, of]) => [
      status,
      {
        description: of.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join('; '),
        content: { [PROBLEM_MEDIA_TYPE]: { schema: problemSchema } },
      },
    ]),
  );
}
