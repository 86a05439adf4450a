import type { ClickRow } from '../../core/clicks/click-record.ts';
import { firstShards } from '../../core/clicks/shards.ts';
import { Committer, type CommitterOptions, type CommitterStats } from './committer.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import type { ShardStores } from './shard-stores.ts';

interface ShardCommitterOptions<C> extends Omit<CommitterOptions<C>, 'store' | 'lease'> {
  /** Clicks go to the shards `0 … shards - 1`. */
  readonly shards: number;
  readonly shardOf: (click: C) => number;
  readonly stores: Pick<ShardStores, 'of'>;
  readonly leases: Pick<LeaseKeeper, 'current'>;
}

/** One {@link Committer} for each shard of the click stream: a click waits for no other shard's acknowledgement. */
export class ShardCommitter<C extends ClickRow> {
  /** By shard. */
  readonly #committers: readonly Committer<C>[];
  readonly #shardOf: (click: C) => number;

  constructor({ shards, shardOf, stores, leases, ...options }: ShardCommitterOptions<C>) {
    this.#committers = firstShards(shards).map(
      (shard) =>
        new Committer({ ...options, store: stores.of(shard).store, lease: () => leases.current(shard) }),
    );
    this.#shardOf = shardOf;
  }

  /** {@link Committer.accept} of the click's shard. */
  accept(click: C): boolean {
    const committer = this.#committers[this.#shardOf(click)] as Committer<C>;
    return committer.accept(click);
  }

  /** Whether batches of every shard become durable. */
  get isHealthy(): boolean {
    return this.#committers.every((committer) => committer.isHealthy);
  }

  /** Sums over all shards. */
  stats(): CommitterStats {
    const sum = {
      clicksCommitted: 0,
      batchesCommitted: 0,
      refusedUnstored: 0,
      refusedFull: 0,
      inFlight: 0,
    } satisfies CommitterStats;
    for (const { stats } of this.#committers) {
      for (const name of Object.keys(sum) as (keyof CommitterStats)[]) sum[name] += stats[name];
    }
    return sum;
  }

  /** Unix ms of the oldest click of a lease that is not yet durable. */
  oldestHeldMs(node: number): number | undefined {
    const held = this.#committers.flatMap((committer) => committer.oldestHeldMs(node) ?? []);
    return held.length === 0 ? undefined : Math.min(...held);
  }

  /** Waits until everything accepted is durable, at most `timeoutMs`. @returns for each shard whether it is. */
  drain(timeoutMs: number): Promise<boolean[]> {
    return Promise.all(this.#committers.map((committer) => committer.drain(timeoutMs)));
  }
}
