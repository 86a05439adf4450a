import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { Agent, get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clickIdentityKey, createClickIdCodec } from '../core/clicks/click-id.ts';
import { fromProject } from '../core/config/paths.ts';
import type { Running } from '../core/service/service.ts';
import { freePort } from '../engines/engine.ts';
import { createLink } from '../ledger/programs/links.ts';
import { startLoader } from '../warehouse/loader/main.ts';
import { lookupClicks, MAX_LOOKUP_IDENTITIES } from '../warehouse/lookups/lookups.ts';
import { type CollectorUnderTest, prepareCollector } from './support/collector.ts';
import { waitFor } from './support/engines.ts';
import { freshWarehouse, quietLog } from './support/warehouse.ts';

/** More, by hand: AFFLUX_TEST_KILLS=30 npm test -- test/collector-kill */
const KILLS = Number(process.env.AFFLUX_TEST_KILLS ?? 5);
const VISITORS = 16;
const LONGEST_LIFE_MS = 1_500;

describe('a collector killed under load', () => {
  let world: CollectorUnderTest;
  let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
  let loader: Running;
  let collector: ChildProcess | undefined;

  beforeAll(async () => {
    world = await prepareCollector();
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
  });

  async function start(): Promise<void> {
    const { config } = world;
    collector = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), 'collector'], {
      env: {
        ...process.env,
        AFFLUX_HOME: config.home,
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
      const { code } = await createLink(world.ledger, {
        campaignId: world.campaign.id,
        affiliateId: world.affiliate.id,
        landingUrl: 'https://shop.test/?c={click_id}',
      });
      const received: string[] = [];
      let over = false;
      const agent = new Agent({ keepAlive: true, maxSockets: VISITORS });
      const visitor = async (): Promise<void> => {
        while (!over) {
          const id = await clickOnce(`${world.url}/c/${code}`, agent);
          if (id === undefined) await delay(10);
          else received.push(id);
        }
      };
      await start();
      const visitors = Array.from({ length: VISITORS }, visitor);
      for (let kill = 0; kill < KILLS; kill++) {
        await delay(randomInt(LONGEST_LIFE_MS));
        collector?.kill('SIGKILL');
        await waitFor(() => collector?.signalCode === 'SIGKILL', { deadlineMs: 5_000, what: 'the kill' });
        await start();
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
    },
    60_000 + KILLS * 10_000,
  );

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
