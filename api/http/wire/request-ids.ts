import { randomBytes, randomUUID } from 'node:crypto';
import type { FastifyBaseLogger, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify';
import { readRequestId } from '../../../core/net/request-id.ts';
import type { Telemetry } from '../../../core/telemetry/telemetry.ts';
import {
  formatTraceParent,
  parseTraceParent,
  type SpanContext,
} from '../../../core/telemetry/trace-context.ts';
import { formatId } from '../../schemas/ids.ts';
import type { ApiServer } from '../context.ts';

/**
 * What a request is called by in logs, answers and traces: `X-Request-Id` and `traceparent` of its caller, where they can
 * be taken; a bad one is replaced, because no order is lost for a header.
 */

declare module 'fastify' {
  interface FastifyRequest {
    /** The span of this request, once its answer is about to be sent; undefined: its caller named none, and none is sent. */
    trace: RequestTrace | undefined;
    /** Orders that it recorded: see {@link noteNewOrder}. */
    newOrders: bigint[] | undefined;
  }
}

interface RequestTrace extends SpanContext {
  /** The caller's; undefined: the trace begins here. */
  readonly parent: SpanContext | undefined;
  /** The span that a stranger named: its word decides nothing here. */
  readonly links: readonly SpanContext[];
}

type Headers = FastifyRequest['headers'];

/** Questions of monitoring, and files of the portal and the documentation: every second, and about nothing. */
const WITHOUT_SPAN = /^\/(?:$|healthz|readyz|metrics|portal|docs|set-password|openapi\.json)/;
/** RFC 9110: from here on the fault is the caller's, from there on the server's. */
const CALLER_FAULT = 400;
const SERVER_FAULT = 500;

export function requestIdFor({ headers }: { readonly headers: Headers }): string {
  return readRequestId(textOf(headers['x-request-id'])) || randomUUID();
}

/** The logger of a request: its lines have the id of the request, and of the trace that its caller named. */
export const requestLogger: NonNullable<FastifyServerOptions['childLoggerFactory']> = (
  logger,
  bindings,
  options,
  { headers },
): FastifyBaseLogger => {
  const parent = parentOf(headers);
  return logger.child(parent ? { ...bindings, trace_id: parent.traceId } : bindings, options);
};

/**
 * Answers with the id of the request and with its span. When spans are sent, those of the request and of the orders that it
 * recorded.
 */
export function installTraces(app: ApiServer, telemetry: Telemetry): void {
  app.decorateRequest('trace', undefined);
  app.decorateRequest('newOrders', undefined);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
  });
  // Who the caller is decides whether its trace is joined, which the first hooks do not know.
  app.addHook('onSend', async (request, reply) => {
    const parent = parentOf(request.headers);
    if (!parent && !telemetry.isTracing) return;
    const isKnown = request.principal !== undefined || !telemetry.isTracing;
    request.trace = traceOf(telemetry, { parent, isKnown });
    reply.header('traceresponse', formatTraceParent(request.trace));
  });
  if (telemetry.isTracing) {
    app.addHook('onResponse', async (request, reply) => recordSpans(telemetry, request, reply));
  }
}

/** To be called for each order that a request recorded for the first time. */
export function noteNewOrder(request: FastifyRequest, conversionId: bigint): void {
  request.newOrders ??= [];
  request.newOrders.push(conversionId);
}

/** Where spans are sent, a caller with a key or a session can have its requests sampled; a stranger cannot. */
function traceOf(
  telemetry: Telemetry,
  { parent, isKnown }: { parent: SpanContext | undefined; isKnown: boolean },
): RequestTrace {
  const spanId = randomBytes(8).toString('hex');
  if (parent && isKnown) return { ...parent, spanId, parent, links: [] };
  const traceId = randomBytes(16).toString('hex');
  const isSampled = telemetry.isSampled(traceId);
  return { traceId, spanId, isSampled, parent: undefined, links: parent ? [parent] : [] };
}

function recordSpans(telemetry: Telemetry, request: FastifyRequest, reply: FastifyReply): void {
  const { trace, method, newOrders = [] } = request;
  const route = request.routeOptions.url ?? 'unknown';
  if (!trace || WITHOUT_SPAN.test(route)) return;
  const { statusCode, elapsedTime: tookMs } = reply;
  telemetry.record({
    ...trace,
    name: `${method} ${route}`,
    kind: 'server',
    attributes: {
      'http.request.method': method,
      'http.route': route,
      'http.response.status_code': statusCode,
      'afflux.request_id': request.id,
    },
    error: statusCode >= SERVER_FAULT ? (request.problem?.code ?? 'internal') : undefined,
    tookMs,
  });
  if (statusCode >= CALLER_FAULT) return;
  for (const id of newOrders) {
    telemetry.record({
      ...telemetry.ids.order(id),
      name: 'order',
      links: [trace],
      attributes: { 'afflux.conversion': formatId('conversion', id), 'afflux.request_id': request.id },
      tookMs,
    });
  }
}

function parentOf({ traceparent }: Headers): SpanContext | undefined {
  return parseTraceParent(textOf(traceparent));
}

/** Several lines of these headers are a list, which is neither an id nor a span. */
function textOf(header: string | string[] | undefined): string {
  return header === undefined ? '' : String(header);
}
