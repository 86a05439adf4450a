import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { createDurableLog, type DurableLog } from './durable-log.ts';
import type { Publish } from './publisher.ts';
import { isNearlyFull, openSpool, SEGMENT_NAME, type Spool, type SpoolBudget } from './spool.ts';

/**
 * Where a collector's batches become durable, one way for each shard: a shard whose stream does not answer spools and
 * replays by itself, and the others go on.
 */
export interface ShardStores {
  /** The {@link DurableLog} of a shard. */
  of(shard: number): DurableLog;
  /** Every node that has clicks in a spool. */
  spooledNodes(): number[];
  /** Unix milliseconds of the oldest click of a node that is held in a spool. */
  oldestHeldMs(node: number): number | undefined;
  isSpoolNearlyFull(): boolean;
  /** Whether the streams of all shards acknowledge. */
  isStreamUp(): boolean;
  /** Sums over all shards. */
  stats(): ShardStoreStats;
  stop(): Promise<void>;
}

type ShardStoreStats = DurableLog['stats'] & Spool['stats'];

/** The first shard's spool has the folder of the spool from before there were shards. */
function spoolFolder(stateFolder: string, shard: number): string {
  return join(stateFolder, shard === 0 ? 'spool' : `spool-${shard}`);
}

/** The name of a shard's spool below a state folder. */
export const SPOOL_FOLDER = /^spool(?:-([1-9]\d*))?$/;

/** The shards whose spools an earlier process left in a state folder; those beyond the present number are replayed too. */
export async function spooledShards(stateFolder: string): Promise<number[]> {
  const names = await readdir(stateFolder).catch(() => []);
  const shards: number[] = [];
  for (const name of names) {
    const shard = Number(SPOOL_FOLDER.exec(name)?.[1] ?? 0);
    if (shard === 0) continue;
    const files = await readdir(join(stateFolder, name));
    if (files.some((file) => SEGMENT_NAME.test(file))) shards.push(shard);
  }
  return shards;
}

export async function openShardStores(options: {
  shards: readonly number[];
  stateFolder: string;
  /** Limit of all spools together. */
  maxSpoolBytes: number;
  publisher: (shard: number) => Publish;
  log: Logger;
}): Promise<ShardStores> {
  const { shards, stateFolder, maxSpoolBytes, publisher, log } = options;
  const budget: SpoolBudget = { maxBytes: maxSpoolBytes, usedBytes: 0 };
  const spools: Spool[] = [];
  const logs = new Map<number, DurableLog>();
  for (const shard of shards) {
    const spool = await openSpool({ folder: spoolFolder(stateFolder, shard), budget, log });
    spools.push(spool);
    logs.set(shard, createDurableLog({ publish: publisher(shard), spool, log }));
  }

  return {
    of(shard) {
      const durable = logs.get(shard);
      assert(durable, `shard ${shard} is one of those opened`);
      return durable;
    },
    spooledNodes: () => spools.flatMap((spool) => spool.nodes()),
    oldestHeldMs(node) {
      const held = spools.flatMap((spool) => spool.oldestHeldMs(node) ?? []);
      return held.length === 0 ? undefined : Math.min(...held);
    },
    isSpoolNearlyFull: () => isNearlyFull(budget),
    isStreamUp: () => [...logs.values()].every((durable) => durable.isStreamUp()),
    stats: () => sumOf([...spools, ...logs.values()].map(({ stats }) => stats as Partial<ShardStoreStats>)),
    async stop() {
      await Promise.all([...logs.values()].map((durable) => durable.stop()));
      await Promise.all(spools.map((spool) => spool.close()));
    },
  };
}

function sumOf(parts: readonly Partial<ShardStoreStats>[]): ShardStoreStats {
  const sum: Record<string, number> = {};
  for (const part of parts) {
    for (const [name, value] of Object.entries(part)) sum[name] = (sum[name] ?? 0) + value;
  }
  return sum as unknown as ShardStoreStats;
}
