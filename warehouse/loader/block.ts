import { OperatingError } from '../../core/errors.ts';
import {
  type Accepted,
  accept,
  type Batch,
  type LeaseCheck,
  type RejectReason,
  type StreamMessage,
  validate,
} from './batch.ts';
import { EARLIER_LAYOUTS, type EarlierLayouts } from './layouts.ts';
import { coverage, type SeqRanges, withRange } from './seq-ranges.ts';

/**
 * A block is what one INSERT loads: the messages `lo … hi` of the stream, less those skipped. Its insert intent is
 * recorded before the insert, so that a crash is followed by the very same insert under the very same token.
 */
export interface InsertIntent {
  /** `insert_deduplication_token`: the engine drops an insert whose token it has seen. */
  readonly token: string;
  /** Which life of the stream `lo` and `hi` count in: the time it was created. */
  readonly stream: string;
  readonly lo: number;
  readonly hi: number;
  readonly rows: number;
  /** Stream sequences that are not loaded: repeated batches and dead letters. */
  readonly skipped: SeqRanges;
}

/** The loader's progress: everything up to `seq` is in the warehouse, or in the dead letters. */
export interface Checkpoint {
  readonly stream: string;
  readonly seq: number;
  readonly accepted: Accepted;
}

/** The checkpoint without the leases of the nodes that are to go: they are sealed, and their numbers can come again for new ones. */
export function withoutLeases(checkpoint: Checkpoint, isToGo: (node: number) => boolean): Checkpoint {
  const kept = [...checkpoint.accepted].filter(([node]) => !isToGo(node));
  return kept.length === checkpoint.accepted.size ? checkpoint : { ...checkpoint, accepted: new Map(kept) };
}

interface Reject {
  readonly message: StreamMessage;
  readonly reason: RejectReason;
  readonly detail: string;
}

export interface Block {
  readonly intent: InsertIntent;
  readonly batches: readonly Batch[];
  readonly rejects: readonly Reject[];
  readonly repeated: number;
  /** The checkpoint once the block is loaded. */
  readonly checkpointAfter: Checkpoint;
}

/** One more batch of at most 20,000 rows keeps a block within 200,000, the size from which inserts gain no more. */
const FULL_ROWS = 180_000;
/** Bounds the loader's memory when rows are long. */
const FULL_BYTES = 48 * 1024 * 1024;
/** Bounds the intent's list of skipped messages well below the 1 MB of a KV value. */
const FULL_MESSAGES = 20_000;

/**
 * The token of a block. It names the stream's life as well: a new stream counts from 1 again, and a token that was
 * used before would make the engine drop new clicks in silence.
 */
export function blockToken(shard: number, checkpoint: Checkpoint, hi: number): string {
  return `${shard}:${checkpoint.seq + 1}-${hi}@${checkpoint.stream}`;
}

/** Gathers the messages behind a checkpoint into a block. */
export function createBlockBuilder(options: {
  shard: number;
  checkpoint: Checkpoint;
  isLeased: LeaseCheck;
  layouts?: EarlierLayouts;
}) {
  const { shard, checkpoint, isLeased, layouts = EARLIER_LAYOUTS } = options;
  const accepted = new Map(checkpoint.accepted);
  const batches: Batch[] = [];
  const rejects: Reject[] = [];
  let skipped: SeqRanges = [];
  let hi = checkpoint.seq;
  let messages = 0;
  let repeated = 0;
  let rows = 0;
  let bytes = 0;

  /**
   * Adds the next message of the stream; its sequence must be above that of the one before. Returns the node of a message
   * that no known lease covers, without adding it: the caller reads the node's leases and adds it again, as `isFinal`.
   */
  function add(message: StreamMessage, nowMs: number, { isFinal = false } = {}): number | undefined {
    if (message.seq <= hi) {
      throw new OperatingError('stream_order', `stream sequence ${message.seq} came after ${hi}`);
    }
    const validity = validate(message, { accepted, layouts, isLeased, nowMs });
    if (validity.kind === 'unleased' && !isFinal) return validity.node;
    hi = message.seq;
    messages++;
    if (validity.kind === 'valid') {
      batches.push(validity.batch);
      accept(accepted, validity.batch);
      rows += validity.batch.rows;
      bytes += validity.batch.data.length;
      return undefined;
    }
    skipped = withRange(skipped, message.seq, message.seq);
    if (validity.kind === 'repeated') repeated++;
    else {
      bytes += message.data.length;
      const reason = validity.kind === 'unleased' ? 'no_lease' : validity.reason;
      rejects.push({ message, reason, detail: validity.detail });
    }
    return undefined;
  }

  return {
    add,
    isEmpty: () => messages === 0,
    isFull: () => rows >= FULL_ROWS || bytes >= FULL_BYTES || messages >= FULL_MESSAGES,
    finish: (): Block => ({
      intent: {
        token: blockToken(shard, checkpoint, hi),
        stream: checkpoint.stream,
        lo: checkpoint.seq + 1,
        hi,
        rows,
        skipped,
      },
      batches,
      rejects,
      repeated,
      checkpointAfter: { stream: checkpoint.stream, seq: hi, accepted },
    }),
  };
}

/**
 * The block of a recorded intent, from the stream's messages again: the same rows in the same order.
 * @throws OperatingError `intent_unreadable` when the stream no longer holds them.
 */
export function rebuildBlock(options: {
  intent: InsertIntent;
  checkpoint: Checkpoint;
  messages: readonly StreamMessage[];
  layouts?: EarlierLayouts;
}): Block {
  const { intent, checkpoint, messages, layouts = EARLIER_LAYOUTS } = options;
  const accepted = new Map(checkpoint.accepted);
  const batches: Batch[] = [];
  let rows = 0;
  for (const message of messages) {
    if (coverage(intent.skipped, message.seq, message.seq) === 'all') continue;
    // Clock and leases allowed it when the intent was recorded, so they are not asked again.
    const validity = validate(message, {
      accepted,
      layouts,
      isLeased: () => true,
      nowMs: Number.POSITIVE_INFINITY,
    });
    if (validity.kind !== 'valid') continue;
    batches.push(validity.batch);
    accept(accepted, validity.batch);
    rows += validity.batch.rows;
  }
  if (rows !== intent.rows) {
    throw new OperatingError(
      'intent_unreadable',
      `the stream holds ${rows} of the ${intent.rows} clicks of insert ${intent.token}: messages were purged or changed before they were loaded`,
    );
  }
  return {
    intent,
    batches,
    rejects: [],
    repeated: 0,
    checkpointAfter: { stream: checkpoint.stream, seq: intent.hi, accepted },
  };
}
