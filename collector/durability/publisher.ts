import { createInbox, headers, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { clicksSubject } from '../../core/clicks/shards.ts';
import { BatchHeader, batchMessageId } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Batch } from './spool-segment.ts';

/** Publishes a batch; resolves when the stream has it, also when it had it already. */
export type Publish = (batch: Batch, timeoutMs: number) => Promise<void>;

/** A missed deadline is noticed this much later at most. */
const DEADLINE_CHECK_MS = 25;

interface PendingPublish {
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Publishes to the shards of the click stream, and reads all acknowledgements on one inbox: the client's own JetStream
 * publish makes a request with a timer and an error object for each message, which costs more than the publish.
 * The client does not fail requests in flight when its connection breaks, so a publish fails with its connection.
 */
export function createPublisher({ nc }: { nc: NatsConnection }): (shard: number) => Publish {
  const inbox = createInbox();
  const pending = new Map<string, PendingPublish>();
  let connected = true;
  let sent = 0;

  nc.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      const reply = message.subject;
      const publish = pending.get(reply);
      if (!publish) return;
      pending.delete(reply);
      const refusal = error ?? refusalOf(message);
      if (refusal) publish.reject(refusal);
      else publish.resolve();
    },
  });

  function failWhere(condition: (publish: PendingPublish) => boolean, error: () => Error): void {
    for (const [reply, publish] of pending) {
      if (!condition(publish)) continue;
      pending.delete(reply);
      publish.reject(error());
    }
  }
  setInterval(() => {
    const now = performance.now();
    failWhere((publish) => publish.deadlineMs < now, unanswered);
  }, DEADLINE_CHECK_MS).unref();

  async function watchConnection(): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === 'reconnect') connected = true;
      if (status.type !== 'disconnect') continue;
      connected = false;
      failWhere(() => true, disconnected);
    }
  }
  void watchConnection();

  async function publish(subject: string, batch: Batch, timeoutMs: number): Promise<void> {
    if (!connected) throw disconnected();
    const head = headers();
    head.append('Nats-Msg-Id', batchMessageId(batch.node, batch.firstSeq));
    head.append(BatchHeader.version, String(batch.version));
    head.append(BatchHeader.node, String(batch.node));
    head.append(BatchHeader.firstSeq, String(batch.firstSeq));
    head.append(BatchHeader.rows, String(batch.rows));
    const reply = `${inbox}.${sent++}`;
    await new Promise<void>((resolve, reject) => {
      pending.set(reply, { deadlineMs: performance.now() + timeoutMs, resolve, reject });
      nc.publish(subject, batch.payload, { reply, headers: head });
    });
  }

  return (shard) => {
    const subject = clicksSubject(shard);
    return (batch, timeoutMs) => publish(subject, batch, timeoutMs);
  };
}

/** JetStream answers a publish with `{"stream":…,"seq":…}`, or with an error; an empty answer means no stream listens. */
function refusalOf(message: Msg): OperatingError | undefined {
  const text = message.string();
  if (text.startsWith('{"stream"')) return undefined;
  const reason = text === '' ? `status ${message.headers?.code ?? 'unknown'}` : text;
  return new OperatingError('stream_refused', `the click stream refused a batch: ${reason}`);
}

function unanswered(): OperatingError {
  return new OperatingError('stream_unanswered', 'the click stream did not acknowledge in time');
}

function disconnected(): OperatingError {
  return new OperatingError('nats_disconnected', 'the connection to NATS is down');
}
