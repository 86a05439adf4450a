import type { KV } from '@nats-io/kv';
import { compareAndSet } from '../../core/clicks/lease.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Checkpoint, InsertIntent } from './block.ts';
import type { SeqRanges } from './seq-ranges.ts';

/** A value of the bucket and the revision it must still have when it is replaced; 0 when there is none. */
export interface Versioned<T> {
  readonly value: T;
  readonly revision: number;
}

export interface LoaderState {
  readonly intent: Versioned<InsertIntent | undefined>;
  readonly checkpoint: Versioned<Checkpoint | undefined>;
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
      ? { value: entry.json<T>(), revision: entry.revision }
      : { value: undefined, revision: 0 };
  }

  return {
    /** The intent is read first: a checkpoint read later can only have passed it, never fallen behind it. */
    async read(): Promise<LoaderState> {
      const intent = await get<InsertIntent>(intentKey);
      const { value, revision } = await get<StoredCheckpoint>(checkpointKey);
      return {
        intent,
        checkpoint: { value: value && { ...value, accepted: new Map(value.accepted) }, revision },
      };
    },
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
