import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Telemetry } from '../../core/telemetry/telemetry.ts';
import type { Block } from './block.ts';

/** How far the loader of a shard has come: stream sequences, and its watermark in Unix milliseconds. */
export interface Progress {
  lastSeq: number;
  checkpointSeq: number;
  completeTo: number;
}

/** The loader's metrics; all of them are named `afflux_loader_*`. */
export function createLoaderMetrics(registry: Registry) {
  const registers = [registry];
  /** The source of the gauges, read at every scrape: the shards that this loader leads. */
  const progress = new Map<number, Progress>();
  new Gauge({
    name: 'afflux_loader_lag_messages',
    help: 'Messages of a shard of the click stream that its checkpoint has not reached',
    labelNames: ['shard'] as const,
    registers,
    collect() {
      this.reset();
      for (const [shard, { lastSeq, checkpointSeq }] of progress) {
        this.set({ shard }, Math.max(0, lastSeq - checkpointSeq));
      }
    },
  });
  new Gauge({
    name: 'afflux_loader_freshness_seconds',
    help: 'Age of the watermark of a shard: every older click of it is in the warehouse',
    labelNames: ['shard'] as const,
    registers,
    collect() {
      this.reset();
      for (const [shard, { completeTo }] of progress) {
        if (completeTo > 0) this.set({ shard }, (Date.now() - completeTo) / 1_000);
      }
    },
  });
  return {
    /** The progress of a shard that this loader leads from now on; `forget` ends it. */
    lead(shard: number): Progress {
      const begun: Progress = { lastSeq: 0, checkpointSeq: 0, completeTo: 0 };
      progress.set(shard, begun);
      return begun;
    },
    forget(shard: number): void {
      progress.delete(shard);
    },
    rows: new Counter({ name: 'afflux_loader_rows_total', help: 'Clicks loaded', registers }),
    blocks: new Counter({ name: 'afflux_loader_blocks_total', help: 'Blocks loaded', registers }),
    insertSeconds: new Histogram({
      name: 'afflux_loader_insert_seconds',
      help: 'Duration of the INSERT of a block',
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    deadLetters: new Counter({
      name: 'afflux_loader_dead_letters_total',
      help: 'Messages set aside, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    repeatedBatches: new Counter({
      name: 'afflux_loader_repeated_batches_total',
      help: 'Batches skipped because their clicks were loaded before',
      registers,
    }),
    missingMessages: new Counter({
      name: 'afflux_loader_missing_messages_total',
      help: 'Messages that left the stream before they were loaded',
      registers,
    }),
    retries: new Counter({
      name: 'afflux_loader_retries_total',
      help: 'Times the loader started over from its recorded state, by error code',
      labelNames: ['code'] as const,
      registers,
    }),
  };
}

export type LoaderMetrics = ReturnType<typeof createLoaderMetrics>;

/** Batches of a block that have spans; a block of more is one of a backlog. */
const MAX_TRACED_BATCHES = 1_024;
/** Batches that a block's span has links to; the SDK keeps no more. */
const MAX_LINKS = 128;

/**
 * Sends a span for each block, with links to its batches, and in the traces of these one for their loading, with a link to
 * the block.
 */
export function traceBlocks(telemetry: Telemetry): (block: Block, tookMs: number) => void {
  const { ids } = telemetry;
  return ({ intent, batches }, tookMs) => {
    const block = ids.block(intent.token);
    const attributes = { 'afflux.block': intent.token };
    const traced = batches.slice(0, MAX_TRACED_BATCHES).map((batch) => ({
      ...batch,
      spans: ids.batch(batch.node, batch.firstSeq, batch.rows),
    }));
    telemetry.record({
      ...block,
      name: 'click block',
      kind: 'consumer',
      links: traced.flatMap(({ spans }) => spans).slice(0, MAX_LINKS),
      attributes: { ...attributes, 'afflux.clicks': intent.rows, 'afflux.batches': batches.length },
      tookMs,
    });
    for (const { node, firstSeq, rows, spans } of traced) {
      for (const [i, loading] of ids.loading(node, firstSeq, rows).entries()) {
        const about = {
          ...attributes,
          'afflux.node': node,
          'afflux.first_seq': firstSeq,
          'afflux.clicks': rows,
        };
        const place = { ...loading, parent: spans[i], links: [block] };
        telemetry.record({ ...place, name: 'batch loading', kind: 'consumer', attributes: about, tookMs });
      }
    }
  };
}
