import { setTimeout as sleep } from 'node:timers/promises';
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { forgetLease } from '../../core/clicks/lease.ts';
import { natsFailure } from '../../core/clicks/nats-errors.ts';
import { checkStreamLife, listClickShards, readClicksStream } from '../../core/clicks/shards.ts';
import type { Bucket } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import type { Readiness } from '../../core/service/service.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { createViewIdentities, type ViewIdentities } from '../clickhouse/view-identities.ts';
import { checkDefinition, checkServers } from '../cluster/servers.ts';
import { KnownLeases } from '../watermark/known-leases.ts';
import { createStandstill } from '../watermark/standstill.ts';
import {
  type ClicksInFlight,
  createClicksReader,
  createWatermarkWriter,
  type WatermarkWriter,
} from '../watermark/watermark.ts';
import { type Block, type Checkpoint, createBlockBuilder, withoutLeases } from './block.ts';
import { BlockLoader, type LoaderStep, moment } from './block-loader.ts';
import { checkDeduplication } from './inserter.ts';
import { EARLIER_LAYOUTS, type EarlierLayouts } from './layouts.ts';
import { createLoaderStore, createUnfinishedWatch, type LoaderStore, sharingTokens } from './loader-store.ts';
import type { LoaderMetrics, Progress } from './metrics.ts';
import { openReader, type Reader } from './reader.ts';
import { establishCheckpoint, type Position, pendingIntent, rereadBlock } from './recovery.ts';

/** How long to wait for a first message before the watermark gets its turn. */
const IDLE_WAIT_MS = 200;
const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
/** Messages are there and none arrives for this long: the reader has lost its consumer, and a new one is opened. */
const READER_STALL_MS = 15_000;

export interface LoaderOptions {
  readonly warehouse: Warehouse;
  readonly nc: NatsConnection;
  readonly manager: JetStreamManager;
  /** The buckets {@link LOADER_BUCKET} and {@link LEASES_BUCKET} of core/clicks/stream.ts. */
  readonly loaderBucket: KV;
  readonly leasesBucket: Bucket;
  readonly shard: number;
  readonly log: Logger;
  readonly metrics: LoaderMetrics;
  /** Shared by the loaders of a process; by default one of its own. */
  readonly clicksInFlight?: () => Promise<ClicksInFlight>;
  /** Earlier layouts of the click record; by default that of the release before. */
  readonly layouts?: EarlierLayouts;
  /** Called with each block and the milliseconds that its loading took. */
  readonly onLoaded?: (block: Block, tookMs: number) => void;
  /** Called after each step; a test throws or never returns from it. */
  readonly onStep?: (step: LoaderStep) => Promise<void>;
}

/**
 * Loads the clicks of one stream shard into the warehouse, each exactly once: block by block, the insert intent
 * recorded before the insert, the checkpoint after it. After any failure it starts over from the records; that one
 * path serves crashes, lost answers and unavailable engines. When another loader has changed the records, it ends.
 */
export class Loader {
  readonly #options: LoaderOptions;
  readonly #js: JetStreamClient;
  readonly #layouts: EarlierLayouts;
  readonly #store: LoaderStore;
  readonly #views: ViewIdentities;
  readonly #blocks: BlockLoader;
  readonly #watermark: WatermarkWriter;
  readonly #leases: KnownLeases;
  readonly #unfinished = createUnfinishedWatch();
  #standstill = createStandstill(monotonicMs);
  readonly #stopping = new AbortController();
  readonly #progress: Progress;
  #readiness: Readiness = { ready: false, reason: 'starting' };
  #clickhouseShards = 1;
  /** Failures in a row. */
  #failures = 0;
  /** When the first of them was, by the monotonic clock; undefined while it only waits for another shard. */
  #failingSinceMs: number | undefined;
  /** Missing messages below this stream sequence were reported. */
  #reportedGapTo = 0;
  #finished: Promise<void> = Promise.resolve();

