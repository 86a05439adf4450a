import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';
import { freePort } from '../../engines/engine.ts';
import { startNats } from '../../engines/nats.ts';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecords, quietLog, startPipeline } from '../../test/support/warehouse.ts';

it('goes on by itself after NATS was killed and came back', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'afflux-nats-'));
  const options = {
    server: inject('natsServer'),
    dataDir,
    port: await freePort(),
    password: 'test',
    sync: 'always',
    log: quietLog,
  } as const;
  const first = await startNats(options);
  let nats = first;
  const pipeline = await startPipeline({ nats: { ...first, stop: () => nats.stop() } });
  const loader = pipeline.loader();
  const running = loader.run();
  const clicks = async () => (await pipeline.counts()).clicks;
  try {
    await pipeline.publish(clickRecords(1, 0, 50));
    await waitFor(async () => (await clicks()) === 50, { deadlineMs: 10_000, what: '50 clicks' });
    process.kill(first.pid, 'SIGKILL');
    await first.exited;
    await waitFor(() => !loader.readiness().ready, { deadlineMs: 20_000, what: 'the loader to notice' });
    nats = await startNats(options);
    await waitFor(() => pipeline.publish(clickRecords(1, 50, 50)).then(() => true), {
      deadlineMs: 10_000,
      what: 'a publish',
    });
    await waitFor(async () => (await clicks()) === 100, { deadlineMs: 20_000, what: '100 clicks' });
    await waitFor(() => loader.readiness().ready, { deadlineMs: 10_000, what: 'readiness' });
    expect(await pipeline.counts()).toMatchObject({ clicks: 100, distinct: 100, rolledUp: 100 });
  } finally {
    await loader.stop();
    await running;
    await pipeline.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
});
