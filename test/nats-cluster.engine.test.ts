import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { compareAndSet, openLease } from '../core/clicks/lease.ts';
import { untilLed } from '../core/clicks/nats-errors.ts';
import { clicksStream } from '../core/clicks/shards.ts';
import { connectNats, ensureStreams, LEASES_BUCKET, openBucket } from '../core/clicks/stream.ts';
import { loadConfig } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';
import { withGeneratedSecrets } from '../core/config/secrets.ts';
import { freePort } from '../engines/engine.ts';
import { connectDatabase } from '../ledger/postgres/db.ts';
import { createAffiliate } from '../ledger/programs/affiliates.ts';
import { createCampaign } from '../ledger/programs/campaigns.ts';
import { createLink } from '../ledger/programs/links.ts';
import { createProgram } from '../ledger/programs/programs.ts';
import { readMetrics } from './support/collector.ts';
import { freshLedgerDatabase, waitFor } from './support/engines.ts';
import { type ClickLoad, startClickLoad } from './support/load/click-load.ts';
import { reportMissing } from './support/programs.ts';
import { type ClusterServer, type NatsCluster, startNatsCluster } from './support/servers/nats-cluster.ts';
import { type Machine, openTestNetwork, type TestNetwork } from './support/servers/network.ts';
import { freshWarehouse } from './support/warehouse.ts';

/** Three nats-servers under a collector and a loader: what was redirected is stored, once, whatever becomes of one of them. */

/** AFFLUX_TEST_NATS_CLUSTER=1: more rounds, cut networks, and the load of a busy collector. */
const IS_LONG = process.env.AFFLUX_TEST_NATS_CLUSTER === '1';
const CLICKS_PER_SECOND = IS_LONG ? 500 : 200;
const LEADER_KILLS = IS_LONG ? 3 : 1;
const ROLLING_RESTARTS = IS_LONG ? 2 : 1;
/** Two elections, the replay of the spool, and the loader's way back. */
const RECOVERED_MS = 120_000;
/** Longer than a server takes to know that it is alone, and than a client takes to leave it. */
const CUT_MS = 30_000;

let cluster: NatsCluster;
let nc: NatsConnection;
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  cluster = await startNatsCluster();
  nc = await connectNats({ url: cluster.url, name: 'test' });
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(async () => {
  await nc.close();
  await cluster.stop();
});

it('a new bucket has three copies; one that exists keeps its own until another number is asked for', async () => {
  const copies = async (bucket: {
    manager: { streams: { info(name: string): Promise<unknown> } };
    stream: string;
  }) =>
    ((await bucket.manager.streams.info(bucket.stream)) as { config: { num_replicas: number } }).config
      .num_replicas;
  expect(await copies(await openBucket(nc, 'unset'))).toBe(3);
  expect(await copies(await openBucket(nc, 'one', { replicas: 1 }))).toBe(1);
  expect(await copies(await openBucket(nc, 'one'))).toBe(1);
  expect(await copies(await openBucket(nc, 'one', { replicas: 3 }))).toBe(3);
  expect(await copies(await openBucket(nc, 'one', { replicas: 1 }))).toBe(1);
  for (const name of ['one', 'new']) {
    await expect(openBucket(nc, name, { replicas: 5 })).rejects.toMatchObject({
      code: 'nats_failed',
      message: expect.stringMatching(/cannot keep 5 copies of KV_.*NATS_REPLICAS/s),
    });
  }
  // A cluster that keeps one copy of the clicks, or two, has no servers for more.
  const manager = await ensureStreams(nc, { replicas: 1 });
  expect(await copies(await openBucket(nc, 'as-clicks'))).toBe(1);
  await ensureStreams(nc, { replicas: 2 });
  expect(await copies(await openBucket(nc, 'as-clicks-again'))).toBe(2);
  for await (const { config } of manager.streams.list()) await manager.streams.delete(config.name);
});

it('of writers that race for a replicated bucket one wins, and no node number is leased twice', async () => {
  const connections = await Promise.all(
    Array.from({ length: 6 }, () => connectNats({ url: cluster.url, name: 'test' })),
  );
  undo.push(() => Promise.all(connections.map((one) => one.close())));
  const buckets = await Promise.all(connections.map((one) => openBucket(one, 'race')));
  // A server can hear of a new stream's leader a moment later than another.
  await Promise.all(buckets.map((bucket) => untilLed(() => bucket.put('first', ''))));
  for (let round = 0; round < 10; round++) {
    const revisions = await Promise.all(
      buckets.map((bucket, i) => compareAndSet(bucket, `key.${round}`, String(i), 0)),
    );
    expect(revisions.filter((revision) => revision !== undefined)).toHaveLength(1);
    const revision = revisions.find((one) => one !== undefined) ?? 0;
    const updates = await Promise.all(
      buckets.map((bucket, i) => compareAndSet(bucket, `key.${round}`, String(i), revision)),
    );
    expect(updates.filter((one) => one !== undefined)).toHaveLength(1);
  }
  const leases = await Promise.all(
    buckets.flatMap((bucket) => Array.from({ length: 5 }, () => openLease(bucket, Date.now()))),
  );
  expect(new Set(leases.map(({ lease }) => lease.node)).size).toBe(30);
});

