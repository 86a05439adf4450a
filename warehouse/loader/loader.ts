import { setTimeout as sleep } from 'node:timers/promises';
import { JetStreamApiError, JetStreamError, type JetStreamManager } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { type NatsConnection, errors as natsErrors } from '@nats-io/transport-node';
import { forgetLease } from '../../core/clicks/lease.ts';
import { errorText, OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import type { Readiness } from '../../core/service/service.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { createWatermarkWriter, readWatermark } from '../watermark/watermark.ts';
import { type Block, createBlockBuilder, type Mark, withoutLeases } from './block.ts';
import { readClicksStream } from './clicks-stream.ts';
import { publishDeadLetters } from './dead-letters.ts';
import { checkDeduplication, countBlock, insertBlock, verifyBlock } from './inserter.ts';
import { isolate } from './isolate.ts';
import { createLoaderStore } from './loader-state.ts';
import type { LoaderMetrics } from './metrics.ts';
import { openReader, type Reader } from './reader.ts';
import { establishMark, type Position, pendingPlan, rereadBlock } from './recovery.ts';

/**
 * A block is cut this long after its first message: half of the freshness goal of one second. Where inserts are slow it
 * is twice the time of the last one, at most a second: larger blocks cost a loaded engine less. With two cores full, a
 * click took 11 and 20 % less of ClickHouse's CPU in two pairs of runs.
 */
const MIN_BLOCK_WAIT_MS = 500;
const MAX_BLOCK_WAIT_MS = 1_000;
const WAIT_PER_INSERT = 2;
/** How long to wait for a first message before the watermark gets its turn. */
const IDLE_WAIT_MS = 200;
const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
/** Messages are there and none arrives for this long: the reader has lost its consumer, and a new one is opened. */
const READER_STALL_MS = 15_000;
/** A block whose rows were refused so often is cut down to what can be loaded. */
const REFUSALS_BEFORE_CUT = 3;
/** How often a loader standing by looks at the active one, and after how long without progress it takes over. */
const STAND_BY_POLL_MS = 1_000;
const TAKE_OVER_AFTER_MS = 10_000;

/** The moments of loading a block at which a test may stop the loader. */
export type LoaderStep = 'planned' | 'inserted' | 'marked';

export interface LoaderOptions {
  readonly warehouse: Warehouse;
  readonly nc: NatsConnection;
  readonly manager: JetStreamManager;
  /** The buckets {@link LOADER_BUCKET} and {@link LEASES_BUCKET} of core/clicks/stream.ts. */
  readonly loaderBucket: KV;
  readonly leasesBucket: KV;
  readonly shard: number;
  readonly log: Logger;
  readonly metrics: LoaderMetrics;
  /** Called after each step; a test throws or never returns from it. */
  readonly onStep?: (step: LoaderStep) => Promise<void>;
}

/**
 * Loads the clicks of one stream shard into the warehouse, each exactly once: block by block, the plan recorded
 * before the insert, the mark after it. Whatever goes wrong, it starts over from what is recorded; that one path
 * serves crashes, lost answers and engines that are away.
 */
export function createLoader(options: LoaderOptions) {
  const { warehouse, nc, manager, shard, log, metrics } = options;
  const js = manager.jetstream();
  const store = createLoaderStore({ bucket: options.loaderBucket, shard });
  const stopping = new AbortController();
  const watermark = createWatermarkWriter({
    warehouse,
    leases: options.leasesBucket,
    shard,
    async lastSeq() {
      const { lastSeq } = await readClicksStream(manager, shard);
      metrics.progress.lastSeq = lastSeq;
      return lastSeq;
    },
    forget: (lease) => forgetLease(options.leasesBucket, { manager, lease }),
    now: Date.now,
  });
  let readiness: Readiness = { ready: false, reason: 'starting' };
  let failures = 0;
  let standingBy = false;
  let blockWaitMs = MIN_BLOCK_WAIT_MS;
  let reportedGapTo = 0;
  let finished: Promise<void> = Promise.resolve();
  /** The refused block at hand; up to `suspectSeq` a block is cut at its first refusal. */
  let refusal = { token: '', times: 0, detail: '', suspectSeq: 0 };

  async function step(name: LoaderStep): Promise<void> {
    await options.onStep?.(name);
  }

  /** Ends early, without an error, when the loader is stopped. */
  async function pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: stopping.signal }).catch(() => undefined);
  }

  /** Finds where to go on, and finishes the block that was begun, if there is one. */
  async function recover(): Promise<Position> {
    await checkDeduplication(warehouse);
    const stream = await readClicksStream(manager, shard);
    const state = await store.read();
    const position = await establishMark({ state, stream, store, warehouse, log });
    const { mark } = position;
    metrics.progress.lastSeq = stream.lastSeq;
    metrics.progress.markSeq = mark.seq;
    reportGap(stream.firstSeq, mark);
    const plan = pendingPlan(
      position.planRevision === state.plan.revision ? state.plan.value : undefined,
      mark,
    );
    if (!plan) return position;
    log.info({ plan: plan.token, rows: plan.rows }, 'finishing the block that was planned');
    const block = await rereadBlock({ js, shard, plan, mark });
    const patience = plan.lo <= refusal.suspectSeq ? 1 : REFUSALS_BEFORE_CUT;
    if (refusal.token === plan.token && refusal.times >= patience) return await cut(block, position);
    return await finish(block, position, { verify: true });
  }

  /** Goes on without the rows that ClickHouse refuses: see {@link isolate}. */
  async function cut(block: Block, position: Position): Promise<Position> {
    const stored = await countBlock(warehouse, block);
    if (stored > 0) {
      throw new OperatingError(
        'block_refused_in_part',
        `ClickHouse holds ${stored} of the ${block.plan.rows} clicks of block ${block.plan.token} and refuses it: ${refusal.detail}`,
      );
    }
    refusal = { ...refusal, suspectSeq: Math.max(refusal.suspectSeq, block.plan.hi) };
    log.error(
      { plan: block.plan.token, batches: block.batches.length },
      'rows are refused: cutting the block',
    );
    return await load(isolate({ block, mark: position.mark, shard, detail: refusal.detail }), position);
  }

  function noteRefusal(token: string, error: unknown): void {
    if (!(error instanceof OperatingError) || error.code !== 'rows_refused') return;
    const times = refusal.token === token ? refusal.times + 1 : 1;
    refusal = { ...refusal, token, times, detail: error.message };
  }

  function reportGap(firstSeq: number, mark: Mark): void {
    const missing = firstSeq - mark.seq - 1;
    if (missing <= 0 || firstSeq <= reportedGapTo) return;
    reportedGapTo = firstSeq;
    metrics.missingMessages.inc(missing);
    log.error(
      { from: mark.seq + 1, to: firstSeq - 1 },
      'messages left the clicks stream before they were loaded',
    );
  }

  /** The next block behind the mark, or undefined when no message came. */
  async function gather(reader: Reader, mark: Mark): Promise<Block | undefined> {
    const builder = createBlockBuilder({ shard, mark: withoutLeases(mark, watermark.settledNodes()) });
    let waitMs = IDLE_WAIT_MS;
    let deadline = 0;
    while (waitMs > 0 && !builder.isFull()) {
      const message = await reader.next(waitMs);
      if (!message) break;
      if (builder.isEmpty()) deadline = Date.now() + blockWaitMs;
      builder.add(message, Date.now());
      waitMs = deadline - Date.now();
    }
    return builder.isEmpty() ? undefined : builder.finish();
  }

  /** {@link gather}, begun before anybody waits for it: who does hears of its failure, and only then. */
  function gatherAhead(reader: Reader, mark: Mark): Promise<Block | undefined> {
    const gathered = gather(reader, mark);
    gathered.catch(() => undefined);
    return gathered;
  }

  /** Dead letters, plan, insert, mark: in this order. */
  async function load(block: Block, position: Position): Promise<Position> {
    await publishDeadLetters({ js, block, shard, maxPayloadBytes: nc.info?.max_payload ?? 0 });
    const planRevision = await store.recordPlan(block.plan, position.planRevision);
    for (const { message, reason, detail } of block.rejects) {
      metrics.deadLetters.inc({ reason });
      log.warn({ streamSeq: message.seq, reason, detail }, 'batch set aside as a dead letter');
    }
    metrics.repeatedBatches.inc(block.repeated);
    await step('planned');
    return await finish(block, { ...position, planRevision }, { verify: false });
  }

  async function finish(block: Block, position: Position, how: { verify: boolean }): Promise<Position> {
    if (block.plan.rows > 0) {
      const done = metrics.insertSeconds.startTimer();
      await insertBlock(warehouse, block).catch((error: unknown) => {
        noteRefusal(block.plan.token, error);
        throw error;
      });
      const insertMs = done() * 1_000;
      blockWaitMs = Math.min(Math.max(WAIT_PER_INSERT * insertMs, MIN_BLOCK_WAIT_MS), MAX_BLOCK_WAIT_MS);
      if (how.verify) await verifyBlock(warehouse, block);
    }
    await step('inserted');
    const markRevision = await store.advanceMark(block.markAfter, position.markRevision);
    failures = 0;
    metrics.rows.inc(block.plan.rows);
    metrics.blocks.inc();
    log.debug({ plan: block.plan.token, rows: block.plan.rows }, 'block loaded');
    await step('marked');
    return { mark: block.markAfter, planRevision: position.planRevision, markRevision };
  }

  async function lead(): Promise<void> {
    let position = await recover();
    const reader = await openReader({ js, shard, startSeq: position.mark.seq + 1 });
    let readAt = Date.now();
    let gathered = gatherAhead(reader, position.mark);
    try {
      while (!stopping.signal.aborted) {
        const block = await gathered;
        // The next block is gathered while this one is inserted; it follows this one's mark, not the recorded one.
        gathered = gatherAhead(reader, block?.markAfter ?? position.mark);
        if (block) position = await load(block, position);
        if (block || metrics.progress.lastSeq <= position.mark.seq) readAt = Date.now();
        else if (Date.now() - readAt > READER_STALL_MS) {
          throw new OperatingError(
            'reader_stalled',
            `no message came for ${READER_STALL_MS} ms, though there are some`,
          );
        }
        metrics.progress.markSeq = position.mark.seq;
        await watermark.advance(position.mark.seq);
        metrics.progress.completeTo = watermark.published();
        failures = 0;
        readiness = { ready: true };
      }
    } finally {
      await reader.close();
    }
  }

  /** Waits until the active loader has made no progress for a while. */
  async function standBy(): Promise<void> {
    log.warn('another loader is active; standing by');
    readiness = { ready: true };
    let seen = '';
    let since = Date.now();
    while (!stopping.signal.aborted && Date.now() - since < TAKE_OVER_AFTER_MS) {
      const { plan, mark } = await store.read();
      const now = `${plan.revision} ${mark.revision} ${await readWatermark(warehouse)}`;
      if (now !== seen) since = Date.now();
      seen = now;
      await pause(STAND_BY_POLL_MS);
    }
    standingBy = false;
  }

  async function recoverFrom(error: unknown): Promise<void> {
    const known = asOperatingError(error);
    if (!known) throw error;
    if (stopping.signal.aborted) return;
    metrics.retries.inc({ code: known.code });
    if (known.code === 'loader_superseded') {
      standingBy = true;
      return;
    }
    failures++;
    readiness = { ready: false, reason: `${known.code}: ${known.message}` };
    log.warn({ code: known.code, failures }, known.message);
    await pause(Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** Math.min(failures, 10)));
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await (standingBy ? standBy() : lead());
      } catch (error) {
        await recoverFrom(error);
      }
    }
  }

  return {
    /** Runs until stopped. Rejects on a bug only: operating errors are retried from the recorded state. */
    run(): Promise<void> {
      finished = run();
      return finished;
    },
    /** Finishes the block in hand and ends. */
    async stop(): Promise<void> {
      stopping.abort();
      await finished;
    },
    readiness: (): Readiness => readiness,
  };
}

/** What NATS and the warehouse throw when they are away or refuse; undefined for a bug. */
function asOperatingError(error: unknown): OperatingError | undefined {
  if (error instanceof OperatingError) return error;
  const fromNats =
    error instanceof JetStreamError ||
    error instanceof JetStreamApiError ||
    Object.values(natsErrors).some((kind) => error instanceof kind);
  if (!fromNats) return undefined;
  return new OperatingError('nats_failed', `NATS did not do what was asked: ${errorText(error)}`, {
    cause: error,
  });
}
