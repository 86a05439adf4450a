import { accept, type Batch } from './batch.ts';
import { type Block, blockToken, type Checkpoint } from './block.ts';
import { type SeqRanges, withRange } from './seq-ranges.ts';

/**
 * A smaller block in place of one that ClickHouse refuses and holds nothing of: its first half, or, when it is down to
 * one batch, the same block without that batch, which becomes a dead letter. Repeated, it ends at the bad batches and
 * loads all others, each time through a recorded intent.
 */
export function bisect(options: {
  block: Block;
  checkpoint: Checkpoint;
  shard: number;
  detail: string;
}): Block {
  const { block, checkpoint, shard, detail } = options;
  const [only] = block.batches;
  if (block.batches.length === 1 && only) return withoutBatch(block, checkpoint, only, detail);
  const batches = block.batches.slice(0, Math.floor(block.batches.length / 2));
  const hi = batches.at(-1)?.message.seq ?? block.intent.hi;
  const accepted = new Map(checkpoint.accepted);
  for (const batch of batches) accept(accepted, batch);
  return {
    intent: {
      ...block.intent,
      token: blockToken(shard, checkpoint, hi),
      hi,
      rows: batches.reduce((sum, { rows }) => sum + rows, 0),
      skipped: upTo(block.intent.skipped, hi),
    },
    batches,
    rejects: [],
    repeated: 0,
    checkpointAfter: { stream: checkpoint.stream, seq: hi, accepted },
  };
}

function withoutBatch(block: Block, checkpoint: Checkpoint, batch: Batch, detail: string): Block {
  const { seq } = batch.message;
  return {
    intent: { ...block.intent, rows: 0, skipped: withRange(block.intent.skipped, seq, seq) },
    batches: [],
    rejects: [{ message: batch.message, reason: 'refused', detail }],
    repeated: 0,
    checkpointAfter: { stream: checkpoint.stream, seq: block.intent.hi, accepted: checkpoint.accepted },
  };
}

function upTo(ranges: SeqRanges, hi: number): SeqRanges {
  return ranges
    .filter(([from]) => from <= hi)
    .map(([from, to]): readonly [number, number] => [from, Math.min(to, hi)]);
}
