import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { listClickShards } from '../../core/clicks/shards.ts';
import { loadConfig } from '../../core/config/config.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import { HOUR_MS } from '../../core/time.ts';
import { freePort } from '../../engines/engine.ts';
import { readMetrics } from '../../test/support/collector.ts';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecords, quietLog, startPipeline } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { readWatermark } from '../watermark/watermark.ts';
import { startLoader } from './main.ts';

it('the loader process loads, makes a stream that is gone, and tells its health and its figures', async () => {
  const pipeline = await startPipeline();
  const home = mkdtempSync(join(tmpdir(), 'afflux-loader-'));
  const port = await freePort();
  const config = withGeneratedSecrets(
    loadConfig({
      AFFLUX_HOME: home,
      CLICKHOUSE_URL: pipeline.warehouse.url,
      NATS_URL: pipeline.natsUrl,
      LOADER_PORT: String(port),
    }),
  );
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
  // Of a shard that collectors no longer make: figures would wait for it for ever.
  const before = Date.now() - HOUR_MS;
  await pipeline.warehouse.insertRows('watermarks', [
    { shard: 2, complete_to: timeText(before), stream_seq: 0, updated_at: timeText(before) },
  ]);
  const loader = await startLoader({ config, log: quietLog });
  try {
    await pipeline.publish(clickRecords(1, 0, 25));
    await pipeline.publishRaw(Buffer.from('?'), {});
    await waitFor(async () => (await get('/readyz')).status === 200, { deadlineMs: 10_000, what: '/readyz' });
    await waitFor(async () => (await pipeline.counts()).clicks === 25, {
      deadlineMs: 10_000,
      what: '25 clicks',
    });
    const metrics = await waitFor(
      async () => {
        const text = await readMetrics(`http://127.0.0.1:${port}`, config);
        return text.includes('afflux_loader_rows_total 25') && text.includes('lag_messages{shard="0"} 0')
          ? text
          : undefined;
      },
      { deadlineMs: 10_000, what: 'the figures' },
    );
    expect(metrics).toContain('afflux_loader_dead_letters_total{reason="bad_headers"} 1');
    expect(metrics).toMatch(/afflux_loader_freshness_seconds\{shard="0"\} [\d.]+/);
    await waitFor(async () => Number(await readWatermark(pipeline.warehouse)) > before, {
      deadlineMs: 10_000,
      what: 'complete_to to move',
    });
    expect(await listClickShards(pipeline.manager)).toEqual([0, 2]);
    // Another user of the machine reaches the port and has no token.
    expect((await get('/metrics')).status).toBe(401);
  } finally {
    await loader.stop();
    rmSync(home, { recursive: true, force: true });
    await pipeline.stop();
  }
  await expect(get('/healthz')).rejects.toThrow();
});
