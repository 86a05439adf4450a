import type { JetStreamClient } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { CLICK_RECORD_VERSION } from '../core/click-record.ts';
import { BatchHeader, batchMessageId, clicksSubject } from '../core/stream.ts';
import type { Batch } from './committer.ts';

/** A publish that is not acknowledged by then has failed; trying again is harmless. */
const PUBLISH_TIMEOUT_MS = 1_000;

/** Publishes a batch to JetStream; resolves when the stream has it, also when it had it already. */
export function createPublisher(options: {
  js: JetStreamClient;
  shard: number;
}): (batch: Batch) => Promise<void> {
  const subject = clicksSubject(options.shard);
  return async (batch) => {
    const head = headers();
    head.set(BatchHeader.version, String(CLICK_RECORD_VERSION));
    head.set(BatchHeader.node, String(batch.node));
    head.set(BatchHeader.firstSeq, String(batch.firstSeq));
    head.set(BatchHeader.rows, String(batch.rows));
    await options.js.publish(subject, batch.payload, {
      msgID: batchMessageId(batch.node, batch.firstSeq),
      headers: head,
      timeout: PUBLISH_TIMEOUT_MS,
    });
  };
}
