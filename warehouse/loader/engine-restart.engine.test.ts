import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { OperatingError } from '../../core/errors.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecord, quietLog, startPipeline } from '../../test/support/warehouse.ts';

/** One click is one everywhere. */
const COUNTS = [
  '(SELECT count() FROM clicks)',
  '(SELECT sum(clicks) FROM clicks_hourly)',
  '(SELECT sum(clicks) FROM clicks_minutely)',
  '(SELECT sum(clicks) FROM campaigns_hourly)',
  '(SELECT sum(clicks) FROM campaigns_daily)',
  '(SELECT count() FROM velocity_ip)',
  '(SELECT count() FROM velocity_fingerprint)',
];

it('a ClickHouse killed behind the insert of a block, in its first run and in a later one, counts it once in every rollup', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'afflux-restart-'));
  const options = { dataDir, port: await freePort(), database: 'afflux', password: 'secret', log: quietLog };
  let engine: Engine = await startClickHouse(options);
  const pipeline = await startPipeline({ clickhouseUrl: engine.url });
  let isToBeKilled = true;
  const loader = pipeline.loader({
    async onStep(step) {
      if (step !== 'insert' || !isToBeKilled) return;
      isToBeKilled = false;
      process.kill(engine.pid, 'SIGKILL');
      await engine.exited;
      engine = await startClickHouse(options);
      throw new OperatingError('clickhouse_unreachable', 'the answer of the insert is lost');
    },
  });
  const running = loader.run();
  const counts = async (): Promise<number[]> => {
    const { rows } = await pipeline.warehouse.query<{ counted: string[] }>(
      `SELECT [${COUNTS.join(', ')}] AS counted`,
    );
    return (rows[0]?.counted ?? []).map(Number);
  };
  try {
    let clicks = 0;
    for (let kill = 1; kill <= 3; kill++) {
      isToBeKilled = kill < 3;
      const now = Date.now();
      const records = Array.from({ length: 100 }, (_, i) =>
        clickRecord({ node: 1, seq: clicks + i, ts: now + i, flags: 0, fingerprint: 5n }),
      );
      await pipeline.publish(records);
      clicks += records.length;
      const isLoaded = async () => !isToBeKilled && Math.min(...(await counts())) >= clicks;
      await waitFor(isLoaded, { deadlineMs: 30_000, what: `${clicks} clicks after kill ${kill}` });
    }
    expect(await counts()).toEqual(COUNTS.map(() => clicks));
  } finally {
    await loader.stop();
    await running;
    await pipeline.stop();
    await engine.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
});
