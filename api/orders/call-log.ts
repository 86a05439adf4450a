import type { FastifyReply, FastifyRequest } from 'fastify';
import { errorText } from '../../core/errors.ts';
import type { JsonValue } from '../../core/postgres/sql.ts';
import { emailHash } from '../../ledger/conversions/emails.ts';
import {
  type CallWay,
  insertPostbackCalls,
  type NewPostbackCall,
} from '../../ledger/integrations/postback-calls.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { ApiServer } from '../http/context.ts';
import type { Problem } from '../http/problems.ts';
import type { StrangerCalls } from './stranger-calls.ts';

/**
 * The log of every call by which shops report something, also of those that were refused before a handler saw them. Of
 * calls whose caller is not known there are counts and a sample.
 */

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route's calls are logged, as having come this way. */
    logAs?: CallWay;
  }
  interface FastifyRequest {
    /** Of routes with `logAs`. */
    call: CallDraft | undefined;
    /** What the request was answered with, when that was a problem. */
    problem: Problem | undefined;
  }
}

interface CallDraft {
  readonly via: CallWay;
  params: JsonValue;
  /** Of a call without a principal. */
  programId?: number;
  /** Of a call to the address of a source that is not proven to be its own. */
  sourceId?: number;
  /** Whether the line was written in the transaction of the change itself. */
  logged: boolean;
}

const MAX_PARAMS = 100;
/** Of a parameter's name. */
export const MAX_PARAMETER_NAME_LENGTH = 100;
const MAX_VALUE_LENGTH = 4_096;
/** Parameters that are credentials, in any case; the ledger hides keys and signing secrets under any name. */
const SECRET_NAMES = new Set(['key', 'token', 'signature']);

export function installCallLog(
  app: ApiServer,
  { ledger, strangers }: { ledger: Database; strangers: StrangerCalls },
): void {
  app.addHook('onClose', () => strangers.close());
  app.decorateRequest('call', undefined);
  app.decorateRequest('problem', undefined);

  app.addHook('onRequest', async (request) => {
    const { logAs } = request.routeOptions.config;
    if (logAs) request.call = { via: logAs, params: loggedParams(request.query), logged: false };
  });

  app.addHook('preValidation', async (request) => {
    const { call, body, query } = request;
    // What a source sends is stored whole, and read by its mapping.
    if (call && call.via !== 'batch' && call.via !== 'source')
      call.params = loggedParams({ ...asObject(query), ...asObject(body) });
  });

  app.addHook('onSend', async (request, reply) => {
    const { call } = request;
    if (!call || call.logged || reply.statusCode >= 500) return;
    if (!request.admitted) {
      await strangers.note(lineOf(request, reply, call));
      return;
    }
    try {
      await insertPostbackCalls(ledger, [lineOf(request, reply, call)]);
    } catch (error) {
      // The answer stands; the missing line is logged.
      request.log.warn({ reason: errorText(error) }, 'call could not be logged');
    }
  });
}

/** The caller, as every line of the log has it. */
export function callerOf(request: FastifyRequest): Pick<NewPostbackCall, 'requestId' | 'actor' | 'ip'> {
  return { requestId: request.id, actor: request.principal?.actor ?? null, ip: request.visitorIp };
}

function lineOf(request: FastifyRequest, reply: FastifyReply, call: CallDraft): NewPostbackCall {
  const { problem } = request;
  const orderId = asObject(call.params).order_id;
  return {
    ...callerOf(request),
    via: call.via,
    programId: request.principal?.programId ?? call.programId ?? null,
    params: call.params,
    // Without a problem and without a line of its own it is the repetition of a request that has one.
    outcome: problem ? 'rejected' : 'duplicate',
    status: reply.statusCode,
    code: problem?.code ?? null,
    detail: problem?.message ?? null,
    orderId: typeof orderId === 'string' ? orderId : null,
    conversionId: null,
    replayOf: null,
    ...(call.sourceId !== undefined && { sourceId: call.sourceId }),
  };
}

/** Parameters as they are kept: no credentials, e-mail addresses as hashes. */
export function loggedParams(params: unknown): { [name: string]: JsonValue } {
  const kept = Object.entries(asObject(params))
    .filter(([name]) => !SECRET_NAMES.has(name.toLowerCase()))
    .slice(0, MAX_PARAMS)
    .map(([name, value]) => [name.slice(0, MAX_PARAMETER_NAME_LENGTH), loggedValue(value)]);
  return Object.fromEntries(kept);
}

function loggedValue(value: unknown): JsonValue {
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  if (/^[^\s@]+@[^\s@]+$/.test(text.trim())) return hashedEmail(text);
  return text.slice(0, MAX_VALUE_LENGTH);
}

/** `sha256:` and the hash of the trimmed lower-case address: shops may send it so in the first place. */
export function hashedEmail(address: string): string {
  return `sha256:${emailHash(address)}`;
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}
