import { CLICK_ID_BLOCK_BYTES, type ClickIdCodec, writeClickIdBlock } from '../core/click-id.ts';
import { type ClickParts, clickSizeBound, writeClick } from '../core/click-record.ts';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { MAX_BATCH_BYTES } from '../core/stream.ts';
import type { LeaseKeeper, NodeLease } from './lease-keeper.ts';

/**
 * Group commit. While a batch is in flight, clicks gather in the next one; an acknowledgement sends it at once. So a
 * lone click waits for nobody, and under load one acknowledgement makes thousands of clicks durable. The redirects of
 * a batch leave when its acknowledgement arrives, never before.
 */

/** Where a click's answer goes. Exactly one of the two is called, once. */
export interface Answer {
  redirect(clickId: string): void;
  /** The click could not be made durable in time. */
  refuse(): void;
}

/** A batch as it is published. */
export interface Batch {
  readonly node: number;
  readonly firstSeq: number;
  readonly rows: number;
  readonly payload: Buffer;
}

export interface CommitterStats {
  clicksCommitted: number;
  batchesCommitted: number;
  publishFailures: number;
  refusedLate: number;
  refusedFull: number;
  inFlight: number;
}

export interface Committer {
  readonly stats: CommitterStats;
  /** Takes a click into the gathering batch. False when too many batches are in flight: nothing was recorded. */
  accept(click: Omit<ClickParts, 'ts' | 'node' | 'seq'>, ts: number, answer: Answer): boolean;
  /** Unix ms of the oldest click of a lease that is not yet durable. */
  oldestHeldMs(lease: NodeLease): number | undefined;
  /** Whether batches are being acknowledged. */
  isHealthy(): boolean;
  /** Waits until everything accepted is durable, at most `timeoutMs`. */
  drain(timeoutMs: number): Promise<void>;
}

/** Batches published and not yet acknowledged: enough to fill the wire, few enough to bound memory (16 × 256 KiB). */
const MAX_IN_FLIGHT = 16;
/** More rows than fit 256 KiB at the smallest row size. */
const MAX_ROWS = 4_096;
/** A visitor is told to come back after waiting this long for durability. */
const COMMIT_DEADLINE_MS = 250;
/** How often waiting batches are checked against the deadline. */
const DEADLINE_CHECK_MS = 50;
const RETRY_DELAY_MS = 100;

class GatheringBatch {
  readonly #buffer = Buffer.allocUnsafe(MAX_BATCH_BYTES);
  readonly blocks = Buffer.allocUnsafe(MAX_ROWS * CLICK_ID_BLOCK_BYTES);
  /** By row; undefined once answered. */
  answers: (Answer | undefined)[] = [];
  #bytes = 0;
  rows = 0;
  firstTs = 0;
  firstSeq = 0;
  lease: NodeLease | undefined;
  /** When its first click came, on the monotonic clock. */
  openedAtMs = 0;

  hasRoom(bound: number): boolean {
    return this.rows < MAX_ROWS && this.#bytes + bound <= MAX_BATCH_BYTES;
  }

  add(lease: NodeLease, click: Omit<ClickParts, 'ts' | 'node' | 'seq'>, ts: number, answer: Answer): void {
    if (this.rows === 0) {
      this.lease = lease;
      this.firstTs = ts;
      this.firstSeq = lease.nextSeq;
      this.openedAtMs = performance.now();
    }
    const identity = { ts, node: lease.node, seq: lease.nextSeq++ };
    this.#bytes = writeClick(this.#buffer, this.#bytes, { ...click, ...identity });
    writeClickIdBlock(this.blocks, this.rows * CLICK_ID_BLOCK_BYTES, identity);
    this.answers.push(answer);
    this.rows++;
  }

  get payload(): Buffer {
    return this.#buffer.subarray(0, this.#bytes);
  }

  /** Refuses whoever still waits; returns how many. The rows stay, and are stored when they can be. */
  refuse(): number {
    let refused = 0;
    for (const [row, answer] of this.answers.entries()) {
      if (!answer) continue;
      answer.refuse();
      this.answers[row] = undefined;
      refused++;
    }
    return refused;
  }

  reset(): void {
    this.#bytes = 0;
    this.rows = 0;
    this.lease = undefined;
    this.answers = [];
  }
}

