import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, inject, onTestFinished, test } from 'vitest';
import { LEASE_FILE } from '../collector/durability/lease-keeper.ts';
import { collectorSlotFolder } from '../collector/main.ts';
import { createClickIdCodec } from '../core/clicks/click-id.ts';
import { type Config, loadConfig } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';
import { withGeneratedSecrets } from '../core/config/secrets.ts';
import { assert } from '../core/errors.ts';
import { ENGINE_STOP_MS, freePlatformPorts } from '../engines/engine.ts';
import { connectDatabase } from '../ledger/postgres/db.ts';
import { connectWarehouse } from '../warehouse/clickhouse/client.ts';
import { lookupClicks } from '../warehouse/lookups/lookups.ts';
import { readWatermark } from '../warehouse/watermark/watermark.ts';
import { waitFor } from './support/engines.ts';
import { createParties } from './support/ledger.ts';

const SERVICE_PORTS = ['COLLECTOR_PORT', 'API_PORT', 'LOADER_PORT', 'ATTRIBUTION_PORT', 'SCHEDULER_PORT'];
const START_MS = 60_000;
const VISIT_MS = 500;

let home: string;
let env: Record<string, string>;
const children: ChildProcess[] = [];

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "afflux it's a "));
  env = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    AFFLUX_HOME: home,
    NATS_SERVER: inject('natsServer').binary,
    ...(await freePlatformPorts()),
    LOG_LEVEL: 'debug',
  };
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill('SIGINT');
    await waitFor(() => hasEnded(child), { deadlineMs: 30_000, what: 'the platform to end' });
  }
  // Engines outlive a supervisor that was killed; a test that fails must not leave them behind.
  for (const { pid } of ourProcesses()) process.kill(pid, 'SIGKILL');
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
});

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Runs `afflux up` and collects what it says. */
function up(...args: string[]): { child: ChildProcessWithoutNullStreams; output: () => string } {
  const command = [fromProject('dist/bin/afflux.js'), 'up', ...args];
  const child = spawn(process.execPath, command, { env, cwd: tmpdir() });
  children.push(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes) => {
      text += bytes;
    });
  }
  return { child, output: () => text };
}

async function upAndReady(...args: string[]): Promise<ReturnType<typeof up>> {
  const platform = up(...args);
  await waitFor(() => platform.output().includes('Afflux is up after') || hasEnded(platform.child), {
    deadlineMs: START_MS,
    what: 'the platform to be up',
  });
  expect(platform.output()).toContain('Afflux is up after');
  return platform;
}

async function status(portName: string): Promise<number> {
  return await fetch(`http://127.0.0.1:${env[portName]}/readyz`).then(
    ({ status }) => status,
    () => 0,
  );
}

/** Running processes whose command line or environment names this test's data folder. */
function ourProcesses(): { pid: number; line: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const isOurs = line.includes(home) || readFileSync(`/proc/${pid}/environ`, 'utf8').includes(home);
        return isOurs ? [{ pid: Number(pid), line }] : [];
      } catch {
        // It has just ended.
        return [];
      }
    });
}

/** A line of the log. */
function readLine(line: string): { service: string; msg: string } {
  const record = JSON.parse(line) as Record<string, string>;
  expect(record, line).toMatchObject({ service: expect.any(String), msg: expect.any(String) });
  expect(record.level).toMatch(/^(?:trace|debug|info|warn|error|fatal)$/);
  expect(new Date(record.time ?? '').toISOString(), line).toBe(record.time);
  return { service: record.service ?? '', msg: record.msg ?? '' };
}

/** The running process with these words in its command line. */
function pidOf(words: string): number | undefined {
  return ourProcesses().find(({ line }) => line.includes(words))?.pid;
}

function collectorPid(): number | undefined {
  return pidOf('afflux.js collector');
}

/** Running collectors among several, by slot. */
function workerPids(slot: number): number[] {
  return ourProcesses()
    .filter(({ line }) => line.includes(`afflux.js collector --slot ${slot} `))
    .map(({ pid }) => pid);
}

async function isWorkerReady(slot: number): Promise<boolean> {
  return await fetch(`http://127.0.0.1:${Number(env.COLLECTOR_METRICS_PORT) + slot}/readyz`).then(
    ({ ok }) => ok,
    () => false,
  );
}

