import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { firstShards, listClickShards } from '../../core/clicks/shards.ts';
import { LEADERS_BUCKET, openBucket } from '../../core/clicks/stream.ts';
import { fromProject } from '../../core/config/paths.ts';
import { OperatingError } from '../../core/errors.ts';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecords, type Pipeline, quietLog, startPipeline } from '../../test/support/warehouse.ts';
import { auditWarehouse } from '../audit/audit.ts';
import { LEADERS_TTL_MS, ShardLeases } from '../leadership/shard-leases.ts';
import { readWatermark } from '../watermark/watermark.ts';
import { ShardLoaders } from './shard-loaders.ts';

const SHARDS = 4;
const BATCH = 100;

let pipeline: Pipeline;
const children: ChildProcess[] = [];
const running: ShardLoaders[] = [];
const undo: (() => void)[] = [];
/** The number of each shard's next click; its node is 10 more than the shard. */
const nextSeqs: number[] = Array(SHARDS).fill(0);
/** Clicks published in all. */
let published = 0;

beforeAll(async () => {
  pipeline = await startPipeline({ shards: SHARDS });
});
afterEach(async () => {
  for (const step of undo.splice(0)) step();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await Promise.all(running.splice(0).map((loaders) => loaders.stop()));
});
afterAll(() => pipeline.stop());

/** A loader process that prints each step, and stays for ever in its first step `halt`. */
const CHILD = `
const [dist, clickhouseUrl, natsUrl, id, halt] = process.argv.slice(1);
const load = (file) => import(dist + file);
const { connectWarehouse } = await load('warehouse/clickhouse/client.js');
const { ShardLoaders } = await load('warehouse/loader/shard-loaders.js');
const { ShardLeases, LEADERS_TTL_MS } = await load('warehouse/leadership/shard-leases.js');
const { createLoaderMetrics } = await load('warehouse/loader/metrics.js');
const { createLogger } = await load('core/service/log.js');
const { createMetrics } = await load('core/service/service.js');
const { connectNats, ensureStreams, openBucket, LEADERS_BUCKET, LEASES_BUCKET, LOADER_BUCKET } =
  await load('core/clicks/stream.js');
const nc = await connectNats({ url: natsUrl, name: 'child' });
const leaders = await openBucket(nc, LEADERS_BUCKET, { ttlMs: LEADERS_TTL_MS });
await new ShardLoaders({
  warehouse: await connectWarehouse({ url: clickhouseUrl, name: 'child' }),
  nc,
  manager: await ensureStreams(nc),
  loaderBucket: await openBucket(nc, LOADER_BUCKET),
  leasesBucket: await openBucket(nc, LEASES_BUCKET),
  leases: new ShardLeases({ bucket: leaders, id }),
  log: createLogger({ name: 'child', level: 'silent' }),
  metrics: createLoaderMetrics(createMetrics()),
  async onStep(step) {
    console.log(step);
    if (step === halt) await new Promise((resolve) => setTimeout(resolve, 600_000));
  },
}).run();
`;

function startChild(id: string, halt: string): { child: ChildProcess; steps: AsyncIterable<string> } {
  const dist = `${pathToFileURL(fromProject('dist')).href}/`;
  const args = [dist, pipeline.warehouse.url, pipeline.natsUrl, id, halt];
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return { child, steps: createInterface({ input: child.stdout }) };
}

async function leasesOf(id: string): Promise<ShardLeases> {
  const bucket = await openBucket(pipeline.nc, LEADERS_BUCKET, { ttlMs: LEADERS_TTL_MS });
  return new ShardLeases({ bucket, id });
}

async function startHere(
  given: Partial<ConstructorParameters<typeof ShardLoaders>[0]> = {},
): Promise<ShardLoaders> {
  const loaders = new ShardLoaders({
    ...pipeline,
    leases: await leasesOf(`here-${running.length}`),
    log: quietLog,
    ...given,
  });
  running.push(loaders);
  void loaders.run();
  return loaders;
}

async function leads(loaders: ShardLoaders, count: number): Promise<void> {
  await waitFor(() => loaders.leads().length === count, {
    deadlineMs: 15_000,
    what: `${count} shards of a loader that leads ${loaders.leads().join()}`,
  });
}

/** A batch to each shard. */
async function publish(): Promise<void> {
  for (const shard of firstShards(SHARDS)) {
    const seq = nextSeqs[shard] ?? 0;
    await pipeline.publish(clickRecords(10 + shard, seq, BATCH), { shard });
    nextSeqs[shard] = seq + BATCH;
    published += BATCH;
  }
}

/** All that was published is there, once. */
async function loaded(): Promise<void> {
  const clicks = published;
  const isLoaded = async () => {
    const { clicks: stored, rolledUp } = await pipeline.counts();
    return stored >= clicks && rolledUp >= clicks;
  };
  await waitFor(isLoaded, { deadlineMs: 20_000, what: `${clicks} clicks and their rollups` });
  expect(await pipeline.counts()).toMatchObject({ clicks, distinct: clicks, rolledUp: clicks });
}

