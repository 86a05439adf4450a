import type { JetStreamClient } from '@nats-io/jetstream';
import { headers, type NatsConnection } from '@nats-io/transport-node';
import { OperatingError } from '../core/errors.ts';
import { BatchHeader, batchMessageId, clicksSubject } from '../core/stream.ts';
import type { Batch } from './spool-segment.ts';

/** Publishes a batch; resolves when the stream has it, also when it had it already. */
export type Publish = (batch: Batch, timeoutMs: number) => Promise<void>;

/**
 * Publishes to one shard of the click stream. The client does not fail what is under way when its connection breaks,
 * so a publish ends with the connection it was sent on.
 */
export function createPublisher(options: {
  nc: NatsConnection;
  js: JetStreamClient;
  shard: number;
}): Publish {
  const { nc, js } = options;
  const subject = clicksSubject(options.shard);
  let connected = true;
  const underWay = new Set<(error: Error) => void>();

  async function watchConnection(): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === 'reconnect') connected = true;
      if (status.type !== 'disconnect') continue;
      connected = false;
      for (const fail of underWay) fail(disconnected());
      underWay.clear();
    }
  }
  void watchConnection();

  return async (batch, timeoutMs) => {
    if (!connected) throw disconnected();
    const head = headers();
    head.set(BatchHeader.version, String(batch.version));
    head.set(BatchHeader.node, String(batch.node));
    head.set(BatchHeader.firstSeq, String(batch.firstSeq));
    head.set(BatchHeader.rows, String(batch.rows));
    const msgID = batchMessageId(batch.node, batch.firstSeq);
    await new Promise<void>((resolve, reject) => {
      underWay.add(reject);
      js.publish(subject, batch.payload, { msgID, headers: head, timeout: timeoutMs })
        .then(() => resolve(), reject)
        .finally(() => underWay.delete(reject));
    });
  };
}

function disconnected(): OperatingError {
  return new OperatingError('nats_disconnected', 'the connection to NATS is down');
}
