import type { Registry } from 'prom-client';
import { countByLabelOnScrape, countOnScrape } from '../core/service/metrics.ts';
import type { WorkerStats } from './worker/worker.ts';

/** Registers the counts of the worker. */
export function registerAttributionMetrics(registry: Registry, stats: WorkerStats): void {
  countByLabelOnScrape(
    registry,
    { name: 'afflux_attribution_decided_total', help: 'Conversions decided, by outcome', label: 'outcome' },
    () => stats.decided,
  );
  countOnScrape(
    registry,
    'afflux_attribution_postponed_total',
    'Times a conversion was taken and put off: its click or an order before it is missing, or it could not be read or written. Looks at new orders, and the time without ClickHouse, do not count',
    () => stats.postponed,
  );
  countOnScrape(
    registry,
    'afflux_attribution_failed_total',
    'Times a decision failed and will be tried again',
    () => stats.failed,
  );
}
