import { setTimeout as delay } from 'node:timers/promises';
import { clicksSubject } from '../../core/clicks/shards.ts';
import { connectNats, ensureStreams } from '../../core/clicks/stream.ts';
import { HOUR_MS } from '../../core/time.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { runReport } from '../../warehouse/reports/reports.ts';
import { BATCH_ROWS, batchMaker, leaseNode } from './batches.ts';

/** A steady day's peak on two cores, which also run the engines and this benchmark. */
const CLICKS_PER_SECOND = 50_000;
const SECONDS = 20;
const NODE = 60_001;
const POLL_MS = 20;

/** How long a click took from its publication to the report, milliseconds. */
export interface Freshness {
  readonly clicksPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Publishes clicks at a steady pace while reports are read one after the other. A click counts as seen once a report
 * has at least as many clicks as were published up to it.
 */
export async function measureFreshness(options: {
  warehouse: Warehouse;
  natsUrl: string;
}): Promise<Freshness> {
  const { warehouse, natsUrl } = options;
  // The backlog's last block reaches the report a moment after the table it was counted in.
  const { rows } = await warehouse.query<{ stored: string }>('SELECT count() AS stored FROM clicks');
  const base = Number(rows[0]?.stored);
  while ((await reportedClicks(warehouse)) < base) await delay(POLL_MS);
  const nc = await connectNats({ url: natsUrl, name: 'bench' });
  const js = (await ensureStreams(nc)).jetstream();
  await leaseNode(nc, NODE);
  const makeBatch = batchMaker(NODE);
  /** When each batch was acknowledged. */
  const publishedAt: number[] = [];
  const delays: number[] = [];
  const batches = (CLICKS_PER_SECOND * SECONDS) / BATCH_ROWS;

  async function publish(): Promise<void> {
    const startedAt = performance.now();
    for (let i = 0; i < batches; i++) {
      const due = startedAt + (i * BATCH_ROWS * 1_000) / CLICKS_PER_SECOND;
      await delay(Math.max(0, due - performance.now()));
      const { payload, options: how } = makeBatch(i * BATCH_ROWS);
      await js.publish(clicksSubject(0), payload, how);
      publishedAt.push(performance.now());
    }
  }

  const publishing = publish();
  while (delays.length < batches) {
    await delay(POLL_MS);
    const seen = ((await reportedClicks(warehouse)) - base) / BATCH_ROWS;
    const now = performance.now();
    while (delays.length < seen) {
      const at = publishedAt[delays.length];
      if (at === undefined) throw new Error('the report shows clicks that were not published');
      delays.push(now - at);
    }
  }
  await publishing;
  await nc.close();
  delays.sort((a, b) => a - b);
  const at = (share: number): number => delays[Math.floor(share * (delays.length - 1))] ?? 0;
  return { clicksPerSecond: CLICKS_PER_SECOND, p50Ms: at(0.5), p99Ms: at(0.99) };
}

async function reportedClicks(warehouse: Warehouse): Promise<number> {
  const now = Date.now();
  const { rows } = await runReport(warehouse, {
    from: new Date(now - 24 * HOUR_MS),
    to: new Date(now + HOUR_MS),
    groupBy: [],
    metrics: ['clicks'],
    limit: 1,
  });
  return Number(rows[0]?.clicks ?? 0);
}
