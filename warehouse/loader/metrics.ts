import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** The loader's metrics; all of them are named `afflux_loader_*`. */
export function createLoaderMetrics(registry: Registry) {
  const registers = [registry];
  /** The source of the gauges, read at every scrape. */
  const progress = { lastSeq: 0, checkpointSeq: 0, completeTo: 0 };
  new Gauge({
    name: 'afflux_loader_lag_messages',
    help: 'Messages of the clicks stream that the checkpoint has not reached',
    registers,
    collect() {
      this.set(Math.max(0, progress.lastSeq - progress.checkpointSeq));
    },
  });
  new Gauge({
    name: 'afflux_loader_freshness_seconds',
    help: 'Age of the watermark: every older click is in the warehouse',
    registers,
    collect() {
      if (progress.completeTo > 0) this.set((Date.now() - progress.completeTo) / 1_000);
    },
  });
  return {
    progress,
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
