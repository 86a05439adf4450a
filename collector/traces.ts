import { batchMessageId } from '../core/clicks/stream.ts';
import type { Telemetry } from '../core/telemetry/telemetry.ts';
import type { CommittedBatch } from './durability/committer.ts';

/** Sends a span for each batch, from its first click to its durability; in each trace that has clicks of it. */
export function traceBatches(telemetry: Telemetry): (batch: CommittedBatch, tookMs: number) => void {
  return ({ node, firstSeq, rows }, tookMs) => {
    const attributes = {
      'messaging.system': 'nats',
      'messaging.message.id': batchMessageId(node, firstSeq),
      'afflux.node': node,
      'afflux.first_seq': firstSeq,
      'afflux.clicks': rows,
    };
    for (const id of telemetry.ids.batch(node, firstSeq, rows)) {
      telemetry.record({ ...id, name: 'click batch', kind: 'producer', attributes, tookMs });
    }
  };
}
