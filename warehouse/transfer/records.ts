import type { JetStreamManager } from '@nats-io/jetstream';
import { type Lease, listLeases, NODE_COUNT, NODE_COUNTER_KEY, writeLease } from '../../core/clicks/lease.ts';
import { readClicksStream } from '../../core/clicks/shards.ts';
import { type Bucket, listKeys } from '../../core/clicks/stream.ts';
import { createLoaderStore } from '../loader/loader-store.ts';
import type { SeqRanges } from '../loader/seq-ranges.ts';
import type { HeldShard } from './hold-loaders.ts';

/** What NATS keeps beside the streams: node leases, what each shard's loader has accepted, counts of caps. */
export interface StreamRecords {
  readonly takenAtMs: number;
  readonly leases: readonly Lease[];
  /** The next node number. */
  readonly nextNode: number;
  readonly shards: readonly {
    readonly shard: number;
    /** By node, see Checkpoint. */
    readonly accepted: readonly (readonly [node: number, ranges: SeqRanges])[];
  }[];
  readonly caps: readonly (readonly [key: string, value: string])[];
}

/**
 * Node numbers given out after the backup belong to clicks whose ids are known outside, and perhaps wait in a spool: so many
 * are skipped, one for each start of a collector.
 */
const SKIPPED_NODES = 4_096;

/** Leases by node; to be read before the batches and after them, see {@link readRecords}. */
export async function readLeases(bucket: Bucket): Promise<ReadonlyMap<number, Lease>> {
  return new Map((await listLeases(bucket)).map((lease) => [lease.node, lease]));
}

/**
 * The records to batches that have been copied. A lease that had ended in order before they were has all of its clicks in
 * the copy. Every other one ends with the copy: what its collector redirected later is not in it.
 * @param options.before The leases as they were before the batches were copied, and while no loader worked.
 */
export async function readRecords(options: {
  leasesBucket: Bucket;
  capsBucket: Bucket;
  before: ReadonlyMap<number, Lease>;
  shards: readonly HeldShard[];
  now: () => number;
}): Promise<StreamRecords> {
  const { leasesBucket, capsBucket, before, shards, now } = options;
  const after = await readLeases(leasesBucket);
  const takenAtMs = now();
  const leases = [...new Map([...before, ...after]).values()].map((lease) => {
    const earlier = before.get(lease.node);
    if (earlier && earlier.state !== 'open') return earlier;
    return { ...lease, state: 'crashed' as const, nextSeq: 0, ended: false, updatedAtMs: takenAtMs };
  });
  const counter = await leasesBucket.get(NODE_COUNTER_KEY);
  return {
    takenAtMs,
    leases,
    nextNode: counter ? Number(counter.string()) : 0,
    shards: shards.map(({ shard, checkpoint }) => ({ shard, accepted: [...checkpoint.accepted] })),
    caps: await readAll(capsBucket),
  };
}

async function readAll(bucket: Bucket): Promise<[string, string][]> {
  const entries = await Promise.all((await listKeys(bucket, '>')).map((key) => bucket.get(key)));
  return entries.flatMap((entry) =>
    entry?.operation === 'PUT' ? [[entry.key, entry.string()] as [string, string]] : [],
  );
}

/**
 * Writes the records for streams that were made again and have the copied batches: the loaders begin at their first message
 * and leave out what the warehouse has.
 */
export async function writeRecords(options: {
  manager: JetStreamManager;
  leasesBucket: Bucket;
  loaderBucket: Bucket;
  capsBucket: Bucket;
  records: StreamRecords;
}): Promise<void> {
  const { manager, leasesBucket, loaderBucket, capsBucket, records } = options;
  for (const lease of records.leases) await writeLease(leasesBucket, lease);
  await leasesBucket.put(NODE_COUNTER_KEY, String((records.nextNode + SKIPPED_NODES) % NODE_COUNT));
  for (const [key, value] of records.caps) await capsBucket.put(key, value);
  for (const { shard, accepted } of records.shards) {
    const { created } = await readClicksStream(manager, shard);
    const store = createLoaderStore({ bucket: loaderBucket, shard });
    const { checkpoint } = await store.read();
    await store.advanceCheckpoint(
      { stream: created, seq: 0, accepted: new Map(accepted) },
      checkpoint.revision,
    );
  }
}
