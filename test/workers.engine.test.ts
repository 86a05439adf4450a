import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { linksInCollectors } from '../bin/loaded-links.ts';
import { movesWaitingConnections } from '../bin/supervisor/collector-workers.ts';
import { clickIdentityKey, createClickIdCodec } from '../core/clicks/click-id.ts';
import { fromProject } from '../core/config/paths.ts';
import { freePort } from '../engines/engine.ts';
import { createLink } from '../ledger/programs/links.ts';
import { type CollectorUnderTest, prepareCollector, readMetrics } from './support/collector.ts';
import { waitFor } from './support/engines.ts';
import { reportMissing } from './support/programs.ts';

const SHARING = 'share the clicks under leases of their own';

describe('several collectors on one port', () => {
  let world: CollectorUnderTest;
  let parent: ChildProcess;
  let output = '';
  let code = '';
  let metricsPort = 0;
  let folder = '';
  /** A copy of Node.js, which runs the parent and which that runs its workers with. */
  let program = '';

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'afflux-node-'));
    program = join(folder, 'node');
    copyFileSync(process.execPath, program);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  beforeEach(async () => {
    world = await prepareCollector();
    ({ code } = await createLink(world.ledger, {
      campaignId: world.campaign.id,
      affiliateId: world.affiliate.id,
      landingUrl: 'https://shop.test/?c={click_id}',
    }));
    const { config } = world;
    metricsPort = await freePort();
    output = '';
    parent = spawn(program, [fromProject('dist/bin/afflux.js'), 'collector', '--workers', '2'], {
      env: {
        ...process.env,
        AFFLUX_HOME: config.home,
        COLLECTOR_PORT: String(config.collectorPort),
        COLLECTOR_METRICS_PORT: String(metricsPort),
        DATABASE_URL: config.databaseUrl,
        NATS_URL: config.natsUrl,
        LOG_LEVEL: 'info',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    parent.stdout?.on('data', (part) => {
      output += part;
    });
    await waitFor(() => count('worker is up') === 2, {
      deadlineMs: 20_000,
      what: 'two workers and their parent',
    });
  });
  afterEach(async () => {
    parent.kill('SIGTERM');
    await waitFor(() => parent.exitCode !== null, { deadlineMs: 20_000, what: 'the end of the workers' });
    await world.dispose();
  });

  const count = (text: string): number => output.split(text).length - 1;

  /** Every worker that came up, in this order. */
  const ups = (): { slot: number; pid: number }[] =>
    output
      .split('\n')
      .filter((line) => line.includes('"worker is up"'))
      .map((line) => JSON.parse(line) as { slot: number; pid: number });

  /** One click on a connection of its own. */
  async function click(): Promise<string> {
    const answer = await fetch(`${world.url}/c/${code}`, {
      redirect: 'manual',
      headers: { Connection: 'close' },
    });
    return new URL(answer.headers.get('location') ?? 'x:').searchParams.get('c') ?? `status ${answer.status}`;
  }

  it('lead on with so many links as the one that has the fewest, for who waits until new ones work', async () => {
    const config = { ...world.config, collectorMetricsPort: metricsPort };
    const loaded = () => linksInCollectors(config);
    await waitFor(async () => (await loaded()) === 1, { deadlineMs: 10_000, what: 'the link' });
    const stuck = ups().find(({ slot }) => slot === 1)?.pid ?? 0;
    process.kill(stuck, 'SIGSTOP');
    const { campaign, affiliate, ledger } = world;
    const landingUrl = 'https://shop.test/new';
    await createLink(ledger, { campaignId: campaign.id, affiliateId: affiliate.id, landingUrl });
    const ofFirst = async () =>
      /^afflux_collector_links 2$/m.test(await readMetrics(`http://127.0.0.1:${metricsPort}`, config));
    await waitFor(ofFirst, { deadlineMs: 10_000, what: 'the new link in the other one' });
    // Whichever of them the kernel chooses.
    expect(await Promise.all(Array.from({ length: 8 }, loaded))).toEqual(Array(8).fill(0));
    process.kill(stuck, 'SIGCONT');
    await waitFor(async () => (await loaded()) === 2, { deadlineMs: 10_000, what: 'the new link in both' });
  });

  it(`${SHARING}, also while they are replaced`, async () => {
    const ids: string[] = [];
    let resets = 0;
    let over = false;
    const visitors = Array.from({ length: 4 }, async () => {
      while (!over) {
        const id = await click().catch((error) => {
          // A connection that no worker had accepted, so there is no click; browsers and proxies connect again.
          if (error.cause?.code !== 'ECONNRESET') throw error;
          resets++;
        });
        if (id) ids.push(id);
      }
    });
    await waitFor(() => ids.length > 200, { deadlineMs: 20_000, what: 'some clicks' });
    parent.kill('SIGHUP');
    await waitFor(() => count('worker replaced') === 2, { deadlineMs: 30_000, what: 'the replacement' });
    const after = ids.length + 100;
    await waitFor(() => ids.length > after, { deadlineMs: 20_000, what: 'some more clicks' });
    over = true;
    await Promise.all(visitors);
    if (movesWaitingConnections()) expect(resets).toBe(0);

    const codec = createClickIdCodec(world.config.clickKeys);
    const identities = ids.map((id) => codec.decode(id));
    expect(ids.filter((_, i) => identities[i] === undefined)).toEqual([]);
    const stored = new Set((await world.storedClicks()).map(clickIdentityKey));
    for (const identity of identities) expect(identity && stored.has(clickIdentityKey(identity))).toBe(true);
    expect(stored.size).toBe(ids.length);
    // The kernel spreads connections over the listeners, so each of the four took some.
    expect(new Set(identities.map((identity) => identity?.node)).size).toBe(4);
  });

  it('have their health and metrics each on a port of its own', async () => {
    const clicks = 40;
    for (let i = 0; i < clicks; i++) await click();
    const committed = await Promise.all(
      [0, 1].map(async (slot) => {
        expect((await fetch(`http://127.0.0.1:${metricsPort + slot}/readyz`)).status).toBe(200);
        const text = await readMetrics(`http://127.0.0.1:${metricsPort + slot}`, world.config);
        return Number(/^afflux_collector_clicks_committed_total (\d+)$/m.exec(text)?.[1]);
      }),
    );
    expect(committed.every((count) => count > 0)).toBe(true);
    expect(committed.reduce((sum, count) => sum + count)).toBe(clicks);
  });

  it('are started again when they are killed, also once their program can be run again', async () => {
    const failures = () => count(`cannot run ${program}`);
    renameSync(program, `${program}.moved`);
    for (const { pid } of ups()) process.kill(pid, 'SIGKILL');
    await waitFor(() => failures() >= 4, { deadlineMs: 20_000, what: 'two starts of each that fail' });
    renameSync(`${program}.moved`, program);
    await waitFor(() => ups().length === 4, { deadlineMs: 20_000, what: 'the workers to be back' });
    expect(
      ups()
        .slice(2)
        .map(({ slot }) => slot)
        .toSorted(),
    ).toEqual([0, 1]);
    expect(await click()).toMatch(/^[\w-]{22}$/);
  });

  it('are started again in their own slots, where their clicks and leases are', async () => {
    parent.kill('SIGHUP');
    await waitFor(() => count('worker replaced') === 2, { deadlineMs: 30_000, what: 'the replacement' });
    // A slot below it is free.
    const last = ups().filter(({ slot }) => slot === 2);
    expect(last).toHaveLength(1);
    for (const { pid } of last) process.kill(pid, 'SIGKILL');
    await waitFor(() => ups().length === 5, { deadlineMs: 20_000, what: 'the worker to be back' });
    expect(ups().at(-1)?.slot).toBe(2);
  });
});

/** The setting belongs to a network, so this runs the test above once more, in a network of its own. */
it.skipIf(movesWaitingConnections())(
  'a replacement refuses no connection where the kernel moves waiting connections',
  (test) => {
    const inOwnNetwork = (script: string) =>
      spawnSync(
        'unshare',
        ['--net', 'sh', '-c', `ip link set lo up && echo 1 >/proc/sys/net/ipv4/tcp_migrate_req && ${script}`],
        {
          encoding: 'utf8',
        },
      );
    if (inOwnNetwork('true').status !== 0) {
      reportMissing('root', 'replacing collector workers without one reset connection');
      test.skip();
    }
    const run = inOwnNetwork(
      `exec ${process.execPath} node_modules/vitest/vitest.mjs run test/workers -t '${SHARING}'`,
    );
    expect(run.stdout).toContain('1 passed');
  },
  120_000,
);
