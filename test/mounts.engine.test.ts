import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { projectRoot } from '../core/config/paths.ts';
import { freePlatformPorts } from '../engines/engine.ts';
import { waitFor } from './support/engines.ts';
import { reportMissing } from './support/programs.ts';

/** Machines whose file systems and network are not those of a developer: each in namespaces of its own, which end with it. */

const isRoot = process.getuid?.() === 0;
if (!isRoot) reportMissing('root', 'mount points as data folders, a read-only checkout, small machines');
const START_MS = 60_000;
const STOP_MS = 30_000;

let home: string;
let ports: Record<string, string>;
const children: ChildProcess[] = [];

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'afflux-mounts-'));
  ports = await freePlatformPorts();
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill('SIGINT');
    await waitFor(() => hasEnded(child), { deadlineMs: STOP_MS, what: 'the platform to end' });
  }
  rmSync(home, { recursive: true, force: true });
});

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** `npm start` in new namespaces, after the commands have changed them. */
function startIn(
  namespaces: readonly string[],
  commands: string,
): { child: ChildProcess; output: () => string } {
  const script = `set -e; ${commands}; exec "$NODE" scripts/run.mjs dist/bin/afflux.js up`;
  const child = spawn('unshare', [...namespaces, 'sh', '-c', script], {
    cwd: projectRoot,
    env: {
      PATH: process.env.PATH,
      NODE: process.execPath,
      HOME_FOLDER: home,
      CHECKOUT: projectRoot,
      AFFLUX_HOME: home,
      NATS_SERVER: inject('natsServer').binary,
      ...ports,
    },
  });
  children.push(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (text += bytes));
  return { child, output: () => text };
}

async function endOf(platform: ReturnType<typeof startIn>): Promise<string> {
  await waitFor(() => hasEnded(platform.child), { deadlineMs: START_MS, what: 'it to end' });
  expect(platform.child.exitCode).toBe(1);
  return platform.output();
}

describe.skipIf(!isRoot)('npm start', () => {
  test('takes mount points for its folders, one with lost+found, and a checkout that can only be read', async () => {
    const disk = join(home, '..', `${home.split('/').at(-1)}-disk`);
    mkdirSync(disk);
    try {
      const platform = startIn(
        ['-m'],
        `mount --bind "$CHECKOUT" "$CHECKOUT"; mount -o remount,bind,ro "$CHECKOUT"
         mount --bind "${disk}" "$HOME_FOLDER"
         cd "$HOME_FOLDER"; mkdir lost+found postgres clickhouse nats
         for folder in postgres clickhouse nats; do
           mount -t tmpfs -o size=1500m,mode=755 "$folder" "$folder"; mkdir -m 700 "$folder/lost+found"
         done
         cd "$CHECKOUT"; ! touch dist/file 2>/dev/null`,
      );
      await waitFor(() => platform.output().includes('Afflux is up after') || hasEnded(platform.child), {
        deadlineMs: START_MS,
        what: 'the platform to be up',
      });
      expect(platform.output()).toContain('(first start, new data folder');
      const ready = await fetch(`http://127.0.0.1:${ports.API_PORT}/readyz`);
      expect(ready.status).toBe(200);
    } finally {
      for (const child of children) child.kill('SIGINT');
      for (const child of children) {
        await waitFor(() => hasEnded(child), { deadlineMs: STOP_MS, what: 'the platform to end' });
      }
      rmSync(disk, { recursive: true, force: true });
    }
  });

  test('says how to enlarge a /dev/shm that PostgreSQL cannot work with', async () => {
    const output = await endOf(startIn(['-m'], 'mount -t tmpfs -o size=64k shm /dev/shm'));
    expect(output).toContain('/dev/shm has only 64 KiB, and PostgreSQL needs 32 MiB');
    expect(output).toContain('--shm-size');
  });

  test('says that a machine has no IPv4 loopback, where only that is missing', async () => {
    const withoutV4 = 'ip link set lo up; ip address del 127.0.0.1/8 dev lo';
    const services = await endOf(startIn(['-n'], withoutV4));
    expect(services).toMatch(/cannot listen on 127\.0\.0\.1:\d+: this machine has no such address.*set HOST/);
    expect(services).not.toContain('Stop that program');
    const engines = await endOf(startIn(['-n'], `${withoutV4}; export HOST=::1 METRICS_HOST=::1`));
    expect(engines).toMatch(/this machine has no such address.*set (DATABASE|CLICKHOUSE|NATS)_URL/);
  });

  test('says what to do about a checkout that can only be read and is not set up', async () => {
    const readOnly = 'mount --bind . .; mount -o remount,bind,ro . .; mount -t tmpfs -o ro dist dist';
    const output = await endOf(startIn(['-m'], `${readOnly}; cd "$CHECKOUT"`));
    expect(output).toMatch(/can only be read, and is not set up.*node scripts\/setup\.mjs/);
  });
});