/**
 * @param options.publish resolves when the batch is durable; it is called again with the same batch until it does,
 *   and the message id makes the repetition harmless.
 */
export function createCommitter(options: {
  publish: (batch: Batch) => Promise<void>;
  leases: Pick<LeaseKeeper, 'current'>;
  clickIds: ClickIdCodec;
  log: Logger;
}): Committer {
  const { publish, leases, clickIds, log } = options;
  const stats: CommitterStats = {
    clicksCommitted: 0,
    batchesCommitted: 0,
    publishFailures: 0,
    refusedLate: 0,
    refusedFull: 0,
    inFlight: 0,
  };
  const free: GatheringBatch[] = [];
  const inFlight = new Set<GatheringBatch>();
  let gathering = new GatheringBatch();
  let flushScheduled = false;
  let abandoned = false;
  let onIdle: (() => void) | undefined;

  function accept(click: Omit<ClickParts, 'ts' | 'node' | 'seq'>, ts: number, answer: Answer): boolean {
    const bound = clickSizeBound(click.visitor, click.traffic);
    const lease = gathering.lease;
    const fits = gathering.hasRoom(bound) && (lease === undefined || lease === leases.current());
    if (!fits) {
      if (inFlight.size >= MAX_IN_FLIGHT) {
        stats.refusedFull++;
        return false;
      }
      send();
    }
    gathering.add(leases.current(), click, ts, answer);
    // All requests of one turn of the event loop share the batch.
    if (inFlight.size === 0 && !flushScheduled) {
      flushScheduled = true;
      setImmediate(flush);
    }
    return true;
  }

  function flush(): void {
    flushScheduled = false;
    if (gathering.rows > 0 && inFlight.size === 0) send();
  }

  function send(): void {
    const batch = gathering;
    gathering = free.pop() ?? new GatheringBatch();
    inFlight.add(batch);
    stats.inFlight = inFlight.size;
    void commit(batch);
  }

  async function commit(batch: GatheringBatch): Promise<void> {
    const node = batch.lease?.node ?? 0;
    const published = { node, firstSeq: batch.firstSeq, rows: batch.rows, payload: batch.payload };
    for (;;) {
      try {
        await publish(published);
        break;
      } catch (error) {
        stats.publishFailures++;
        log.warn(
          { reason: errorText(error), rows: batch.rows },
          'a batch was not acknowledged; trying again',
        );
        if (abandoned) return;
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
      }
    }
    answerAll(batch);
    inFlight.delete(batch);
    stats.inFlight = inFlight.size;
    stats.clicksCommitted += batch.rows;
    stats.batchesCommitted++;
    batch.reset();
    free.push(batch);
    if (gathering.rows > 0) send();
    else if (inFlight.size === 0) onIdle?.();
  }

  function answerAll(batch: GatheringBatch): void {
    const encrypted = clickIds.encryptBlocks(batch.blocks, batch.rows);
    for (const [row, answer] of batch.answers.entries()) answer?.redirect(clickIds.idAt(encrypted, row));
  }

  function isLate(batch: GatheringBatch): boolean {
    return batch.rows > 0 && performance.now() - batch.openedAtMs > COMMIT_DEADLINE_MS;
  }

  function refuseLate(): void {
    for (const batch of [...inFlight, gathering]) if (isLate(batch)) stats.refusedLate += batch.refuse();
  }
  const deadlineTimer = setInterval(refuseLate, DEADLINE_CHECK_MS);

  function oldestHeldMs(lease: NodeLease): number | undefined {
    let oldest: number | undefined;
    for (const batch of [...inFlight, gathering]) {
      if (batch.lease !== lease) continue;
      if (oldest === undefined || batch.firstTs < oldest) oldest = batch.firstTs;
    }
    return oldest;
  }

  function isHealthy(): boolean {
    return ![...inFlight].some(isLate);
  }

  async function drain(timeoutMs: number): Promise<void> {
    if (gathering.rows > 0 && inFlight.size === 0) send();
    if (inFlight.size > 0) {
      await new Promise<void>((resolve) => {
        onIdle = resolve;
        setTimeout(resolve, timeoutMs).unref();
      });
    }
    abandoned = true;
    clearInterval(deadlineTimer);
    for (const batch of inFlight) batch.refuse();
  }

  return { stats, accept, oldestHeldMs, isHealthy, drain };
}
