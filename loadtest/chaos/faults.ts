import { appendFileSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../engines/engine.ts';
import { isRunning, type Platform, type Target } from '../platform.ts';
import type { SmallDisk } from '../small-disk.ts';
import { isTrueWithin } from '../wait.ts';
import type { OwnNetwork } from './network.ts';
import type { Fault, FaultKind } from './schedule.ts';

/** How long a process that an earlier fault has ended may take to be there again. */
const TARGET_MS = 15_000;
const SPOOLED_MS = 5_000;
const SECOND_LOADER_MS = 20_000;
/** More than a record's header, less than its shortest row. */
const TORN_BYTES = 48;

/** Injects a fault and, where it lasts, ends it; false when what it is for was not there. */
export type Injector = (fault: Fault) => Promise<boolean>;

/** One fault of a kind at a time; faults of different kinds overlap. */
export function createInjector(options: {
  platform: Platform;
  disk: SmallDisk | undefined;
  network: OwnNetwork | undefined;
}): Injector {
  const { platform, disk, network } = options;
  const { natsPort, postgresPort, clickhousePort } = platform.config;
  const underWay = new Map<FaultKind, Promise<unknown>>();

  async function pidOf(target: Target): Promise<number | undefined> {
    let pid: number | undefined;
    await isTrueWithin(TARGET_MS, () => {
      pid = platform.pidOf(target);
      return pid !== undefined;
    });
    return pid;
  }

  async function end(target: Target, signal: NodeJS.Signals): Promise<boolean> {
    const pid = await pidOf(target);
    return pid !== undefined && platform.signal(pid, signal);
  }

  async function pause(target: Target, durationMs: number): Promise<boolean> {
    const pid = await pidOf(target);
    if (pid === undefined || !platform.signal(pid, 'SIGSTOP')) return false;
    await delay(durationMs);
    platform.signal(pid, 'SIGCONT');
    return true;
  }

  async function fillDisk(durationMs: number): Promise<boolean> {
    if (!disk) return false;
    disk.fill();
    await delay(durationMs);
    disk.makeRoom();
    return true;
  }

  /** Both ends live on, and hear nothing of each other. */
  async function cutOff(port: number, durationMs: number): Promise<boolean> {
    if (!network) return false;
    await network.cut(port, durationMs);
    return true;
  }

  /** A second loader overtakes the first; one of the two sleeps meanwhile and wakes up as a zombie. */
  async function twoLoaders(durationMs: number): Promise<boolean> {
    const first = await pidOf('loader');
    const port = await freePort();
    const second = platform.startBeside(['loader'], { LOADER_PORT: String(port) });
    const came = await isTrueWithin(
      SECOND_LOADER_MS,
      async () => !isRunning(second) || (await answers(`http://127.0.0.1:${port}/healthz`)),
    );
    const sleeper = durationMs % 2 === 0 ? first : second.pid;
    if (sleeper !== undefined) platform.signal(sleeper, 'SIGSTOP');
    await delay(durationMs);
    if (sleeper !== undefined) platform.signal(sleeper, 'SIGCONT');
    const wasRunning = came && isRunning(second);
    // Still two of them, both awake.
    await delay(durationMs / 2);
    second.kill('SIGKILL');
    return wasRunning && first !== undefined;
  }

  /** While NATS sleeps clicks go to the spool; its collector is killed, and a record cut short is found behind them. */
  async function tearSpool(): Promise<boolean> {
    const nats = await pidOf('nats');
    if (nats === undefined || !platform.signal(nats, 'SIGSTOP')) return false;
    try {
      const folder = join(platform.config.home, 'collector', '0', 'spool');
      const spooled = await isTrueWithin(SPOOLED_MS, () => newestSegment(folder) !== undefined);
      const collector = platform.pidOf('collector');
      if (!spooled || collector === undefined || !platform.signal(collector, 'SIGKILL')) return false;
      await isTrueWithin(SPOOLED_MS, () => platform.pidOf('collector') !== collector);
      const segment = newestSegment(folder);
      if (segment === undefined) return false;
      appendFileSync(segment, readFileSync(segment).subarray(0, TORN_BYTES));
      return true;
    } finally {
      platform.signal(nats, 'SIGCONT');
    }
  }

  const injections: Readonly<Record<FaultKind, (durationMs: number) => Promise<boolean>>> = {
    'collector killed': () => end('collector', 'SIGKILL'),
    'loader killed': () => end('loader', 'SIGKILL'),
    'attribution killed': () => end('attribution', 'SIGKILL'),
    'scheduler killed': () => end('scheduler', 'SIGKILL'),
    'api killed': () => end('api', 'SIGKILL'),
    'collector stopped': (durationMs) => pause('collector', durationMs),
    'loader stopped': (durationMs) => pause('loader', durationMs),
    'attribution stopped': (durationMs) => pause('attribution', durationMs),
    'scheduler stopped': (durationMs) => pause('scheduler', durationMs),
    'api stopped': (durationMs) => pause('api', durationMs),
    'nats killed': () => end('nats', 'SIGKILL'),
    'nats stopped': (durationMs) => pause('nats', durationMs),
    'postgres killed': () => end('postgres', 'SIGKILL'),
    // "Fast shutdown": its sessions end, and it writes a checkpoint.
    'postgres restarted': () => end('postgres', 'SIGINT'),
    'clickhouse killed': () => end('clickhouse', 'SIGKILL'),
    'clickhouse stopped': (durationMs) => pause('clickhouse', durationMs),
    'two loaders': twoLoaders,
    'disk full': fillDisk,
    'spool torn': tearSpool,
    'nats cut off': (durationMs) => cutOff(natsPort, durationMs),
    'postgres cut off': (durationMs) => cutOff(postgresPort, durationMs),
    'clickhouse cut off': (durationMs) => cutOff(clickhousePort, durationMs),
  };

  return async ({ kind, durationMs }) => {
    const before = underWay.get(kind) ?? Promise.resolve();
    const injected = before.then(() => injections[kind](durationMs));
    underWay.set(
      kind,
      injected.catch(() => undefined),
    );
    return await injected;
  };
}

/** The newest segment of a spool that holds something. */
function newestSegment(folder: string): string | undefined {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.spool'))
      .sort()
      .map((name) => join(folder, name))
      .findLast((path) => statSync(path).size > TORN_BYTES);
  } catch {
    return undefined;
  }
}

async function answers(url: string): Promise<boolean> {
  return await fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
}
