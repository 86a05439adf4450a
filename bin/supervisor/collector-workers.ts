import { readFileSync } from 'node:fs';
import type { Config } from '../../core/config/config.ts';
import { fromProject } from '../../core/config/paths.ts';
import { errorText } from '../../core/errors.ts';
import { createLogger, type Logger } from '../../core/service/log.ts';
import { formatLogLine, type LogFormat, logFormat } from '../../core/service/log-lines.ts';
import { READY_MESSAGE, runProcess, SHUTDOWN_TIMEOUT_MS } from '../../core/service/service.ts';
import { type Answer, type EngineProcess, spawnEngine, waitUntilReady } from '../../engines/engine.ts';
import { readConfig, serviceEnvironment } from '../environment.ts';
import { gatherOrphans } from './collector-folders.ts';
import { keepRunning, type Supervised, supervise, type Unit } from './supervise.ts';

/** Links by the million are loaded before a worker is ready. */
const READY_TIMEOUT_MS = 120_000;
/**
 * Linux distributes connections over the listeners of a port before they are accepted, and resets those that wait at one
 * that is closed. With this setting (since 5.14) it hands them to another listener of the port instead.
 */
const MIGRATION_SETTING = 'net.ipv4.tcp_migrate_req';
/** One that hangs is killed before its parent has to end, which would leave it behind. */
const STOP_TIMEOUT_MS = SHUTDOWN_TIMEOUT_MS - 2_000;

/**
 * `afflux collector --workers N`: N collectors on one port until SIGTERM. SIGHUP replaces them one after another, each new
 * one ready before the old one stops.
 */
export async function runCollectorWorkers(count: number): Promise<void> {
  const config = readConfig();
  const log = createLogger({
    name: 'collector',
    level: config.logLevel,
    format: logFormat(config.logFormat),
  });
  await runProcess(log, async (signal) => {
    const workers = createWorkers({ config, log, count, signal });
    process.on('SIGHUP', () => workers.replace());
    await workers.start();
    return workers;
  });
}

interface WorkersOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly count: number;
  /** Ends the start early. */
  readonly signal: AbortSignal;
  /** Ends the workers by force. */
  readonly force?: AbortSignal | undefined;
}

/**
 * Collectors on one port, each with its own node lease, batch and spool. Returns once each is up or has failed to start; at
 * least one is up. @throws what the first one does.
 */
export async function startCollectorWorkers(options: WorkersOptions): Promise<Supervised> {
  const workers = createWorkers(options);
  await workers.start();
  return workers;
}

interface Workers extends Supervised {
  /** As of {@link startCollectorWorkers}. */
  start(): Promise<void>;
  /** Begins to replace them, once those before are up. */
  replace(): void;
}

function createWorkers(options: WorkersOptions): Workers {
  const { log, count, signal } = options;
  /** Slots that have a worker or get one. A worker is started again in its own slot, where its spool and its leases are. */
  const taken = new Set(Array.from({ length: count }, (_, slot) => slot));
  const workers = new Map<number, Supervised>();
  const unitOf = (slot: number): Unit => workerUnit({ ...options, slot, taken });

  async function add(slot: number): Promise<void> {
    workers.set(slot, await supervise({ ...unitOf(slot), signal }));
  }

  /** All at once: one that waits, such as for a stuck process of its slot, must not keep the others waiting. */
  async function addAll(): Promise<void> {
    const failures = new Map<number, unknown>();
    await Promise.all(
      [...taken].map(async (slot) => await add(slot).catch((error) => failures.set(slot, error))),
    );
    signal.throwIfAborted();
    if (workers.size === 0) throw [...failures.values()][0];
    for (const [slot, error] of failures) {
      log.error({ slot, reason: errorText(error) }, 'worker failed to start');
      workers.set(slot, keepRunning(unitOf(slot), undefined));
    }
  }

  async function replaceAll(): Promise<void> {
    for (const [slot, old] of [...workers]) {
      if (signal.aborted) return;
      // While one replaces another, one slot more than workers is in use.
      const free = Array.from({ length: count + 1 }, (_, at) => at).find((at) => !taken.has(at)) ?? count;
      taken.add(free);
      await add(free).catch((error) => {
        taken.delete(free);
        throw error;
      });
      await old.stop();
      workers.delete(slot);
      taken.delete(slot);
      log.info({ slot }, 'worker replaced');
    }
  }

  async function stop(): Promise<void> {
    await Promise.all([...workers.values()].map((worker) => worker.stop()));
  }

  let latest: Promise<void> = Promise.resolve();
  return {
    name: 'collector',
    get pids() {
      return [...workers.values()].flatMap((worker) => worker.pids);
    },
    async start() {
      if (!movesWaitingConnections()) {
        log.warn(
          { setting: `${MIGRATION_SETTING}=1` },
          'a worker that ends resets the connections that it has not accepted yet; with this sysctl the kernel moves them',
        );
      }
      latest = addAll();
      try {
        await latest;
      } catch (error) {
        await stop();
        throw error;
      }
    },
    replace() {
      latest = latest
        .then(replaceAll)
        .catch((error) => log.error({ reason: errorText(error) }, 'workers could not be replaced'));
    },
    stop,
  };
}

/** The worker of a slot, as a process that is kept running. */
function workerUnit(options: {
  config: Config;
  log: Logger;
  force?: AbortSignal | undefined;
  slot: number;
  taken: ReadonlySet<number>;
}): Unit {
  const { config, slot, taken } = options;
  const name = `collector worker ${slot}`;
  const log = options.log.child({ slot });
  return {
    name,
    log,
    force: options.force,
    async start({ signal, force }) {
      if (slot === 0) await gatherOrphans({ home: config.home, taken, log, stopping: signal });
      const worker = await spawnWorker({ slot, format: logFormat(config.logFormat), force });
      await waitUntilReady({
        name,
        process: worker,
        answers: readyMessage(worker),
        timeoutMs: READY_TIMEOUT_MS,
        log,
        signal,
      });
      log.info({ pid: worker.pid }, 'worker is up');
      return worker;
    },
  };
}

async function spawnWorker(options: {
  slot: number;
  format: LogFormat;
  force: AbortSignal | undefined;
}): Promise<EngineProcess> {
  const { slot, format, force } = options;
  return await spawnEngine({
    name: `collector worker ${slot}`,
    command: process.execPath,
    args: [fromProject('dist/bin/afflux.js'), 'collector', '--slot', String(slot)],
    spawn: { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: serviceEnvironment() },
    onLine: (line) => process.stdout.write(`${formatLogLine(format, 'collector', line)}\n`),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: STOP_TIMEOUT_MS,
    forceSignal: 'SIGKILL',
    force,
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
