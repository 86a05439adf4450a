import type { SwaggerOptions } from '@fastify/swagger';
import type { RouteOptions } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { assert } from '../../core/errors.ts';
import { CSRF_HEADER, sessionCookieName } from '../auth/sessions.ts';
import { IDEMPOTENCY_HEADER, IDEMPOTENCY_HOURS } from '../http/commit.ts';
import { PROBLEM_CODES, PROBLEM_MEDIA_TYPE, PROBLEMS, type ProblemCode } from '../http/problems.ts';
import { plainForm } from './plain-form.ts';

/** The document at /openapi.json is generated from the routes' own schemas; nothing in it is written twice. */

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
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

/** `portalUrl` is the address of the API too, and decides about the name of the session's cookie. */
export function swaggerOptions({ portalUrl }: { portalUrl: string }): SwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Afflux',
        version: '1',
        description:
          'Affiliate programs: orders and refunds from shops, links and money of affiliates, reports with their freshness. ' +
          'Amounts are decimal text, times are ISO 8601 in UTC, ids carry a prefix, lists are read page by page with a cursor. ' +
          'Every operation that changes something takes an Idempotency-Key; sessions, passwords and postbacks ignore it.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: portalUrl }],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer' },
          key: {
            type: 'apiKey',
            in: 'query',
            name: 'key',
            description: 'The key of a shop that can send no header.',
          },
          session: { type: 'apiKey', in: 'cookie', name: sessionCookieName(portalUrl) },
          csrf: {
            type: 'apiKey',
            in: 'header',
            name: CSRF_HEADER,
            description: 'The csrf_token of the session.',
          },
        },
      },
      security: [{ bearer: [] }, { session: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: (document) => plainForm(withBodies(withoutUnused(jsonSchemaTransformObject(document)))),
  };
}

type Document = ReturnType<typeof jsonSchemaTransformObject>;

/** What the generator passes on as it stands, and does not make itself. */
interface Marks {
  'x-example'?: unknown;
  /** The body may be left out. */
  'x-optional-body'?: true;
}
interface Operation extends Marks {
  requestBody?: { required?: boolean; content: Record<string, { example?: unknown; schema?: BodySchema }> };
}
interface BodySchema {
  anyOf?: BodySchema[];
  type?: string;
}

/** Examples of bodies stand beside their schemas, and whether a body is required beside its content. */
function withBodies(document: Document): Document {
  const operations = Object.values(document.paths ?? {}).flatMap((methods) => Object.values(methods ?? {}));
  for (const operation of operations as Operation[]) {
    const { 'x-example': example, 'x-optional-body': optional, requestBody } = operation;
    for (const media of Object.values(requestBody?.content ?? {})) {
      if (example !== undefined) media.example = example;
      // What may be left out is never written as null.
      const [given, ...others] = media.schema?.anyOf?.filter(({ type }) => type !== 'null') ?? [];
      if (optional && given && others.length === 0) media.schema = given;
    }
    if (optional && requestBody) requestBody.required = false;
    delete operation['x-example'];
    delete operation['x-optional-body'];
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

/** Adds to a route's schema what follows from what the route is: its key, its parameters, its body. */
export function completeSchema(route: RouteOptions): void {
  const { config, schema } = route;
  if (!schema || schema.hide) return;
  assert(config?.roles, `route ${String(route.method)} ${route.url} has roles`);
  schema.querystring = closed(schema.querystring);
  documentProblems(route, config, schema);
  documentSecurity(route, config, schema);
}

/**
 * A misspelt filter must not answer everything, so parameters that no schema names are refused. A schema that says
 * itself what becomes of them (`z.looseObject`) is left alone: calls and links of others carry parameters that are not ours.
 */
function closed(querystring: unknown): unknown {
  if (querystring === undefined) return z.strictObject({});
  const saysItself = !(querystring instanceof z.ZodObject) || querystring.def.catchall !== undefined;
  return saysItself ? querystring : querystring.strict();
}

type Config = NonNullable<RouteOptions['config']>;
type Schema = NonNullable<RouteOptions['schema']>;

function documentSecurity(route: RouteOptions, config: Config, schema: Schema): void {
  if (config.roles === 'public') schema.security = [];
  else if (config.keyAsParameter) schema.security = [{ bearer: [] }, { key: [] }];
  else if (route.method !== 'GET') schema.security = [{ bearer: [] }, { session: [], csrf: [] }];
  if (config.roles !== 'public') Object.assign(schema, { 'x-roles': config.roles });
}

function documentProblems(route: RouteOptions, config: Config, schema: Schema): void {
  const codes = new Set<ProblemCode>([...ALWAYS, ...(config.problems ?? [])]);
  if (config.roles !== 'public') codes.add('unauthorized').add('forbidden').add('enrolment_required');
  if (schema.params || schema.querystring || schema.body) codes.add('invalid_input');
  if (route.method !== 'GET') {
    codes.add('malformed_body').add('body_too_large').add('unsupported_media_type');
  }
  // With the portal's cookie a change needs the token of the session.
  if (config.roles !== 'public' && route.method !== 'GET') codes.add('csrf_token_missing');
  const marks: Marks = {
    ...(config.example !== undefined && { 'x-example': config.example }),
    ...(schema.body instanceof z.ZodType &&
      schema.body.safeParse(undefined).success && { 'x-optional-body': true }),
  };
  Object.assign(schema, marks);
  const headers = headersOf(config);
  if (headers) {
    schema.headers = headers;
    codes.add('invalid_input');
    if (config.idempotent) codes.add('idempotency_key_reused');
    if (config.ifMatch) codes.add('precondition_failed');
  }
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
