import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { clicksSubject } from '../../core/clicks/shards.ts';
import { connectNats, ensureStreams } from '../../core/clicks/stream.ts';
import { fromProject } from '../../core/config/paths.ts';
import { freePort } from '../../engines/engine.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { cpuMs, rssMb } from '../process-usage.ts';
import { BATCH_ROWS, batchMaker, leaseNode } from './batches.ts';
import { type Freshness, measureFreshness } from './freshness.ts';

const BACKLOG_NODE = 60_000;
const IN_FLIGHT = 32;
/** Often enough for the peaks of memory; a count takes the engine some 4 ms, which the loader's clicks wait for. */
const POLL_MS = 250;
const DEADLINE_MS = 600_000;

/** What catching up took. */
export interface Backlog {
  readonly rows: number;
  /** Without the loader's start: from the first block on, which is not counted either. */
  readonly rowsPerSecond: number;
  /** CPU a click, microseconds, by process. */
  readonly cpuUs: { readonly loader: number; readonly clickhouse: number; readonly nats: number };
  /** The most resident memory seen, megabytes. */
  readonly peakMb: { readonly loader: number; readonly clickhouse: number };
  readonly freshness: Freshness;
}

/**
 * Publishes a backlog as collectors do, starts `afflux loader`, and waits until every click is stored. Then clicks
 * arrive at a steady pace, to see how soon a report shows them.
 */
export async function catchUp(options: {
  warehouse: Warehouse;
  rows: number;
  clickhouse: { url: string; pid: number };
  nats: { url: string; pid: number };
  home: string;
  /** For the loader's Node.js, such as `--cpu-prof`. */
  nodeFlags?: readonly string[];
}): Promise<Backlog> {
  const { warehouse, clickhouse, nats, nodeFlags = [] } = options;
  const rows = Math.ceil(options.rows / BATCH_ROWS) * BATCH_ROWS;
  await publish(nats.url, rows);
  const before = await countClicks(warehouse);
  const cpuBefore = { clickhouse: cpuMs(clickhouse.pid), nats: cpuMs(nats.pid) };
  const loader = spawn(process.execPath, [...nodeFlags, fromProject('dist/bin/afflux.js'), 'loader'], {
    env: {
      ...process.env,
      AFFLUX_HOME: options.home,
      CLICKHOUSE_URL: clickhouse.url,
      NATS_URL: nats.url,
      LOADER_PORT: String(await freePort()),
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const pid = loader.pid ?? 0;
  const peakMb = { loader: 0, clickhouse: 0 };
  try {
    let first = { rows: 0, at: 0 };
    const deadline = Date.now() + DEADLINE_MS;
    for (let stored = 0; stored < rows; stored = (await countClicks(warehouse)) - before) {
      if (first.rows === 0) first = { rows: stored, at: performance.now() };
      if (loader.exitCode !== null) throw new Error(`the loader ended with code ${loader.exitCode}`);
      if (Date.now() > deadline) throw new Error(`${stored} of ${rows} clicks loaded before the deadline`);
      peakMb.loader = Math.max(peakMb.loader, rssMb(pid));
      peakMb.clickhouse = Math.max(peakMb.clickhouse, rssMb(clickhouse.pid));
      await delay(POLL_MS);
    }
    const cpuUs = (ms: number): number => (ms * 1_000) / rows;
    const backlog = {
      rows,
      rowsPerSecond: ((rows - first.rows) * 1_000) / (performance.now() - first.at),
      cpuUs: {
        loader: cpuUs(cpuMs(pid)),
        clickhouse: cpuUs(cpuMs(clickhouse.pid) - cpuBefore.clickhouse),
        nats: cpuUs(cpuMs(nats.pid) - cpuBefore.nats),
      },
      peakMb,
    };
    return { ...backlog, freshness: await measureFreshness({ warehouse, natsUrl: nats.url }) };
  } finally {
    await end(loader);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

async function countClicks(warehouse: Warehouse): Promise<number> {
  const { rows } = await warehouse.query<{ clicks: string }>('SELECT count() AS clicks FROM clicks');
  return Number(rows[0]?.clicks);
}

async function publish(natsUrl: string, rows: number): Promise<void> {
  const nc = await connectNats({ url: natsUrl, name: 'bench' });
  const js = (await ensureStreams(nc)).jetstream();
  await leaseNode(nc, BACKLOG_NODE);
  const makeBatch = batchMaker(BACKLOG_NODE);
  const inFlight = new Set<Promise<unknown>>();
  for (let firstSeq = 0; firstSeq < rows; firstSeq += BATCH_ROWS) {
    const { payload, options } = makeBatch(firstSeq);
    const sent = js.publish(clicksSubject(0), payload, options);
    inFlight.add(sent);
    void sent.then(() => inFlight.delete(sent));
    if (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  await nc.close();
}
