import type { JetStreamClient } from '@nats-io/jetstream';
import type { ClicksStreamState } from '../../core/clicks/shards.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import type { KnownLeases, LeaseSpan } from '../watermark/known-leases.ts';
import type { StreamMessage } from './batch.ts';
import { type Block, type Checkpoint, type InsertIntent, rebuildBlock } from './block.ts';
import type { EarlierLayouts } from './layouts.ts';
import type { LoaderState, LoaderStore } from './loader-store.ts';
import { openReader } from './reader.ts';
import type { SeqRanges } from './seq-ranges.ts';

/** How long a message of a recorded intent can take to arrive before it counts as gone from the stream. */
const REREAD_TIMEOUT_MS = 10_000;

/** A loader's place in the stream, and the revisions that its next compare-and-sets must find. */
export interface Position {
  readonly checkpoint: Checkpoint;
  readonly intentRevision: number;
  readonly checkpointRevision: number;
}

/**
 * The recorded checkpoint, or a new one: for a new stream, or when the record is gone. Then it is made from the
 * warehouse, so that clicks loaded before are recognised instead of loaded twice.
 */
export async function establishCheckpoint(options: {
  state: LoaderState;
  stream: ClicksStreamState;
  store: LoaderStore;
  warehouse: Warehouse;
  leases: KnownLeases;
  log: Logger;
}): Promise<Position> {
  const { state, stream, store, warehouse, leases, log } = options;
  const recorded = state.checkpoint.value;
  if (recorded?.stream === stream.created) {
    return {
      checkpoint: recorded,
      intentRevision: state.intent.revision,
      checkpointRevision: state.checkpoint.revision,
    };
  }
  if (recorded) log.error({ was: recorded.stream, is: stream.created }, 'the clicks stream was replaced');
  const accepted =
    recorded?.accepted ?? (await storedSince(warehouse, stream.created, await leases.latest()));
  if (!recorded && accepted.size > 0) {
    log.error({ leases: accepted.size }, 'the checkpoint was missing; rebuilt from the stored clicks');
  }
  const checkpoint: Checkpoint = { stream: stream.created, seq: 0, accepted };
  // An intent that outlived its checkpoint is covered by the stored clicks.
  const intentRevision = state.intent.value
    ? await store.recordIntent({ ...state.intent.value, stream: 'none' }, state.intent.revision)
    : state.intent.revision;
  const checkpointRevision = await store.advanceCheckpoint(checkpoint, state.checkpoint.revision);
  return { checkpoint, intentRevision, checkpointRevision };
}

/**
 * The `seq` ranges that the warehouse holds of the shard's leases since the stream exists: of each node number the latest,
 * for it had others before, in this shard and in others, whose numbers counted from 0 as well.
 */
async function storedSince(
  warehouse: Warehouse,
  created: string,
  leases: ReadonlyMap<number, LeaseSpan>,
): Promise<Map<number, SeqRanges>> {
  if (leases.size === 0) return new Map();
  const nodes = [...leases.keys()].join();
  const { rows } = await warehouse.query<{ node: number; from: number; to: number }>(
    `SELECT node, min(seq) AS from, max(seq) AS to
     FROM (
       SELECT node, seq, toInt64(seq) - row_number() OVER (PARTITION BY node ORDER BY seq) AS island
       FROM (
         SELECT DISTINCT node, seq FROM clicks
         WHERE ts >= fromUnixTimestamp64Milli({since:Int64}) AND node IN (${nodes})
           AND toUnixTimestamp64Milli(ts) >= ${timesOf(leases, ({ fromMs }) => fromMs)}
           AND toUnixTimestamp64Milli(ts) <= ${timesOf(leases, ({ toMs }) => toMs)}
       )
     )
     GROUP BY node, island ORDER BY node, from`,
    { since: Date.parse(created) },
    { max_query_size: 16 * 1024 * 1024 },
  );
  const stored = new Map<number, [number, number][]>();
  for (const { node, from, to } of rows) stored.set(node, [...(stored.get(node) ?? []), [from, to]]);
  return stored;
}

/** SQL: one time of the lease of `node`, Unix milliseconds. An open lease has no end. */
function timesOf(leases: ReadonlyMap<number, LeaseSpan>, time: (span: LeaseSpan) => number): string {
  const times = [...leases.values()].map((span) => Math.min(time(span), Number.MAX_SAFE_INTEGER));
  return `transform(node, [${[...leases.keys()].join()}], [${times.join()}], 0)`;
}

/** The recorded intent, unless the checkpoint shows that its block is loaded. */
export function pendingIntent(
  intent: InsertIntent | undefined,
  checkpoint: Checkpoint,
): InsertIntent | undefined {
  if (!intent || intent.stream !== checkpoint.stream || intent.hi <= checkpoint.seq) return undefined;
  if (intent.lo === checkpoint.seq + 1) return intent;
  throw new OperatingError(
    'loader_state_broken',
    `insert ${intent.token} does not follow the checkpoint ${checkpoint.seq}: the loader's records were changed by hand`,
  );
}

/** Reads the block of a recorded intent from the stream again. */
export async function rereadBlock(options: {
  js: JetStreamClient;
  shard: number;
  intent: InsertIntent;
  checkpoint: Checkpoint;
  layouts: EarlierLayouts;
}): Promise<Block> {
  const { js, shard, intent, checkpoint, layouts } = options;
  const reader = await openReader({ js, shard, startSeq: intent.lo });
  const messages: StreamMessage[] = [];
  try {
    for (;;) {
      const message = await reader.next(REREAD_TIMEOUT_MS);
      if (!message || message.seq > intent.hi) break;
      messages.push(message);
      if (message.seq === intent.hi) break;
    }
  } finally {
    await reader.close();
  }
  return rebuildBlock({ intent, checkpoint, messages, layouts });
}
