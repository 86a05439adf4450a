import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { headers as createHeaders } from '@nats-io/transport-node';
import { CLICK_RECORD_VERSION, type ClickRecord, encodeClick } from '../../core/click-record.ts';
import { fromProject } from '../../core/paths.ts';
import { BatchHeader, batchMessageId, clicksSubject, connectNats, ensureStreams } from '../../core/stream.ts';
import { freePort } from '../../engines/engine.ts';
import type { Warehouse } from '../../warehouse/client.ts';

/** As full as a collector's batches are when many clicks arrive. */
const BATCH_ROWS = 1_000;
/** Where a row's ip begins: behind ts, node, seq and the four ids. */
const IP_OFFSET = 14 + 16;
const IN_FLIGHT = 32;
const POLL_MS = 100;
const DEADLINE_MS = 600_000;
const CLOCK_TICK_MS = 10;

/** What catching up took. */
export interface Backlog {
  readonly rows: number;
  /** Without the loader's start: from the first block on, which is not counted either. */
  readonly rowsPerSecond: number;
  /** CPU a click, microseconds, by process. */
  readonly cpuUs: { readonly loader: number; readonly clickhouse: number; readonly nats: number };
  /** The most resident memory seen, megabytes. */
  readonly peakMb: { readonly loader: number; readonly clickhouse: number };
}

/** Publishes a backlog as collectors do, then starts `afflux loader` and waits until every click is stored. */
export async function catchUp(options: {
  warehouse: Warehouse;
  rows: number;
  clickhouse: { url: string; pid: number };
  nats: { url: string; pid: number };
  home: string;
}): Promise<Backlog> {
  const { warehouse, clickhouse, nats } = options;
  const rows = Math.ceil(options.rows / BATCH_ROWS) * BATCH_ROWS;
  await publish(nats.url, rows);
  const before = await countClicks(warehouse);
  const cpuBefore = { clickhouse: cpuMs(clickhouse.pid), nats: cpuMs(nats.pid) };
  const loader = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), 'loader'], {
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
    return {
      rows,
      rowsPerSecond: ((rows - first.rows) * 1_000) / (performance.now() - first.at),
      cpuUs: {
        loader: cpuUs(cpuMs(pid)),
        clickhouse: cpuUs(cpuMs(clickhouse.pid) - cpuBefore.clickhouse),
        nats: cpuUs(cpuMs(nats.pid) - cpuBefore.nats),
      },
      peakMb,
    };
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
  const template = Array.from({ length: BATCH_ROWS }, (_, i) => encodeClick(benchClick(i)));
  const offsets: number[] = [];
  let size = 0;
  for (const row of template) {
    offsets.push(size);
    size += row.length;
  }
  const inFlight = new Set<Promise<unknown>>();
  const node = 60_000;
  for (let firstSeq = 0; firstSeq < rows; firstSeq += BATCH_ROWS) {
    const payload = Buffer.concat(template);
    stamp(payload, offsets, node, firstSeq);
    const headers = createHeaders();
    headers.set(BatchHeader.version, String(CLICK_RECORD_VERSION));
    headers.set(BatchHeader.node, String(node));
    headers.set(BatchHeader.firstSeq, String(firstSeq));
    headers.set(BatchHeader.rows, String(BATCH_ROWS));
    const sent = js.publish(clicksSubject(0), payload, { headers, msgID: batchMessageId(node, firstSeq) });
    inFlight.add(sent);
    void sent.then(() => inFlight.delete(sent));
    if (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  await nc.close();
}

/** Gives each row of a batch its time, number and address. */
function stamp(payload: Buffer, offsets: readonly number[], node: number, firstSeq: number): void {
  const now = BigInt(Date.now());
  for (const [i, at] of offsets.entries()) {
    payload.writeBigInt64LE(now, at);
    payload.writeUInt16LE(node, at + 8);
    payload.writeUInt32LE(firstSeq + i, at + 10);
    // A million addresses, met again and again.
    payload.writeUInt32BE(0x1000_0000 + (((firstSeq + i) * 7_919) % 1_000_000), at + IP_OFFSET + 12);
  }
}

function benchClick(i: number): ClickRecord {
  const campaign = 1 + Math.floor(1_000 ** ((i % 100) / 100));
  return {
    ts: 0,
    node: 0,
    seq: 0,
    program_id: 1 + (campaign % 20),
    campaign_id: campaign,
    affiliate_id: 1 + (i % 200),
    link_id: campaign * 2_000 + (i % 200),
    ip: Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]),
    flags: i % 20 === 0 ? 1 : 0,
    rule: 0,
    destination: 0,
    fingerprint: BigInt(i * 7_919),
    user_agent: `Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1${i % 50}.0.0.0 Safari/537.36`,
    device: i % 3 === 0 ? 'mobile' : 'desktop',
    os: 'Windows',
    browser: 'Chrome',
    language: 'en-US',
    referrer: i % 3 === 0 ? '' : `https://www.blog${i % 200}.example/post/${i}`,
    sub1: `src${i % 97}`,
    sub2: '',
    sub3: '',
    sub4: '',
    sub5: '',
    utm_source: 'news',
    utm_medium: 'email',
    utm_campaign: '',
    utm_term: '',
    utm_content: '',
    query: '',
  };
}

/** User and system time of a process so far. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS;
}

function rssMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1_024;
}