  constructor(options: LoaderOptions) {
    const { warehouse, nc, manager, leasesBucket, shard, log, metrics, onStep } = options;
    this.#options = options;
    this.#js = manager.jetstream();
    this.#layouts = options.layouts ?? EARLIER_LAYOUTS;
    this.#store = createLoaderStore({ bucket: options.loaderBucket, shard });
    this.#views = createViewIdentities();
    this.#blocks = new BlockLoader({
      warehouse,
      js: this.#js,
      store: this.#store,
      shard,
      views: this.#views,
      maxPayloadBytes: () => nc.info?.max_payload ?? 0,
      log,
      metrics,
      onLoaded: options.onLoaded,
      onStep,
    });
    this.#progress = metrics.lead(shard);
    this.#leases = new KnownLeases({ bucket: leasesBucket, warehouse, shard });
    const { clicksInFlight = createClicksReader(clickSources(options)) } = options;
    this.#watermark = createWatermarkWriter({
      warehouse,
      shard,
      clicks: clicksInFlight,
      stream: async (of) => {
        const state = await readClicksStream(manager, of);
        if (of === shard) this.#progress.lastSeq = state.lastSeq;
        return state;
      },
      confirm: () => this.#store.confirm(),
      forget: (lease) => forgetLease(leasesBucket, { manager, lease }),
      now: Date.now,
    });
  }

  /**
   * Runs until it is stopped, or another loader is found to work on the shard. Rejects on a bug only: other operating errors
   * are retried from the recorded state.
   */
  run(): Promise<void> {
    this.#finished = this.#runUntilStopped();
    return this.#finished;
  }

  /** Finishes the block in hand and ends. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#finished;
  }

  readiness(): Readiness {
    return this.#readiness;
  }

  /** For how many milliseconds nothing has succeeded, and why; undefined when all is well, or it waits for another shard. */
  failing(): { forMs: number; reason: string } | undefined {
    if (this.#failures === 0 || this.#failingSinceMs === undefined || this.#readiness.ready) return undefined;
    return { forMs: performance.now() - this.#failingSinceMs, reason: this.#readiness.reason };
  }

  async #runUntilStopped(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#load();
      } catch (error) {
        await this.#handleFailure(error);
      }
    }
  }

  async #load(): Promise<void> {
    let position = await this.#recover();
    const reader = await openReader({
      js: this.#js,
      shard: this.#options.shard,
      startSeq: position.checkpoint.seq + 1,
    });
    this.#standstill = createStandstill(monotonicMs);
    let progressAt = monotonicMs();
    let gathered = this.#gatherAhead(reader, position.checkpoint);
    try {
      while (!this.#stopped) {
        const block = await gathered;
        if (!block) position = await this.#forgetSealed(position);
        // The next block is gathered while this one is inserted; it follows this one's checkpoint, not the recorded one.
        gathered = this.#gatherAhead(reader, block?.checkpointAfter ?? position.checkpoint);
        if (block) {
          await this.#checkStream(position.checkpoint);
          await this.#checkOtherShards();
          position = await this.#blocks.load(block, position);
          this.#failures = 0;
        }
        if (block || this.#hasLoadedAll(position.checkpoint)) progressAt = monotonicMs();
        else checkStall(progressAt);
        await this.#publishProgress(position.checkpoint);
      }
    } finally {
      await reader.close();
    }
  }

  /** Finds the position to go on from, and finishes the block that was begun, if there is one. */
  async #recover(): Promise<Position> {
    const { warehouse, manager, shard, log } = this.#options;
    this.#views.forget();
    await checkServers(warehouse);
    this.#clickhouseShards = warehouse.cluster === '' ? 1 : await checkDefinition(warehouse);
    await checkDeduplication(warehouse);
    const stream = await readClicksStream(manager, shard);
    const readAt = moment();
    const state = await this.#store.read();
    const position = await establishCheckpoint({
      state,
      stream,
      store: this.#store,
      warehouse,
      leases: this.#leases,
      log,
    });
    const { checkpoint } = position;
    this.#progress.lastSeq = stream.lastSeq;
    this.#progress.checkpointSeq = checkpoint.seq;
    this.#reportGap(stream.firstSeq, checkpoint);
    const recorded = position.intentRevision === state.intent.revision ? state.intent.value : undefined;
    const intent = pendingIntent(recorded, checkpoint);
    if (!intent) return position;
    const block = await rereadBlock({ js: this.#js, shard, intent, checkpoint, layouts: this.#layouts });
    const after = await this.#blocks.resume(block, position, readAt);
    this.#failures = 0;
    return after;
  }

  /**
   * Of a stream that was made again the reader goes on behind the old one's last message, as if the first ones were loaded.
   * @throws OperatingError `stream_replaced`: the new one is then read from its beginning.
   */
  async #checkStream({ stream }: Checkpoint): Promise<void> {
    const { manager, shard } = this.#options;
    const { created } = await readClicksStream(manager, shard);
    checkStreamLife(shard, created, stream);
  }

  /** The leases of which a click was read are known before the watermark reads them again. */
  #withoutSealed(checkpoint: Checkpoint): Checkpoint {
    const sealed = this.#watermark.sealedNodes();
    return withoutLeases(checkpoint, (node) => sealed.has(node) && !this.#leases.isOpen(node));
  }

  /**
   * Records the checkpoint without the leases that are sealed. Blocks do so as well, but a shard that gets none would remember
   * them until their numbers are leased again.
   */
  async #forgetSealed(position: Position): Promise<Position> {
    const checkpoint = this.#withoutSealed(position.checkpoint);
    if (checkpoint === position.checkpoint) return position;
    const checkpointRevision = await this.#store.advanceCheckpoint(checkpoint, position.checkpointRevision);
    return { ...position, checkpoint, checkpointRevision };
  }

  /** @throws OperatingError `shard_unfinished`, see {@link createUnfinishedWatch}. */
  async #checkOtherShards(): Promise<void> {
    const { manager, loaderBucket, shard } = this.#options;
    const among = await listClickShards(manager);
    const others = sharingTokens(shard, { among, clickhouseShards: this.#clickhouseShards });
    await Promise.all(
      others.map(async (other) => {
        const state = await createLoaderStore({ bucket: loaderBucket, shard: other }).read();
        this.#unfinished.check(other, state);
      }),
    );
  }

  #reportGap(firstSeq: number, checkpoint: Checkpoint): void {
    const { metrics, log } = this.#options;
    const missing = firstSeq - checkpoint.seq - 1;
    if (missing <= 0 || firstSeq <= this.#reportedGapTo) return;
    this.#reportedGapTo = firstSeq;
    metrics.missingMessages.inc(missing);
    log.error(
      { from: checkpoint.seq + 1, to: firstSeq - 1 },
      'messages left the clicks stream before they were loaded',
    );
  }

  /** {@link Loader.#gather}, begun before its result is awaited: only the awaiting caller sees its failure. */
  #gatherAhead(reader: Reader, checkpoint: Checkpoint): Promise<Block | undefined> {
    const gathered = this.#gather(reader, checkpoint);
    gathered.catch(() => undefined);
    return gathered;
  }

  /** The next block behind the checkpoint, or undefined when no message came. */
  async #gather(reader: Reader, checkpoint: Checkpoint): Promise<Block | undefined> {
    const builder = createBlockBuilder({
      shard: this.#options.shard,
      checkpoint: this.#withoutSealed(checkpoint),
      isLeased: this.#leases.cover,
      layouts: this.#layouts,
    });
    let waitMs = IDLE_WAIT_MS;
    let deadline = 0;
    while (waitMs > 0 && !builder.isFull()) {
      const message = await reader.next(waitMs);
      if (!message) break;
      if (builder.isEmpty()) deadline = monotonicMs() + this.#blocks.gatherMs;
      const unleased = builder.add(message, Date.now());
      if (unleased !== undefined) {
        await this.#leases.read(unleased);
        builder.add(message, Date.now(), { isFinal: true });
      }
      waitMs = deadline - monotonicMs();
    }
    return builder.isEmpty() ? undefined : builder.finish();
  }

  #hasLoadedAll(checkpoint: Checkpoint): boolean {
    return this.#progress.lastSeq <= checkpoint.seq;
  }

  async #publishProgress(checkpoint: Checkpoint): Promise<void> {
    this.#progress.checkpointSeq = checkpoint.seq;
    await this.#watermark.advance(checkpoint);
    this.#progress.completeTo = this.#watermark.published();
    this.#failures = 0;
    this.#readiness = this.#standstill.readiness(
      this.#progress.completeTo,
      this.#progress.lastSeq - checkpoint.seq,
    );
  }

  async #handleFailure(thrown: unknown): Promise<void> {
    const error = asOperatingError(thrown);
    if (!error) throw thrown;
    if (this.#stopped) return;
    const { metrics, log } = this.#options;
    metrics.retries.inc({ code: error.code });
    if (error.code === 'loader_superseded') {
      log.warn({ shard: this.#options.shard }, 'another loader leads this shard');
      this.#stopping.abort();
      return;
    }
    if (error.code === 'shard_unfinished') this.#failingSinceMs = undefined;
    else if (this.#failures === 0) this.#failingSinceMs = performance.now();
    else this.#failingSinceMs ??= performance.now();
    this.#failures++;
    this.#readiness = { ready: false, reason: `${error.code}: ${error.message}` };
    log.warn({ code: error.code, failures: this.#failures }, error.message);
    await this.#pause(Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** Math.min(this.#failures, 10)));
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Ends early, without an error, when the loader is stopped. */
  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}

/** What {@link createClicksReader} reads, of the buckets and streams of a loader. */
export function clickSources(options: Pick<LoaderOptions, 'leasesBucket' | 'manager'>) {
  return {
    leases: options.leasesBucket,
    shards: () => listClickShards(options.manager),
    now: Date.now,
  };
}

/** For spans of time: the clock of the machine can be set. */
function monotonicMs(): number {
  return performance.now();
}

/** @throws OperatingError `reader_stalled` when the last progress is too long ago. */
function checkStall(progressAt: number): void {
  if (monotonicMs() - progressAt <= READER_STALL_MS) return;
  throw new OperatingError(
    'reader_stalled',
    `no message arrived for ${READER_STALL_MS} ms, though the stream holds some`,
  );
}

/** The failures of NATS and the warehouse as operating errors; undefined for a bug. */
export function asOperatingError(error: unknown): OperatingError | undefined {
  return error instanceof OperatingError ? error : natsFailure(error);
}