/** Sends the second signal, and expects all to end sooner than one that hangs would be ended without it. */
async function endsByForce(child: ChildProcess): Promise<void> {
  const askedAt = Date.now();
  child.kill('SIGTERM');
  await waitFor(() => hasEnded(child), { deadlineMs: 15_000, what: 'the platform to end' });
  // The first signal was a moment ago, and collectors have longer than engines.
  expect(Date.now() - askedAt).toBeLessThan(ENGINE_STOP_MS - 1_000);
  expect(child.exitCode).toBe(1);
  expect(ourProcesses()).toEqual([]);
}

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(') ') + 2).split(' ')[1]);
}

test('starts, refuses a second one, brings a crashed process back, survives a kill, and stops in order leaving nothing running', {
  timeout: 180_000,
}, async () => {
  const first = await upAndReady();
  expect(first.output()).toContain('first start');
  // The right to set a platform up is no line of a log; what prints it is.
  expect(first.output()).toMatch(/"next":\[".*npx afflux init --link/);
  expect(first.output()).not.toContain('afx_setup_');
  expect(await Promise.all(SERVICE_PORTS.map(status))).toEqual(SERVICE_PORTS.map(() => 200));

  const second = up();
  await waitFor(() => hasEnded(second.child), { deadlineMs: 10_000, what: 'the second to end' });
  expect(second.child.exitCode).toBe(1);
  expect(second.output()).toContain(`already running on ${home} (pid ${first.child.pid})`);

  const killed = collectorPid();
  assert(killed !== undefined, 'the collector runs');
  process.kill(killed, 'SIGKILL');
  await waitFor(() => ![killed, undefined].includes(collectorPid()), {
    deadlineMs: 20_000,
    what: 'a new collector',
  });
  await waitFor(async () => (await status('COLLECTOR_PORT')) === 200, {
    deadlineMs: 20_000,
    what: 'it to be ready',
  });

  first.child.kill('SIGKILL');
  const ours = () => ourProcesses().filter(({ line }) => line.startsWith(process.execPath));
  await waitFor(() => ours().length === 0, {
    deadlineMs: 20_000,
    what: 'the Node processes to end by themselves',
  });

  const third = await upAndReady();
  expect(third.output()).toContain('existing data');
  third.child.kill('SIGINT');
  await waitFor(() => hasEnded(third.child), { deadlineMs: 30_000, what: 'the platform to stop' });
  expect(third.child.exitCode).toBe(0);
  // Without a terminal every line is JSON: of the supervisor, of the processes, of the engines.
  const lines = third.output().trimEnd().split('\n').map(readLine);
  const services = ['api', 'attribution', 'collector', 'loader', 'scheduler'];
  expect(new Set(lines.map(({ service }) => service))).toEqual(
    new Set(['afflux', 'postgresql', 'clickhouse', 'nats', ...services]),
  );
  const stops = lines
    .filter(({ msg, service }) => msg === 'stopped' && service !== 'afflux')
    .map(({ service }) => service);
  expect(stops.slice(0, services.length).toSorted()).toEqual(services);
  expect(stops.slice(services.length)).toEqual(['clickhouse']);
  expect(ourProcesses()).toEqual([]);
});

test('a worker that is killed is back in its slot, and no process but afflux up itself is its parent', async () => {
  const { child, output } = await upAndReady('--workers', '2');
  const [[first], [second]] = [workerPids(0), workerPids(1)];
  assert(first !== undefined && second !== undefined, 'both workers run');
  expect([first, second].map(parentOf)).toEqual([child.pid, child.pid]);
  process.kill(first, 'SIGKILL');
  await waitFor(async () => !workerPids(0).includes(first) && (await isWorkerReady(0)), {
    deadlineMs: 20_000,
    what: 'the next worker of its slot',
  });
  expect(workerPids(1)).toEqual([second]);
  process.kill(second, 'SIGSTOP');
  child.kill('SIGTERM');
  await waitFor(() => output().includes('SIGTERM: stopping'), { deadlineMs: 5_000, what: 'the stop' });
  await endsByForce(child);
});

test('a collector that hangs after its parent was killed is named and ended, another slot is served meanwhile, and each redirect of that time is stored once', async () => {
  const killed = await upAndReady('--workers', '2');
  const config = withGeneratedSecrets(loadConfig(env));
  const code = await createTestLink(config.databaseUrl);
  const visits = startVisits(`http://127.0.0.1:${config.collectorPort}/c/${code}`);
  onTestFinished(async () => void (await visits.stop()));
  await waitFor(() => visits.count() > 100, { deadlineMs: 20_000, what: 'redirects before the kill' });
  const [[stuck], [other]] = [workerPids(0), workerPids(1)];
  assert(stuck !== undefined && other !== undefined, 'both workers run');
  process.kill(stuck, 'SIGSTOP');
  killed.child.kill('SIGKILL');
  const { output } = up('--workers', '2');
  await waitFor(async () => !workerPids(1).includes(other) && (await isWorkerReady(1)), {
    deadlineMs: START_MS,
    what: 'the next worker of the other slot',
  });
  expect(workerPids(0)).toContain(stuck);
  const says = (text: string): boolean =>
    output()
      .split('\n')
      .some((line) => line.includes(`"pid":${stuck},`) && line.includes(text));
  await waitFor(() => says('waiting for another collector to end'), {
    deadlineMs: 15_000,
    what: 'the next worker of the stuck slot to say what it waits for',
  });
  await waitFor(async () => !workerPids(0).includes(stuck) && (await isWorkerReady(0)), {
    deadlineMs: 40_000,
    what: 'the next worker of the stuck slot',
  });
  expect(says('ending by force a collector that hangs')).toBe(true);
  expect(output()).not.toContain('another program is using it');

  const before = visits.count();
  await waitFor(() => visits.count() > before + 100, { deadlineMs: 20_000, what: 'redirects after it' });
  const ids = await visits.stop();
  await expectStoredOnce({ config, ids, sinceMs: Date.now() });
});

test('a collector alone replays the clicks of workers that were killed, and closes their leases', async () => {
  const workers = await upAndReady('--workers', '2');
  const config = withGeneratedSecrets(loadConfig(env));
  const url = `http://127.0.0.1:${config.collectorPort}/c/${await createTestLink(config.databaseUrl)}`;
  await waitFor(async () => (await fetch(url, { redirect: 'manual' })).status === 302, {
    deadlineMs: 10_000,
    what: 'the link',
  });
  const nats = pidOf('nats-server.conf');
  assert(nats !== undefined, 'NATS runs');
  process.kill(nats, 'SIGSTOP');
  const ids: string[] = [];
  const folders = [0, 1].map((slot) => collectorSlotFolder(home, slot));
  await waitFor(
    async () => {
      const answer = await fetch(url, { redirect: 'manual', headers: { Connection: 'close' } });
      ids.push(new URL(answer.headers.get('location') ?? '').searchParams.get('click_id') ?? '');
      return folders.every(hasSpool);
    },
    { deadlineMs: 10_000, what: 'clicks in both spools' },
  );
  for (const { pid } of ourProcesses()) process.kill(pid, 'SIGKILL');
  await waitFor(() => hasEnded(workers.child) && ourProcesses().length === 0, {
    deadlineMs: 10_000,
    what: 'the end of every process',
  });
  expect(folders.map(hasSpool)).toEqual([true, true]);

  const startedAt = Date.now();
  await upAndReady();
  await expectStoredOnce({ config, ids, sinceMs: startedAt });
  expect(folders.map(hasSpool)).toEqual([false, false]);
  expect(folders.map((folder) => existsSync(join(folder, LEASE_FILE)))).toEqual([true, false]);
});

/** Expects the click of every id in the warehouse once every click until `sinceMs` is counted, and no click twice. */
async function expectStoredOnce(options: {
  config: Config;
  ids: readonly string[];
  sinceMs: number;
}): Promise<void> {
  const { config, ids, sinceMs } = options;
  const codec = createClickIdCodec(config.clickKeys);
  const identities = ids.map((id) => codec.decode(id)).filter((identity) => identity !== undefined);
  expect(identities).toHaveLength(ids.length);
  const warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'test' });
  onTestFinished(() => warehouse.close());
  await waitFor(async () => ((await readWatermark(warehouse)) ?? 0) > sinceMs, {
    deadlineMs: 20_000,
    what: 'the watermark, which an open lease would hold',
  });
  expect(await lookupClicks(warehouse, identities)).toHaveLength(ids.length);
  const { rows } = await warehouse.query<{ stored: string; different: string }>(
    'SELECT count() AS stored, uniqExact(node, seq) AS different FROM clicks',
  );
  expect(Number(rows[0]?.stored)).toBeGreaterThanOrEqual(ids.length);
  expect(rows[0]?.stored).toBe(rows[0]?.different);
}

