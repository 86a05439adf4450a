import type { JetStreamClient, JetStreamManager, StoredMsg } from '@nats-io/jetstream';
import { headers as createHeaders } from '@nats-io/transport-node';
import { clicksSubject } from '../../core/clicks/shards.ts';
import { DEAD_LETTERS_STREAM, DEAD_LETTERS_SUBJECT } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import { hideSecrets } from '../../core/secret-forms.ts';
import type { Block } from './block.ts';

/** Headers of a dead letter beside those of the original message, which are kept under `Afflux-Original-`. */
const DeadLetterHeader = {
  reason: 'Afflux-Reason',
  detail: 'Afflux-Detail',
  shard: 'Afflux-Shard',
  streamSeq: 'Afflux-Stream-Seq',
  /** Length of the original payload in bytes; more than the payload when it had to be cut to fit. */
  bytes: 'Afflux-Original-Bytes',
} as const;

const ORIGINAL_PREFIX = 'Afflux-Original-';
/** Room for our headers in a message of the largest size. */
const HEADER_ROOM_BYTES = 16 * 1024;
const MAX_DETAIL_LENGTH = 500;

/**
 * Sets a block's unusable messages aside, with their original bytes and the reason, before the block is loaded.
 * Doing it again is harmless: the message id is the place in the stream.
 */
export async function publishDeadLetters(options: {
  js: JetStreamClient;
  block: Block;
  shard: number;
  /** The server's limit of a message. */
  maxPayloadBytes: number;
}): Promise<void> {
  const { js, block, shard, maxPayloadBytes } = options;
  for (const { message, reason, detail } of block.rejects) {
    const headers = createHeaders();
    headers.set(DeadLetterHeader.reason, reason);
    headers.set(
      DeadLetterHeader.detail,
      hideSecrets(detail)
        .slice(0, MAX_DETAIL_LENGTH)
        .replace(/[^\x20-\x7e]/g, '?'),
    );
    headers.set(DeadLetterHeader.shard, String(shard));
    headers.set(DeadLetterHeader.streamSeq, String(message.seq));
    headers.set(DeadLetterHeader.bytes, String(message.data.length));
    for (const [name, values] of message.headers ?? []) {
      for (const value of values) headers.append(ORIGINAL_PREFIX + name, value);
    }
    await js.publish(
      DEAD_LETTERS_SUBJECT,
      message.data.subarray(0, Math.max(0, maxPayloadBytes - HEADER_ROOM_BYTES)),
      { msgID: `${shard}:${message.seq}@${block.intent.stream}`, headers },
    );
  }
}

/** A batch that was not loaded. */
export interface DeadLetter {
  /** Its number in the dead-letter stream. */
  readonly id: number;
  readonly at: Date;
  readonly reason: string;
  readonly detail: string;
  readonly shard: number;
  /** Where it was in the clicks stream. */
  readonly streamSeq: number;
  /** Length of the original payload; more than `data` has when it had to be cut. */
  readonly bytes: number;
  /** The original message's headers. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly data: Buffer;
}

/** What a list shows of a dead letter: payloads of a page would fill hundreds of megabytes. */
export type DeadLetterSummary = Omit<DeadLetter, 'headers' | 'data'> & {
  /** Its payload was not cut. */
  readonly isWhole: boolean;
};

export function summaryOf({ headers: _, data, ...letter }: DeadLetter): DeadLetterSummary {
  return { ...letter, isWhole: data.length === letter.bytes };
}

/** The dead letters with numbers above `after`, the oldest first. */
export async function* readDeadLetters(
  manager: JetStreamManager,
  { after = 0 }: { after?: number } = {},
): AsyncGenerator<DeadLetter> {
  const { state } = await manager.streams.info(DEAD_LETTERS_STREAM);
  // Those that were replayed left gaps.
  for (let seq = Math.max(state.first_seq, after + 1); state.messages > 0 && seq <= state.last_seq; seq++) {
    const message = await manager.streams.getMessage(DEAD_LETTERS_STREAM, { seq });
    if (message) yield deadLetter(message);
  }
}

/** @throws OperatingError `no_dead_letter`. */
export async function getDeadLetter(manager: JetStreamManager, id: number): Promise<DeadLetter> {
  // NATS refuses the number 0.
  const message = id > 0 ? await manager.streams.getMessage(DEAD_LETTERS_STREAM, { seq: id }) : null;
  if (!message) throw new OperatingError('no_dead_letter', `there is no dead letter ${id}`);
  return deadLetter(message);
}

/**
 * Puts a dead letter back into the clicks stream, unchanged, and removes it from the dead letters. The loader validates
 * it again: clicks loaded in the meantime are recognised, and a batch that is still unusable is set aside again.
 * @throws OperatingError `no_dead_letter`, or `dead_letter_cut` when its payload is not whole.
 */
export async function replayDeadLetter(
  manager: JetStreamManager,
  id: number,
): Promise<{ streamSeq: number }> {
  const letter = await getDeadLetter(manager, id);
  if (letter.data.length < letter.bytes) {
    throw new OperatingError(
      'dead_letter_cut',
      `of dead letter ${id} only ${letter.data.length} of ${letter.bytes} bytes were kept`,
    );
  }
  const headers = createHeaders();
  for (const [name, value] of letter.headers) {
    // Under its old id the stream would take it for the message that it had before.
    if (!name.startsWith('Nats-')) headers.append(name, value);
  }
  const subject = clicksSubject(letter.shard);
  // Two replays of one letter are one message.
  const { seq } = await manager
    .jetstream()
    .publish(subject, letter.data, { msgID: `dead:${id}@${letter.at.getTime()}`, headers });
  await manager.streams.deleteMessage(DEAD_LETTERS_STREAM, id);
  return { streamSeq: seq };
}

function deadLetter(message: StoredMsg): DeadLetter {
  const { header } = message;
  const original: [string, string][] = [];
  for (const [name, values] of header) {
    if (!name.startsWith(ORIGINAL_PREFIX) || name === DeadLetterHeader.bytes) continue;
    for (const value of values) original.push([name.slice(ORIGINAL_PREFIX.length), value]);
  }
  return {
    id: message.seq,
    at: message.time,
    reason: header.get(DeadLetterHeader.reason),
    detail: header.get(DeadLetterHeader.detail),
    shard: Number(header.get(DeadLetterHeader.shard)),
    streamSeq: Number(header.get(DeadLetterHeader.streamSeq)),
    bytes: Number(header.get(DeadLetterHeader.bytes)),
    headers: original,
    data: Buffer.from(message.data),
  };
}
