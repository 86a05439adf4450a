import { Histogram, type Registry } from 'prom-client';
import { countByLabelOnScrape, countOnScrape, gaugeOnScrape } from '../core/service/metrics.ts';
import type { FlagCounts, OutcomeCounts } from './clicks/outcomes.ts';
import type { CommittedBatch, CommitterStats } from './durability/committer.ts';
import type { ShardStores } from './durability/shard-stores.ts';
import type { LinkStore } from './links/links.ts';

/** Registers the collector's metrics. */
export function registerCollectorMetrics(options: {
  registry: Registry;
  committer: { stats(): CommitterStats };
  stores: ShardStores;
  links: LinkStore;
  outcomes: OutcomeCounts;
  flagCounts: FlagCounts;
}): void {
  const { registry, committer, stores, links, outcomes, flagCounts } = options;
  countByLabelOnScrape(
    registry,
    { name: 'afflux_collector_requests_total', help: 'Requests for links by outcome', label: 'outcome' },
    () => outcomes,
  );
  countByLabelOnScrape(
    registry,
    { name: 'afflux_collector_flags_total', help: 'Clicks recorded under each flag', label: 'flag' },
    () => flagCounts.byName(),
  );
  const counter = (name: string, help: string, read: () => number): void =>
    countOnScrape(registry, `afflux_collector_${name}_total`, help, read);
  const gauge = (name: string, help: string, read: () => number): void =>
    gaugeOnScrape(registry, `afflux_collector_${name}`, help, read);
  counter('clicks_committed', 'Clicks acknowledged by the stream', () => committer.stats().clicksCommitted);
  counter(
    'batches_committed',
    'Batches acknowledged by the stream',
    () => committer.stats().batchesCommitted,
  );
  counter(
    'refused_unstored',
    'Clicks answered 503: neither stream nor spool could store them',
    () => committer.stats().refusedUnstored,
  );
  counter(
    'refused_full',
    'Clicks answered 503: too many batches were in flight',
    () => committer.stats().refusedFull,
  );
  counter(
    'publish_failures',
    'Publishes the stream did not acknowledge in time',
    () => stores.stats().publishFailures,
  );
  counter('spooled_clicks', 'Clicks made durable in the spool', () => stores.stats().spooledClicks);
  counter('spooled_batches', 'Batches made durable in the spool', () => stores.stats().spooledBatches);
  counter(
    'replayed_batches',
    'Spooled batches the stream has acknowledged',
    () => stores.stats().replayedBatches,
  );
  counter(
    'spool_damaged_bytes',
    'Bytes in the spool outside of whole records',
    () => stores.stats().damagedBytes,
  );
  counter('spool_full', 'Batches the spool refused at its limit', () => stores.stats().refusedFull);
  gauge('spool_bytes', 'Bytes waiting in the spool', () => stores.stats().bytes);
  gauge(
    'spool_reserve_bytes',
    'Room written ahead, which a full disk still takes clicks in; 0 while it is used or cannot be made',
    () => stores.stats().reserveBytes,
  );
  gauge('spool_segments', 'Segments waiting in the spool', () => stores.stats().segments);
  gauge('spool_age_seconds', 'Age of the oldest click in the spool', () => spoolAgeSeconds(stores));
  gauge('stream_up', '1 while the streams of all shards acknowledge batches', () =>
    stores.isStreamUp() ? 1 : 0,
  );
  gauge('batches_in_flight', 'Batches published and not yet acknowledged', () => committer.stats().inFlight);
  gauge(
    'clock_off_seconds',
    'How far the clock is at least ahead of that of PostgreSQL; below 0: behind',
    () => links.clockOffMs / 1_000,
  );
  gauge('links', 'Links in memory', () => links.size);
  gauge('blocks', 'Entries of the block lists in memory', () => links.blocks.size);
  gauge(
    'asns_missing',
    '1 while entries of autonomous systems are not applied: their list is not read yet, or cannot be',
    () => (links.lacksAsns ? 1 : 0),
  );
  gauge('links_age_seconds', 'Time since the links were last compared with PostgreSQL', () =>
    links.freshAtMs === 0 ? Number.POSITIVE_INFINITY : (Date.now() - links.freshAtMs) / 1_000,
  );
}

/** Times from a batch's first click to its durability: below a millisecond alone, above 0.25 s through the spool. */
const COMMIT_BUCKETS_S = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1];
const BATCH_BUCKETS = [1, 4, 16, 64, 256, 1_024, 4_096];

/** Registers histograms of commit latency and batch size; returns the function that observes a batch. */
export function observeCommits(
  registry: Registry,
): (batch: Pick<CommittedBatch, 'rows'>, tookMs: number) => void {
  const latency = new Histogram({
    name: 'afflux_collector_commit_seconds',
    help: 'Time from the first click of a batch until it is durable',
    buckets: COMMIT_BUCKETS_S,
    registers: [registry],
  });
  const size = new Histogram({
    name: 'afflux_collector_batch_clicks',
    help: 'Clicks in a batch',
    buckets: BATCH_BUCKETS,
    registers: [registry],
  });
  return ({ rows }, tookMs) => {
    latency.observe(tookMs / 1_000);
    size.observe(rows);
  };
}

function spoolAgeSeconds(stores: ShardStores): number {
  const oldest = stores.spooledNodes().flatMap((node) => stores.oldestHeldMs(node) ?? []);
  return oldest.length === 0 ? 0 : Math.max(0, Date.now() - Math.min(...oldest)) / 1_000;
}
