import { DeliverPolicy, type JetStreamClient, type JsMsg } from '@nats-io/jetstream';
import { clicksStream } from '../../core/clicks/shards.ts';
import { MAX_BATCH_BYTES } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import type { StreamMessage } from './batch.ts';

/** Reads one shard's messages in order, without acknowledging them one by one. */
export interface Reader {
  /** The next message, or undefined when none came within `timeoutMs`. */
  next(timeoutMs: number): Promise<StreamMessage | undefined>;
  close(): Promise<void>;
}

/**
 * On its way from the server at a time at the most: some milliseconds of reading, well below the 64 MB that a server holds
 * for a connection (`max_pending`) before it cuts it off as too slow.
 */
const READ_AHEAD_BYTES = 32 * 1024 * 1024;
/**
 * Requests are for messages and not for bytes. Of a request for bytes the client asks again for as many as it has just
 * received; a batch that is larger ends it, and once all are ended that way the client asks for nothing more until it
 * misses heartbeats, for 5 s (@nats-io/jetstream 3.4.0, `isMessageSizeExceedsMaxBytes` with nothing left to yield).
 */
const READ_AHEAD_BATCHES = READ_AHEAD_BYTES / MAX_BATCH_BYTES;
/** A request for more is renewed this often; half of it without a heartbeat means that the consumer is gone. */
const PULL_EXPIRES_MS = 5_000;

const TIMED_OUT = Symbol('timed out');

/** Opens an ordered consumer at stream sequence `startSeq`, or at the first later one that the stream still has. */
export async function openReader(options: {
  js: JetStreamClient;
  shard: number;
  startSeq: number;
}): Promise<Reader> {
  const consumer = await options.js.consumers.get(clicksStream(options.shard), {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: options.startSeq,
  });
  const messages = await consumer.consume({
    max_messages: READ_AHEAD_BATCHES,
    expires: PULL_EXPIRES_MS,
  });
  const iterator = messages[Symbol.asyncIterator]();
  // A `next` that timed out is still pending; the following call waits for the same one.
  let pending: Promise<IteratorResult<JsMsg>> | undefined;

  return {
    async next(timeoutMs) {
      pending ??= iterator.next();
      const result = await withTimeout(pending, timeoutMs);
      if (result === TIMED_OUT) return undefined;
      pending = undefined;
      if (result.done) throw new OperatingError('stream_unreadable', 'reading the clicks stream ended');
      const { seq, headers, data } = result.value;
      return { seq, headers, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength) };
    },
    async close() {
      pending?.catch(() => undefined);
      // Not `close()`: it waits until the messages fetched ahead are read.
      messages.stop();
      await consumer.delete().catch(() => undefined);
    },
  };
}

async function withTimeout<T>(promise: Promise<T>, timeoutMs: number): Promise<T | typeof TIMED_OUT> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<typeof TIMED_OUT>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, TIMED_OUT);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
