import type { KV } from '@nats-io/kv';
import { type Lease, listLeases } from '../../core/clicks/lease.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';

/** The greatest difference between the clocks of collectors and loader: NTP keeps machines within a fraction of it. */
export const CLOCK_SKEW_BOUND_MS = 500;
/** How often the watermark is computed and written. */
const PROBE_INTERVAL_MS = 1_000;
/** One that is lost with its server is written again, and an older one is only cautious: no shard waits for the others. */
const EVERY_SECOND = { insert_quorum: 0 } as const;
/** So many ended leases stay in NATS and in the checkpoint; a node number is used again after 65,536 of them. */
const REMEMBERED_LEASES = 200;

/**
 * The time up to which every click is in the stream, Unix milliseconds, from leases read at `nowMs`.
 * A lease opened after that holds no click older than `nowMs`, give or take the clocks' difference.
 */
export function heldFrom(leases: readonly Pick<Lease, 'state' | 'heldFromMs'>[], nowMs: number): number {
  return leases
    .filter((lease) => lease.state === 'open')
    .reduce((least, lease) => Math.min(least, lease.heldFromMs), nowMs - CLOCK_SKEW_BOUND_MS);
}

/** The ended leases that NATS can forget: all but those that ended last. */
export function forgettable<L extends Pick<Lease, 'state' | 'updatedAtMs'>>(leases: readonly L[]): L[] {
  return leases
    .filter((lease) => lease.state !== 'open')
    .sort((a, b) => b.updatedAtMs - a.updatedAtMs)
    .slice(REMEMBERED_LEASES);
}

/**
 * Publishes the watermark: it reads the leases, *then* the stream's last sequence, and writes the time to the
 * warehouse once the loader's checkpoint has passed that sequence. It only moves forward.
 */
export function createWatermarkWriter(options: {
  warehouse: Warehouse;
  leases: KV;
  shard: number;
  /** Sequence of the shard's last message, 0 when there is none. */
  lastSeq: () => Promise<number>;
  /** Removes a lease from NATS that is kept in the warehouse. */
  forget: (lease: Lease) => Promise<void>;
  now: () => number;
}) {
  const { warehouse, leases, shard, lastSeq, forget, now } = options;
  let waiting: { leases: Lease[]; completeTo: number; streamSeq: number } | undefined;
  /** Nodes of the sealed leases in the warehouse; read at the first probe. */
  let sealed: Set<number> | undefined;
  let sealedNodes: number[] = [];
  let published = 0;
  let probedAt = Number.NEGATIVE_INFINITY;

  async function probe(): Promise<void> {
    const startedAt = now();
    if (waiting || Math.abs(startedAt - probedAt) < PROBE_INTERVAL_MS) return;
    const listed = await listLeases(leases);
    sealed ??= await readSealedNodes(warehouse);
    // A number that is leased again has clicks to come, which the checkpoint must know.
    const leased = new Set(listed.map(({ node }) => node));
    sealedNodes = [...sealed].filter((node) => !leased.has(node));
    waiting = { leases: listed, completeTo: heldFrom(listed, startedAt), streamSeq: await lastSeq() };
    probedAt = startedAt;
  }

  /** The checkpoint has passed every click of these leases: the audit's figures of them go to the warehouse. */
  async function seal(ended: readonly Lease[]): Promise<void> {
    if (ended.length === 0) return;
    await warehouse.insertRows(
      'sealed_leases',
      ended.map((lease) => ({
        node: lease.node,
        started_at: timeText(lease.startedAtMs),
        ended_at: timeText(lease.updatedAtMs),
        next_seq: lease.nextSeq,
        state: lease.state,
      })),
    );
    for (const lease of ended) {
      await forget(lease);
      sealed?.add(lease.node);
    }
  }

  return {
    /** To be called after every block and when idle, with the recorded checkpoint. */
    async advance(checkpointSeq: number): Promise<void> {
      await probe();
      if (!waiting || checkpointSeq < waiting.streamSeq) return;
      const { completeTo, streamSeq } = waiting;
      await seal(forgettable(waiting.leases));
      waiting = undefined;
      if (completeTo <= published) return;
      await warehouse.insertRows(
        'watermarks',
        [{ shard, complete_to: timeText(completeTo), stream_seq: streamSeq, updated_at: timeText(now()) }],
        EVERY_SECOND,
      );
      published = completeTo;
    },
    /** The time that this process published last, Unix milliseconds; 0 before the first time. */
    published: () => published,
    /** Nodes of the leases that ended long ago and have all their clicks in the warehouse. */
    sealedNodes: (): readonly number[] => sealedNodes,
  };
}

export type WatermarkWriter = ReturnType<typeof createWatermarkWriter>;

async function readSealedNodes(warehouse: Warehouse): Promise<Set<number>> {
  const { rows } = await warehouse.query<{ node: number }>('SELECT DISTINCT node FROM sealed_leases');
  return new Set(rows.map(({ node }) => node));
}

/** The watermark as `complete_to`: Unix milliseconds, 0 before the first loader has published. */
export const WATERMARK_SQL =
  'SELECT toUnixTimestamp64Milli(min(watermarks.complete_to)) AS complete_to FROM watermarks FINAL';

/**
 * The time up to which every click of every shard is in the warehouse, Unix milliseconds; undefined before the
 * first loader has published.
 */
export async function readWatermark(warehouse: Warehouse): Promise<number | undefined> {
  const { rows } = await warehouse.query<{ complete_to: string }>(WATERMARK_SQL);
  return Number(rows[0]?.complete_to) || undefined;
}
