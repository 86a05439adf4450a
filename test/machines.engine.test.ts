import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Demo } from '../bin/demo/data.ts';
import { createHttpClient } from '../bin/demo/http.ts';
import { fromProject } from '../core/config/paths.ts';
import { freePort } from '../engines/engine.ts';
import { askClickHouse, waitFor } from './support/engines.ts';
import { makeTwoMachines, mayMakeNetworks, type TwoMachines } from './support/machines/network.ts';
import { reportMissing } from './support/programs.ts';

/**
 * Two machines as two network namespaces, with a data folder each: stores and every process on the first, a collector and
 * an API on the second. AFFLUX_TEST_MACHINES=1 runs it; it takes some minutes.
 */
const isWanted = process.env.AFFLUX_TEST_MACHINES === '1';
const canRun = isWanted && mayMakeNetworks();
if (isWanted && !canRun) reportMissing('root', 'two machines');

const READY_MS = 60_000;
const STOP_MS = 30_000;
const CLICKS_PER_SECOND = 100;
const CUT_MS = 6_000;
/** The spool of the second machine is empty, and all of its clicks are stored, this long after the link is back. */
const RECOVERED_MS = 60_000;
const SKEW_S = 60;
const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';

let folder: string;
let machines: TwoMachines;
const children = new Set<ChildProcess>();
const http = createHttpClient();

function home(machine: 1 | 2): string {
  return join(folder, `machine-${machine}`);
}

function environment(machine: 1 | 2): Record<string, string> {
  const stores = machines.inside[1];
  return {
    PATH: process.env.PATH ?? '',
    AFFLUX_HOME: home(machine),
    HOST: '0.0.0.0',
    METRICS_HOST: '0.0.0.0',
    DATABASE_URL: `postgres://afflux_app:p@${stores}/afflux`,
    // The embedded ClickHouse answers to the name localhost only.
    CLICKHOUSE_URL: 'http://default:p@127.0.0.1:8123/afflux',
    NATS_URL: `nats://${stores}:4222`,
    COLLECTOR_URL: `http://${machines.outside[machine]}:8080`,
    TRUSTED_PROXIES: '198.18.0.0/15',
  };
}

interface Started {
  readonly child: ChildProcess;
  output(): string;
}

function start(machine: 1 | 2, command: readonly string[], env: Record<string, string>): Started {
  const child = spawn(...machines.run(machine, command), { env, cwd: tmpdir() });
  children.add(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => (text += bytes));
  return { child, output: () => text };
}

function hasEnded({ child }: Pick<Started, 'child'>): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function afflux(machine: 1 | 2, args: readonly string[], env: Record<string, string> = {}): Started {
  const command = [process.execPath, fromProject('dist/bin/afflux.js'), ...args];
  return start(machine, command, { ...environment(machine), ...env });
}

async function done(started: Started): Promise<string> {
  await waitFor(() => hasEnded(started), { deadlineMs: READY_MS, what: 'a command to end' });
  if (started.child.exitCode !== 0) throw new Error(started.output());
  return started.output();
}

/** Starts a process and waits until it is ready. */
async function serve(machine: 1 | 2, name: string, env: Record<string, string> = {}): Promise<Started> {
  const started = afflux(machine, [name], env);
  await waitFor(() => started.output().includes('"msg":"ready"') || hasEnded(started), {
    deadlineMs: READY_MS,
    what: `${name} on machine ${machine}`,
  });
  if (hasEnded(started)) throw new Error(started.output());
  return started;
}

async function stop(started: Pick<Started, 'child'>): Promise<void> {
  started.child.kill('SIGTERM');
  await waitFor(() => hasEnded(started), { deadlineMs: STOP_MS, what: 'a process to end' });
  children.delete(started.child);
}

async function ready(url: string): Promise<void> {
  await waitFor(
    () =>
      http.get(`${url}/readyz`).then(
        ({ status }) => status === 200,
        () => false,
      ),
    { deadlineMs: READY_MS, what: `${url} to be ready` },
  );
}

let demo: Demo;
let collector2: Started;
let warehousePort = 0;
let clicks = 0;

