import { OperatingError } from '../../core/errors.ts';
import { type Batch, judge, type RejectReason, type StreamMessage, type Taken, take } from './batch.ts';
import { coverage, type SeqRanges, withRange } from './seq-ranges.ts';

/**
 * A block is what one INSERT loads: the messages `lo … hi` of the stream, less those skipped. Its plan is recorded
 * before the insert, so that a crash is followed by the very same insert under the very same token.
 */
export interface Plan {
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

/** How far the loader has come: everything up to `seq` is in the warehouse, or in the dead letters. */
export interface Mark {
  readonly stream: string;
  readonly seq: number;
  readonly taken: Taken;
}

/** The mark without the leases of `nodes`: they are closed, and their numbers may come again for new ones. */
export function withoutLeases(mark: Mark, nodes: readonly number[]): Mark {
  if (nodes.length === 0) return mark;
  const forgotten = new Set(nodes);
  return { ...mark, taken: new Map([...mark.taken].filter(([node]) => !forgotten.has(node))) };
}

interface Reject {
  readonly message: StreamMessage;
  readonly reason: RejectReason;
  readonly detail: string;
}

export interface Block {
  readonly plan: Plan;
  readonly batches: readonly Batch[];
  readonly rejects: readonly Reject[];
  readonly repeated: number;
  /** The mark once the block is loaded. */
  readonly markAfter: Mark;
}

/** One more batch of at most 20,000 rows keeps a block within 200,000, the size from which inserts gain no more. */
const FULL_ROWS = 180_000;
/** Bounds the loader's memory when rows are long. */
const FULL_BYTES = 48 * 1024 * 1024;
/** Bounds the plan's list of skipped messages well below the 1 MB of a KV value. */
const FULL_MESSAGES = 20_000;

/**
 * The token of a block. It names the stream's life as well: a stream made anew counts from 1 again, and a token
 * that was used before would make the engine drop new clicks in silence.
 */
export function blockToken(shard: number, mark: Mark, hi: number): string {
  return `${shard}:${mark.seq + 1}-${hi}@${mark.stream}`;
}

/** Gathers the messages behind a mark into a block. */
export function createBlockBuilder(options: { shard: number; mark: Mark }) {
  const { shard, mark } = options;
  const taken = new Map(mark.taken);
  const batches: Batch[] = [];
  const rejects: Reject[] = [];
  let skipped: SeqRanges = [];
  let hi = mark.seq;
  let messages = 0;
  let repeated = 0;
  let rows = 0;
  let bytes = 0;

  /** Adds the next message of the stream; its sequence must be above that of the one before. */
  function add(message: StreamMessage, nowMs: number): void {
    if (message.seq <= hi) {
      throw new OperatingError('stream_order', `stream sequence ${message.seq} came after ${hi}`);
    }
    hi = message.seq;
    messages++;
    const verdict = judge(message, taken, nowMs);
    if (verdict.kind === 'take') {
      batches.push(verdict.batch);
      take(taken, verdict.batch);
      rows += verdict.batch.rows;
      bytes += verdict.batch.data.length;
      return;
    }
    skipped = withRange(skipped, message.seq, message.seq);
    if (verdict.kind === 'repeated') repeated++;
    else {
      bytes += message.data.length;
      rejects.push({ message, reason: verdict.reason, detail: verdict.detail });
    }
  }

  return {
    add,
    isEmpty: () => messages === 0,
    isFull: () => rows >= FULL_ROWS || bytes >= FULL_BYTES || messages >= FULL_MESSAGES,
    finish: (): Block => ({
      plan: {
        token: blockToken(shard, mark, hi),
        stream: mark.stream,
        lo: mark.seq + 1,
        hi,
        rows,
        skipped,
      },
      batches,
      rejects,
      repeated,
      markAfter: { stream: mark.stream, seq: hi, taken },
    }),
  };
}

/**
 * The block of a recorded plan, from the stream's messages again: the same rows in the same order.
 * @throws OperatingError `plan_unreadable` when the stream no longer holds them.
 */
export function rebuildBlock(options: { plan: Plan; mark: Mark; messages: readonly StreamMessage[] }): Block {
  const { plan, mark, messages } = options;
  const taken = new Map(mark.taken);
  const batches: Batch[] = [];
  let rows = 0;
  for (const message of messages) {
    if (coverage(plan.skipped, message.seq, message.seq) === 'all') continue;
    // The plan was made when the clock allowed these times, so they are not judged again.
    const verdict = judge(message, taken, Number.POSITIVE_INFINITY);
    if (verdict.kind !== 'take') continue;
    batches.push(verdict.batch);
    take(taken, verdict.batch);
    rows += verdict.batch.rows;
  }
  if (rows !== plan.rows) {
    throw new OperatingError(
      'plan_unreadable',
      `the stream holds ${rows} of the ${plan.rows} clicks planned as ${plan.token}: messages were purged or changed before they were loaded`,
    );
  }
  return {
    plan,
    batches,
    rejects: [],
    repeated: 0,
    markAfter: { stream: mark.stream, seq: plan.hi, taken },
  };
}
