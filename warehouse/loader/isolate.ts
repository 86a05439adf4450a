import { headers as createHeaders } from '@nats-io/transport-node';
import { CLICK_RECORD_VERSION } from '../../core/clicks/click-record.ts';
import { BatchHeader } from '../../core/clicks/stream.ts';
import { type Batch, type StreamMessage, take } from './batch.ts';
import { type Block, blockToken, type Mark } from './block.ts';
import { type SeqRanges, withRange } from './seq-ranges.ts';

/**
 * A smaller block in place of one that ClickHouse refuses and holds nothing of: its first half, or, when it is down to
 * one batch, the same block without that batch, which becomes a dead letter. Repeated, it ends at the bad batches and
 * loads all others, each time through a recorded plan.
 */
export function isolate(options: { block: Block; mark: Mark; shard: number; detail: string }): Block {
  const { block, mark, shard, detail } = options;
  const [only] = block.batches;
  if (block.batches.length === 1 && only) return withoutBatch(block, mark, only, detail);
  const batches = block.batches.slice(0, Math.floor(block.batches.length / 2));
  const hi = batches.at(-1)?.streamSeq ?? block.plan.hi;
  const taken = new Map(mark.taken);
  for (const batch of batches) take(taken, batch);
  return {
    plan: {
      ...block.plan,
      token: blockToken(shard, mark, hi),
      hi,
      rows: batches.reduce((sum, { rows }) => sum + rows, 0),
      skipped: upTo(block.plan.skipped, hi),
    },
    batches,
    rejects: [],
    repeated: 0,
    markAfter: { stream: mark.stream, seq: hi, taken },
  };
}

function withoutBatch(block: Block, mark: Mark, batch: Batch, detail: string): Block {
  return {
    plan: {
      ...block.plan,
      rows: 0,
      skipped: withRange(block.plan.skipped, batch.streamSeq, batch.streamSeq),
    },
    batches: [],
    rejects: [{ message: asMessage(batch), reason: 'refused', detail }],
    repeated: 0,
    markAfter: { stream: mark.stream, seq: block.plan.hi, taken: mark.taken },
  };
}

/** The batch as its collector published it, but for the message id. */
function asMessage(batch: Batch): StreamMessage {
  const headers = createHeaders();
  headers.set(BatchHeader.version, String(CLICK_RECORD_VERSION));
  headers.set(BatchHeader.node, String(batch.node));
  headers.set(BatchHeader.firstSeq, String(batch.firstSeq));
  headers.set(BatchHeader.rows, String(batch.rows));
  return { seq: batch.streamSeq, headers, data: batch.data };
}

function upTo(ranges: SeqRanges, hi: number): SeqRanges {
  return ranges
    .filter(([from]) => from <= hi)
    .map(([from, to]): readonly [number, number] => [from, Math.min(to, hi)]);
}
