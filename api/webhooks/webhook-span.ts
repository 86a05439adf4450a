import { randomBytes } from 'node:crypto';
import { readRequestId } from '../../core/net/request-id.ts';
import type { Telemetry } from '../../core/telemetry/telemetry.ts';
import { formatTraceParent, type SpanContext } from '../../core/telemetry/trace-context.ts';
import type { DueDelivery } from '../../ledger/integrations/webhook-queue.ts';
import { formatId } from '../schemas/ids.ts';
import type { WebhookAnswer } from './webhook-target.ts';

/** The span of an attempt, in the trace of the order that it is about; undefined: it is about none, or none is sent. */
export function spanOf(
  { ids, isTracing, isSampled }: Telemetry,
  { conversionId }: Pick<DueDelivery, 'conversionId'>,
): SpanContext | undefined {
  if (!isTracing || conversionId === null) return undefined;
  const { traceId } = ids.order(conversionId);
  return { traceId, spanId: randomBytes(8).toString('hex'), isSampled: isSampled(traceId) };
}

/**
 * How a receiver can join its own spans and logs to ours: the span of the attempt, and the id of the call that reported
 * the order. An affiliate's gets neither. Without a span there is no `traceparent`, because its flag would tell a receiver
 * that traces not to.
 */
export function traceHeaders(
  { isOfAffiliate, requestId }: Pick<DueDelivery, 'isOfAffiliate' | 'requestId'>,
  span: SpanContext | undefined,
): Record<string, string> {
  if (isOfAffiliate) return {};
  // A call that waited is kept under a name of its own, which is none that its caller gave.
  const id = readRequestId(requestId ?? '');
  return {
    ...(span && { traceparent: formatTraceParent(span) }),
    ...(id !== '' && { 'x-request-id': id }),
  };
}

/** Sends the span of an attempt that has ended. The URL is not in it: it can hold a secret. */
export function recordAttemptSpan(
  telemetry: Telemetry,
  { span, delivery, answer }: { span: SpanContext; delivery: DueDelivery; answer: WebhookAnswer },
): void {
  telemetry.record({
    ...span,
    ...(delivery.conversionId !== null && { parent: telemetry.ids.order(delivery.conversionId) }),
    name: 'webhook delivery',
    kind: 'client',
    attributes: {
      'messaging.message.id': delivery.messageId,
      'afflux.webhook': formatId('webhookEndpoint', delivery.endpointId),
      ...(answer.status !== undefined && { 'http.response.status_code': answer.status }),
    },
    error: answer.error,
    tookMs: answer.durationMs,
  });
}