/** Clicks one after another, each on a connection of its own, and keeps the id of each redirect that came. */
function startVisits(url: string): { count: () => number; stop: () => Promise<string[]> } {
  const ids: string[] = [];
  let isOver = false;
  async function visit(): Promise<void> {
    while (!isOver) {
      // The listener of a process that is stopped, or killed, takes connections that it does not answer.
      const answer = await fetch(url, {
        redirect: 'manual',
        headers: { Connection: 'close' },
        signal: AbortSignal.timeout(VISIT_MS),
      }).catch(() => undefined);
      const id = new URL(answer?.headers.get('location') ?? 'x:').searchParams.get('click_id');
      if (id) ids.push(id);
    }
  }
  const visitors = Array.from({ length: 4 }, visit);
  return {
    count: () => ids.length,
    async stop() {
      isOver = true;
      await Promise.all(visitors);
      return ids;
    },
  };
}

function hasSpool(folder: string): boolean {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).some((path) => path.endsWith('.spool'));
}

async function createTestLink(databaseUrl: string): Promise<string> {
  const ledger = await connectDatabase({ url: databaseUrl, max: 1, name: 'test' });
  try {
    const { linkId } = await createParties(ledger);
    const [link] = await ledger<{ code: string }[]>`select code from links where id = ${linkId}`;
    return link?.code ?? '';
  } finally {
    await ledger.end();
  }
}

