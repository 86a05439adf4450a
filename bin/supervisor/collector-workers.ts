import { mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { handOverLeases, LEASE_FILE } from '../../collector/durability/lease-keeper.ts';
import { SPOOL_FOLDER } from '../../collector/durability/shard-stores.ts';
import { claimStateFolder } from '../../collector/durability/state-folder.ts';
import { collectorSlotFolder } from '../../collector/main.ts';
import type { Config } from '../../core/config/config.ts';
import { fromProject } from '../../core/config/paths.ts';
import { errorText } from '../../core/errors.ts';
import { createLogger, type Logger } from '../../core/service/log.ts';
import { formatLogLine, type LogFormat, logFormat } from '../../core/service/log-lines.ts';
import { READY_MESSAGE, type Running, runProcess, SHUTDOWN_TIMEOUT_MS } from '../../core/service/service.ts';
import { type Answer, type EngineProcess, spawnEngine, waitUntilReady } from '../../engines/engine.ts';
import { readConfig, serviceEnvironment } from '../environment.ts';
import { createRestartPauses, type RestartPauses } from './supervise.ts';

/** Links by the million are loaded before a worker is ready. */
const READY_TIMEOUT_MS = 120_000;
/**
 * Linux distributes connections over the listeners of a port before they are accepted, and resets those that wait at one
 * that is closed. With this setting (since 5.14) it hands them to another listener of the port instead.
 */
const MIGRATION_SETTING = 'net.ipv4.tcp_migrate_req';
/** A worker ends itself after its own deadline; its parent waits a little longer. */
const STOP_TIMEOUT_MS = SHUTDOWN_TIMEOUT_MS + 2_000;

interface Worker {
  readonly slot: number;
  readonly process: EngineProcess;
  leaving: boolean;
}

/**
 * `afflux collector --workers N`: N collectors on one port, each with its own node lease, batch and spool.
 * SIGHUP replaces them one after another, each new one ready before the old one stops.
 */
export async function runCollectorWorkers(count: number): Promise<void> {
  const config = readConfig();
  const format = logFormat(config.logFormat);
  const log = createLogger({ name: 'collector', level: config.logLevel, format });
  await runProcess(log, (stopping) => startWorkers({ config, log, format, count, stopping }));
}

async function startWorkers(options: {
  config: Config;
  log: Logger;
  format: LogFormat;
  count: number;
  stopping: AbortSignal;
}): Promise<Running> {
  const { config, log, format, count } = options;
  await gatherOrphans({ home: config.home, count, log, stopping: options.stopping });
  if (!movesWaitingConnections()) {
    log.warn(
      { setting: `${MIGRATION_SETTING}=1` },
      'a worker that ends resets the connections that it has not accepted yet; with this sysctl the kernel moves them',
    );
  }
  const workers = new Set<Worker>();
  let stopping = false;
  const pauses = new Map<number, RestartPauses>();
  let replacing: Promise<void> = Promise.resolve();

  function freeSlot(): number {
    const taken = new Set([...workers].map((worker) => worker.slot));
    // While one replaces another, one slot more than workers is in use.
    return Array.from({ length: count + 1 }, (_, slot) => slot).find((slot) => !taken.has(slot)) ?? count;
  }

  function pausesOf(slot: number): RestartPauses {
    const known = pauses.get(slot) ?? createRestartPauses();
    pauses.set(slot, known);
    return known;
  }

  async function add(): Promise<Worker> {
    const slot = freeSlot();
    const worker: Worker = { slot, process: await spawnWorker(slot, format), leaving: false };
    workers.add(worker);
    void worker.process.exited.then((status) => {
      workers.delete(worker);
      if (stopping || worker.leaving) return;
      log.error({ slot, ...status }, 'worker ended unexpectedly');
      void restart(slot);
    });
    await waitUntilReady({
      name: `collector worker ${slot}`,
      process: worker.process,
      answers: readyMessage(worker.process),
      timeoutMs: READY_TIMEOUT_MS,
      log,
      signal: options.stopping,
    });
    pausesOf(slot).cameUp();
    log.info({ slot, pid: worker.process.pid }, 'worker is up');
    return worker;
  }

  async function restart(slot: number): Promise<void> {
    const pauseMs = pausesOf(slot).next();
    log.warn({ slot, pauseMs }, 'restarting');
    await delay(pauseMs);
    if (stopping) return;
    await add().catch((error) => log.error({ reason: errorText(error) }, 'worker failed to start'));
  }

  async function replaceAll(): Promise<void> {
    for (const old of [...workers]) {
      if (stopping) return;
      await add();
      old.leaving = true;
      await old.process.stop();
      log.info({ slot: old.slot }, 'worker replaced');
    }
  }

  process.on('SIGHUP', () => {
    replacing = replacing
      .then(replaceAll)
      .catch((error) => log.error({ reason: errorText(error) }, 'workers could not be replaced'));
  });
  async function stop(): Promise<void> {
    stopping = true;
    await Promise.all([...workers].map((worker) => worker.process.stop()));
  }

  try {
    for (let i = 0; i < count; i++) {
      await add().catch((error) => {
        // One that cannot start, such as beside a stuck process of its slot, must not take the others with it.
        if (workers.size === 0 || options.stopping.aborted) throw error;
        log.error({ reason: errorText(error) }, 'worker failed to start');
      });
    }
  } catch (error) {
    await stop();
    options.stopping.throwIfAborted();
    throw error;
  }
  return { stop };
}

async function spawnWorker(slot: number, format: LogFormat): Promise<EngineProcess> {
  return await spawnEngine({
    name: `collector worker ${slot}`,
    command: process.execPath,
    args: [fromProject('dist/bin/afflux.js'), 'collector', '--slot', String(slot)],
    spawn: { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: serviceEnvironment() },
    onLine: (line) => process.stdout.write(`${formatLogLine(format, 'collector', line)}\n`),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: STOP_TIMEOUT_MS,
    forceSignal: 'SIGKILL',
  });
}

/** Whether a worker can end without refusing anyone; see {@link MIGRATION_SETTING}. */
export function movesWaitingConnections(): boolean {
  try {
    return readFileSync(`/proc/sys/${MIGRATION_SETTING.replaceAll('.', '/')}`, 'utf8').trim() === '1';
  } catch {
    return false;
  }
}

/** The port is shared, so only the worker itself can say that it is ready. */
function readyMessage(worker: EngineProcess): () => Promise<Answer> {
  let isReady = false;
  worker.child.on('message', (message) => {
    if (message === READY_MESSAGE) isReady = true;
  });
  return async () => (isReady ? 'ready' : { waitsFor: 'its links and its port; its own lines say more' });
}

/**
 * What slots have left that no worker has any more goes to the first one: spools, shard by shard, which it replays with its
 * own, and node leases, which would hold the watermark for ever.
 */
export async function gatherOrphans(options: {
  home: string;
  count: number;
  log: Logger;
  stopping?: AbortSignal;
}): Promise<void> {
  const { home, count, log, stopping } = options;
  const folder = join(home, 'collector');
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) {
    const slot = Number(name);
    if (!Number.isInteger(slot) || slot < count) continue;
    const orphan = collectorSlotFolder(home, slot);
    const first = collectorSlotFolder(home, 0);
    // Those of a parent that was killed end by themselves.
    const claims = [await claimStateFolder(orphan, stopping), await claimStateFolder(first, stopping)];
    for (const spool of readdirSync(orphan).filter((entry) => SPOOL_FOLDER.test(entry))) {
      const moved = moveSegments(join(orphan, spool), join(first, spool));
      if (moved > 0) {
        log.warn(
          { slot, spool, segments: moved },
          'the spool of a removed worker is moved to the first worker',
        );
      }
    }
    const leases = await handOverLeases({ from: join(orphan, LEASE_FILE), to: join(first, LEASE_FILE) });
    if (leases > 0)
      log.info({ slot, leases }, 'the leases of a removed worker are given to the first worker');
    for (const claim of claims) claim.release();
  }
}

/** Moves the segments of a spool behind those of another. @returns how many. */
function moveSegments(from: string, to: string): number {
  mkdirSync(to, { recursive: true });
  const numbers = segmentsOf(to).map((name) => Number.parseInt(name, 10));
  let next = Math.max(0, ...numbers) + 1;
  const segments = segmentsOf(from);
  for (const segment of segments) {
    renameSync(join(from, segment), join(to, `${String(next++).padStart(10, '0')}.spool`));
  }
  return segments.length;
}

function segmentsOf(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.spool'));
  } catch {
    return [];
  }
}
