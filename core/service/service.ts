import { createServer, type Server } from 'node:http';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { errorText, OperatingError } from '../errors.ts';
import type { SecretBox } from '../secret-box.ts';
import type { Logger } from './log.ts';
import { METRICS_REFUSAL, mayReadMetrics } from './metrics-access.ts';

/** A part that runs until it is stopped. Stopping twice is the same as stopping once. */
export interface Running {
  stop(): Promise<void>;
}

/** The message of a process to its parent once it is ready. */
export const READY_MESSAGE = 'ready';

/** A process that has not finished its work this long after SIGTERM exits with code 1. */
export const SHUTDOWN_TIMEOUT_MS = 15_000;

/**
 * Runs one process: starts it, stops it in order on SIGTERM, SIGINT or when its supervisor ends, and exits.
 * A bug (uncaught error) ends the process at once with code 1; the supervisor starts it again. `start` can end a wait of its
 * own with an AbortError when it is stopped.
 */
export async function runProcess(
  log: Logger,
  start: (stopping: AbortSignal) => Promise<Running>,
): Promise<void> {
  let stopping = false;
  const stop = new AbortController();
  let started: Promise<Running> | undefined;

  async function shutdown(reason: string): Promise<void> {
    if (stopping) return;
    stopping = true;
    log.info({ reason }, 'stopping');
    stop.abort();
    setTimeout(() => {
      log.error({ timeoutMs: SHUTDOWN_TIMEOUT_MS }, 'did not stop in time');
      // process.exit() would wait for native work that has not ended, such as a query of the embedded engine.
      process.kill(process.pid, 'SIGKILL');
    }, SHUTDOWN_TIMEOUT_MS).unref();
    try {
      const running = await started?.catch(unlessAborted);
      await running?.stop();
      log.info('stopped');
      process.exit(0);
    } catch (error) {
      fail(error);
    }
  }

  function fail(error: unknown): void {
    if (error instanceof OperatingError) log.fatal({ code: error.code }, error.message);
    else log.fatal({ err: error }, errorText(error));
    process.exit(1);
  }

  process.on('SIGTERM', () => void shutdown('SIGTERM'));
  process.on('SIGINT', () => void shutdown('SIGINT'));
  process.on('disconnect', () => void shutdown('supervisor ended'));
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  try {
    started = start(stop.signal);
    await started;
    if (stopping) return;
    log.info('ready');
    process.send?.(READY_MESSAGE);
  } catch (error) {
    if (!stopping) fail(error);
  }
}

function unlessAborted(error: unknown): void {
  if (!(error instanceof Error && error.name === 'AbortError')) throw error;
}

/**
 * The library's own gauges whose names end as counters' do. The same figures are in nodejs_active_handles and its
 * siblings, a series for each type.
 */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
] as const;

/** The metrics registry of a process, with Node's own metrics in it. */
export function createMetrics(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  return registry;
}

/** Whether a process is ready, and if not, why. `note`: what is wrong with one that is ready. */
export type Readiness = { ready: true; note?: string } | { ready: false; reason: string };

/** What `/readyz` says. */
export function readinessText(state: Readiness): string {
  if (!state.ready) return `${state.reason}\n`;
  return state.note === undefined ? 'ready\n' : `ready: ${state.note}\n`;
}

/**
 * Serves `/healthz`, `/readyz` and, to who has its token, `/metrics`, for processes that have no HTTP server of
 * their own.
 */
export async function serveHealth(options: {
  host: string;
  port: number;
  metrics: Registry;
  secretBox: SecretBox;
  readiness: () => Readiness;
}): Promise<Running> {
  const server = createServer(async (request, response) => {
    const path = request.url?.split('?')[0];
    if (path === '/healthz') {
      response.end('ok\n');
    } else if (path === '/readyz') {
      const state = options.readiness();
      response.statusCode = state.ready ? 200 : 503;
      response.end(readinessText(state));
    } else if (path === '/metrics' && !mayReadMetrics(options.secretBox, request.headers.authorization)) {
      const { status, headers, text } = METRICS_REFUSAL;
      response.writeHead(status, headers).end(`metrics: ${text}\n`);
    } else if (path === '/metrics') {
      response.setHeader('Content-Type', options.metrics.contentType);
      response.end(await options.metrics.metrics());
    } else {
      response.statusCode = 404;
      response.end();
    }
  });
  await listen(server, options);
  return {
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, port)));
    server.listen(port, host, resolve);
  });
}

/** EADDRINUSE and similar failures, as an error for people. */
export function listenError(cause: unknown, port: number): OperatingError {
  return new OperatingError('port_unavailable', `cannot listen on port ${port}: ${errorText(cause)}`, {
    cause,
  });
}
