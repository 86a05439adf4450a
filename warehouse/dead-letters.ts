import type { JetStreamClient } from '@nats-io/jetstream';
import { headers as createHeaders } from '@nats-io/transport-node';
import { DEAD_LETTERS_SUBJECT } from '../core/stream.ts';
import type { Block } from './block.ts';

/** Headers of a dead letter beside those of the original message, which are kept under `Afflux-Original-`. */
export const DeadLetterHeader = {
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
const MAX_DETAIL_CHARS = 500;

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
    headers.set(DeadLetterHeader.detail, detail.slice(0, MAX_DETAIL_CHARS).replace(/[^\x20-\x7e]/g, '?'));
    headers.set(DeadLetterHeader.shard, String(shard));
    headers.set(DeadLetterHeader.streamSeq, String(message.seq));
    headers.set(DeadLetterHeader.bytes, String(message.data.length));
    for (const [name, values] of message.headers ?? []) {
      for (const value of values) headers.append(ORIGINAL_PREFIX + name, value);
    }
    await js.publish(
      DEAD_LETTERS_SUBJECT,
      message.data.subarray(0, Math.max(0, maxPayloadBytes - HEADER_ROOM_BYTES)),
      { msgID: `${shard}:${message.seq}@${block.plan.stream}`, headers },
    );
  }
}