it('the leader is killed, and every server is restarted in turn', async () => {
  const world = await startWorld(cluster);
  for (let round = 0; round < LEADER_KILLS; round++) {
    const leader = await leaderOf(clicksStream(0));
    await delay(500);
    const killedAt = performance.now();
    await leader.kill();
    await waitFor(async () => (await leaderOf(clicksStream(0))) !== leader, {
      deadlineMs: RECOVERED_MS,
      what: 'another leader',
    });
    await world.recovers(`kill ${round + 1}`, killedAt);
    await leader.start();
    await leader.ready();
  }
  for (let round = 0; round < ROLLING_RESTARTS; round++) {
    const restartedAt = performance.now();
    for (const server of cluster.servers) {
      await server.stop();
      await server.start();
      await server.ready();
    }
    await world.recovers(`restart ${round + 1}`, restartedAt);
  }
  await world.expectAllStoredOnce('leader killed, rolling restart');
}, 600_000);

it.runIf(IS_LONG)(
  'a start waits for a majority, and takes no stream without a leader for a missing one',
  async () => {
    const { streams } = await ensureStreams(nc);
    const before = await streams.info(clicksStream(0));
    const [first, second, third] = cluster.servers as [ClusterServer, ClusterServer, ClusterServer];
    await Promise.all([second.kill(), third.kill()]);
    const alone = await connectNats({ url: first.url, name: 'test' });
    undo.push(() => alone.close());
    const opened = Promise.all([ensureStreams(alone), openBucket(alone, LEASES_BUCKET)]);
    await delay(5_000);
    await second.start();
    await opened;
    await third.start();
    await third.ready();
    const after = await streams.info(clicksStream(0));
    expect(after).toMatchObject({ created: before.created, config: { num_replicas: 3 } });
  },
  120_000,
);

it.runIf(IS_LONG)(
  'servers are cut off from each other, and one from everything',
  async (context) => {
    const network: TestNetwork | undefined = openTestNetwork(3);
    if (!network) {
      reportMissing('root', 'nats-servers that are cut off from each other');
      return context.skip();
    }
    const machines = network.machines;
    const parted = await startNatsCluster(machines);
    undo.push(async () => {
      await parted.stop();
      network.dispose();
    });
    const clients = await Promise.all(parted.servers.map(({ url }) => connectNats({ url, name: 'test' })));
    undo.push(() => Promise.all(clients.map((client) => client.close())));
    const clientsOf = ({ host }: Machine) =>
      clients.filter((client) => client.getServer().startsWith(`${host}:`)).length;
    const isLeft = (machine: Machine) =>
      waitFor(() => clientsOf(machine) === 0, { deadlineMs: RECOVERED_MS, what: 'its clients to leave' });
    const world = await startWorld(parted);
    for (const [i, machine] of machines.entries()) {
      expect(clientsOf(machine)).toBeGreaterThan(0);
      machine.leaveOthers();
      const partedAt = performance.now();
      await delay(CUT_MS);
      // The others go on: what was redirected meanwhile is stored before it joins them again.
      await world.recovers(`server ${i + 1} without the others`, partedAt);
      await isLeft(machine);
      machine.joinOthers();
      await parted.servers[i]?.ready();
      machine.unplug();
      const unpluggedAt = performance.now();
      await delay(CUT_MS);
      await world.recovers(`server ${i + 1} without network`, unpluggedAt);
      await isLeft(machine);
      machine.plug();
      await parted.servers[i]?.ready();
    }
    await world.expectAllStoredOnce('servers cut off');
  },
  1_800_000,
);

async function leaderOf(stream: string): Promise<ClusterServer> {
  const manager = await ensureStreams(nc);
  const { cluster: group } = await manager.streams.info(stream);
  return cluster.named(group?.leader);
}

interface World {
  /** Waits until the stream takes clicks again and nothing waits in the spool. */
  recovers(after: string, sinceMs: number): Promise<void>;
  /** Ends the load; what was redirected is stored, each click once, and nothing else. */
  expectAllStoredOnce(what: string): Promise<void>;
}

