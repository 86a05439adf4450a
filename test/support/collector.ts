import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JetStreamManager } from '@nats-io/jetstream';
import { startCollector } from '../../collector/main.ts';
import { type ClickRecord, decodeClicks } from '../../core/clicks/click-record.ts';
import { clicksStream, listClickShards } from '../../core/clicks/shards.ts';
import { BatchHeader, connectNats, ensureStreams } from '../../core/clicks/stream.ts';
import { type Config, loadConfig } from '../../core/config/config.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { metricsToken } from '../../core/service/metrics-access.ts';
import { freePort } from '../../engines/engine.ts';
import { connectDatabase, type Database } from '../../ledger/postgres/db.ts';
import { type Affiliate, createAffiliate } from '../../ledger/programs/affiliates.ts';
import { type Campaign, createCampaign } from '../../ledger/programs/campaigns.ts';
import { createProgram, type Program } from '../../ledger/programs/programs.ts';
import { freshLedgerDatabase, startTestNats, type TestNats, waitFor } from './engines.ts';
import { quietLog } from './warehouse.ts';

/** A collector over a ledger and a stream of its own. */
export interface CollectorUnderTest {
  readonly config: Config;
  readonly url: string;
  readonly nats: TestNats;
  readonly ledger: Database;
  readonly program: Program;
  readonly campaign: Campaign;
  readonly affiliate: Affiliate;
  /** Starts a collector in this process, ready; `stop` ends it. */
  start(changes?: Partial<Config>): Promise<{ stop(): Promise<void> }>;
  /** Every click in the stream, batch by batch. */
  storedClicks(): Promise<ClickRecord[]>;
  dispose(): Promise<void>;
}

/** `natsDisk`, `homeDisk`: the folders below which NATS and the collector keep their state. */
export async function prepareCollector(
  options: { natsDisk?: string | undefined; homeDisk?: string | undefined } = {},
): Promise<CollectorUnderTest> {
  const database = await freshLedgerDatabase();
  const ledger = await connectDatabase({ url: database.appUrl, max: 2, name: 'test' });
  const nats = await startTestNats(options.natsDisk);
  const home = mkdtempSync(join(options.homeDisk ?? tmpdir(), 'afflux-collector-'));
  const port = await freePort();
  const config = withGeneratedSecrets(
    loadConfig({
      AFFLUX_HOME: home,
      COLLECTOR_PORT: String(port),
      DATABASE_URL: database.appUrl,
      NATS_URL: nats.url,
    }),
  );
  const program = await createProgram(ledger, {
    name: 'Shop',
    currency: 'EUR',
    trackingDomain: 'go.shop.test',
    fallbackUrl: 'https://shop.test/lost',
  });
  const campaign = await createCampaign(ledger, {
    programId: program.id,
    name: 'Summer',
    cookieDays: 7,
    landingUrl: 'https://shop.test/',
  });
  const affiliate = await createAffiliate(ledger, {
    programId: program.id,
    refCode: 'ann',
    name: 'Ann',
    email: 'ann@affiliates.test',
    status: 'active',
  });
  const url = `http://127.0.0.1:${port}`;

  return {
    config,
    url,
    nats,
    ledger,
    program,
    campaign,
    affiliate,
    async start(changes = {}) {
      const collector = await startCollector({ config: { ...config, ...changes }, log: quietLog });
      const started = `http://127.0.0.1:${changes.collectorPort ?? port}`;
      await waitFor(async () => (await fetch(`${started}/readyz`)).ok, {
        deadlineMs: 10_000,
        what: 'the collector',
      });
      return collector;
    },
    storedClicks: () => readStoredClicks(nats.url),
    async dispose() {
      await nats.stop();
      await ledger.end();
      await database.drop();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** What Prometheus reads of the process at `url`, by the token of its configuration. */
export async function readMetrics(url: string, { dataKeys }: Pick<Config, 'dataKeys'>): Promise<string> {
  const authorization = `Bearer ${metricsToken(createSecretBox(dataKeys))}`;
  return await (await fetch(`${url}/metrics`, { headers: { authorization } })).text();
}

/** Every click in the streams of all shards; the batches' headers agree with their rows, or it throws. */
export async function readStoredClicks(natsUrl: string): Promise<ClickRecord[]> {
  const nc = await connectNats({ url: natsUrl, name: 'test' });
  try {
    const manager = await ensureStreams(nc);
    const shards = await listClickShards(manager);
    return (await Promise.all(shards.map((shard) => readShard(manager, clicksStream(shard))))).flat();
  } finally {
    await nc.close();
  }
}

async function readShard(manager: JetStreamManager, stream: string): Promise<ClickRecord[]> {
  const { state } = await manager.streams.info(stream);
  const clicks: ClickRecord[] = [];
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const message = await manager.streams.getMessage(stream, { seq });
    if (!message) continue;
    const rows = decodeClicks(Buffer.from(message.data), Number(message.header.get(BatchHeader.rows)));
    const [first] = rows;
    const announced = `${message.header.get(BatchHeader.node)}:${message.header.get(BatchHeader.firstSeq)}`;
    if (announced !== `${first?.node}:${first?.seq}`) throw new Error(`headers say ${announced}`);
    clicks.push(...rows);
  }
  return clicks;
}

/** The longest wait for the beginning of an answer; one that must not come needs a server that closes. */
const FIRST_BYTE_MS = 10_000;

/** Sends bytes as they are and returns all that came back until the server closed or, after a first byte, fell silent. */
export async function sendRaw(url: string, bytes: string | Buffer, silenceMs = 300): Promise<string> {
  const { hostname, port } = new URL(url);
  return await new Promise((resolve, reject) => {
    let answer = '';
    const socket: Socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket.setTimeout(FIRST_BYTE_MS, () => socket.destroy());
    socket.on('data', (part) => {
      socket.setTimeout(silenceMs);
      answer += part.toString('latin1');
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve(answer);
      else reject(error);
    });
  });
}
