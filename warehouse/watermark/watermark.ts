import { type Lease, listLeases, shardOfLease } from '../../core/clicks/lease.ts';
import { type ClicksStreamState, checkStreamLife } from '../../core/clicks/shards.ts';
import type { Bucket } from '../../core/clicks/stream.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';

/** The greatest difference between the clocks of collectors and loader: NTP keeps machines within a fraction of it. */
export const CLOCK_SKEW_BOUND_MS = 500;
/** How often the watermark is computed and written. */
const PROBE_INTERVAL_MS = 1_000;
/**
 * A reading lies between two writes that NATS acknowledged within this time: no leader of its streams is elected in it
 * (at least 4 s, nats-server 2.x), so none that was read from can have been replaced by one that takes clicks.
 */
const MAX_READING_MS = 3_000;
/**
 * So many ended leases of a shard stay in NATS and in its checkpoint; a node number is used again after 65,536 of all. Each
 * is read once a second: with all 16 shards they are 800.
 */
export const REMEMBERED_LEASES = 50;

/**
 * The time up to which every click is in the stream, Unix milliseconds, from leases read at `nowMs`.
 * A lease opened after that holds no click older than `nowMs`, give or take the clocks' difference.
 */
export function heldFrom(leases: readonly Pick<Lease, 'state' | 'heldFromMs'>[], nowMs: number): number {
  return leases
    .filter((lease) => lease.state === 'open')
    .reduce((least, lease) => Math.min(least, lease.heldFromMs), nowMs - CLOCK_SKEW_BOUND_MS);
}

/** The ended leases of one shard that NATS can forget: all but those that ended last. */
export function forgettable<L extends Pick<Lease, 'state' | 'updatedAtMs'>>(leases: readonly L[]): L[] {
  return leases
    .filter((lease) => lease.state !== 'open')
    .sort((a, b) => b.updatedAtMs - a.updatedAtMs)
    .slice(REMEMBERED_LEASES);
}

/** What is known of the clicks in flight, read in this order. */
export interface ClicksInFlight {
  /** Unix milliseconds before the leases were read. */
  readonly atMs: number;
  readonly leases: readonly Lease[];
  /** The shards that exist. One that is made later has no click that is older than `atMs`. */
  readonly shards: readonly number[];
}

/** How long one reading serves the loaders of a process: each needs one a second, and NATS keeps hundreds of leases. */
const SHARED_MS = 250;

/** Reads {@link ClicksInFlight}; several loaders share what was read a moment ago. */
export function createClicksReader(options: {
  leases: Bucket;
  shards: () => Promise<readonly number[]>;
  now: () => number;
}): () => Promise<ClicksInFlight> {
  const { leases, shards, now } = options;
  let last: { atMs: number; read: Promise<ClicksInFlight> } | undefined;

  async function read(atMs: number): Promise<ClicksInFlight> {
    const listed = await listLeases(leases);
    return { atMs, leases: listed, shards: await shards() };
  }

  return async () => {
    const atMs = now();
    if (last && Math.abs(atMs - last.atMs) < SHARED_MS) return await last.read;
    const begun = { atMs, read: read(atMs) };
    last = begun;
    // A failure is not shared with later callers.
    begun.read.catch(() => {
      if (last === begun) last = undefined;
    });
    return await begun.read;
  };
}

/**
 * Publishes the watermark of a shard: it reads the leases, *then* the stream's last sequence, and writes the time to the
 * warehouse once the loader's checkpoint has passed that sequence. It only moves forward.
 *
 * Figures are complete up to the least watermark of all shards, so every shard that exists has a row before any shard's
 * time is published: one that has no loader yet holds the others back from the time at which its stream was made.
 */
