import { collectorRunning } from '../../collector/durability/state-folder.ts';
import type { Config } from '../../core/config/config.ts';
import { fromProject } from '../../core/config/paths.ts';
import type { Logger } from '../../core/service/log.ts';
import { formatLogLine, logFormat } from '../../core/service/log-lines.ts';
import { SHUTDOWN_TIMEOUT_MS } from '../../core/service/service.ts';
import {
  type Answer,
  type Cancellation,
  type EngineProcess,
  NO_ANSWER,
  requireFreePort,
  spawnEngine,
  waitUntilReady,
} from '../../engines/engine.ts';
import { serviceEnvironment } from '../environment.ts';
import { type Service, serviceHost, serviceUrl } from '../services.ts';
import { runningCollectors } from './collector-folders.ts';

const COMMAND = fromProject('dist/bin/afflux.js');
/** Links by the million are loaded before the collector is ready. */
const READY_TIMEOUT_MS = 120_000;
/** A process ends itself after its own deadline; the supervisor waits a little longer. */
export const SERVICE_STOP_MS = SHUTDOWN_TIMEOUT_MS + 2_000;

/**
 * Starts one of the platform's processes and returns once its /readyz is ok. It ends by itself when this process
 * is gone. @throws OperatingError `port_unavailable` or `engine_failed`.
 */
export async function startService(
  options: { service: Service; config: Config; log: Logger } & Cancellation,
): Promise<EngineProcess> {
  const { service, config } = options;
  await requireServicePort(options);
  const format = logFormat(config.logFormat);
  const child = await spawnEngine({
    name: service.name,
    command: process.execPath,
    args: [COMMAND, service.name],
    spawn: { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: serviceEnvironment() },
    onLine: (line) => process.stdout.write(`${formatLogLine(format, service.name, line)}\n`),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: SERVICE_STOP_MS,
    forceSignal: 'SIGKILL',
    force: options.force,
  });
  await waitUntilReady({
    name: `the ${service.name}`,
    // Its lines have been printed already.
    process: { ...child, lastLines: () => '(see above)' },
    answers: (limit) => readiness(`${serviceUrl(service, config)}/readyz`, limit),
    timeoutMs: READY_TIMEOUT_MS,
    log: options.log,
    signal: options.signal,
  });
  return child;
}

/**
 * Makes sure that a service can have its port. A collector whose supervisor was killed may still have that of its successor,
 * which waits for its folder and ends it if it hangs; workers of other slots share the port meanwhile.
 * @throws OperatingError `port_unavailable` naming the variable to change; `collector_running` naming the process.
 */
export async function requireServicePort(options: {
  service: Service;
  config: Config;
  /** How long its port may still be held by a process that is just ending. */
  patienceMs?: number;
}): Promise<void> {
  const { service, config, patienceMs = 0 } = options;
  const host = serviceHost(service, config);
  const running = () => (service.name === 'collector' ? runningCollectors(config.home) : []);
  if (running().some(({ isOrphan }) => isOrphan)) return;
  try {
    await requireFreePort({
      host,
      port: service.port(config),
      variable: service.portVariable,
      otherHost: `${service.isPublic ? 'HOST' : 'METRICS_HOST'} to an address that it has`,
      patienceMs,
    });
  } catch (error) {
    const [other] = running();
    if (!other) throw error;
    if (!other.isOrphan) throw collectorRunning(other.pid, other.folder);
  }
}

async function readiness(url: string, signal: AbortSignal): Promise<Answer> {
  try {
    const response = await fetch(url, { signal });
    const text = await response.text();
    return response.ok ? 'ready' : { waitsFor: `/readyz, which says: ${text.trim()}` };
  } catch {
    return NO_ANSWER;
  }
}
