import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { Agent, get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clickIdentityKey, createClickIdCodec } from '../core/clicks/click-id.ts';
import { listLeases, shardOfLease } from '../core/clicks/lease.ts';
import { connectNats, LEASES_BUCKET, openBucket } from '../core/clicks/stream.ts';
import { fromProject } from '../core/config/paths.ts';
import type { Running } from '../core/service/service.ts';
import { freePort } from '../engines/engine.ts';
import { createCampaign } from '../ledger/programs/campaigns.ts';
import { createLink } from '../ledger/programs/links.ts';
import { mountSmallDisk, type SmallDisk } from '../loadtest/small-disk.ts';
import { auditWarehouse } from '../warehouse/audit/audit.ts';
import { startLoader } from '../warehouse/loader/main.ts';
import { lookupClicks, MAX_LOOKUP_IDENTITIES } from '../warehouse/lookups/lookups.ts';
import { readWatermark } from '../warehouse/watermark/watermark.ts';
import { type CollectorUnderTest, prepareCollector, readMetrics } from './support/collector.ts';
import { waitFor } from './support/engines.ts';
import { reportMissing } from './support/programs.ts';
import { freshWarehouse, quietLog } from './support/warehouse.ts';

/** More, by hand: AFFLUX_TEST_KILLS=30 npm test -- test/collector-kill */
const KILLS = Number(process.env.AFFLUX_TEST_KILLS ?? 5);
const VISITORS = 16;
const LONGEST_LIFE_MS = 1_500;
/** Each life has more or fewer shards than the one before, and finds its spools and leases. */
const SHARDS = [1, 4, 2];
const CAMPAIGNS = 8;
const RESERVE_BYTES = 16 * 1024 * 1024;
/** For the reserves of four shards, and as much as has to be free for the last of them. */
const DISK_MB = 192;

