import { appendFileSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../engines/engine.ts';
import { isRunning, type Platform, type Target } from '../platform.ts';
import type { SmallDisk } from '../small-disk.ts';
import { isTrueWithin } from '../wait.ts';
import type { OwnNetwork } from './network.ts';
import type { Fault, FaultKind } from './schedule.ts';

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
}

/** One fault of a kind at a time; faults of different kinds overlap. */
export function createInjector(options: InjectorOptions): Injector {
  const injections = injectionsInto(options);
  const inFlight = new Map<FaultKind, Promise<unknown>>();
  return async ({ kind, durationMs }) => {
    const before = inFlight.get(kind) ?? Promise.resolve();
    const injected = before.then(() => injections[kind](durationMs));
    inFlight.set(
      kind,
      injected.catch(() => undefined),
    );
    return await injected;
  };
}

function injectionsInto({
  platform,
  disk,
  network,
}: InjectorOptions): Readonly<Record<FaultKind, (durationMs: number) => Promise<boolean>>> {
  const { natsPort, postgresPort, clickhousePort } = platform.config;
  const kill = (target: Target) => () => end(platform, target, 'SIGKILL');
  const stop = (target: Target) => (durationMs: number) => pause(platform, target, durationMs);
  const cut = (port: number) => (durationMs: number) => cutOff(network, port, durationMs);
  return {
    'collector killed': kill('collector'),
    'loader killed': kill('loader'),
    'attribution killed': kill('attribution'),
    'scheduler killed': kill('scheduler'),
    'api killed': kill('api'),
    'collector stopped': stop('collector'),
    'loader stopped': stop('loader'),
    'attribution stopped': stop('attribution'),
    'scheduler stopped': stop('scheduler'),
    'api stopped': stop('api'),
    'nats killed': kill('nats'),
    'nats stopped': stop('nats'),
    'postgres killed': kill('postgres'),
    // "Fast shutdown": its sessions end, and it writes a checkpoint.
    'postgres restarted': () => end(platform, 'postgres', 'SIGINT'),
    'clickhouse killed': kill('clickhouse'),
    'clickhouse stopped': stop('clickhouse'),
    'two loaders': (durationMs) => runTwoLoaders(platform, durationMs),
    'disk full': (durationMs) => fillDisk(disk, durationMs),
    'spool torn': () => tearSpool(platform),
    'nats cut off': cut(natsPort),
    'postgres cut off': cut(postgresPort),
    'clickhouse cut off': cut(clickhousePort),
  };
}

async function pidOf(platform: Platform, target: Target): Promise<number | undefined> {
  let pid: number | undefined;
  await isTrueWithin(TARGET_MS, () => {
    pid = platform.pidOf(target);
    return pid !== undefined;
  });
  return pid;
}

async function end(platform: Platform, target: Target, signal: NodeJS.Signals): Promise<boolean> {
  const pid = await pidOf(platform, target);
  return pid !== undefined && platform.signal(pid, signal);
}

async function pause(platform: Platform, target: Target, durationMs: number): Promise<boolean> {
  const pid = await pidOf(platform, target);
  if (pid === undefined || !platform.signal(pid, 'SIGSTOP')) return false;
  await delay(durationMs);
  platform.signal(pid, 'SIGCONT');
  return true;
}

async function fillDisk(disk: SmallDisk | undefined, durationMs: number): Promise<boolean> {
  if (!disk) return false;
  disk.fill();
  await delay(durationMs);
  disk.makeRoom();
  return true;
}

/** Both ends live on, and packets between them are lost. */
async function cutOff(network: OwnNetwork | undefined, port: number, durationMs: number): Promise<boolean> {
  if (!network) return false;
  await network.cut(port, durationMs);
  return true;
}

/** A second loader overtakes the first; one of the two sleeps meanwhile and wakes up as a zombie. */
async function runTwoLoaders(platform: Platform, durationMs: number): Promise<boolean> {
  const first = await pidOf(platform, 'loader');
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
async function tearSpool(platform: Platform): Promise<boolean> {
  const nats = await pidOf(platform, 'nats');
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
