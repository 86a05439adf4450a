import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fromProject } from '../core/paths.ts';
import { waitFor } from '../test/support/engines.ts';
import { clickRecords, type Pipeline, startPipeline } from '../test/support/warehouse.ts';

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
const { connectWarehouse } = await load('warehouse/client.js');
const { createLoader } = await load('warehouse/loader.js');
const { createLoaderMetrics } = await load('warehouse/loader-metrics.js');
const { createLogger } = await load('core/log.js');
const { createMetrics } = await load('core/service.js');
const { connectNats, ensureStreams, openBucket, LEASES_BUCKET, LOADER_BUCKET } = await load('core/stream.js');
const nc = await connectNats({ url: natsUrl, name: 'child' });
const loader = createLoader({
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
`;

/** Starts a loader and kills it with SIGKILL when it prints \`at\`; with \`halt\` it waits there for its end. */
async function killAt(at: string, halt: boolean): Promise<void> {
  const dist = `${pathToFileURL(fromProject('dist')).href}/`;
  const args = [dist, pipeline.warehouse.url, pipeline.natsUrl, halt ? at : 'none'];
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const exited = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === at) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
}

it('killed with -9 between any two steps, and during the insert, counts every click once', async () => {
  let published = 0;
  async function publish(batches: number): Promise<void> {
    for (let i = 0; i < batches; i++) {
      await pipeline.publish(clickRecords(1, published, 500));
      published += 500;
    }
  }
  for (const step of ['planned', 'inserted', 'marked']) {
    await publish(4);
    await killAt(step, true);
  }
  // Without a halt the kill meets the insert that follows the plan.
  await publish(20);
  await killAt('planned', false);

  const loader = pipeline.loader();
  const running = loader.run();
  await waitFor(async () => (await pipeline.counts()).clicks >= published, {
    deadlineMs: 15_000,
    what: 'all clicks',
  });
  await loader.stop();
  await running;
  expect(await pipeline.counts()).toMatchObject({
    clicks: published,
    distinct: published,
    rolledUp: published,
  });
});
