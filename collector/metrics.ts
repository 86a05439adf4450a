import type { Registry } from 'prom-client';
import { countByLabelOnScrape, countOnScrape, gaugeOnScrape } from '../core/metrics.ts';
import type { Committer } from './committer.ts';
import type { LinkStore } from './links.ts';
import type { OutcomeCounts } from './outcomes.ts';

/** Registers what the collector knows. */
export function registerCollectorMetrics(options: {
  registry: Registry;
  committer: Committer;
  links: LinkStore;
  outcomes: OutcomeCounts;
}): void {
  const { registry, committer, links, outcomes } = options;
  const { stats } = committer;
  countByLabelOnScrape(
    registry,
    { name: 'afflux_collector_requests_total', help: 'Requests for links by outcome', label: 'outcome' },
    () => outcomes,
  );
  const counter = (name: string, help: string, read: () => number): void =>
    countOnScrape(registry, `afflux_collector_${name}_total`, help, read);
  const gauge = (name: string, help: string, read: () => number): void =>
    gaugeOnScrape(registry, `afflux_collector_${name}`, help, read);
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
