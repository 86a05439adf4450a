import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RESTORE_MARK } from '../bin/environment.ts';
import { fromProject } from '../core/config/paths.ts';
import { freePlatformPorts } from '../engines/engine.ts';
import { connectOwner } from '../ledger/postgres/db.ts';
import { connectWarehouse } from '../warehouse/clickhouse/client.ts';
import { freshClickHouseDatabase, waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { clickCounts } from './support/warehouse.ts';

/** Two whole platforms one after the other, and one more for `--deep`: a minute or two. */
const WANTED = process.env.AFFLUX_TEST_BACKUP === '1';
const TEST_MS = 240_000;
const CLICK_EVERY_MS = 20;
const ORDER_EVERY = 10;

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** Runs the command line with variables of its own; `onStart` may end it. */
async function afflux(
  env: Readonly<Record<string, string>>,
  args: readonly string[],
  onStart: (child: ChildProcess, output: () => string) => Promise<void> = async () => undefined,
): Promise<Ended> {
  const child = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), ...args], { env, cwd: tmpdir() });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (output += bytes));
  const ended = new Promise<Ended>((resolve) =>
    child.on('close', (code, signal) => resolve({ code, signal, output })),
  );
  await onStart(child, () => output);
  return await ended;
}

describe.runIf(WANTED)('a backup of a platform that runs', () => {
  let work = '';
  let platform: TestPlatform;
  let passphrase: string[];
  /** Click ids that were redirected before the backup was begun. */
  const early: string[] = [];

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'afflux-backup-'));
    const file = join(work, 'passphrase');
    writeFileSync(file, 'correct horse battery\n');
    passphrase = ['--passphrase-file', file];
    platform = await startPlatform();
    for (let i = 0; i < 20; i++) early.push(await click(platform));
  });
  afterAll(async () => {
    await platform?.stop();
    rmSync(work, { recursive: true, force: true, maxRetries: 5 });
  });

  async function click({ collectorUrl }: TestPlatform): Promise<string> {
    const code = platform.demo.links[0]?.code ?? '';
    const answer = await fetch(`${collectorUrl}/c/${code}`, { redirect: 'manual' });
    return new URL(answer.headers.get('location') ?? '').searchParams.get('click_id') ?? '';
  }

  async function order(at: TestPlatform, clickId: string, orderId: string): Promise<string> {
    const query = new URLSearchParams({
      key: platform.demo.keys.advertiser,
      order_id: orderId,
      amount: '12.00',
      currency: 'EUR',
      click_id: clickId,
    });
    const answer = await fetch(`${at.apiUrl}/postback?${query}`);
    return ((await answer.json()) as { status: string }).status;
  }

  /** Clicks and orders until it is stopped; how many were answered. */
  function traffic() {
    let isStopped = false;
    const sent = { clicks: 0, orders: 0 };
    const ended = (async () => {
      while (!isStopped) {
        const clickId = await click(platform);
        sent.clicks++;
        if (sent.clicks % ORDER_EVERY === 0) {
          await order(platform, clickId, `during-${sent.clicks}`);
          sent.orders++;
        }
        await sleep(CLICK_EVERY_MS);
      }
    })();
    return {
      sent,
      async stop() {
        isStopped = true;
        await ended;
      },
    };
  }

  async function restoredPlatform(folder: string): Promise<TestPlatform> {
    return await startPlatform({
      env: { PAYOUT_HOUR: 'off' },
      demo: false,
      async prepare(home) {
        // Of the restore alone: later ones are as good.
        const env = { ...platform.env, ...(await freePlatformPorts()), AFFLUX_HOME: home };
        const killed = await afflux(
          env,
          ['backup', 'restore', folder, ...passphrase],
          async (child, output) => {
            await waitFor(() => output().includes('ClickHouse is restored') || child.exitCode !== null, {
              deadlineMs: 60_000,
              what: 'the restore to be half done',
            });
            child.kill('SIGKILL');
          },
        );
        expect(killed.signal, killed.output).toBe('SIGKILL');
        expect(existsSync(join(home, RESTORE_MARK))).toBe(true);
        const refused = await afflux(env, ['audit']);
        expect(refused).toMatchObject({
          code: 1,
          output: expect.stringContaining('run "afflux backup restore"'),
        });
        const restored = await afflux(env, ['backup', 'restore', folder, ...passphrase]);
        expect(restored, restored.output).toMatchObject({ code: 0 });
        expect(restored.output).toContain('Next:');
      },
    });
  }

  test('is whole although traffic went on, and makes the platform again elsewhere', {
    timeout: TEST_MS,
  }, async () => {
    const folder = join(work, 'backup');
    const running = traffic();
    const created = await afflux(platform.env, ['backup', 'create', folder, ...passphrase]);
    await running.stop();
    expect(created, created.output).toMatchObject({ code: 0 });
    expect(running.sent.clicks).toBeGreaterThan(20);

    const verified = await afflux({ PATH: platform.env.PATH ?? '' }, ['backup', 'verify', folder]);
    expect(verified, verified.output).toMatchObject({ code: 0 });
    const deep = await afflux(platform.env, [
      ...['backup', 'verify', folder, '--deep', '--scratch', work],
      ...passphrase,
    ]);
    expect(deep, deep.output).toMatchObject({
      code: 0,
      output: expect.stringContaining('Everything adds up'),
    });

    const other = await restoredPlatform(folder);
    try {
      for (const [i, clickId] of early.entries())
        expect(await order(other, clickId, `late-${i}`)).toBe('accepted');
      const owner = await connectOwner({ url: other.config.databaseOwnerUrl, name: 'test' });
      const warehouse = await connectWarehouse({ url: other.config.clickhouseUrl, name: 'test' });
      try {
        const found = await waitFor(
          async () => {
            const rows = await owner<{ clickSeq: number | null }[]>`
              select click_seq from conversions where order_id like 'late-%' and decided_at is not null`;
            return rows.length === early.length && rows;
          },
          { deadlineMs: 60_000, what: 'old clicks to be attributed' },
        );
        expect(found.filter(({ clickSeq }) => clickSeq === null)).toEqual([]);
        await click(other);
        const { clicks, distinct, rolledUp } = await clickCounts(warehouse);
        expect([distinct, rolledUp]).toEqual([clicks, clicks]);
        expect(clicks).toBeGreaterThanOrEqual(early.length);
      } finally {
        await owner.end();
        await warehouse.close();
      }
      const audited = await other.afflux('audit');
      expect(audited).toContain('Everything adds up');
    } finally {
      await other.stop();
    }
  });

  test('killed while it is made is no backup, and the next one is made in its place', {
    timeout: TEST_MS,
  }, async () => {
    const folder = join(work, 'killed');
    const killed = await afflux(platform.env, ['backup', 'create', folder, ...passphrase], async (child) => {
      await waitFor(() => existsSync(join(`${folder}.unfinished`, 'postgres')), {
        deadlineMs: 60_000,
        what: 'a backup under way',
      });
      child.kill('SIGKILL');
    });
    expect(killed.signal).toBe('SIGKILL');
    expect(existsSync(folder)).toBe(false);
    const verified = await afflux({ PATH: platform.env.PATH ?? '' }, [
      'backup',
      'verify',
      `${folder}.unfinished`,
    ]);
    expect(verified).toMatchObject({ code: 1, output: expect.stringContaining('is not whole') });
    const created = await afflux(platform.env, ['backup', 'create', folder, ...passphrase]);
    expect(created, created.output).toMatchObject({ code: 0 });
    expect(existsSync(`${folder}.unfinished`)).toBe(false);
  });

  test.runIf(process.getuid?.() === 0)(
    'on a full disk says so, and leaves nothing',
    { timeout: TEST_MS },
    async () => {
      const disk = join(work, 'disk');
      mkdirSync(disk);
      expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]).status).toBe(0);
      try {
        const full = await afflux(platform.env, ['backup', 'create', join(disk, 'backup'), ...passphrase]);
        expect(full).toMatchObject({
          code: 1,
          output: expect.stringContaining('is full. No backup was made'),
        });
        expect(existsSync(join(disk, 'backup.unfinished'))).toBe(false);
      } finally {
        spawnSync('umount', [disk]);
      }
    },
  );

  test('the clicks move to a server of their own', { timeout: TEST_MS }, async () => {
    const folder = join(work, 'export');
    const exported = await afflux(platform.env, ['warehouse', 'export', folder]);
    expect(exported, exported.output).toMatchObject({ code: 0 });
    const target = await freshClickHouseDatabase();
    try {
      const env = { ...platform.env, CLICKHOUSE_URL: target.url };
      expect(await afflux(env, ['migrate'])).toMatchObject({ code: 0 });
      const imported = await afflux(env, ['warehouse', 'import', folder]);
      expect(imported, imported.output).toMatchObject({ code: 0 });
      const again = await afflux(env, ['warehouse', 'import', folder]);
      expect(again, again.output).toMatchObject({ code: 0 });
      const there = await connectWarehouse({ url: target.url, name: 'test' });
      const here = await connectWarehouse({ url: platform.config.clickhouseUrl, name: 'test' });
      expect(await clickCounts(there)).toEqual(await clickCounts(here));
      await Promise.all([there.close(), here.close()]);
    } finally {
      await target.drop();
    }
  });
});
