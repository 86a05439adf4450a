import { CLICK_ID_BLOCK_BYTES, writeClickIdBlock } from '../../core/clicks/click-id.ts';
import {
  CLICK_RECORD_VERSION,
  type ClickRow,
  clickSizeBound,
  writeClick,
} from '../../core/clicks/click-record.ts';
import { MAX_BATCH_BYTES } from '../../core/clicks/stream.ts';
import type { NodeLease } from './lease-keeper.ts';
import type { Batch } from './spool-segment.ts';

/** More rows than fit 256 KiB at the smallest row size. */
const MAX_ROWS = 4_096;

/** A batch from its first click to its last answer: the rows, the plain blocks of their ids, and who waits for them. */
export class GatheringBatch<C extends ClickRow> {
  readonly #buffer = Buffer.allocUnsafe(MAX_BATCH_BYTES);
  /** Plain click id blocks, by row. */
  readonly idBlocks = Buffer.allocUnsafe(MAX_ROWS * CLICK_ID_BLOCK_BYTES);
  /** By row; undefined once refused. */
  clicks: (C | undefined)[] = [];
  #bytes = 0;
  firstSeq = 0;
  rows = 0;
  /** Unix milliseconds. */
  firstTs = 0;
  lease: NodeLease | undefined;
  /** When its first click came, on the monotonic clock. */
  openedAtMs = 0;

  /** Whether a click fits, under a lease. */
  takes(click: C, lease: NodeLease): boolean {
    if (this.lease !== undefined && this.lease !== lease) return false;
    const bytes = clickSizeBound(click.encodedVisitor, click.traffic);
    return this.rows < MAX_ROWS && this.#bytes + bytes <= MAX_BATCH_BYTES;
  }

  /** Numbers a click and writes its row. */
  add(click: C, lease: NodeLease): void {
    if (this.rows === 0) {
      this.lease = lease;
      this.firstTs = click.ts;
      this.firstSeq = lease.nextSeq;
      this.openedAtMs = performance.now();
    }
    click.node = lease.node;
    click.seq = lease.nextSeq++;
    this.#bytes = writeClick(this.#buffer, this.#bytes, click);
    writeClickIdBlock(this.idBlocks, this.rows * CLICK_ID_BLOCK_BYTES, click);
    this.clicks.push(click);
    this.rows++;
  }

  get node(): number {
    return this.lease?.node ?? 0;
  }

  toBatch(): Batch {
    return {
      version: CLICK_RECORD_VERSION,
      node: this.node,
      firstSeq: this.firstSeq,
      rows: this.rows,
      oldestTs: this.firstTs,
      payload: this.#buffer.subarray(0, this.#bytes),
    };
  }

  /** Refuses every click that still waits; returns how many. The rows stay, and are stored when they can be. */
  refuseAll(refuse: (click: C) => void): number {
    let refused = 0;
    for (const [row, click] of this.clicks.entries()) {
      if (!click) continue;
      refuse(click);
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