test('says what a stop waits for, and a second signal ends all by force', async () => {
  const { child, output } = await upAndReady();
  const stuck = collectorPid();
  assert(stuck !== undefined, 'the collector runs');
  process.kill(stuck, 'SIGSTOP');
  child.kill('SIGTERM');
  await waitFor(() => output().includes(`waits for collector (pid ${stuck})`), {
    deadlineMs: 10_000,
    what: 'a line about the collector',
  });
  await endsByForce(child);
});

test('a part that hangs while it starts can be stopped: a second signal ends it by force', async () => {
  // It takes connections, says nothing, and does not heed SIGTERM.
  const programs = mkdtempSync(join(tmpdir(), 'afflux-mute-'));
  onTestFinished(() => rmSync(programs, { recursive: true }));
  const mute = join(programs, 'nats-server');
  writeFileSync(
    mute,
    `#!${process.execPath}
if (process.argv.includes('--version')) console.log('nats-server: v2.10.0');
else {
  process.on('SIGTERM', () => undefined);
  require('node:net').createServer(() => undefined).listen(${env.NATS_PORT}, '127.0.0.1', () => console.log('mute'));
}
`,
    { mode: 0o755 },
  );
  // The account of the engines runs it.
  chmodSync(programs, 0o755);
  env.NATS_SERVER = mute;
  const { child, output } = up();
  await waitFor(() => output().includes('waits for an answer on its port') || hasEnded(child), {
    deadlineMs: 30_000,
    what: 'a line about the part that hangs',
  });
  child.kill('SIGTERM');
  await waitFor(() => output().includes('SIGTERM: stopping'), { deadlineMs: 5_000, what: 'the stop' });
  await endsByForce(child);
});

test('stops its engines when its output is closed', async () => {
  const { child } = await upAndReady();
  child.stdout.destroy();
  child.stderr.destroy();
  child.kill('SIGTERM');
  await waitFor(() => hasEnded(child), { deadlineMs: 30_000, what: 'the platform to end' });
  expect(ourProcesses()).toEqual([]);
});

test('names the variable of a port that is taken, before it starts anything', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(Number(env.API_PORT), '127.0.0.1', resolve));
  const platform = up();
  await waitFor(() => hasEnded(platform.child), { deadlineMs: 10_000, what: 'it to end' });
  server.close();
  expect(platform.child.exitCode).toBe(1);
  expect(platform.output()).toMatch(
    /cannot listen on 127\.0\.0\.1:\d+: another program is using it.*API_PORT/,
  );
  expect(readdirSync(home).toSorted()).toEqual(['secrets.json']);
});

test('lists every fault of the environment at once', async () => {
  env.API_PORT = 'x';
  env.NATS_SYNC = 'maybe';
  const platform = up();
  await waitFor(() => hasEnded(platform.child), { deadlineMs: 10_000, what: 'it to end' });
  expect(platform.child.exitCode).toBe(1);
  expect(platform.output()).toMatch(/API_PORT must be a port.*NATS_SYNC must be one of/s);
});
