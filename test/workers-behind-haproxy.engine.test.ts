import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { freePort } from '../engines/engine.ts';
import { createLink } from '../ledger/programs/links.ts';
import { prepareCollector } from './support/collector.ts';
import { waitFor } from './support/engines.ts';
import { hasProxy } from './support/programs.ts';

/** The bound is 8, which the long run tries; a short run keeps to what two cores start quickly. */
const WORKERS = Number(process.env.AFFLUX_TEST_WORKERS ?? 3);
const VISITORS = 8;
const START_MS = 60_000;

/**
 * HAProxy asks again where a worker ended before it accepted the connection, or closed it without a byte of an answer. Such
 * a request is not a click that counts: its redirect was not sent.
 */
const haproxyConfig = (from: number, to: number): string => `defaults
  mode http
  retries 3
  retry-on conn-failure empty-response
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen l
  bind 127.0.0.1:${from}
  option forwardfor
  http-reuse never
  server s 127.0.0.1:${to}
`;

it(`a rolling restart of ${WORKERS} workers behind HAProxy refuses no click under load`, async (test) => {
  if (!hasProxy('haproxy')) test.skip();
  const world = await prepareCollector();
  const ids = { campaignId: world.campaign.id, affiliateId: world.affiliate.id };
  const { code } = await createLink(world.ledger, { ...ids, landingUrl: 'https://shop.test/?c={click_id}' });
  const { config } = world;
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'afflux-haproxy-'));
  writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfig(port, config.collectorPort));
  const collectors = spawn(
    process.execPath,
    [fromProject('dist/bin/afflux.js'), 'collector', '--workers', String(WORKERS)],
    {
      env: {
        ...process.env,
        AFFLUX_HOME: config.home,
        COLLECTOR_PORT: String(config.collectorPort),
        COLLECTOR_METRICS_PORT: String(await freePort()),
        DATABASE_URL: config.databaseUrl,
        NATS_URL: config.natsUrl,
        TRUSTED_PROXIES: '127.0.0.1',
        LOG_LEVEL: 'info',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let output = '';
  collectors.stdout.on('data', (part) => {
    output += part;
  });
  const logged = (text: string): number => output.split(text).length - 1;
  const haproxy = spawn('haproxy', ['-db', '-f', join(folder, 'haproxy.cfg')], { stdio: 'inherit' });
  try {
    await waitFor(() => logged('worker is up') === WORKERS, { deadlineMs: START_MS, what: 'the workers' });
    const statuses = new Map<number, number>();
    let over = false;
    const visitors = Array.from({ length: VISITORS }, async () => {
      while (!over) {
        const { status } = await fetch(`http://127.0.0.1:${port}/c/${code}`, {
          redirect: 'manual',
          headers: { Connection: 'close' },
        });
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    });
    const redirects = (): number => statuses.get(302) ?? 0;
    await waitFor(() => redirects() > 200, { deadlineMs: 20_000, what: 'some clicks' });
    collectors.kill('SIGHUP');
    await waitFor(() => logged('worker replaced') === WORKERS, {
      deadlineMs: 2 * START_MS,
      what: 'the replacement',
    });
    const after = redirects() + 100;
    await waitFor(() => redirects() > after, { deadlineMs: 20_000, what: 'some more clicks' });
    over = true;
    await Promise.all(visitors);
    expect([...statuses.keys()]).toEqual([302]);
    expect((await world.storedClicks()).length).toBe(redirects());
  } finally {
    await end(haproxy, 'HAProxy');
    await end(collectors, 'the workers');
    rmSync(folder, { recursive: true, force: true });
    await world.dispose();
  }
}, 240_000);

async function end(child: ChildProcess, what: string): Promise<void> {
  child.kill('SIGTERM');
  await waitFor(() => child.exitCode !== null || child.signalCode !== null, { deadlineMs: 30_000, what });
}