it('divides the shards, and goes on with the insert of a leader that was killed', async () => {
  const here = await startHere();
  await leads(here, SHARDS);
  const killed = startChild('killed', 'intent');
  await leads(here, SHARDS / 2);
  const exited = once(killed.child, 'exit');
  await publish();
  for await (const step of killed.steps) if (step === 'intent') killed.child.kill('SIGKILL');
  expect(await exited).toEqual([null, 'SIGKILL']);
  await leads(here, SHARDS);
  await publish();
  await loaded();
});

it('lets a leader that was paused wake up behind its successor, and have a share again', async () => {
  const here = await startHere();
  await leads(here, SHARDS);
  const paused = startChild('paused', 'none');
  await leads(here, SHARDS / 2);
  await publish();
  for await (const step of paused.steps) {
    if (step !== 'intent') continue;
    paused.child.kill('SIGSTOP');
    break;
  }
  await leads(here, SHARDS);
  await publish();
  await loaded();
  paused.child.kill('SIGCONT');
  await publish();
  // It has noticed, and has its share again.
  await leads(here, SHARDS / 2);
  await publish();
  await loaded();

  const since = Date.now();
  await waitFor(async () => ((await readWatermark(pipeline.warehouse)) ?? 0) > since, {
    deadlineMs: 10_000,
    what: 'the watermark of all shards',
  });
  const checks = await auditWarehouse(pipeline);
  expect(checks.filter(({ ok }) => !ok)).toEqual([]);
});

it('gives its shards away at once when it stops, and takes one that is new', async () => {
  const [first, second] = [await startHere(), await startHere()];
  await leads(first, SHARDS / 2);
  await leads(second, SHARDS / 2);
  await first.stop();
  expect(first.leads()).toEqual([]);
  await leads(second, SHARDS);
  const { config } = await pipeline.manager.streams.info('CLICKS_1');
  await pipeline.manager.streams.add({ ...config, name: 'CLICKS_4', subjects: ['afflux.clicks.4'] });
  await leads(second, SHARDS + 1);
  await pipeline.publish(clickRecords(20, 0, BATCH), { shard: SHARDS });
  published += BATCH;
  await loaded();
});

it('gives the shards that it cannot load to another loader, but keeps them while no other can', async () => {
  const shards = await listClickShards(pipeline.manager);
  const half = Math.floor(shards.length / 2);
  const noRoute = () => Promise.reject(new OperatingError('clickhouse_unreachable', 'no route'));
  const cut = { ...pipeline.warehouse, insertBytes: noRoute, insertRows: noRoute, query: noRoute };
  const failing = await startHere({ warehouse: cut, giveUpAfterMs: 700 });
  await leads(failing, shards.length);
  await publish();
  const fails = () => !failing.readiness().ready;
  await waitFor(fails, { deadlineMs: 10_000, what: 'the failure' });
  const alsoFailing = await startHere({ warehouse: cut, giveUpAfterMs: 700 });
  await leads(alsoFailing, half);
  // Both fail, and have for longer than they would keep shards from one that does not.
  const failingSince = performance.now();
  await waitFor(() => performance.now() - failingSince > 1_500, {
    deadlineMs: 5_000,
    what: 'both to fail for long',
  });
  expect([failing.leads().length, alsoFailing.leads().length]).toEqual([shards.length - half, half]);

  const able = await startHere();
  await leads(able, shards.length);
  await loaded();
  for (const loaders of [failing, alsoFailing]) {
    expect(loaders.leads()).toEqual([]);
    expect(loaders.readiness()).toEqual({
      ready: false,
      reason: 'gave its shards to another loader: clickhouse_unreachable: no route',
    });
  }
});

it('begins no second loader of a shard whose first one is still closing its connection', async () => {
  const shards = await listClickShards(pipeline.manager);
  let close = (): void => undefined;
  const closed = new Promise<void>((resolve) => {
    close = resolve;
  });
  const begun: number[] = [];
  let closes = 0;
  const warehouseOf = (shard: number) => {
    begun.push(shard);
    return {
      ...pipeline.warehouse,
      async close() {
        closes++;
        await closed;
      },
    };
  };
  undo.push(close);
  const first = await startHere({ warehouseOf, leases: await leasesOf('here-first') });
  await leads(first, shards.length);
  const second = await startHere();
  await waitFor(() => closes === 1, { deadlineMs: 10_000, what: 'the first connection to be closed' });
  const beats = await openBucket(pipeline.nc, LEADERS_BUCKET, { ttlMs: LEADERS_TTL_MS });
  const revision = async () => (await beats.get('loader.here-first'))?.revision ?? 0;
  let last = await revision();
  for (let beat = 0; beat < 3; beat++) {
    const before = last;
    last = await waitFor(async () => (await revision()) > before && (await revision()), {
      deadlineMs: 5_000,
      what: 'the next heartbeat',
    });
  }
  expect(begun.toSorted()).toEqual(shards);
  close();
  await leads(second, Math.floor(shards.length / 2));
  expect(begun.toSorted()).toEqual(shards);
});

it('takes no batch of a lease that belongs to another shard', async () => {
  await startHere();
  await pipeline.publish(clickRecords(30, 0, BATCH), { shard: 0 });
  published += BATCH;
  await pipeline.publish(clickRecords(30, 0, BATCH), { shard: 1 });
  await waitFor(async () => (await pipeline.manager.streams.info('DEADLETTERS')).state.messages === 1, {
    deadlineMs: 15_000,
    what: 'the dead letter',
  });
  await loaded();
});