/** A collector and a loader as processes of their own, under load. */
async function startWorld({ url: natsUrl }: NatsCluster): Promise<World> {
  const database = await freshLedgerDatabase();
  undo.push(database.drop);
  const warehouse = await freshWarehouse();
  undo.push(warehouse.drop);
  const home = mkdtempSync(join(tmpdir(), 'afflux-cluster-'));
  undo.push(async () => rmSync(home, { recursive: true, force: true }));
  const code = await createTestLink(database.appUrl);
  const ports = { collector: await freePort(), loader: await freePort() };
  const env = {
    PATH: process.env.PATH ?? '',
    AFFLUX_HOME: home,
    DATABASE_URL: database.appUrl,
    CLICKHOUSE_URL: warehouse.url,
    NATS_URL: natsUrl,
    COLLECTOR_PORT: String(ports.collector),
    LOADER_PORT: String(ports.loader),
  };
  const config = withGeneratedSecrets(loadConfig(env));
  const collectorUrl = `http://127.0.0.1:${ports.collector}`;
  const loaderUrl = `http://127.0.0.1:${ports.loader}`;
  const output: string[] = [];
  for (const name of ['collector', 'loader']) undo.push(await startProcess(name, env, output));
  await isReady(collectorUrl);
  await isReady(loaderUrl);
  const load: ClickLoad = startClickLoad({
    url: `${collectorUrl}/c/${code}`,
    perSecond: CLICKS_PER_SECOND,
  });
  undo.push(load.stop);
  const metric = async (url: string, name: string): Promise<number> => {
    const text = await readMetrics(url, config);
    return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
  };

  return {
    async recovers(after, sinceMs) {
      await waitFor(
        async () =>
          (await metric(collectorUrl, 'afflux_collector_stream_up')) === 1 &&
          (await metric(collectorUrl, 'afflux_collector_spool_bytes')) === 0,
        { deadlineMs: RECOVERED_MS, what: `the stream after ${after}` },
      );
      const spooled = await metric(collectorUrl, 'afflux_collector_spooled_clicks_total');
      const tookMs = performance.now() - sinceMs;
      process.stderr.write(
        `  ${after}: ${(tookMs / 1_000).toFixed(1)} s, ${spooled} clicks spooled so far\n`,
      );
    },
    async expectAllStoredOnce(what) {
      await load.stop();
      const redirected = [...load.redirected].sort();
      const stored = async (): Promise<string[]> => {
        const { rows } = await warehouse.query<{ sub1: string }>('SELECT sub1 FROM clicks');
        return rows.map(({ sub1 }) => sub1);
      };
      await waitFor(async () => (await stored()).length >= redirected.length, {
        deadlineMs: RECOVERED_MS,
        what: 'every click in the warehouse',
      });
      process.stderr.write(
        `  ${what}: ${redirected.length} redirects, ${load.others.length} other answers, ${(await stored()).length} rows; ` +
          `p50 ${load.percentile(50).toFixed(1)} ms, p99 ${load.percentile(99).toFixed(1)} ms, longest ${load.percentile(100).toFixed(0)} ms\n`,
      );
      expect(load.others).toEqual([]);
      expect((await stored()).sort()).toEqual(redirected);
      expect(await metric(loaderUrl, 'afflux_loader_dead_letters_total')).toBe(0);
      expect(await metric(loaderUrl, 'afflux_loader_missing_messages_total')).toBe(0);
      expect(output.join('')).not.toMatch(/"level":60|was replaced/);
    },
  };
}

async function createTestLink(databaseUrl: string): Promise<string> {
  const ledger = await connectDatabase({ url: databaseUrl, max: 2, name: 'test' });
  try {
    const program = await createProgram(ledger, {
      name: 'Shop',
      currency: 'EUR',
      trackingDomain: 'go.shop.test',
      fallbackUrl: 'https://shop.test/lost',
    });
    const landingUrl = 'https://shop.test/';
    const campaign = await createCampaign(ledger, {
      programId: program.id,
      name: 'Summer',
      cookieDays: 7,
      landingUrl,
    });
    const affiliate = await createAffiliate(ledger, {
      programId: program.id,
      refCode: 'ann',
      name: 'Ann',
      email: 'ann@affiliates.test',
      status: 'active',
    });
    const link = await createLink(ledger, {
      campaignId: campaign.id,
      affiliateId: affiliate.id,
      landingUrl,
    });
    return link.code;
  } finally {
    await ledger.end();
  }
}

/** Starts a process of the platform; gives what ends it. */
async function startProcess(
  name: string,
  env: Record<string, string>,
  output: string[],
): Promise<() => Promise<void>> {
  const child: ChildProcess = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), name], {
    env,
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text) => output.push(text));
  return async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  };
}

async function isReady(url: string): Promise<void> {
  await waitFor(async () => (await fetch(`${url}/readyz`)).ok, { deadlineMs: 30_000, what: url });
}
