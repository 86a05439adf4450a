import {
  CLICK_ID_BLOCK_BYTES,
  type ClickIdCodec,
  clickIdAt,
  writeClickIdBlock,
} from '../../core/clicks/click-id.ts';
import {
  CLICK_RECORD_VERSION,
  type ClickParts,
  clickSizeBound,
  writeClick,
} from '../../core/clicks/click-record.ts';
import { MAX_BATCH_BYTES } from '../../core/clicks/stream.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import type { LeaseKeeper, NodeLease } from './lease-keeper.ts';
import type { Batch } from './spool-segment.ts';

/**
 * Group commit. While a batch is in flight, clicks gather in the next one; an acknowledgement sends it at once. So a
 * lone click waits for nobody, and under load one acknowledgement makes thousands of clicks durable. The redirects of
 * a batch leave when its acknowledgement arrives, never before.
 */

/** A click on its way: its row, and where its answer goes. Exactly one of the two answers is given, once. */
export interface PendingClick extends ClickParts {
  redirect(clickId: string): void;
  /** The click could not be made durable in time. */
  refuse(): void;
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

export interface Committer {
  readonly stats: CommitterStats;
  /** Takes a click into the gathering batch. False when too many batches are in flight: nothing was recorded. */
  accept(click: PendingClick): boolean;
  /** Unix ms of the oldest click of a lease that is not yet durable. */
  oldestHeldMs(node: number): number | undefined;
  /** Whether batches become durable. */
  isHealthy(): boolean;
  /** Waits until everything accepted is durable, at most `timeoutMs`; false when something is not. */
  drain(timeoutMs: number): Promise<boolean>;
}

/** Batches under way and not yet durable: enough to fill the wire, few enough to bound memory (16 × 256 KiB). */
const MAX_IN_FLIGHT = 16;
/** More rows than fit 256 KiB at the smallest row size. */
const MAX_ROWS = 4_096;
const RETRY_DELAY_MS = 100;

class GatheringBatch {
  readonly #buffer = Buffer.allocUnsafe(MAX_BATCH_BYTES);
  readonly blocks = Buffer.allocUnsafe(MAX_ROWS * CLICK_ID_BLOCK_BYTES);
  /** By row; undefined once answered. */
  clicks: (PendingClick | undefined)[] = [];
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

  add(lease: NodeLease, click: PendingClick): void {
    if (this.rows === 0) {
      this.lease = lease;
      this.firstTs = click.ts;
      this.firstSeq = lease.nextSeq;
      this.openedAtMs = performance.now();
    }
    click.node = lease.node;
    click.seq = lease.nextSeq++;
    this.#bytes = writeClick(this.#buffer, this.#bytes, click);
    writeClickIdBlock(this.blocks, this.rows * CLICK_ID_BLOCK_BYTES, click);
    this.clicks.push(click);
    this.rows++;
  }

  toBatch(): Batch {
    return {
      version: CLICK_RECORD_VERSION,
      node: this.lease?.node ?? 0,
      firstSeq: this.firstSeq,
      rows: this.rows,
      oldestTs: this.firstTs,
      payload: this.#buffer.subarray(0, this.#bytes),
    };
  }

  /** Refuses whoever still waits; returns how many. The rows stay, and are stored when they can be. */
  refuse(): number {
    let refused = 0;
    for (const [row, click] of this.clicks.entries()) {
      if (!click) continue;
      click.refuse();
      this.clicks[row] = undefined;
      refused++;
    }
    return refused;
  }

  reset(): void {
    this.#bytes = 0;
    this.rows = 0;
    this.lease = undefined;
    this.clicks = [];
  }
}

/**
 * @param options.store resolves when the batch is durable: to true when nothing refers to its bytes any more, so that
 *   their memory may be written again.
 */
export function createCommitter(options: {
  store: (batch: Batch) => Promise<boolean>;
  leases: Pick<LeaseKeeper, 'current'>;
  clickIds: ClickIdCodec;
  log: Logger;
  /** Called with each batch's size and the milliseconds from its first click to its durability. */
  onCommitted?: (rows: number, tookMs: number) => void;
}): Committer {
  const { store, leases, clickIds, log, onCommitted } = options;
  const stats: CommitterStats = {
    clicksCommitted: 0,
    batchesCommitted: 0,
    refusedUnstored: 0,
    refusedFull: 0,
    inFlight: 0,
  };
  const free: GatheringBatch[] = [];
  const inFlight = new Set<GatheringBatch>();
  let gathering = new GatheringBatch();
  let flushScheduled = false;
  let abandoned = false;
  let healthy = true;
  let onIdle: (() => void) | undefined;

  function accept(click: PendingClick): boolean {
    if (!healthy) {
      stats.refusedUnstored++;
      return false;
    }
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
    gathering.add(leases.current(), click);
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
    const reusable = await storeUntilDurable(batch);
    if (reusable === undefined) return;
    answerAll(batch);
    inFlight.delete(batch);
    stats.inFlight = inFlight.size;
    stats.clicksCommitted += batch.rows;
    stats.batchesCommitted++;
    onCommitted?.(batch.rows, performance.now() - batch.openedAtMs);
    if (reusable) {
      batch.reset();
      free.push(batch);
    }
    if (gathering.rows > 0) send();
    else if (inFlight.size === 0) onIdle?.();
  }

  /** Undefined when the collector ends before the batch could be stored. */
  async function storeUntilDurable(batch: GatheringBatch): Promise<boolean | undefined> {
    const durable = batch.toBatch();
    let failedBefore = false;
    while (!abandoned) {
      try {
        const reusable = await store(durable);
        healthy = true;
        return reusable && !failedBefore;
      } catch (error) {
        failedBefore = true;
        if (healthy) log.error({ reason: errorText(error) }, 'clicks cannot be stored; refusing');
        healthy = false;
        // The visitors are told; the rows stay here until they are stored, so that the count has no gap.
        stats.refusedUnstored += batch.refuse() + gathering.refuse();
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
      }
    }
    return undefined;
  }

  function answerAll(batch: GatheringBatch): void {
    const ids = clickIds.encodeBlocks(batch.blocks, batch.rows);
    const { clicks } = batch;
    for (let row = 0; row < clicks.length; row++) clicks[row]?.redirect(clickIdAt(ids, row));
  }

  function oldestHeldMs(node: number): number | undefined {
    let oldest: number | undefined;
    for (const batch of [...inFlight, gathering]) {
      if (batch.lease?.node !== node) continue;
      if (oldest === undefined || batch.firstTs < oldest) oldest = batch.firstTs;
    }
    return oldest;
  }

  async function drain(timeoutMs: number): Promise<boolean> {
    if (gathering.rows > 0 && inFlight.size === 0) send();
    if (inFlight.size > 0) {
      await new Promise<void>((resolve) => {
        onIdle = resolve;
        setTimeout(resolve, timeoutMs).unref();
      });
    }
    abandoned = true;
    for (const batch of inFlight) batch.refuse();
    return inFlight.size === 0;
  }

  return { stats, accept, oldestHeldMs, isHealthy: () => healthy, drain };
}
