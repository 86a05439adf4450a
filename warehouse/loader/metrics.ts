import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

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
