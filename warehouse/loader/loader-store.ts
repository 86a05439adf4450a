import type { KV } from '@nats-io/kv';
import { compareAndSet } from '../../core/clicks/lease.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Checkpoint, InsertIntent } from './block.ts';
import type { SeqRanges } from './seq-ranges.ts';

/** A value of the bucket and the revision it must still have when it is replaced; 0 when there is none. */
export interface Versioned<T> {
  readonly value: T;
  readonly revision: number;
  /** When NATS stored it, Unix milliseconds of its clock; 0 when there is none. */
  readonly storedAtMs: number;
}

export interface LoaderState {
  readonly intent: Versioned<InsertIntent | undefined>;
  readonly checkpoint: Versioned<Checkpoint | undefined>;
}

/**
 * How long an insert of one shard stays unfinished before the others wait for it. Repeating it is harmless only while
 * ClickHouse remembers its token, and every other block puts more tokens in front of it (`MIN_DEDUPLICATION_WINDOW`).
 */
export const MAX_UNFINISHED_MS = 60_000;

/**
 * The stream shards, of those `among` which it is, whose tokens are in the same tables as those of `shard`: on a cluster
 * each ClickHouse shard has tables of its own, and the others go on.
 */
export function sharingTokens(
  shard: number,
  { among, clickhouseShards }: { among: readonly number[]; clickhouseShards: number },
): number[] {
  return among.filter((other) => other !== shard && other % clickhouseShards === shard % clickhouseShards);
}

/**
 * Watches the inserts of other shards. How long one is unfinished is measured from when its intent was first seen, by a
 * monotonic clock: NATS's clock can differ from this machine's. Only what was begun before the watch is as old as NATS says
 * if that is more, so that loaders that start again and again do not give it a minute each time.
 */
export function createUnfinishedWatch(
  clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() },
) {
  const seen = new Map<number, { revision: number; sinceMs: number }>();

  function standsForMs(shard: number, { revision, storedAtMs }: LoaderState['intent']): number {
    const nowMs = clock.monotonicMs();
    const before = seen.get(shard);
    if (before?.revision === revision) return nowMs - before.sinceMs;
    const earlierMs = before ? 0 : Math.max(clock.wallMs() - storedAtMs, 0);
    seen.set(shard, { revision, sinceMs: nowMs - earlierMs });
    return earlierMs;
  }

  return {
    /**
     * To be called before a new block of another shard.
     * @throws OperatingError `shard_unfinished` when the insert of `shard` has been unfinished for too long.
     */
    check(shard: number, { intent, checkpoint }: LoaderState): void {
      const stoodMs = standsForMs(shard, intent);
      const { value } = intent;
      if (!value || checkpoint.value?.stream !== value.stream || value.hi <= checkpoint.value.seq) return;
      if (stoodMs <= MAX_UNFINISHED_MS) return;
      throw new OperatingError(
        'shard_unfinished',
        `insert ${value.token} of shard ${shard} has been unfinished for ${Math.round(stoodMs / 1_000)} s: no other shard goes on, so that ClickHouse still recognises its repetition`,
      );
    },
  };
}

interface StoredCheckpoint extends Omit<Checkpoint, 'accepted'> {
  readonly accepted: readonly (readonly [node: number, ranges: SeqRanges])[];
}

/**
 * The loader's memory of one shard, in KV. Both keys change by compare-and-set only: a loader that was overtaken
 * while it slept cannot record another intent.
 */
export function createLoaderStore(options: { bucket: KV; shard: number }) {
  const { bucket, shard } = options;
  const intentKey = `intent.${shard}`;
  const checkpointKey = `checkpoint.${shard}`;

  async function set(key: string, value: unknown, revision: number): Promise<number> {
    const next = await compareAndSet(bucket, key, JSON.stringify(value), revision);
    if (next === undefined) {
      throw new OperatingError(
        'loader_superseded',
        `another loader leads shard ${shard}: it has changed ${key}`,
      );
    }
    return next;
  }

  async function get<T>(key: string): Promise<Versioned<T | undefined>> {
    const entry = await bucket.get(key);
    // A deleted key leaves an entry behind, which creating the key replaces.
    return entry?.operation === 'PUT'
      ? { value: entry.json<T>(), revision: entry.revision, storedAtMs: entry.created.getTime() }
      : { value: undefined, revision: 0, storedAtMs: 0 };
  }

  return {
    /** The intent is read first: a checkpoint read later can only have passed it, never fallen behind it. */
    async read(): Promise<LoaderState> {
      const intent = await get<InsertIntent>(intentKey);
      const { value, ...stored } = await get<StoredCheckpoint>(checkpointKey);
      return {
        intent,
        checkpoint: { ...stored, value: value && { ...value, accepted: new Map(value.accepted) } },
      };
    },
    /** Resolves when the majority of NATS's servers have taken a write. */
    confirm: (): Promise<number> => bucket.put(`reading.${shard}`, ''),
    /** @throws OperatingError `loader_superseded` when another loader was first. */
    recordIntent: (intent: InsertIntent, revision: number): Promise<number> =>
      set(intentKey, intent, revision),
    /** @throws OperatingError `loader_superseded` when another loader was first. */
    advanceCheckpoint: (checkpoint: Checkpoint, revision: number): Promise<number> =>
      set(
        checkpointKey,
        { ...checkpoint, accepted: [...checkpoint.accepted] } satisfies StoredCheckpoint,
        revision,
      ),
  };
}

export type LoaderStore = ReturnType<typeof createLoaderStore>;
