import type { JetStreamClient } from '@nats-io/jetstream';
import { OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import type { ViewIdentities } from '../clickhouse/view-identities.ts';
import { bisect } from './bisect.ts';
import type { Block } from './block.ts';
import { publishDeadLetters } from './dead-letters.ts';
import { countBlock, insertBlock, verifyBlock } from './inserter.ts';
import { type LoaderStore, MAX_UNFINISHED_MS } from './loader-store.ts';
import type { LoaderMetrics } from './metrics.ts';
import type { Position } from './recovery.ts';

/**
 * A block is cut this long after its first message, within the freshness goal of two seconds. Each insert has a fixed cost of
 * thirteen tables and views, and their parts are merged: at 18,000 clicks a second, blocks of a second took the engine a
 * quarter less CPU a click than those of half a second (26.3 to 20.3 µs). The next block gathers meanwhile, so inserts take
 * a quarter of the time, or more where a block would wait longer than a second.
 */
const MIN_BLOCK_WAIT_MS = 500;
const MAX_BLOCK_WAIT_MS = 1_000;
const WAIT_PER_INSERT = 4;

/** How long to gather a block after one whose insert took so long, milliseconds. */
export function blockWaitMs(insertMs: number): number {
  return Math.min(Math.max(WAIT_PER_INSERT * insertMs, MIN_BLOCK_WAIT_MS), MAX_BLOCK_WAIT_MS);
}

/** A block whose rows were refused this often is bisected. */
const REFUSALS_BEFORE_BISECT = 3;

/** By two clocks: the monotonic one stands still while the machine is suspended, and the clock of the day can be set back. */
interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export function moment(): Moment {
  return { monotonicMs: performance.now(), wallMs: Date.now() };
}

/** The moments of loading a block at which a test may stop the loader. */
export type LoaderStep = 'intent' | 'insert' | 'checkpoint';

export interface BlockLoaderOptions {
  readonly warehouse: Warehouse;
  readonly js: JetStreamClient;
  readonly store: LoaderStore;
  readonly shard: number;
  readonly views: ViewIdentities;
  /** The server's limit of a message, bytes. */
  readonly maxPayloadBytes: () => number;
  readonly log: Logger;
  readonly metrics: LoaderMetrics;
  /** Called with each block and the milliseconds that its loading took. */
  readonly onLoaded: ((block: Block, tookMs: number) => void) | undefined;
  /** Called after each step; a test throws or never returns from it. */
  readonly onStep: ((step: LoaderStep) => Promise<void>) | undefined;
}

/** Loads blocks, one at a time: dead letters, insert intent, insert, checkpoint, in this order. */
export class BlockLoader {
  readonly #options: BlockLoaderOptions;
  #gatherMs = MIN_BLOCK_WAIT_MS;
  /** The block that was refused last, and how often in a row. */
  #refused = { token: '', times: 0, detail: '' };
  /** Up to this stream sequence a block is bisected at its first refusal. */
  #suspectSeq = 0;

  constructor(options: BlockLoaderOptions) {
    this.#options = options;
  }

  /** How long to gather a block after its first message. */
  get gatherMs(): number {
    return this.#gatherMs;
  }

  /** Loads a new block. @returns the position behind it. */
  async load(block: Block, position: Position): Promise<Position> {
    const { js, store, shard, maxPayloadBytes, metrics, onStep } = this.#options;
    const startedAtMs = performance.now();
    await publishDeadLetters({ js, block, shard, maxPayloadBytes: maxPayloadBytes() });
    const readAt = moment();
    const intentRevision = await store.recordIntent(block.intent, position.intentRevision);
    this.#reportDeadLetters(block);
    metrics.repeatedBatches.inc(block.repeated);
    await onStep?.('intent');
    await this.#insert(block, readAt);
    return await this.#advance(block, { ...position, intentRevision }, startedAtMs);
  }

  /**
   * Loads the block of an intent that was recorded before a failure: the same insert again, then a count; without the
   * rows that ClickHouse keeps refusing. `readAt`: a moment before the intent was read.
   */
  async resume(block: Block, position: Position, readAt: Moment): Promise<Position> {
    const { warehouse, log } = this.#options;
    const startedAtMs = performance.now();
    const { token, lo, rows } = block.intent;
    log.info({ block: token, rows }, 'resuming the recorded insert');
    const patience = lo <= this.#suspectSeq ? 1 : REFUSALS_BEFORE_BISECT;
    if (this.#refused.token === token && this.#refused.times >= patience) {
      return await this.#loadFirstHalf(block, position);
    }
    await this.#insert(block, readAt);
    if (rows > 0) await verifyBlock(warehouse, block);
    return await this.#advance(block, position, startedAtMs);
  }

  /** Goes on without the rows that ClickHouse refuses: see {@link bisect}. */
  async #loadFirstHalf(block: Block, position: Position): Promise<Position> {
    const { warehouse, shard, log } = this.#options;
    const { token, rows, hi } = block.intent;
    const { detail } = this.#refused;
    const stored = await countBlock(warehouse, block);
    if (stored > 0) {
      throw new OperatingError(
        'block_refused_in_part',
        `ClickHouse holds ${stored} of the ${rows} clicks of block ${token} and refuses it: ${detail}`,
      );
    }
    this.#suspectSeq = Math.max(this.#suspectSeq, hi);
    log.error(
      { block: token, batches: block.batches.length },
      'ClickHouse refuses rows; bisecting the block',
    );
    return await this.load(bisect({ block, checkpoint: position.checkpoint, shard, detail }), position);
  }

  /** Inserts a block whose intent was the recorded one at `readAt` or later. */
  async #insert(block: Block, readAt: Moment): Promise<void> {
    const { warehouse, views, metrics, onStep } = this.#options;
    if (block.intent.rows > 0) {
      // The views' identities are those of one server: the insert goes to the same one.
      const server = await warehouse.server();
      await views.settle(server);
      checkNotPaused(block, readAt);
      const stopTimer = metrics.insertSeconds.startTimer();
      try {
        await insertBlock(server, block);
      } catch (error) {
        this.#noteRefusal(block.intent.token, error);
        throw error;
      }
      this.#gatherMs = blockWaitMs(stopTimer() * 1_000);
    }
    await onStep?.('insert');
  }

  async #advance(block: Block, position: Position, startedAtMs: number): Promise<Position> {
    const { store, metrics, log, onLoaded, onStep } = this.#options;
    const checkpoint = block.checkpointAfter;
    const checkpointRevision = await store.advanceCheckpoint(checkpoint, position.checkpointRevision);
    metrics.rows.inc(block.intent.rows);
    metrics.blocks.inc();
    log.debug({ block: block.intent.token, rows: block.intent.rows }, 'block loaded');
    onLoaded?.(block, performance.now() - startedAtMs);
    await onStep?.('checkpoint');
    return { checkpoint, intentRevision: position.intentRevision, checkpointRevision };
  }

  #noteRefusal(token: string, error: unknown): void {
    if (!(error instanceof OperatingError) || error.code !== 'rows_refused') return;
    const times = this.#refused.token === token ? this.#refused.times + 1 : 1;
    this.#refused = { token, times, detail: error.message };
  }

  #reportDeadLetters(block: Block): void {
    const { metrics, log } = this.#options;
    for (const { message, reason, detail } of block.rejects) {
      metrics.deadLetters.inc({ reason });
      log.warn({ streamSeq: message.seq, reason, detail }, 'batch set aside as a dead letter');
    }
  }
}

/**
 * A process that was paused for long sends its insert when another has loaded the block, and a thousand more behind it: the
 * engine may have forgotten the token.
 * @throws OperatingError `loader_paused`.
 */
function checkNotPaused({ intent }: Block, readAt: Moment): void {
  const now = moment();
  const pausedMs = Math.max(now.monotonicMs - readAt.monotonicMs, now.wallMs - readAt.wallMs);
  if (pausedMs <= MAX_UNFINISHED_MS) return;
  throw new OperatingError(
    'loader_paused',
    `${Math.round(pausedMs / 1_000)} s have passed since the intent of insert ${intent.token} was read: reading it again`,
  );
}
