import { existsSync, readdirSync } from 'node:fs';
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
import { startCollectorWorkers } from './collector-workers.ts';
import { lockHome } from './home-lock.ts';
import { chooseEngines, type EngineChoice } from './start-engines.ts';
import { requireServicePort, startService } from './start-service.ts';
import { listenForStop, type StopRequest, stopAll } from './stop.ts';
import { type Supervised, supervise } from './supervise.ts';

/** Less than this and the engines would stop within minutes. */
const LEAST_FREE_BYTES = 256 * 1024 ** 2;
/** After a crash of the supervisor its processes notice and end; their ports are free by then. */
const AFTER_CRASH_PATIENCE_MS = 20_000;
/** How often a start that takes long says what it waits for. */
const WAITING_LINE_MS = 10_000;

/**
 * `afflux up`: runs the platform until SIGINT or SIGTERM, then stops everything it started, in order and within
 * {@link UP_STOP_MS}; a second signal ends it by force. The exit code is 0 after a stop in order. `workers`: collectors that
 * share the port; one process by default.
 */
export async function up({ workers }: { workers?: number | undefined } = {}): Promise<void> {
  // The reader of the output may have ended; that must not end this process before it has stopped its engines.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  const config = readConfig();
  const log = loggerOf(config, 'afflux');
  const lock = lockHome(config.home);
  const request = listenForStop(log);
  const started: Supervised[] = [];
  try {
    await bringUp({ config, workers, log, started, request, wasCrash: lock.wasCrash });
    await request.unlessStopped(new Promise(() => undefined));
  } catch (error) {
    if (!request.stop.aborted) throw error;
  } finally {
    await stopAll({ started, log });
    lock.release();
    request.dispose();
  }
  // A migration on a server of one's own that was left to itself would keep this process; it can be repeated.
  process.exit(request.force.aborted ? 1 : 0);
}

function loggerOf(config: Config, name: string): Logger {
  return createLogger({ name, level: config.logLevel, format: logFormat(config.logFormat) });
}

async function bringUp(options: {
  config: Config;
  workers: number | undefined;
  log: Logger;
  started: Supervised[];
  request: StopRequest;
  wasCrash: boolean;
}): Promise<void> {
  const { config, log, started, request } = options;
  const { unlessStopped } = request;
  const startedAt = Date.now();
  await requireDiskSpace(config.home);
  const patienceMs = options.wasCrash ? AFTER_CRASH_PATIENCE_MS : 0;
  // Before anything is started: a port in use fails within a second.
  for (const service of SERVICES) await unlessStopped(requireServicePort({ service, config, patienceMs }));
  await unlessStopped(requireServer({ home: config.home, log }));
  const engines = chooseEngines(config);
  const hadData = engines.some(({ dataDir }) => holdsFiles(dataDir));
  if (!hadData) log.info({ home: config.home }, 'first start: this takes some seconds more');
  await startEngines({ engines, config, started, request });
  const migrating = saying(log, 'for the migrations of both stores', migrateStores({ config, log }));
  log.debug(await unlessStopped(migrating), 'stores are migrated');
  await startServices({ config, workers: options.workers, started, request });
  const lines = await unlessStopped(firstSteps({ config, format: logFormat(config.logFormat) }));
  showThatItIsUp({ config, engines, hadData, startedAt, lines, log });
}

/** Says every some seconds what is waited for. */
async function saying<T>(log: Logger, what: string, work: Promise<T>): Promise<T> {
  const startedAt = Date.now();
  const line = setInterval(
    () => log.info(`starting for ${Math.round((Date.now() - startedAt) / 1000)} s; waits ${what}`),
    WAITING_LINE_MS,
  );
  return await work.finally(() => clearInterval(line));
}

/** Whether an engine has been here: a mount point is there before, with `lost+found` at the most. */
function holdsFiles(folder: string): boolean {
  return existsSync(folder) && readdirSync(folder).some((name) => name !== 'lost+found');
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
  readonly request: StopRequest;
}

async function startEngines(options: Starting & { engines: readonly EngineChoice[] }): Promise<void> {
  const starts = options.engines.flatMap(({ name, start }): Start[] => {
    if (!start) return [];
    const log = loggerOf(options.config, name.toLowerCase());
    return [(stop) => supervise({ ...stop, name, log, start: (cancellation) => start(log, cancellation) })];
  });
  await startAll(options, starts);
}

async function startServices(options: Starting & { workers: number | undefined }): Promise<void> {
  const { config, workers } = options;
  const starts = SERVICES.map((service): Start => {
    const { name } = service;
    const log = loggerOf(config, name);
    if (name === 'collector' && workers !== undefined)
      return (stop) => startCollectorWorkers({ ...stop, config, log, count: workers });
    return (stop) =>
      supervise({
        ...{ ...stop, name, log },
        start: (cancellation) => startService({ service, config, log, ...cancellation }),
      });
  });
  await startAll(options, starts);
}

/** Starts what is then kept running. `signal` ends the start early, `force` ends at any time what has started. */
type Start = (stop: { signal: AbortSignal; force: AbortSignal }) => Promise<Supervised>;

/** Starts all at once. When one fails the others are not waited for. @throws the first failure. */
async function startAll(
  { started, request: { stop, force } }: Starting,
  starts: readonly Start[],
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([stop, failed.signal]);
  let failure: unknown;
  await Promise.all(
    starts.map(async (start) => {
      try {
        started.push(await start({ signal, force }));
      } catch (error) {
        failure ??= error;
        failed.abort();
      }
    }),
  );
  if (failure !== undefined) throw failure;
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
