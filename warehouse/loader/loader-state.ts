import type { KV } from '@nats-io/kv';
import { compareAndSet } from '../../core/clicks/lease.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Mark, Plan } from './block.ts';
import type { SeqRanges } from './seq-ranges.ts';

/** A value of the bucket and the revision it must still have when it is replaced; 0 when there is none. */
export interface Versioned<T> {
  readonly value: T;
  readonly revision: number;
}

export interface LoaderState {
  readonly plan: Versioned<Plan | undefined>;
  readonly mark: Versioned<Mark | undefined>;
}

interface StoredMark extends Omit<Mark, 'taken'> {
  readonly taken: readonly (readonly [node: number, ranges: SeqRanges])[];
}

/**
 * The loader's memory of one shard, in KV. Both keys change by compare-and-set only: a loader that was overtaken
 * while it slept cannot record another plan.
 */
export function createLoaderStore(options: { bucket: KV; shard: number }) {
  const { bucket, shard } = options;
  const planKey = `plan.${shard}`;
  const markKey = `mark.${shard}`;

  async function set(key: string, value: unknown, revision: number): Promise<number> {
    const next = await compareAndSet(bucket, key, JSON.stringify(value), revision);
    if (next === undefined) {
      throw new OperatingError(
        'loader_superseded',
        `another loader of shard ${shard} is active: it has changed ${key}`,
      );
    }
    return next;
  }

  async function get<T>(key: string): Promise<Versioned<T | undefined>> {
    const entry = await bucket.get(key);
    // A deleted key leaves an entry behind; creating it anew takes care of that one.
    return entry?.operation === 'PUT'
      ? { value: entry.json<T>(), revision: entry.revision }
      : { value: undefined, revision: 0 };
  }

  return {
    /** The plan is read first: a mark read later can only have passed it, never fallen behind it. */
    async read(): Promise<LoaderState> {
      const plan = await get<Plan>(planKey);
      const { value, revision } = await get<StoredMark>(markKey);
      return { plan, mark: { value: value && { ...value, taken: new Map(value.taken) }, revision } };
    },
    /** @throws OperatingError `loader_superseded` when another loader was first. */
    recordPlan: (plan: Plan, revision: number): Promise<number> => set(planKey, plan, revision),
    /** @throws OperatingError `loader_superseded` when another loader was first. */
    advanceMark: (mark: Mark, revision: number): Promise<number> =>
      set(markKey, { ...mark, taken: [...mark.taken] } satisfies StoredMark, revision),
  };
}

export type LoaderStore = ReturnType<typeof createLoaderStore>;
