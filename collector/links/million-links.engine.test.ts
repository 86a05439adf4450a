import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { prepareCollector, readMetrics } from '../../test/support/collector.ts';
import { waitFor } from '../../test/support/engines.ts';

/**
 * A measurement, part of `npm run test:long`: AFFLUX_TEST_MILLION_LINKS=1 npx vitest run collector/links/million-links
 * It loads a million links into a collector process of its own, clicks many of them, and starts it again without
 * PostgreSQL. docs/links.md has its numbers.
 */
const isEnabled = process.env.AFFLUX_TEST_MILLION_LINKS === '1';
const LINKS = 1_000_000;
const CLICKED = 100_000;
const MAX_RSS_MB = 400;
const MAX_LOAD_MS = 10_000;
const VISITORS = 32;
/** An insert of these ends well before its time limit. */
const INSERT_ROWS = 50_000;

describe.runIf(isEnabled)('a million links', () => {
  it('are loaded in 10 s and take less than 400 MB', { timeout: 300_000 }, async () => {
    const world = await prepareCollector();
    for (let from = 0; from < LINKS; from += INSERT_ROWS) {
      await world.ledger`
      insert into links (code, program_id, campaign_id, affiliate_id, landing_url)
      select 'code' || n, ${world.program.id}, ${world.campaign.id}, ${world.affiliate.id},
        'https://shop.test/category-' || n % 1000 || '/product-' || n || '?ref=partner&lang=de'
      from generate_series(${from + 1}::integer, ${from + INSERT_ROWS}::integer) n`;
    }
    const env = {
      AFFLUX_HOME: world.config.home,
      COLLECTOR_PORT: String(world.config.collectorPort),
      NATS_URL: world.nats.url,
    };
    const run = async (databaseUrl: string) => {
      const startedAtMs = Date.now();
      const child = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), 'collector'], {
        env: { ...env, DATABASE_URL: databaseUrl },
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      await waitFor(async () => (await fetch(`${world.url}/readyz`)).ok, {
        deadlineMs: 60_000,
        what: 'ready',
      });
      const readyMs = Date.now() - startedAtMs;
      const memoryMb = (name: 'VmRSS' | 'VmHWM') => {
        const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
        return Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
      };
      const stop = async () => {
        child.kill('SIGTERM');
        await new Promise((resolve) => child.once('exit', resolve));
      };
      return { readyMs, memoryMb, stop };
    };
    const collector = await run(world.config.databaseUrl);
    const loadedRssMb = collector.memoryMb('VmRSS');
    await Promise.all(
      Array.from({ length: VISITORS }, async (_, visitor) => {
        for (let n = visitor + 1; n <= CLICKED; n += VISITORS) {
          const answer = await fetch(`${world.url}/c/code${n * 10}`, { redirect: 'manual' });
          expect(answer.status).toBe(302);
        }
      }),
    );
    const clickedRssMb = collector.memoryMb('VmRSS');
    await collector.stop();
    const again = await run('postgres://nobody@127.0.0.1:1/nothing');
    const answer = await fetch(`${world.url}/c/code${LINKS}`, { redirect: 'manual' });
    expect(answer.headers.get('location')).toContain(`/product-${LINKS}?`);
    const measured = {
      loadedMs: collector.readyMs,
      loadedRssMb,
      clickedRssMb,
      fromSnapshotMs: again.readyMs,
      fromSnapshotRssMb: again.memoryMb('VmRSS'),
      reloadedPeakMb: 0,
    };
    await again.stop();
    // From the snapshot at once, and then a full load beside it.
    const startedAtMs = Date.now();
    const both = await run(world.config.databaseUrl);
    await waitFor(
      async () => {
        const text = await readMetrics(world.url, world.config);
        const age = Number(/^afflux_collector_links_age_seconds (\S+)$/m.exec(text)?.[1]);
        return age * 1_000 < Date.now() - startedAtMs;
      },
      { deadlineMs: 60_000, what: 'the full load of the links' },
    );
    measured.reloadedPeakMb = both.memoryMb('VmHWM');
    process.stderr.write(`${JSON.stringify(measured)}\n`);
    await both.stop();
    await world.dispose();
    expect(measured.loadedMs).toBeLessThan(MAX_LOAD_MS);
    expect(
      Math.max(loadedRssMb, clickedRssMb, measured.fromSnapshotRssMb, measured.reloadedPeakMb),
    ).toBeLessThan(MAX_RSS_MB);
  });
});
