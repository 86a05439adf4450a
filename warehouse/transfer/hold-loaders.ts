import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JetStreamManager } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { listClickShards, readClicksStream } from '../../core/clicks/shards.ts';
import type { Bucket } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import { HEARTBEAT_MS, ShardLeases } from '../leadership/shard-leases.ts';
import type { Checkpoint, InsertIntent } from '../loader/block.ts';
import { createLoaderStore, type LoaderStore } from '../loader/loader-store.ts';
import { pendingIntent } from '../loader/recovery.ts';

/** A block takes a second or two; one that is not finished by then has lost its loader. */
const FINISH_TIMEOUT_MS = 30_000;
const POLL_MS = 20;

/** Where no block was recorded: of no stream, so that no loader takes it for one of its own. */
const NO_INTENT: InsertIntent = { token: 'none', stream: 'none', lo: 0, hi: 0, rows: 0, skipped: [] };
/** Of a shard that has never had a message, and no loader either. */
const NO_CHECKPOINT: Checkpoint = { stream: 'none', seq: 0, accepted: new Map() };

/** Where the loader of a shard stands: the warehouse has exactly what is up to here. */
export interface HeldShard {
  readonly shard: number;
  readonly checkpoint: Checkpoint;
}

interface HoldOptions {
  readonly manager: JetStreamManager;
  /** The buckets {@link LOADER_BUCKET} and {@link LEADERS_BUCKET} of core/clicks/stream.ts. */
  readonly loaderBucket: KV;
  readonly leadersBucket: Bucket;
  readonly finishTimeoutMs?: number;
}

/**
 * Runs `work` while no loader inserts. The leases of all shards are taken, as by a loader that leads them, so loaders finish
 * their blocks and wait until the leases are given back, or expire. The fence is the recorded intent of each shard: once
 * its block is finished it is written again as it is, and no loader that still expects the revision before can record
 * another. Whether one did is seen after `work`. Clicks wait in the stream meanwhile.
 * @throws OperatingError `loader_block_pending` when a block was begun and no loader finishes it; `loader_superseded` when a
 *   loader worked anyway: the result of `work` is worth nothing then.
 */
export async function withLoadersHeld<T>(
  options: HoldOptions,
  work: (shards: readonly HeldShard[]) => Promise<T>,
): Promise<T> {
  const { manager, leadersBucket } = options;
  const leases = new ShardLeases({ bucket: leadersBucket, id: randomUUID() });
  const stop = new AbortController();
  let beating = Promise.resolve();
  try {
    const shards = await listClickShards(manager);
    for (const shard of shards) await leases.take(shard);
    beating = beatUntil(stop.signal, leases);
    const holds = await Promise.all(shards.map((shard) => holdShard(options, shard)));
    const result = await work(holds.map(({ held }) => held));
    for (const hold of holds) await hold.check();
    const later = (await listClickShards(manager)).find((shard) => !shards.includes(shard));
    if (later !== undefined) throw superseded(later);
    return result;
  } finally {
    stop.abort();
    await beating;
    // Without NATS the leases expire.
    await leases.leave().catch(() => undefined);
  }
}

/** A beat that fails, or a lease that was lost, does no harm: the fence does not rely on them. */
async function beatUntil(stopped: AbortSignal, leases: ShardLeases): Promise<void> {
  while (!stopped.aborted) {
    await leases.beat().catch(() => undefined);
    await sleep(HEARTBEAT_MS, undefined, { signal: stopped }).catch(() => undefined);
  }
}

interface Hold {
  readonly held: HeldShard;
  /** @throws OperatingError `loader_superseded` when a loader has recorded a block since. */
  check(): Promise<void>;
}

async function holdShard(
  { manager, loaderBucket, finishTimeoutMs = FINISH_TIMEOUT_MS }: HoldOptions,
  shard: number,
): Promise<Hold> {
  const store = createLoaderStore({ bucket: loaderBucket, shard });
  const deadline = Date.now() + finishTimeoutMs;
  for (;;) {
    const taken = await tryHold({ manager, store, shard });
    if (typeof taken !== 'string') return taken;
    if (Date.now() > deadline) {
      throw new OperatingError(
        'loader_block_pending',
        `${taken}: start the loader, wait until it is ready, and try again`,
      );
    }
    await sleep(POLL_MS);
  }
}

/** Writes the intent again once its block is finished, and never before: its age says how long an insert is unfinished. */
async function tryHold(options: {
  manager: JetStreamManager;
  store: LoaderStore;
  shard: number;
}): Promise<Hold | string> {
  const { manager, store, shard } = options;
  const { intent, checkpoint } = await store.read();
  if (!checkpoint.value && (intent.value || (await readClicksStream(manager, shard)).lastSeq > 0)) {
    return `no loader has recorded how far shard ${shard} is loaded`;
  }
  const held: HeldShard = { shard, checkpoint: checkpoint.value ?? NO_CHECKPOINT };
  const pending = pendingIntent(intent.value, held.checkpoint);
  if (pending) return `block ${pending.token} of shard ${shard} was begun and is not finished`;
  try {
    const revision = await store.recordIntent(intent.value ?? NO_INTENT, intent.revision);
    return {
      held,
      async check() {
        if ((await store.read()).intent.revision !== revision) throw superseded(shard);
      },
    };
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code !== 'loader_superseded') throw error;
    return `the loader of shard ${shard} goes on although its lease was taken`;
  }
}

function superseded(shard: number): OperatingError {
  return new OperatingError(
    'loader_superseded',
    `a loader, or another backup, has worked on shard ${shard} meanwhile: try again`,
  );
}