describe('a collector killed under load', () => {
  let world: CollectorUnderTest;
  let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
  let loader: Running;
  let collector: ChildProcess | undefined;
  let disk: SmallDisk | undefined;

  beforeAll(async () => {
    disk = mountSmallDisk(DISK_MB);
    if (!disk) reportMissing('root', 'a collector killed while its disk is full');
    world = await prepareCollector({ homeDisk: disk?.folder });
    warehouse = await freshWarehouse();
    const loaderPort = await freePort();
    loader = await startLoader({
      config: { ...world.config, clickhouseUrl: warehouse.url, loaderPort },
      log: quietLog,
    });
  });
  afterAll(async () => {
    collector?.kill('SIGKILL');
    await loader.stop();
    await warehouse.drop();
    await world.dispose();
    disk?.dispose();
  });

  async function start(life: number): Promise<void> {
    const { config } = world;
    collector = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), 'collector'], {
      env: {
        ...process.env,
        AFFLUX_HOME: config.home,
        CLICK_SHARDS: String(SHARDS[life % SHARDS.length]),
        COLLECTOR_PORT: String(config.collectorPort),
        DATABASE_URL: config.databaseUrl,
        NATS_URL: config.natsUrl,
        LOG_LEVEL: 'silent',
      },
      stdio: 'ignore',
    });
    await waitFor(async () => (await fetch(`${world.url}/readyz`)).ok, {
      deadlineMs: 20_000,
      what: 'the collector',
    });
  }

  it(
    'loses no redirect that a visitor received, and counts none twice',
    async () => {
      const codes = await Promise.all(Array.from({ length: CAMPAIGNS }, createLinkOfCampaign));
      const received: string[] = [];
      let over = false;
      const agent = new Agent({ keepAlive: true, maxSockets: VISITORS });
      const visitor = async (_: unknown, number: number): Promise<void> => {
        while (!over) {
          const id = await clickOnce(`${world.url}/c/${codes[number % CAMPAIGNS]}`, agent);
          if (id === undefined) await delay(10);
          else received.push(id);
        }
      };
      await start(0);
      const visitors = Array.from({ length: VISITORS }, visitor);
      for (let kill = 0; kill < KILLS; kill++) {
        const endOutage = kill % 2 === 1 && disk ? await startOutage(disk, kill) : undefined;
        const before = received.length;
        await delay(randomInt(LONGEST_LIFE_MS));
        await waitFor(() => received.length > before + VISITORS, { deadlineMs: 10_000, what: 'redirects' });
        collector?.kill('SIGKILL');
        await waitFor(() => collector?.signalCode === 'SIGKILL', { deadlineMs: 5_000, what: 'the kill' });
        endOutage?.();
        await start(kill + 1);
      }
      over = true;
      await Promise.all(visitors);
      agent.destroy();

      expect(received.length).toBeGreaterThan(KILLS * VISITORS);
      const codec = createClickIdCodec(world.config.clickKeys);
      const identities = received.map((id) => codec.decode(id)).filter((identity) => identity !== undefined);
      expect(identities).toHaveLength(received.length);
      const isStored = async (): Promise<boolean> => (await countStored(identities)) === identities.length;
      await waitFor(isStored, { deadlineMs: 30_000, what: `${identities.length} redirects to be stored` });
      const { rows } = await warehouse.query<{ stored: string; distinct: string }>(
        'SELECT count() AS stored, uniqExact(ts, node, seq) AS distinct FROM clicks',
      );
      expect(rows[0]?.stored).toBe(rows[0]?.distinct);
      expect(new Set(identities.map(clickIdentityKey)).size).toBe(identities.length);
      expect(await shardsWithClicks()).toEqual([0, 1, 2, 3]);
      await auditLeases();
    },
    60_000 + KILLS * 10_000,
  );

  /** Leaves a life nothing but the reserves of its spools. @returns what ends that. */
  async function startOutage(full: SmallDisk, life: number): Promise<() => void> {
    const bytes = RESERVE_BYTES * (SHARDS[life % SHARDS.length] ?? 0);
    const hasAll = async (): Promise<boolean> => {
      const metrics = await readMetrics(world.url, world.config);
      return Number(/^afflux_collector_spool_reserve_bytes (\S+)$/m.exec(metrics)?.[1]) >= bytes;
    };
    await waitFor(hasAll, { deadlineMs: 20_000, what: 'the reserves of all spools' });
    process.kill(world.nats.pid, 'SIGSTOP');
    full.fill();
    return () => {
      full.makeRoom();
      process.kill(world.nats.pid, 'SIGCONT');
    };
  }

  async function createLinkOfCampaign(_: unknown, number: number): Promise<string> {
    const { ledger, program, affiliate } = world;
    const campaign = await createCampaign(ledger, {
      programId: program.id,
      name: `Campaign ${number}`,
      cookieDays: 7,
      landingUrl: 'https://shop.test/',
    });
    const { code } = await createLink(ledger, {
      campaignId: campaign.id,
      affiliateId: affiliate.id,
      landingUrl: 'https://shop.test/?c={click_id}',
    });
    return code;
  }

  /** Shards of the leases under which clicks were numbered. */
  async function shardsWithClicks(): Promise<number[]> {
    const nc = await connectNats({ url: world.nats.url, name: 'test' });
    const leases = await listLeases(await openBucket(nc, LEASES_BUCKET)).finally(() => nc.close());
    const { rows } = await warehouse.query<{ node: number }>('SELECT DISTINCT node FROM clicks');
    const nodes = new Set(rows.map(({ node }) => node));
    const used = leases.filter(({ node }) => nodes.has(node)).map(shardOfLease);
    return [...new Set(used)].sort((a, b) => a - b);
  }

  /** No lease of any shard has a gap, and the watermark of all of them goes on. */
  async function auditLeases(): Promise<void> {
    const since = Date.now();
    await waitFor(async () => ((await readWatermark(warehouse)) ?? 0) > since, {
      deadlineMs: 15_000,
      what: 'the watermark',
    });
    const nc = await connectNats({ url: world.nats.url, name: 'test' });
    const checks = await auditWarehouse({ warehouse, nc }).finally(() => nc.close());
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  }

  async function countStored(identities: Parameters<typeof lookupClicks>[1]): Promise<number> {
    let found = 0;
    for (let i = 0; i < identities.length; i += MAX_LOOKUP_IDENTITIES) {
      found += (await lookupClicks(warehouse, identities.slice(i, i + MAX_LOOKUP_IDENTITIES))).length;
    }
    return found;
  }
});

/** The click id of a redirect that arrived whole; undefined for everything else. */
function clickOnce(url: string, agent: Agent): Promise<string | undefined> {
  return new Promise((resolve) => {
    get(url, { agent }, (answer) => {
      answer.resume();
      answer.on('error', () => resolve(undefined));
      answer.on('end', () => {
        const { location } = answer.headers;
        resolve(location === undefined ? undefined : (new URL(location).searchParams.get('c') ?? undefined));
      });
    }).on('error', () => resolve(undefined));
  });
}
