import { randomBytes } from 'node:crypto';
import type { Telemetry } from '../core/telemetry/telemetry.ts';
import type { Decision } from '../ledger/decisions/decisions.ts';

/** Sends a span for each decision, in the trace of its order, with a link to the trace of the click that it credits. */
export function traceDecisions(telemetry: Telemetry): (decision: Decision, tookMs: number) => void {
  return ({ conversionId, outcome, reason, click }, tookMs) => {
    const { node = null, seq = null } = click ?? {};
    const isKnown = node !== null && seq !== null;
    const order = telemetry.ids.order(conversionId);
    telemetry.record({
      traceId: order.traceId,
      spanId: randomBytes(8).toString('hex'),
      parent: order,
      name: 'decision',
      links: isKnown ? [telemetry.ids.click(node, seq)] : [],
      attributes: {
        'afflux.conversion': `cnv_${conversionId}`,
        'afflux.outcome': outcome,
        ...(reason !== null && { 'afflux.reason': reason }),
        ...(isKnown && { 'afflux.node': node, 'afflux.seq': seq }),
      },
      tookMs,
    });
  };
}
