import type { KV } from '@nats-io/kv';
import { OperatingError } from '../core/errors.ts';
import { compareAndSet } from '../core/lease.ts';
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

  return {
    /** The plan is read first: a mark read later can only have passed it, never fallen behind it. */
    async read(): Promise<LoaderState> {
      const plan = await bucket.get(planKey);
      const mark = await bucket.get(markKey);
      return {
        plan: { value: plan?.json<Plan>(), revision: plan?.revision ?? 0 },
        mark: { value: mark ? parseMark(mark.json<StoredMark>()) : undefined, revision: mark?.revision ?? 0 },
      };
    },
    /** @throws OperatingError `loader_superseded` when another loader was first. */
    recordPlan: (plan: Plan, revision: number): Promise<number> => set(planKey, plan, revision),
    /** @throws OperatingError `loader_superseded` when another loader was first. */
    advanceMark: (mark: Mark, revision: number): Promise<number> =>
      set(markKey, { ...mark, taken: [...mark.taken] } satisfies StoredMark, revision),
  };
}

export type LoaderStore = ReturnType<typeof createLoaderStore>;

function parseMark(stored: StoredMark): Mark {
  return { ...stored, taken: new Map(stored.taken) };
}