/** A click of a new visitor at a machine's collector; its id, or undefined where it was not redirected. */
async function click(machine: 1 | 2): Promise<{ request: number; id: string } | undefined> {
  const request = clicks++;
  const { status, location } = await http.get(
    `http://${machines.outside[machine]}:8080/c/${demo.links[0]?.code}?sub1=${request}`,
    {
      'User-Agent': `Mozilla/5.0 (X11; Linux x86_64) Visitor/${request}`,
      'X-Forwarded-For': `10.${request & 255}.${(request >> 8) & 255}.1`,
    },
  );
  if (status !== 302) return undefined;
  return { request, id: new URL(location).searchParams.get('click_id') ?? '' };
}

async function order(machine: 1 | 2, orderId: string, clickId: string): Promise<string> {
  const { conversion } = await http.post<{ conversion: { id: string } }>(
    `http://${machines.outside[machine]}:8081/v1/conversions`,
    {
      key: demo.keys.advertiser,
      body: { order_id: orderId, amount: '10.00', currency: demo.program.currency, click_id: clickId },
    },
  );
  return conversion.id;
}

/** Waits until an order is decided; its state then. */
async function decided(id: string): Promise<string> {
  let state = '';
  await waitFor(
    async () => {
      const url = `http://${machines.outside[1]}:8081/v1/conversions/${id}`;
      ({ state } = await http.getJson<{ state: string }>(url, { key: demo.keys.advertiser }));
      return !['received', 'awaiting_click'].includes(state);
    },
    { deadlineMs: 2 * READY_MS, what: `a decision on ${id}` },
  );
  return state;
}

async function rows(sql: string): Promise<string> {
  const url = `http://default:p@127.0.0.1:${warehousePort}/afflux`;
  const answer = await askClickHouse(url, {}, { method: 'POST', body: sql });
  return (await answer.text()).trim();
}

