import { Counter, Gauge, type Registry } from 'prom-client';
import type { Committer } from './committer.ts';
import type { LinkStore } from './links.ts';

/** Registers what the collector knows; every value is read when it is scraped. */
export function registerCollectorMetrics(options: {
  metrics: Registry;
  committer: Committer;
  links: LinkStore;
}): void {
  const { metrics, committer, links } = options;
  const { stats } = committer;
  const counter = (name: string, help: string, read: () => number): void => {
    new Counter({
      name: `afflux_collector_${name}_total`,
      help,
      registers: [metrics],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name: `afflux_collector_${name}`,
      help,
      registers: [metrics],
      collect() {
        this.set(read());
      },
    });
  };
  counter('clicks_committed', 'Clicks acknowledged by the stream', () => stats.clicksCommitted);
  counter('batches_committed', 'Batches acknowledged by the stream', () => stats.batchesCommitted);
  counter(
    'publish_failures',
    'Publishes that were not acknowledged and were tried again',
    () => stats.publishFailures,
  );
  counter(
    'refused_late',
    'Clicks answered 503 because no acknowledgement came in time',
    () => stats.refusedLate,
  );
  counter(
    'refused_full',
    'Clicks answered 503 because too many batches were in flight',
    () => stats.refusedFull,
  );
  gauge('batches_in_flight', 'Batches published and not yet acknowledged', () => stats.inFlight);
  gauge('links', 'Links in memory', () => links.size);
  gauge('links_age_seconds', 'Time since the links were last compared with PostgreSQL', () =>
    links.freshAtMs === 0 ? Number.POSITIVE_INFINITY : (Date.now() - links.freshAtMs) / 1_000,
  );
}
