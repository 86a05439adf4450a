import { setTimeout as sleep } from 'node:timers/promises';
import type { KV } from '@nats-io/kv';
import { OperatingError } from '../../core/errors.ts';
import type { Checkpoint, InsertIntent } from '../loader/block.ts';
import { createLoaderStore, type LoaderState, type LoaderStore } from '../loader/loader-store.ts';
import { pendingIntent } from '../loader/recovery.ts';

/** Below the time after which a standby takes a silent leader's place. */
const RENEW_EVERY_MS = 2_000;
/** A block takes a second or two; one that is not finished by then has lost its loader. */
const FINISH_TIMEOUT_MS = 30_000;
const POLL_MS = 100;
/** Of compare-and-sets against a loader that is at work. */
const MAX_TRIES = 100;

/** For a shard whose loader has recorded none: of no stream, so that no loader takes it for a block. */
const NO_INTENT: InsertIntent = { token: 'none', stream: 'none', lo: 0, hi: 0, rows: 0, skipped: [] };
/** No loader has worked on the shard yet. */
const NO_CHECKPOINT: Checkpoint = { stream: 'none', seq: 0, accepted: new Map() };
/** Its clicks can wait before its first loader starts. */
const FIRST_SHARD = 0;

/** Where the loader of a shard stands: the warehouse has exactly what is up to here. */
export interface HeldShard {
  readonly shard: number;
  readonly checkpoint: Checkpoint;
}

/**
 * Runs `work` while no loader inserts: by the records with which loaders keep each other from working at once. The leader
 * finishes its block, fails to record the next one and becomes a standby, which leads again once nothing has changed for
 * some seconds. Clicks wait in the stream meanwhile.
 * @throws OperatingError `loader_block_pending` when a block was begun and no loader finishes it; `loader_superseded` when a
 *   loader worked anyway: the result of `work` is worth nothing then.
 */
export async function withLoadersHeld<T>(
  bucket: KV,
  work: (shards: readonly HeldShard[]) => Promise<T>,
  { finishTimeoutMs = FINISH_TIMEOUT_MS }: { finishTimeoutMs?: number } = {},
): Promise<T> {
  const holds = await Promise.all((await knownShards(bucket)).map((shard) => holdShard(bucket, shard)));
  const stop = new AbortController();
  const renewing = renewUntil(stop.signal, holds);
  // Its failure is seen once `work` has ended.
  renewing.catch(() => undefined);
  try {
    const held = await Promise.all(holds.map((hold) => hold.finished(finishTimeoutMs)));
    const result = await work(held);
    stop.abort();
    await renewing;
    await Promise.all(holds.map((hold) => hold.renew()));
    return result;
  } finally {
    stop.abort();
    await renewing.catch(() => undefined);
  }
}

async function knownShards(bucket: KV): Promise<number[]> {
  const shards = new Set([FIRST_SHARD]);
  for await (const key of await bucket.keys('checkpoint.*')) shards.add(Number(key.split('.')[1]));
  return [...shards].sort((a, b) => a - b);
}

async function renewUntil(stopped: AbortSignal, holds: readonly Hold[]): Promise<void> {
  for (;;) {
    await sleep(RENEW_EVERY_MS, undefined, { signal: stopped }).catch(() => undefined);
    if (stopped.aborted) return;
    for (const hold of holds) await hold.renew();
  }
}

interface Hold {
  /** Waits for the block under way. */
  finished(timeoutMs: number): Promise<HeldShard>;
  /** @throws OperatingError `loader_superseded` when a loader has recorded a block since. */
  renew(): Promise<void>;
}

async function holdShard(bucket: KV, shard: number): Promise<Hold> {
  const store = createLoaderStore({ bucket, shard });
  const { intent, revision: first } = await takeIntent(store);
  let revision = first;

  async function finished(timeoutMs: number): Promise<HeldShard> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const { checkpoint } = await store.read();
      if (!checkpoint.value) return { shard, checkpoint: NO_CHECKPOINT };
      if (!pendingIntent(intent, checkpoint.value)) return { shard, checkpoint: checkpoint.value };
      if (Date.now() > deadline) {
        throw new OperatingError(
          'loader_block_pending',
          `block ${intent.token} was begun and is not finished: start the loader, wait until it is ready, and try again`,
        );
      }
      await sleep(POLL_MS);
    }
  }

  return {
    finished,
    async renew() {
      revision = await store.recordIntent(intent, revision);
    },
  };
}

/** Writes the recorded intent again as it is: the revision that the leader expects is gone. */
async function takeIntent(store: LoaderStore): Promise<{ intent: InsertIntent; revision: number }> {
  for (let attempt = 1; ; attempt++) {
    const state: LoaderState = await store.read();
    const intent = state.intent.value ?? NO_INTENT;
    try {
      return { intent, revision: await store.recordIntent(intent, state.intent.revision) };
    } catch (error) {
      const lost = error instanceof OperatingError && error.code === 'loader_superseded';
      if (!lost || attempt === MAX_TRIES) throw error;
    }
  }
}