describe.skipIf(!canRun)('two machines', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'afflux-machines-'));
    machines = makeTwoMachines();
    mkdirSync(home(1));
    mkdirSync(home(2));
    const [path, far] = [process.env.PATH ?? '', machines.inside[1]];
    const script = fromProject('test/support/machines/servers.mjs');
    const servers = start(
      1,
      [process.execPath, script, join(folder, 'stores'), far, machines.network, inject('natsServer').binary],
      { PATH: path },
    );
    await waitFor(() => servers.output().includes('ready\n') || hasEnded(servers), {
      deadlineMs: READY_MS,
      what: 'the servers of machine 1',
    });
    if (hasEnded(servers)) throw new Error(servers.output());
    const forward = fromProject('test/support/machines/forward.mjs');
    start(1, [process.execPath, forward, `${far}:8123`, '127.0.0.1:8123'], { PATH: path });
    start(2, [process.execPath, forward, '127.0.0.1:8123', `${far}:8123`], { PATH: path });
    start(1, [process.execPath, forward, `${machines.outside[1]}:8124`, '127.0.0.1:8123'], { PATH: path });
    warehousePort = await freePort();
    const watcher = [forward, `127.0.0.1:${warehousePort}`, `${machines.outside[1]}:8124`];
    children.add(spawn(process.execPath, watcher, { stdio: 'ignore' }));
    const owner = { DATABASE_OWNER_URL: `postgres://afflux_owner:p@${far}/afflux` };
    await done(afflux(1, ['migrate'], owner));
    await Promise.all(['loader', 'attribution', 'scheduler', 'api'].map((name) => serve(1, name)));
    await serve(1, 'collector');
    await done(afflux(1, ['demo', '--clicks', '0']));
    demo = JSON.parse(readFileSync(join(home(1), 'demo.json'), 'utf8')) as Demo;
  }, 6 * READY_MS);

  afterAll(async () => {
    machines?.setLink('up');
    http.close();
    const reversed = [...children].filter((child) => !hasEnded({ child })).toReversed();
    for (const child of reversed) await stop({ child });
    machines?.remove();
    if (folder) rmSync(folder, { recursive: true, force: true });
  }, 6 * STOP_MS);

  test(
    'a second machine without the keys is refused, by a message that names what to bring',
    async () => {
      for (const name of ['collector', 'api']) {
        const refused = afflux(2, [name]);
        await waitFor(() => hasEnded(refused), { deadlineMs: READY_MS, what: `${name} to be refused` });
        expect(refused.child.exitCode).toBe(1);
        expect(refused.output()).toContain('keys_differ');
        expect(refused.output()).toContain('copy AFFLUX_HOME/secrets.json');
      }
      for (const file of ['secrets.json', 'count-key.pem'])
        copyFileSync(join(home(1), file), join(home(2), file));
      collector2 = await serve(2, 'collector');
      await serve(2, 'api');
      await ready(`http://${machines.outside[2]}:8081`);
    },
    4 * READY_MS,
  );

  test(
    'a click on one machine and its order on the other are joined, both ways',
    async () => {
      const [here, there] = [await click(2), await click(1)];
      const ids = [
        await order(1, 'two-machines-1', here?.id ?? ''),
        await order(2, 'two-machines-2', there?.id ?? ''),
      ];
      for (const id of ids) expect(await decided(id)).toBe('attributed');
    },
    4 * READY_MS,
  );

  test(
    'a machine that is cut off under load redirects on, and nothing is lost or doubled',
    async () => {
      const received: number[] = [];
      const latencies: number[] = [];
      let refused = 0;
      const waiting = new Set<Promise<void>>();
      const startedAt = performance.now();
      let sent = 0;
      const timer = setInterval(() => {
        for (; sent < ((performance.now() - startedAt) * CLICKS_PER_SECOND) / 1_000; sent++) {
          const at = performance.now();
          const one: Promise<void> = click(2)
            .then((answer) => {
              latencies.push(performance.now() - at);
              if (answer) received.push(answer.request);
              else refused++;
            })
            .finally(() => waiting.delete(one));
          waiting.add(one);
        }
      }, 10);
      const after = (ms: number) =>
        waitFor(() => performance.now() - startedAt > ms, { deadlineMs: ms + READY_MS, what: 'the load' });
      await after(2_000);
      machines.setLink('down');
      const receivedBefore = received.length;
      await after(2_000 + CUT_MS);
      const receivedWhileCut = received.length - receivedBefore;
      machines.setLink('up');
      await after(4_000 + CUT_MS);
      clearInterval(timer);
      await Promise.all(waiting);
      const linkUpAt = performance.now();
      const first = Math.min(...received);
      const stored = `SELECT uniqExact(sub1), count() FROM clicks WHERE toUInt32OrZero(sub1) >= ${first}`;
      await waitFor(async () => (await rows(stored)) === `${received.length}\t${received.length}`, {
        deadlineMs: RECOVERED_MS,
        what: `${received.length} clicks to be stored`,
      });
      expect(refused).toBe(0);
      expect(receivedWhileCut).toBeGreaterThan((CUT_MS / 1_000) * CLICKS_PER_SECOND * 0.5);
      const audit = await done(afflux(1, ['audit', '--json']));
      expect(JSON.parse(audit.slice(audit.indexOf('{')))).toMatchObject({ ok: true });
      latencies.sort((a, b) => a - b);
      const at = (share: number) => Math.round(latencies[Math.floor(latencies.length * share)] ?? 0);
      process.stderr.write(
        `Two machines: ${received.length} redirects, ${receivedWhileCut} of them in ${CUT_MS / 1_000} s without a link; ` +
          `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms; all stored once ${Math.round(performance.now() - linkUpAt)} ms after the load\n`,
      );
    },
    4 * READY_MS,
  );

  test(
    'a collector whose clock is a minute ahead is reported, and its clicks earn',
    async ({ skip }) => {
      if (!existsSync(FAKETIME)) {
        reportMissing('faketime', 'a collector whose clock is wrong');
        return skip('no faketime');
      }
      await stop(collector2);
      collector2 = await serve(2, 'collector', {
        LD_PRELOAD: FAKETIME,
        FAKETIME: `+${SKEW_S}s`,
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      });
      const token = (await done(afflux(1, ['metrics-token']))).trim();
      let off = 0;
      await waitFor(
        async () => {
          const { body } = await http.get(`http://${machines.outside[2]}:8080/metrics`, {
            authorization: `Bearer ${token}`,
          });
          off = Number(/^afflux_collector_clock_off_seconds (\S+)/m.exec(body)?.[1]);
          return Math.abs(off - SKEW_S) < 5;
        },
        { deadlineMs: READY_MS, what: 'the metric of the clock' },
      );
      const ahead = await click(2);
      const id = await order(1, 'two-machines-3', ahead?.id ?? '');
      expect(await decided(id)).toBe('attributed');
      const audit = await done(afflux(1, ['audit']));
      expect(audit).toMatch(/the clock of the collector with node \d+ is \d+\.\d s ahead/);
    },
    6 * READY_MS,
  );
});
