import type { KV } from '@nats-io/kv';
import { type Lease, listLeases } from '../core/lease.ts';
import { timeText, type Warehouse } from './client.ts';

/** How far the clocks of collectors and loader may differ: NTP keeps machines within a fraction of it. */
export const CLOCK_SKEW_BOUND_MS = 500;
/** How often the watermark is computed and written. */
const PROBE_INTERVAL_MS = 1_000;
/** So many closed leases stay in the mark; a node number is used again after 65,536 of them. */
const REMEMBERED_CLOSED_LEASES = 1_000;

/**
 * The time up to which every click is in the stream, Unix milliseconds, from leases read at `nowMs`.
 * A lease opened after that holds no click older than `nowMs`, give or take the clocks' difference.
 */
export function heldFrom(leases: readonly Pick<Lease, 'state' | 'heldFromMs'>[], nowMs: number): number {
  return leases
    .filter((lease) => lease.state === 'open')
    .reduce((least, lease) => Math.min(least, lease.heldFromMs), nowMs - CLOCK_SKEW_BOUND_MS);
}

/** The nodes of closed leases that need not be remembered: all but those closed last. */
export function forgettable(leases: readonly Pick<Lease, 'state' | 'node' | 'updatedAtMs'>[]): number[] {
  return leases
    .filter((lease) => lease.state === 'closed')
    .sort((a, b) => b.updatedAtMs - a.updatedAtMs)
    .slice(REMEMBERED_CLOSED_LEASES)
    .map((lease) => lease.node);
}

/**
 * Publishes the watermark: it reads the leases, *then* the stream's last sequence, and writes the time to the
 * warehouse once the loader's mark has passed that sequence. It only moves forward.
 */
export function createWatermarkWriter(options: {
  warehouse: Warehouse;
  leases: KV;
  shard: number;
  /** Sequence of the shard's last message, 0 when there is none. */
  lastSeq: () => Promise<number>;
  now: () => number;
}) {
  const { warehouse, leases, shard, lastSeq, now } = options;
  let waiting: { leases: Lease[]; completeTo: number; streamSeq: number } | undefined;
  let settledNodes: number[] = [];
  let published = 0;
  let probedAt = Number.NEGATIVE_INFINITY;

  async function probe(): Promise<void> {
    const startedAt = now();
    if (waiting || Math.abs(startedAt - probedAt) < PROBE_INTERVAL_MS) return;
    const listed = await listLeases(leases);
    waiting = { leases: listed, completeTo: heldFrom(listed, startedAt), streamSeq: await lastSeq() };
    probedAt = startedAt;
  }

  return {
    /** To be called after every block and when idle, with the mark as it is recorded. */
    async advance(markSeq: number): Promise<void> {
      await probe();
      if (!waiting || markSeq < waiting.streamSeq) return;
      const { completeTo, streamSeq } = waiting;
      settledNodes = forgettable(waiting.leases);
      waiting = undefined;
      if (completeTo <= published) return;
      await warehouse.insertRows('watermarks', [
        { shard, complete_to: timeText(completeTo), stream_seq: streamSeq, updated_at: timeText(now()) },
      ]);
      published = completeTo;
    },
    /** What this process published last, Unix milliseconds; 0 before the first time. */
    published: () => published,
    /** Nodes of leases that were closed, with every click of theirs loaded, long ago. */
    settledNodes: (): readonly number[] => settledNodes,
  };
}

/** The watermark as a subquery: Unix milliseconds, or null. */
export const WATERMARK_SQL = `SELECT if(count() = 0, NULL, toUnixTimestamp64Milli(min(shard_complete_to)))
  FROM (SELECT max(complete_to) AS shard_complete_to FROM watermarks GROUP BY shard)`;

/**
 * The time up to which every click of every shard is in the warehouse, Unix milliseconds; undefined before the
 * first loader has published.
 */
export async function readWatermark(warehouse: Warehouse): Promise<number | undefined> {
  const { rows } = await warehouse.query<{ complete_to: string | null }>(
    `SELECT (${WATERMARK_SQL}) AS complete_to`,
  );
  const value = rows[0]?.complete_to;
  return value ? Number(value) : undefined;
}