export function createWatermarkWriter(options: {
  warehouse: Warehouse;
  shard: number;
  clicks: () => Promise<ClicksInFlight>;
  stream: (shard: number) => Promise<Pick<ClicksStreamState, 'created' | 'lastSeq'>>;
  /** A write that the majority of NATS's servers must take: one that is cut off from them answers reads for some seconds. */
  confirm: () => Promise<unknown>;
  /** Removes a lease from NATS that is kept in the warehouse. */
  forget: (lease: Lease) => Promise<void>;
  now: () => number;
}) {
  const { warehouse, shard, clicks, stream, confirm, forget, now } = options;
  let waiting:
    | { life: string; ended: Lease[]; sealed: Set<number>; completeTo: number; streamSeq: number }
    | undefined;
  /** Nodes of the shard's sealed leases in the warehouse; read at the first probe. */
  let sealed: Set<number> | undefined;
  let sealedNodes: ReadonlySet<number> = new Set();
  let published = 0;
  /** Shards that have a row. */
  let begun: ReadonlySet<number> = new Set();
  let probedAt = Number.NEGATIVE_INFINITY;

  async function probe(life: string): Promise<void> {
    if (waiting?.life === life) return;
    // A sequence of the stream's earlier life says nothing about this one.
    waiting = undefined;
    if (Math.abs(now() - probedAt) < PROBE_INTERVAL_MS) return;
    const begunAtMs = performance.now();
    await confirm();
    const { atMs, leases, shards } = await clicks();
    sealed ??= await readSealedNodes(warehouse, shard);
    const own = leases.filter((lease) => shardOfLease(lease) === shard);
    // A number that is leased again has clicks to come, which the checkpoint must know.
    const leased = new Set(own.map(({ node }) => node));
    const { created, lastSeq } = await stream(shard);
    checkStreamLife(shard, created, life);
    await confirm();
    if (performance.now() - begunAtMs > MAX_READING_MS) return;
    await begin(shards);
    waiting = {
      life,
      ended: forgettable(own),
      sealed: new Set([...sealed].filter((node) => !leased.has(node))),
      completeTo: heldFrom(own, atMs),
      streamSeq: lastSeq,
    };
    probedAt = atMs;
  }

  /** Gives the shards that have no row one that holds the figures back at the time their stream was made. */
  async function begin(shards: readonly number[]): Promise<void> {
    if (shards.every((one) => begun.has(one) || one === shard)) return;
    begun = await readShards(warehouse);
    const missing = shards.filter((one) => !begun.has(one));
    if (missing.length === 0) return;
    const rows = missing.map(async (one) => {
      const { created } = await stream(one);
      const completeTo = Date.parse(created) - CLOCK_SKEW_BOUND_MS;
      return watermarkRow({ shard: one, completeTo, streamSeq: 0, nowMs: now() });
    });
    await warehouse.insertRows('watermarks', await Promise.all(rows));
    begun = new Set([...begun, ...missing]);
  }

  /** The checkpoint has passed every click of these leases: the audit's figures of them go to the warehouse. */
  async function seal(ended: readonly Lease[]): Promise<void> {
    if (ended.length === 0) return;
    await warehouse.insertRows('sealed_leases', ended.map(sealedRow));
    for (const lease of ended) {
      await forget(lease);
      sealed?.add(lease.node);
    }
  }

  return {
    /**
     * To be called after every block and when idle, with the recorded checkpoint.
     * @throws OperatingError `stream_replaced` when the checkpoint's stream is not the one that exists.
     */
    async advance(checkpoint: { readonly stream: string; readonly seq: number }): Promise<void> {
      await probe(checkpoint.stream);
      if (!waiting || checkpoint.seq < waiting.streamSeq) return;
      const { ended, completeTo, streamSeq } = waiting;
      // Not before: a checkpoint that was rebuilt meets batches of sealed leases again.
      sealedNodes = waiting.sealed;
      await seal(ended);
      waiting = undefined;
      if (completeTo <= published) return;
      await warehouse.insertRows('watermarks', [
        watermarkRow({ shard, completeTo, streamSeq, nowMs: now() }),
      ]);
      published = completeTo;
    },
    /** The time that this process published last, Unix milliseconds; 0 before the first time. */
    published: () => published,
    /** Nodes of the leases that ended long ago and have all their clicks below the checkpoint. */
    sealedNodes: (): ReadonlySet<number> => sealedNodes,
  };
}

export type WatermarkWriter = ReturnType<typeof createWatermarkWriter>;

function sealedRow(lease: Lease) {
  return {
    node: lease.node,
    started_at: timeText(lease.startedAtMs),
    ended_at: timeText(lease.updatedAtMs),
    next_seq: lease.nextSeq,
    state: lease.state,
    shard: shardOfLease(lease),
  };
}

function watermarkRow(row: { shard: number; completeTo: number; streamSeq: number; nowMs: number }) {
  return {
    shard: row.shard,
    complete_to: timeText(row.completeTo),
    stream_seq: row.streamSeq,
    updated_at: timeText(row.nowMs),
  };
}

/** The shards that were ever published for: the least of their watermarks is that of all figures. */
export async function readShards(warehouse: Warehouse): Promise<Set<number>> {
  const { rows } = await warehouse.query<{ shard: number }>('SELECT DISTINCT shard FROM watermarks');
  return new Set(rows.map(({ shard }) => shard));
}

async function readSealedNodes(warehouse: Warehouse, shard: number): Promise<Set<number>> {
  const { rows } = await warehouse.query<{ node: number }>(
    'SELECT DISTINCT node FROM sealed_leases WHERE shard = {shard:UInt16}',
    { shard },
  );
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
