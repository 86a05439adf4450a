import { type ClickIdCodec, clickIdAt } from '../../core/clicks/click-id.ts';
import type { ClickRow } from '../../core/clicks/click-record.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { GatheringBatch } from './gathering-batch.ts';
import type { NodeLease } from './lease-keeper.ts';
import type { Batch } from './spool-segment.ts';

/** What becomes of each click that was accepted: exactly one of the two is called, once. */
export interface Recipient<C> {
  /** The click is durable. */
  readonly answer: (click: C, clickId: string) => void;
  /** The click could not be made durable in time. */
  readonly refuse: (click: C) => void;
}

export interface CommitterStats {
  clicksCommitted: number;
  batchesCommitted: number;
  /** Answered 503 because neither stream nor spool took the batch. */
  refusedUnstored: number;
  /** Answered 503 because too many batches were in flight. */
  refusedFull: number;
  inFlight: number;
}

/** Batches in flight and not yet durable: enough to fill the wire, few enough to bound memory (16 × 256 KiB). */
const MAX_IN_FLIGHT = 16;
const RETRY_DELAY_MS = 100;

/** A batch that is durable. */
export type CommittedBatch = Pick<Batch, 'node' | 'firstSeq' | 'rows'>;

export interface CommitterOptions<C> {
  /**
   * Resolves when the batch is durable: to true when nothing refers to its bytes any more, so that their memory may be
   * written again.
   */
  readonly store: (batch: Batch) => Promise<boolean>;
  /** The lease new batches are written under. */
  readonly lease: () => NodeLease;
  readonly clickIds: ClickIdCodec;
  readonly recipient: Recipient<C>;
  readonly log: Logger;
  /** Called with each batch and the milliseconds from its first click to its durability. */
  readonly onCommitted?: (batch: CommittedBatch, tookMs: number) => void;
}

/**
 * Group commit. While a batch is in flight, clicks gather in the next one; an acknowledgement sends it at once. So a
 * lone click waits for no other, and under load one acknowledgement makes thousands of clicks durable. The answers to a
 * batch leave when its acknowledgement arrives, never before.
 */
export class Committer<C extends ClickRow> {
  readonly stats: CommitterStats = {
    clicksCommitted: 0,
    batchesCommitted: 0,
    refusedUnstored: 0,
    refusedFull: 0,
    inFlight: 0,
  };
  readonly #options: CommitterOptions<C>;
  readonly #free: GatheringBatch<C>[] = [];
  readonly #inFlight = new Set<GatheringBatch<C>>();
  #gathering = new GatheringBatch<C>();
  #flushScheduled = false;
  #abandoned = false;
  #healthy = true;
  #onIdle: (() => void) | undefined;

  constructor(options: CommitterOptions<C>) {
    this.#options = options;
  }

  /** Whether batches become durable. */
  get isHealthy(): boolean {
    return this.#healthy;
  }

  /** Takes a click into the gathering batch. False when it cannot be stored in time: nothing was recorded. */
  accept(click: C): boolean {
    if (!this.#healthy) {
      this.stats.refusedUnstored++;
      return false;
    }
    const lease = this.#options.lease();
    if (!this.#gathering.takes(click, lease)) {
      if (this.#inFlight.size >= MAX_IN_FLIGHT) {
        this.stats.refusedFull++;
        return false;
      }
      this.#send();
    }
    this.#gathering.add(click, lease);
    this.#scheduleFlush();
    return true;
  }

  /** All requests of one turn of the event loop share the batch. */
  #scheduleFlush(): void {
    if (this.#inFlight.size > 0 || this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false;
    if (this.#gathering.rows > 0 && this.#inFlight.size === 0) this.#send();
  };

  #send(): void {
    const batch = this.#gathering;
    this.#gathering = this.#free.pop() ?? new GatheringBatch();
    this.#inFlight.add(batch);
    this.stats.inFlight = this.#inFlight.size;
    void this.#commit(batch);
  }

  async #commit(batch: GatheringBatch<C>): Promise<void> {
    const isReusable = await this.#storeUntilDurable(batch);
    if (isReusable === undefined) return;
    this.#answerAll(batch);
    this.#inFlight.delete(batch);
    this.stats.inFlight = this.#inFlight.size;
    this.stats.clicksCommitted += batch.rows;
    this.stats.batchesCommitted++;
    this.#options.onCommitted?.(batch, performance.now() - batch.openedAtMs);
    if (isReusable) {
      batch.reset();
      this.#free.push(batch);
    }
    if (this.#gathering.rows > 0) this.#send();
    else if (this.#inFlight.size === 0) this.#onIdle?.();
  }

  /** Undefined when the collector ends before the batch could be stored. */
  async #storeUntilDurable(batch: GatheringBatch<C>): Promise<boolean | undefined> {
    const { store, recipient, log } = this.#options;
    const durable = batch.toBatch();
    let hasFailed = false;
    while (!this.#abandoned) {
      try {
        const isReusable = await store(durable);
        this.#healthy = true;
        return isReusable && !hasFailed;
      } catch (error) {
        hasFailed = true;
        if (this.#healthy) log.error({ reason: errorText(error) }, 'clicks cannot be stored; refusing');
        this.#healthy = false;
        // The rows stay here until they are stored, so that the count of the lease has no gap.
        this.stats.refusedUnstored +=
          batch.refuseAll(recipient.refuse) + this.#gathering.refuseAll(recipient.refuse);
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
      }
    }
    return undefined;
  }

  #answerAll({ clicks, idBlocks, rows }: GatheringBatch<C>): void {
    const { clickIds, recipient } = this.#options;
    const ids = clickIds.encodeBlocks(idBlocks, rows);
    for (let row = 0; row < clicks.length; row++) {
      const click = clicks[row];
      if (click) recipient.answer(click, clickIdAt(ids, row));
    }
  }

  /** Unix ms of the oldest click of a lease that is not yet durable. */
  oldestHeldMs(node: number): number | undefined {
    let oldest: number | undefined;
    for (const batch of [...this.#inFlight, this.#gathering]) {
      if (batch.lease?.node !== node) continue;
      if (oldest === undefined || batch.firstTs < oldest) oldest = batch.firstTs;
    }
    return oldest;
  }

  /** Waits until everything accepted is durable, at most `timeoutMs`; false when something is not. */
  async drain(timeoutMs: number): Promise<boolean> {
    if (this.#gathering.rows > 0 && this.#inFlight.size === 0) this.#send();
    if (this.#inFlight.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
        setTimeout(resolve, timeoutMs).unref();
      });
    }
    this.#abandoned = true;
    for (const batch of this.#inFlight) batch.refuseAll(this.#options.recipient.refuse);
    return this.#inFlight.size === 0;
  }
}
