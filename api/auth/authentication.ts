import type { FastifyRequest } from 'fastify';
import type { SecretBox } from '../../core/secret-box.ts';
import { findApiKey, type Role } from '../../ledger/access/api-keys.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { refusalOf } from '../http/admission.ts';
import type { ApiServer } from '../http/context.ts';
import { type Principal, principalFrom } from '../http/principal.ts';
import { Problem, type ProblemCode } from '../http/problems.ts';
import type { CountFailure } from '../http/quotas.ts';
import type { Scope } from '../http/scopes.ts';
import { sessionPrincipal } from './sessions.ts';
import { type CallSignature, checkSignature, signatureOf } from './signed-calls.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The signature that the call came with instead of a key. */
    signed: CallSignature | undefined;
    /** The caller is known, by a proof that was checked, and may use the route. */
    admitted: boolean;
  }
  interface FastifyContextConfig {
    /** Who may call the route; required for every route. */
    roles?: readonly Role[] | 'public';
    /** What a key with scopes needs beside the scope of the route's first tag. */
    scopes?: readonly Scope[];
    /** The key may also come as the parameter `key`, for postbacks that can send no header. */
    keyAsParameter?: boolean;
    /** It takes an Idempotency-Key; elsewhere the header is ignored: see commit.ts. */
    idempotent?: boolean;
    /** It compares If-Match: see commit.ts. */
    ifMatch?: boolean;
    /** A body, where its members' own examples do not make one. A test executes it. */
    example?: unknown;
    /** Problems the route answers beside those every route can: see openapi.ts. */
    problems?: readonly ProblemCode[];
  }
}

/** Far longer than any key; a longer one is not looked up. */
const MAX_KEY_LENGTH = 200;

/** Puts the one authentication hook on a server. Every way of having no valid key is answered alike. */
export function installAuthentication(
  app: ApiServer,
  context: { ledger: Database; secretBox: SecretBox; portalUrl: string; countFailure: CountFailure },
): void {
  const { ledger, secretBox, countFailure } = context;
  app.decorateRequest('principal', undefined);
  app.decorateRequest('signed', undefined);
  app.decorateRequest('admitted', false);
  app.decorateRequest('session', undefined);

  /**
   * Failed authentications are counted by address. Refused reports are as well: the quota of a key does not cover them.
   * @throws Problem as `identify` does, or `rate_limited`.
   */
  async function counted(request: FastifyRequest, identify: () => Promise<void>): Promise<void> {
    try {
      await identify();
    } catch (error) {
      const isFailure =
        error instanceof Problem &&
        (error.code === 'unauthorized' || (error.code === 'forbidden' && request.call !== undefined));
      if (!isFailure) throw error;
      const { code, message: detail, headers } = error;
      throw new Problem(code, { detail, headers: { ...headers, ...countFailure(request) } });
    }
  }

  async function identify(request: FastifyRequest): Promise<void> {
    const { keyAsParameter, logAs } = request.routeOptions.config;
    if (logAs && request.headers['afflux-key'] !== undefined) {
      request.signed = await signatureOf(request, { ledger, secretBox });
      request.principal = principalFrom(request.signed.apiKey);
    } else {
      if (keyAsParameter) return;
      const byCookie =
        request.headers.authorization === undefined && (await sessionPrincipal(request, context));
      request.principal = byCookie || (await authenticate(ledger, bearerKey(request)));
    }
    requireEnrolment(request);
    admit(request, request.principal);
  }

  async function identifyByBody(request: FastifyRequest): Promise<void> {
    const { keyAsParameter } = request.routeOptions.config;
    if (request.signed) {
      await checkSignature(request, request.signed, ledger);
      request.admitted = true;
    }
    if (!keyAsParameter || request.principal) return;
    const key = bearerKey(request) ?? keyParameter(request.query) ?? keyParameter(request.body);
    request.principal = await authenticate(ledger, key);
    admit(request, request.principal);
  }

  // Before the body is read: a caller without a key must not make the server read one.
  app.addHook('onRequest', async (request) => {
    if (request.is404 || request.routeOptions.config.roles === 'public') return;
    await counted(request, () => identify(request));
  });
  app.addHook('preValidation', async (request) => {
    await counted(request, () => identifyByBody(request));
  });
}

async function authenticate(ledger: Database, key: string | undefined): Promise<Principal> {
  const plausible = key !== undefined && /^[\x21-\x7e]+$/.test(key) && key.length <= MAX_KEY_LENGTH;
  const found = plausible ? await findOnce(ledger, key) : undefined;
  if (found) return principalFrom(found);
  throw new Problem('unauthorized', {
    detail: 'send a valid key as "Authorization: Bearer <key>"',
    headers: { 'www-authenticate': 'Bearer' },
  });
}

/** Look-ups in flight. A shop sends a thousand calls a second with one key: those that come together share one. */
const lookups = new Map<string, ReturnType<typeof findApiKey>>();

async function findOnce(ledger: Database, key: string): ReturnType<typeof findApiKey> {
  const inFlight = lookups.get(key);
  if (inFlight) return await inFlight;
  const lookup = findApiKey(ledger, { key, now: new Date() });
  lookups.set(key, lookup);
  return await lookup.finally(() => lookups.delete(key));
}

/** A user who must have a second factor sets it up before anything else. @throws Problem `enrolment_required`. */
function requireEnrolment(request: FastifyRequest): void {
  if (!request.session?.mustEnrol || tagsOf(request).includes('session')) return;
  throw new Problem('enrolment_required', {
    detail: 'a program requires a second factor: set it up with POST /v1/session/second-factor',
  });
}

function tagsOf(request: FastifyRequest): readonly string[] {
  const { tags = ['system'] } = (request.routeOptions.schema ?? {}) as { tags?: readonly string[] };
  return tags;
}

function admit(request: FastifyRequest, principal: Principal): void {
  const { config, method } = request.routeOptions;
  const roles = Array.isArray(config.roles) ? (config.roles as readonly Role[]) : [];
  const use = { roles, method: [method].flat()[0] ?? '', tags: tagsOf(request), scopes: config.scopes };
  const refusal = refusalOf(principal, use);
  if (refusal !== undefined) throw new Problem('forbidden', { detail: refusal });
  request.admitted = request.signed === undefined;
}

function bearerKey(request: FastifyRequest): string | undefined {
  return /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

function keyParameter(source: unknown): string | undefined {
  if (typeof source !== 'object' || source === null || !('key' in source)) return undefined;
  return typeof source.key === 'string' ? source.key : undefined;
}
