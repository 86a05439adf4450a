import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { analystAddress } from '../../core/config/analysts.ts';
import type { Config } from '../../core/config/config.ts';
import { OperatingError } from '../../core/errors.ts';
import { createLogger, type Logger } from '../../core/service/log.ts';
import { logFormat } from '../../core/service/log-lines.ts';
import { withoutPassword } from '../../core/url.ts';
import { requireServer } from '../../core/uws/self-test.ts';
import { migrateStores } from '../commands/migrate.ts';
import { firstSteps } from '../demo/first-steps.ts';
import { readConfig } from '../environment.ts';
import { SERVICES, serviceUrl } from '../services.ts';
import { renderTable } from '../table.ts';
import { lockHome } from './home-lock.ts';
import { chooseEngines, type EngineChoice } from './start-engines.ts';
import { requireServicePort, startService } from './start-service.ts';
import { type Supervised, supervise } from './supervise.ts';

/** Less than this and the engines would stop within minutes. */
const LEAST_FREE_BYTES = 256 * 1024 ** 2;
/** After a crash of the supervisor its processes notice and end; their ports are free by then. */
const AFTER_CRASH_PATIENCE_MS = 20_000;

/**
 * `afflux up`: runs the platform until SIGINT or SIGTERM, then stops everything it started, in order. A second signal
 * ends it at once. Sets the exit code: 0 after an orderly stop.
 */
export async function up(): Promise<void> {
  const startedAt = Date.now();
  // The reader of the output may have ended; that must not end this process before it has stopped its engines.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  const config = readConfig();
  const log = loggerOf(config, 'afflux');
  const lock = lockHome(config.home);
  const stop = stopSignal(log);
  const started: Supervised[] = [];
  try {
    await requireDiskSpace(config.home);
    await requireServer({ home: config.home, log });
    const patienceMs = lock.wasCrash ? AFTER_CRASH_PATIENCE_MS : 0;
    // Before anything is started: a port in use fails within a second.
    for (const service of SERVICES) await requireServicePort({ service, config, patienceMs });
    const engines = chooseEngines(config);
    const hadData = engines.some(({ dataDir }) => existsSync(dataDir));
    if (!hadData) log.info({ home: config.home }, 'first start: this takes some seconds more');
    await startEngines({ engines, config, started, stop: stop.signal });
    if (!stop.signal.aborted) {
      const migrated = await migrateStores({ config, log });
      log.debug(migrated, 'stores are migrated');
    }
    if (!stop.signal.aborted) await startServices({ config, started, stop: stop.signal });
    if (!stop.signal.aborted) {
      const lines = await firstSteps({ config });
      showThatItIsUp({ config, engines, hadData, startedAt, lines, log });
    }
    await stop.promise;
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    await stopAll(started, log);
    lock.release();
    stop.dispose();
  }
}

function loggerOf(config: Config, name: string): Logger {
  return createLogger({ name, level: config.logLevel, format: logFormat(config.logFormat) });
}

/** The first SIGINT or SIGTERM, as a signal and as a promise; the second ends the process at once. */
function stopSignal(log: Logger): { signal: AbortSignal; promise: Promise<void>; dispose(): void } {
  const controller = new AbortController();
  function onSignal(name: NodeJS.Signals): void {
    if (controller.signal.aborted) {
      log.warn('ending at once; engines that still run are stopped at the next start');
      process.exit(1);
    }
    log.info(`${name}: stopping. Once more to end at once`);
    controller.abort();
  }
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    promise: new Promise((resolve) =>
      controller.signal.addEventListener('abort', () => resolve(), { once: true }),
    ),
    dispose() {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

async function requireDiskSpace(home: string): Promise<void> {
  const { bavail, bsize } = await statfs(home);
  if (bavail * bsize >= LEAST_FREE_BYTES) return;
  const free = Math.floor((bavail * bsize) / 1024 ** 2);
  throw new OperatingError(
    'disk_full',
    `the disk of ${home} has only ${free} MB free. Free at least ${LEAST_FREE_BYTES / 1024 ** 2} MB, or set AFFLUX_HOME to a folder on another disk`,
  );
}

interface Starting {
  readonly config: Config;
  /** Gets everything that came up, also when something else failed. */
  readonly started: Supervised[];
  readonly stop: AbortSignal;
}

type Start = Parameters<typeof supervise>[0]['start'];

async function startEngines(options: Starting & { engines: readonly EngineChoice[] }): Promise<void> {
  const units = options.engines.flatMap(({ name, start }) => {
    if (!start) return [];
    const log = loggerOf(options.config, name.toLowerCase());
    return [{ name, log, start: () => start(log) }];
  });
  await startAll(options, units);
}

async function startServices(options: Starting): Promise<void> {
  const { config } = options;
  const units = SERVICES.map((service) => ({
    name: service.name,
    log: loggerOf(config, service.name),
    start: (signal: AbortSignal) => startService({ service, config, signal }),
  }));
  await startAll(options, units);
}

/** Starts all at once. When one fails the others are not waited for. @throws the first failure. */
async function startAll(
  { started, stop }: Starting,
  units: readonly { name: string; log: Logger; start: Start }[],
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([stop, failed.signal]);
  let failure: unknown;
  await Promise.all(
    units.map(async (unit) => {
      try {
        started.push(await supervise({ ...unit, signal }));
      } catch (error) {
        failure ??= error;
        failed.abort();
      }
    }),
  );
  if (failure !== undefined) throw failure;
}

/** The services in the order of {@link SERVICES}, so that nothing is lost on its way, then the engines. */
async function stopAll(started: readonly Supervised[], log: Logger): Promise<void> {
  for (const { name } of SERVICES) {
    const running = started.find((one) => one.name === name);
    if (!running) continue;
    await running.stop();
    log.debug({ name }, 'stopped');
  }
  await Promise.all(started.map((one) => one.stop()));
  if (started.length > 0) log.info('everything is stopped');
}

/** What is printed here ends in a journal, which more people read than the password is for. */
function describeAnalyst(config: Config): string[] {
  const { url, database, user } = analystAddress(config);
  return [
    'analysts',
    `${url}/${database}`,
    `ClickHouse, read only: user ${user}; npx afflux analyst prints the password`,
  ];
}

/** A page for people; for programs the same in one line of the log. */
function showThatItIsUp(options: {
  config: Config;
  engines: readonly EngineChoice[];
  hadData: boolean;
  startedAt: number;
  lines: readonly string[];
  log: Logger;
}): void {
  const { config, engines, lines, log } = options;
  const rows = [
    ...SERVICES.map((service) => [service.name, serviceUrl(service, config), service.summary]),
    ['portal', `${config.portalUrl}/portal/`, 'the web pages of partners and operators, served by the api'],
    ...engines.map(({ name, url, start, dataDir }) => [
      name,
      withoutPassword(url),
      start ? `embedded, data in ${dataDir}` : 'external server',
    ]),
    ...(config.embedded.clickhouse ? [describeAnalyst(config)] : []),
  ];
  const seconds = ((Date.now() - options.startedAt) / 1000).toFixed(1);
  const state = options.hadData ? 'existing data' : 'first start, new data folder';
  const isUp = `Afflux is up after ${seconds} s (${state}: ${config.home}).`;
  if (logFormat(config.logFormat) === 'text') {
    process.stdout.write(
      ['', `${isUp} Ctrl-C stops it.`, '', renderTable(rows), '', ...lines, ''].join('\n'),
    );
  } else {
    const addresses = Object.fromEntries(rows.map(([name, url]) => [name, url]));
    log.info({ addresses, next: lines.filter((line) => line !== '') }, isUp);
  }
}
