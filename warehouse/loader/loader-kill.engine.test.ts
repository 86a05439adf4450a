import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecords, type Pipeline, startPipeline } from '../../test/support/warehouse.ts';

let pipeline: Pipeline;
const children: ChildProcess[] = [];

beforeEach(async () => {
  pipeline = await startPipeline();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await pipeline.stop();
});

/** A loader in a process of its own that prints each step and stays for ever in the step `halt`. */
const CHILD = `
const [dist, clickhouseUrl, natsUrl, halt] = process.argv.slice(1);
const load = (file) => import(dist + file);
const { connectWarehouse } = await load('warehouse/clickhouse/client.js');
const { Loader } = await load('warehouse/loader/loader.js');
const { createLoaderMetrics } = await load('warehouse/loader/metrics.js');
const { createLogger } = await load('core/service/log.js');
const { createMetrics } = await load('core/service/service.js');
const { connectNats, ensureStreams, openBucket, LEASES_BUCKET, LOADER_BUCKET } = await load('core/clicks/stream.js');
const nc = await connectNats({ url: natsUrl, name: 'child' });
const loader = new Loader({
  warehouse: await connectWarehouse({ url: clickhouseUrl, name: 'child' }),
  nc,
  manager: await ensureStreams(nc),
  loaderBucket: await openBucket(nc, LOADER_BUCKET),
  leasesBucket: await openBucket(nc, LEASES_BUCKET),
  shard: 0,
  log: createLogger({ name: 'child', level: 'silent' }),
  metrics: createLoaderMetrics(createMetrics()),
  async onStep(step) {
    console.log(step);
    if (step === halt) await new Promise((resolve) => setTimeout(resolve, 60_000));
  },
});
await loader.run();
process.exit();
`;

/** Starts a loader in a process of its own; with `halt` it stays in that step for ever. */
function startChild(halt: string): { child: ChildProcess; steps: AsyncIterable<string> } {
  const dist = `${pathToFileURL(fromProject('dist')).href}/`;
  const args = [dist, pipeline.warehouse.url, pipeline.natsUrl, halt];
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return { child, steps: createInterface({ input: child.stdout }) };
}

/** Starts a loader and kills it with SIGKILL when it prints `at`; with `halt` it waits there for its end. */
async function killAt(at: string, halt: boolean): Promise<void> {
  const { child, steps } = startChild(halt ? at : 'none');
  const exited = once(child, 'exit');
  for await (const line of steps) {
    if (line === at) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
}

async function publish(batches: number, firstSeq: number): Promise<number> {
  for (let i = 0; i < batches; i++) await pipeline.publish(clickRecords(1, firstSeq + i * 500, 500));
  return firstSeq + batches * 500;
}

async function loaded(clicks: number): Promise<void> {
  // The rows of an insert are seen a moment before those of its rollups.
  const isLoaded = async () => {
    const { clicks: stored, rolledUp } = await pipeline.counts();
    return stored >= clicks && rolledUp >= clicks;
  };
  await waitFor(isLoaded, { deadlineMs: 15_000, what: `${clicks} clicks and their rollups` });
}

it('killed with -9 between any two steps, and during the insert, counts every click once', async () => {
  let published = 0;
  for (const step of ['intent', 'insert', 'checkpoint']) {
    published = await publish(4, published);
    await killAt(step, true);
  }
  // Without a halt the kill meets the insert that follows the intent.
  published = await publish(20, published);
  await killAt('intent', false);

  const loader = pipeline.loader();
  const running = loader.run();
  await loaded(published);
  await loader.stop();
  await running;
  expect(await pipeline.counts()).toMatchObject({
    clicks: published,
    distinct: published,
    rolledUp: published,
  });
});

it('stopped with SIGSTOP while it inserts, and woken behind its successor, counts every click once', async () => {
  let published = await publish(20, 0);
  const { child, steps } = startChild('none');
  for await (const line of steps) {
    if (line !== 'intent') continue;
    child.kill('SIGSTOP');
    break;
  }
  const loader = pipeline.loader();
  const running = loader.run();
  await loaded(published);
  published = await publish(4, published);
  await loaded(published);
  const exited = once(child, 'exit');
  child.kill('SIGCONT');
  // Both look at the same clicks now, until the one that slept finds the records changed and ends.
  published = await publish(4, published);
  await loaded(published);
  expect(await exited).toEqual([0, null]);
  await loader.stop();
  await running;
  expect(await pipeline.counts()).toMatchObject({
    clicks: published,
    distinct: published,
    rolledUp: published,
  });
});
