import type { JetStreamManager } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { OperatingError } from '../errors.ts';
import { isLostRace, untilLed } from './nats-errors.ts';
import { type Bucket, listKeys } from './stream.ts';

/**
 * A node lease is one collector's right to a 16-bit node number: a new one at every start, and whenever `seq` would
 * wrap. The collector keeps in it the time of the oldest click it still holds, from which the watermark is computed.
 */
export interface Lease {
  readonly node: number;
  /** The shard of the click stream that all its clicks go to. Absent in leases from before there were shards: 0. */
  readonly shard?: number;
  readonly startedAtMs: number;
  /**
   * Only an open lease holds the watermark back. A closed one ended in order: `nextSeq` is its number of clicks.
   * A crashed one's collector died: `nextSeq` is a lower bound, and nothing it redirected is missing.
   */
  readonly state: 'open' | 'closed' | 'crashed';
  /** Every click of this lease older than this is in the stream. */
  readonly heldFromMs: number;
  /** The number of the next click: all below it are in use. */
  readonly nextSeq: number;
  /** The collector ended in order, so `nextSeq` is the lease's number of clicks, even if some wait in a spool. */
  readonly ended: boolean;
  readonly updatedAtMs: number;
}

/** A lease as NATS has it, with the revision that its next writer replaces. */
export interface StoredLease {
  readonly lease: Lease;
  readonly revision: number;
}

export const NODE_COUNT = 65_536;
export const NODE_COUNTER_KEY = 'counter';
/** Of racing collectors each loses at most one round to every other; this bounds hundreds that start at once. */
const MAX_TRIES = 1_000;

function leaseKey(node: number): string {
  return `lease.${node}`;
}

export function shardOfLease({ shard = 0 }: Pick<Lease, 'shard'>): number {
  return shard;
}

/**
 * Takes the next node number, opens its lease, and returns it. Two callers never get the same one.
 * @param note Keeps the number beyond a crash, before its lease is open: one that no process knew of would hold the watermark
 * for ever.
 */
export async function openLease(
  bucket: KV,
  nowMs: number,
  shard = 0,
  note: (node: number) => Promise<void> = async () => undefined,
): Promise<StoredLease> {
  for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
    const counter = await untilLed(() => bucket.get(NODE_COUNTER_KEY));
    const node = counter ? Number(counter.string()) % NODE_COUNT : 0;
    const next = String((node + 1) % NODE_COUNT);
    // One that was not answered and yet took effect is lost to itself when it is repeated: the number stays unused.
    const taken = await untilLed(() => compareAndSet(bucket, NODE_COUNTER_KEY, next, counter?.revision ?? 0));
    if (taken === undefined) continue;
    const previous = await untilLed(() => readStoredLease(bucket, node));
    if (previous?.lease.state === 'open') continue;
    await note(node);
    const lease = newLease(node, nowMs, shard);
    // A write that is given up can still have happened, and an open lease without a collector holds the watermark for ever.
    const revision = await untilLed(() => replaceLease(bucket, lease, previous?.revision ?? 0));
    return { lease, revision };
  }
  throw new OperatingError('no_free_node', `no node number could be leased in ${MAX_TRIES} tries`);
}

/** A lease that begins at `nowMs`, Unix milliseconds. */
export function newLease(node: number, nowMs: number, shard = 0): Lease {
  return {
    node,
    shard,
    startedAtMs: nowMs,
    state: 'open',
    heldFromMs: nowMs,
    nextSeq: 0,
    ended: false,
    updatedAtMs: nowMs,
  };
}

/**
 * Writes a lease in place of what it was at `revision` (0: absent), or of what is there now. What a collector sent before it
 * was killed can arrive much later, from the buffers of its machine: it was to replace a revision that its successor has
 * replaced, and is refused. Unconditional, it opened an ended lease again, and the watermark stood for ever.
 * @returns the new revision.
 */
export async function replaceLease(bucket: KV, lease: Lease, revision: number): Promise<number> {
  let replaced = revision;
  for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
    const written = await compareAndSet(bucket, leaseKey(lease.node), JSON.stringify(lease), replaced);
    if (written !== undefined) return written;
    // A write of this collector that was not answered took effect, or one of a process that has ended.
    replaced = (await readStoredLease(bucket, lease.node))?.revision ?? 0;
  }
  throw new OperatingError('nats_failed', `lease ${lease.node} was not written in ${MAX_TRIES} tries`);
}

/** Writes a lease whatever is there, in a bucket that no collector uses. */
export async function writeLease(bucket: KV, lease: Lease): Promise<void> {
  await bucket.put(leaseKey(lease.node), JSON.stringify(lease));
}

export async function readLease(bucket: KV, node: number): Promise<Lease | undefined> {
  return (await readStoredLease(bucket, node))?.lease;
}

export async function readStoredLease(bucket: KV, node: number): Promise<StoredLease | undefined> {
  const entry = await bucket.get(leaseKey(node));
  return entry ? { lease: entry.json<Lease>(), revision: entry.revision } : undefined;
}

export async function listLeases(bucket: Bucket): Promise<Lease[]> {
  return (await listStoredLeases(bucket)).map(({ lease }) => lease);
}

/** Leases with the time at which NATS stored them, Unix milliseconds of its clock. */
export async function listStoredLeases(bucket: Bucket): Promise<{ lease: Lease; storedAtMs: number }[]> {
  const keys = await listKeys(bucket, 'lease.*');
  const entries = await Promise.all(keys.map((key) => bucket.get(key)));
  return entries.flatMap((entry) =>
    entry?.operation === 'PUT' ? [{ lease: entry.json<Lease>(), storedAtMs: entry.created.getTime() }] : [],
  );
}

/**
 * Removes a lease that is not open, without a tombstone. Exactly its message is deleted: a number that has been leased
 * again meanwhile is another message, and stays.
 */
export async function forgetLease(
  bucket: KV,
  options: { manager: JetStreamManager; lease: Lease },
): Promise<void> {
  const { manager, lease } = options;
  const entry = await bucket.get(leaseKey(lease.node));
  if (entry?.operation !== 'PUT') return;
  const { state, startedAtMs } = entry.json<Lease>();
  if (state === 'open' || startedAtMs !== lease.startedAtMs) return;
  const { streamInfo } = await bucket.status();
  await manager.streams.deleteMessage(streamInfo.config.name, entry.revision, false);
}

/**
 * Writes `value` only if the key is still at `revision` (0: absent or deleted).
 * Returns the new revision, or undefined when another writer was first.
 */
export async function compareAndSet(
  bucket: KV,
  key: string,
  value: string,
  revision: number,
): Promise<number | undefined> {
  try {
    return revision === 0 ? await bucket.create(key, value) : await bucket.update(key, value, revision);
  } catch (error) {
    if (isLostRace(error)) return undefined;
    throw error;
  }
}
