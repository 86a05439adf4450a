import type { JetStreamManager } from '@nats-io/jetstream';
import { headers as createHeaders, type MsgHdrs } from '@nats-io/transport-node';
import { clicksSubject, readClicksStream } from '../../core/clicks/shards.ts';
import { DEAD_LETTERS_STREAM, DEAD_LETTERS_SUBJECT } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import { readLines, writeLines } from '../../core/files/json-lines.ts';
import type { MeasuredFile } from '../../core/files/measured-file.ts';
import { openReader } from '../loader/reader.ts';
import type { HeldShard } from './hold-loaders.ts';

/** Messages of a stream, one a line. */
export interface StreamCopy {
  readonly messages: number;
  readonly file: MeasuredFile;
}

interface CopiedMessage {
  readonly subject: string;
  readonly headers: readonly (readonly [name: string, values: readonly string[]])[];
  /** Base64. */
  readonly data: string;
}

/** A message that the stream has must arrive within it. */
const READ_TIMEOUT_MS = 10_000;
/** Published without waiting for one another. */
const PUBLISHED_AT_A_TIME = 64;

/** The batches of clicks that each shard's loader had not loaded, up to the newest. */
export async function copyWaitingBatches(options: {
  manager: JetStreamManager;
  shards: readonly HeldShard[];
  folder: string;
  path: string;
}): Promise<StreamCopy> {
  const { manager, shards, folder, path } = options;
  return await writeMessages(folder, path, async function* () {
    for (const { shard, checkpoint } of shards) yield* waitingBatches(manager, shard, checkpoint);
  });
}

async function* waitingBatches(
  manager: JetStreamManager,
  shard: number,
  checkpoint: HeldShard['checkpoint'],
): AsyncGenerator<CopiedMessage> {
  const { created, lastSeq } = await readClicksStream(manager, shard);
  // One of an earlier stream counts its messages, not those of this one.
  const afterSeq = checkpoint.stream === created ? checkpoint.seq : 0;
  if (lastSeq <= afterSeq) return;
  const reader = await openReader({ js: manager.jetstream(), shard, startSeq: afterSeq + 1 });
  try {
    for (let seq = afterSeq; seq < lastSeq; ) {
      const message = await reader.next(READ_TIMEOUT_MS);
      if (!message) throw new OperatingError('stream_unreadable', 'the clicks stream delivers no messages');
      seq = message.seq;
      if (seq <= lastSeq) yield copied(clicksSubject(shard), message.headers, message.data);
    }
  } finally {
    await reader.close();
  }
}

/** All dead letters. */
export async function copyDeadLetters(options: {
  manager: JetStreamManager;
  folder: string;
  path: string;
}): Promise<StreamCopy> {
  const { manager, folder, path } = options;
  return await writeMessages(folder, path, async function* () {
    const { state } = await manager.streams.info(DEAD_LETTERS_STREAM);
    for (let seq = state.first_seq; state.messages > 0 && seq <= state.last_seq; seq++) {
      const message = await manager.streams.getMessage(DEAD_LETTERS_STREAM, { seq });
      if (message) yield copied(DEAD_LETTERS_SUBJECT, message.header, message.data);
    }
  });
}

function copied(subject: string, headers: MsgHdrs | undefined, data: Uint8Array): CopiedMessage {
  return { subject, headers: [...(headers ?? [])], data: Buffer.from(data).toString('base64') };
}

async function writeMessages(
  folder: string,
  path: string,
  read: () => AsyncGenerator<CopiedMessage>,
): Promise<StreamCopy> {
  let messages = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const message of read()) {
      messages++;
      yield JSON.stringify(message);
    }
  }
  const file = await writeLines(folder, path, lines());
  return { messages, file };
}

/** Publishes copied messages in their order. @throws OperatingError `backup_damaged` when some are missing. */
export async function publishCopy(options: {
  manager: JetStreamManager;
  folder: string;
  copy: StreamCopy;
}): Promise<void> {
  const { manager, folder, copy } = options;
  const js = manager.jetstream();
  let messages = 0;
  let under: Promise<unknown>[] = [];
  for await (const line of readLines(folder, copy.file.path)) {
    const { subject, headers, data } = JSON.parse(line) as CopiedMessage;
    const given = createHeaders();
    for (const [name, values] of headers) for (const value of values) given.append(name, value);
    under.push(js.publish(subject, Buffer.from(data, 'base64'), { headers: given }));
    messages++;
    if (under.length < PUBLISHED_AT_A_TIME) continue;
    await Promise.all(under);
    under = [];
  }
  await Promise.all(under);
  if (messages !== copy.messages) {
    throw new OperatingError(
      'backup_damaged',
      `${copy.file.path} has ${messages} messages, and ${copy.messages} were copied`,
    );
  }
}
