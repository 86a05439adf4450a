import { type Lease, listLeases, readLease, shardOfLease } from '../../core/clicks/lease.ts';
import type { Bucket } from '../../core/clicks/stream.ts';
import { MINUTE_MS } from '../../core/time.ts';
import type { Warehouse } from '../clickhouse/client.ts';

/** A lease is written for the last time a moment after its last click, by another reading of the clock. */
export const LEASE_END_SLACK_MS = MINUTE_MS;

/** From its start to its end, Unix milliseconds; no end while it is open. */
export interface LeaseSpan {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * The node leases of one shard, as its loader compares batches with them: who can publish to the stream could otherwise write
 * clicks that no collector ever redirected. A lease is in NATS from before its first click, and in the warehouse once NATS
 * has forgotten it, so a node that is read after its batch was received has every lease that the batch can belong to. A lease
 * belongs to one shard: in the stream of another its clicks could count a second time.
 */
export class KnownLeases {
  readonly #bucket: Bucket;
  readonly #warehouse: Warehouse;
  readonly #shard: number;
  /** At most one entry a node number; grows to 65,536 of them. */
  readonly #spans = new Map<number, readonly LeaseSpan[]>();

  constructor(options: { bucket: Bucket; warehouse: Warehouse; shard: number }) {
    this.#shard = options.shard;
    this.#bucket = options.bucket;
    this.#warehouse = options.warehouse;
  }

  /** Whether one lease of the node, as read last, gave out clicks of all these times (Unix milliseconds). */
  readonly cover = (node: number, minTs: number, maxTs: number): boolean =>
    this.#spans.get(node)?.some(({ fromMs, toMs }) => minTs >= fromMs && maxTs <= toMs) ?? false;

  /** Whether the node, as read last, has a lease that goes on. */
  isOpen(node: number): boolean {
    return this.#spans.get(node)?.some(({ toMs }) => toMs === Number.POSITIVE_INFINITY) ?? false;
  }

  /** Reads the leases of a node again. */
  async read(node: number): Promise<void> {
    const current = await readLease(this.#bucket, node);
    const { rows } = await this.#warehouse.query<{ from: string; to: string }>(
      `SELECT toUnixTimestamp64Milli(started_at) AS from, toUnixTimestamp64Milli(ended_at) AS to
       FROM sealed_leases FINAL WHERE node = {node:UInt16} AND shard = {shard:UInt16}`,
      { node, shard: this.#shard },
    );
    const spans = rows.map(({ from, to }) => ({
      fromMs: Number(from),
      toMs: Number(to) + LEASE_END_SLACK_MS,
    }));
    if (current && shardOfLease(current) === this.#shard) {
      spans.push(spanOf(current));
    }
    this.#spans.set(node, spans);
  }

  /** The latest lease of the shard of every node that has or had one. */
  async latest(): Promise<Map<number, LeaseSpan>> {
    const current = await listLeases(this.#bucket);
    const { rows } = await this.#warehouse.query<{ node: number; from: string; to: string }>(
      `SELECT node, toUnixTimestamp64Milli(max(started_at)) AS from,
         toUnixTimestamp64Milli(argMax(ended_at, started_at)) AS to
       FROM sealed_leases FINAL WHERE shard = {shard:UInt16} GROUP BY node`,
      { shard: this.#shard },
    );
    const spans = new Map(
      rows.map(({ node, from, to }): [number, LeaseSpan] => [
        node,
        { fromMs: Number(from), toMs: Number(to) + LEASE_END_SLACK_MS },
      ]),
    );
    for (const lease of current) {
      if (shardOfLease(lease) === this.#shard) spans.set(lease.node, spanOf(lease));
    }
    return spans;
  }
}

function spanOf({ startedAtMs, state, updatedAtMs }: Lease): LeaseSpan {
  const toMs = state === 'open' ? Number.POSITIVE_INFINITY : updatedAtMs + LEASE_END_SLACK_MS;
  return { fromMs: startedAtMs, toMs };
}
