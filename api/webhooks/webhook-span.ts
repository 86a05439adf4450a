import { randomBytes } from 'node:crypto';
import type { Telemetry } from '../../core/telemetry/telemetry.ts';
import type { SpanContext } from '../../core/telemetry/trace-context.ts';
import type { DueDelivery } from '../../ledger/integrations/webhook-queue.ts';
import { formatId } from '../schemas/ids.ts';
import type { WebhookAnswer } from './webhook-target.ts';

/** The span of an attempt, in the trace of the order that it is about; undefined: it is about none. */
export function spanOf(
  { ids, isSampled }: Telemetry,
  { conversionId }: Pick<DueDelivery, 'conversionId'>,
): SpanContext | undefined {
  if (conversionId === null) return undefined;
  const { traceId } = ids.order(conversionId);
  return { traceId, spanId: randomBytes(8).toString('hex'), isSampled: isSampled(traceId) };
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
