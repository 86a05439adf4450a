import type { JetStreamClient } from '@nats-io/jetstream';
import { OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import type { StreamMessage } from './batch.ts';
import { type Block, type Mark, type Plan, rebuildBlock } from './block.ts';
import type { ClicksStreamState } from './clicks-stream.ts';
import type { LoaderState, LoaderStore } from './loader-state.ts';
import { openReader } from './reader.ts';
import type { SeqRanges } from './seq-ranges.ts';

/** How long a message of a recorded plan may take to arrive before it counts as gone from the stream. */
const REREAD_TIMEOUT_MS = 10_000;

/** Where a loader stands: the mark, and the revisions its next compare-and-sets must find. */
export interface Position {
  readonly mark: Mark;
  readonly planRevision: number;
  readonly markRevision: number;
}

/**
 * The recorded mark, or a new one: for a new stream, or when the record is gone. Then it is made from the
 * warehouse, so that what is loaded already is recognised instead of loaded twice.
 */
export async function establishMark(options: {
  state: LoaderState;
  stream: ClicksStreamState;
  store: LoaderStore;
  warehouse: Warehouse;
  log: Logger;
}): Promise<Position> {
  const { state, stream, store, warehouse, log } = options;
  const recorded = state.mark.value;
  if (recorded?.stream === stream.created) {
    return { mark: recorded, planRevision: state.plan.revision, markRevision: state.mark.revision };
  }
  if (recorded) log.error({ was: recorded.stream, is: stream.created }, 'the clicks stream was replaced');
  const taken = recorded?.taken ?? (await takenSince(warehouse, stream.created));
  if (!recorded && taken.size > 0)
    log.error({ leases: taken.size }, 'the mark is gone; made again from the clicks');
  const mark: Mark = { stream: stream.created, seq: 0, taken };
  // A plan that outlived its mark is covered by what the warehouse holds.
  const planRevision = state.plan.value
    ? await store.recordPlan({ ...state.plan.value, stream: 'none' }, state.plan.revision)
    : state.plan.revision;
  return { mark, planRevision, markRevision: await store.advanceMark(mark, state.mark.revision) };
}

/** What the warehouse holds of clicks made since the stream exists. */
async function takenSince(warehouse: Warehouse, created: string): Promise<Map<number, SeqRanges>> {
  const { rows } = await warehouse.query<{ node: number; from: number; to: number }>(
    `SELECT node, min(seq) AS from, max(seq) AS to
     FROM (
       SELECT node, seq, toInt64(seq) - row_number() OVER (PARTITION BY node ORDER BY seq) AS island
       FROM (SELECT DISTINCT node, seq FROM clicks WHERE ts >= fromUnixTimestamp64Milli({since:Int64}))
     )
     GROUP BY node, island ORDER BY node, from`,
    { since: Date.parse(created) },
  );
  const taken = new Map<number, [number, number][]>();
  for (const { node, from, to } of rows) taken.set(node, [...(taken.get(node) ?? []), [from, to]]);
  return taken;
}

/** The recorded plan, when its block may not be loaded yet. */
export function pendingPlan(plan: Plan | undefined, mark: Mark): Plan | undefined {
  if (!plan || plan.stream !== mark.stream || plan.hi <= mark.seq) return undefined;
  if (plan.lo === mark.seq + 1) return plan;
  throw new OperatingError(
    'loader_state_broken',
    `the plan ${plan.token} does not follow the mark ${mark.seq}: the loader's records were changed by hand`,
  );
}

/** Reads a planned block from the stream again. */
export async function rereadBlock(options: {
  js: JetStreamClient;
  shard: number;
  plan: Plan;
  mark: Mark;
}): Promise<Block> {
  const { js, shard, plan, mark } = options;
  const reader = await openReader({ js, shard, startSeq: plan.lo });
  const messages: StreamMessage[] = [];
  try {
    for (;;) {
      const message = await reader.next(REREAD_TIMEOUT_MS);
      if (!message || message.seq > plan.hi) break;
      messages.push(message);
      if (message.seq === plan.hi) break;
    }
  } finally {
    await reader.close();
  }
  return rebuildBlock({ plan, mark, messages });
}
