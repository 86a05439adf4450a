import { appendFileSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../engines/engine.ts';
import { isRunning, type Platform, type Target } from '../platform.ts';
import type { SmallDisk } from '../small-disk.ts';
import { isTrueWithin } from '../wait.ts';
import type { OwnNetwork } from './network.ts';
import type { Fault, FaultKind } from './schedule.ts';
import type { Timeline } from './timeline.ts';

/** Longest restart of a process that an earlier fault has ended. */
const TARGET_MS = 15_000;
const SPOOLED_MS = 5_000;
const SECOND_LOADER_MS = 20_000;
/** More than a record's header, less than its shortest row. */
const TORN_BYTES = 48;

/** Injects a fault and, where it lasts, ends it; false when its target was not there. */
export type Injector = (fault: Fault) => Promise<boolean>;

interface InjectorOptions {
  readonly platform: Platform;
  readonly disk: SmallDisk | undefined;
  readonly network: OwnNetwork | undefined;
  /** Where it is noted from when to when each fault lasts. */
  readonly timeline: Timeline;
}

/** What a fault does and how long it takes, noted from its first effect on. */
type During = (work: () => Promise<boolean>) => Promise<boolean>;
type Injection = (durationMs: number, during: During) => Promise<boolean>;

/** One fault of a kind at a time; faults of different kinds overlap. */
export function createInjector(options: InjectorOptions): Injector {
  const { timeline } = options;
  const injections = injectionsInto(options);
  const inFlight = new Map<FaultKind, Promise<unknown>>();
  return async ({ kind, durationMs }) => {
    const before = inFlight.get(kind) ?? Promise.resolve();
    const injected = before.then(() => injections[kind](durationMs, (work) => timeline.during(kind, work)));
    inFlight.set(
      kind,
      injected.catch(() => undefined),
    );
    return await injected;
  };
}

function injectionsInto(options: InjectorOptions): Readonly<Record<FaultKind, Injection>> {
  const { platform, disk, network, timeline } = options;
  const { natsPort, postgresPort, clickhousePort } = platform.config;
  const pidOf = (target: Target) => () => platform.pidOf(target);
  let turn = 0;
  // Of several, one after the other.
  const collector = (): number | undefined => {
    const running = platform.collectors();
    return running[turn++ % running.length]?.pid;
  };
  const kill = (target: () => number | undefined) => end(platform, target, 'SIGKILL');
  const stop = (target: () => number | undefined) => pause(platform, target);
  const cut = (port: number) => cutOff(network, port);
  return {
    'collector killed': kill(collector),
    'loader killed': kill(pidOf('loader')),
    'attribution killed': kill(pidOf('attribution')),
    'scheduler killed': kill(pidOf('scheduler')),
    'api killed': kill(pidOf('api')),
    'collector stopped': stop(collector),
    'loader stopped': stop(pidOf('loader')),
    'attribution stopped': stop(pidOf('attribution')),
    'scheduler stopped': stop(pidOf('scheduler')),
    'api stopped': stop(pidOf('api')),
    'nats killed': kill(pidOf('nats')),
    'nats stopped': stop(pidOf('nats')),
    'postgres killed': kill(pidOf('postgres')),
    // "Fast shutdown": its sessions end, and it writes a checkpoint.
    'postgres restarted': end(platform, pidOf('postgres'), 'SIGINT'),
    'clickhouse killed': kill(pidOf('clickhouse')),
    'clickhouse stopped': stop(pidOf('clickhouse')),
    'two loaders': (durationMs, during) => during(() => runTwoLoaders(platform, durationMs)),
    'disk full': fillDisk(disk),
    'spool torn': (_, during) => during(() => tearSpool(platform, timeline)),
    'nats cut off': cut(natsPort),
    'postgres cut off': cut(postgresPort),
    'clickhouse cut off': cut(clickhousePort),
  };
}

async function aimedAt(target: () => number | undefined): Promise<number | undefined> {
  let pid: number | undefined;
  await isTrueWithin(TARGET_MS, () => {
    pid = target();
    return pid !== undefined;
  });
  return pid;
}

function end(platform: Platform, target: () => number | undefined, signal: NodeJS.Signals): Injection {
  return async (_, during) => {
    const pid = await aimedAt(target);
    return await during(async () => pid !== undefined && platform.signal(pid, signal));
  };
}

function pause(platform: Platform, target: () => number | undefined): Injection {
  return async (durationMs, during) => {
    const pid = await aimedAt(target);
    return await during(async () => {
      if (pid === undefined || !platform.signal(pid, 'SIGSTOP')) return false;
      await delay(durationMs);
      platform.signal(pid, 'SIGCONT');
      return true;
    });
  };
}

function fillDisk(disk: SmallDisk | undefined): Injection {
  return (durationMs, during) =>
    during(async () => {
      if (!disk) return false;
      disk.fill();
      await delay(durationMs);
      disk.makeRoom();
      return true;
    });
}

/** Both ends live on, and packets between them are lost. */
function cutOff(network: OwnNetwork | undefined, port: number): Injection {
  return (durationMs, during) =>
    during(async () => {
      if (!network) return false;
      await network.cut(port, durationMs);
      return true;
    });
}

/** A second loader overtakes the first; one of the two sleeps meanwhile and wakes up as a zombie. */
async function runTwoLoaders(platform: Platform, durationMs: number): Promise<boolean> {
  const first = await aimedAt(() => platform.pidOf('loader'));
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
async function tearSpool(platform: Platform, timeline: Timeline): Promise<boolean> {
  const nats = await aimedAt(() => platform.pidOf('nats'));
  if (nats === undefined || !platform.signal(nats, 'SIGSTOP')) return false;
  const first = (): number | undefined => platform.collectors().find(({ slot }) => slot === 0)?.pid;
  try {
    const folder = join(platform.config.home, 'collector', '0', 'spool');
    const spooled = await isTrueWithin(SPOOLED_MS, () => newestSegment(folder) !== undefined);
    const collector = first();
    const killed = timeline.during(
      'collector killed',
      async () => spooled && collector !== undefined && platform.signal(collector, 'SIGKILL'),
    );
    if (!(await killed)) return false;
    await isTrueWithin(SPOOLED_MS, () => first() !== collector);
    // The disk may be full at this moment.
    return await isTrueWithin(SPOOLED_MS, () => tearNewest(folder));
  } finally {
    platform.signal(nats, 'SIGCONT');
  }
}

/** Appends a record cut short to the newest segment; false where there is none or the disk takes no more. */
function tearNewest(folder: string): boolean {
  const segment = newestSegment(folder);
  if (segment === undefined) return false;
  try {
    appendFileSync(segment, readFileSync(segment).subarray(0, TORN_BYTES));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false;
    throw error;
  }
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
