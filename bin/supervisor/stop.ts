import type { Logger } from '../../core/service/log.ts';
import { ENGINE_STOP_MS, FORCE_MS } from '../../engines/engine.ts';
import { SERVICES } from '../services.ts';
import { SERVICE_STOP_MS } from './start-service.ts';
import type { Supervised } from './supervise.ts';

/** How often a stop says what it still waits for. */
const WAITING_LINE_MS = 3_000;
/** `afflux up` has stopped everything, by force if need be, this long after SIGINT or SIGTERM. */
export const UP_STOP_MS = SERVICE_STOP_MS + ENGINE_STOP_MS + FORCE_MS + 1_000;

/** SIGINT or SIGTERM: the first asks for a stop in order, the second for one by force, the third ends this process. */
export interface StopRequest {
  readonly stop: AbortSignal;
  /** Comes by itself when a stop takes too long: processes that were starting, and others after them. */
  readonly force: AbortSignal;
  /** The result of `work`, unless the stop comes first: it then rejects, and the work is left to itself. */
  unlessStopped<T>(work: Promise<T>): Promise<T>;
  dispose(): void;
}

export function listenForStop(log: Logger): StopRequest {
  const stop = new AbortController();
  const force = new AbortController();
  const stopped = new Promise<never>((_, reject) =>
    stop.signal.addEventListener('abort', () => reject(stop.signal.reason), { once: true }),
  );
  // Nothing may be waiting for it when it comes.
  stopped.catch(() => undefined);
  let deadline: NodeJS.Timeout | undefined;
  function onSignal(name: NodeJS.Signals): void {
    if (!stop.signal.aborted) {
      log.info(`${name}: stopping, within ${UP_STOP_MS / 1000} s. Once more to end by force`);
      stop.abort();
      deadline = setTimeout(() => {
        if (force.signal.aborted) return;
        log.warn('the stop has taken too long: ending by force');
        force.abort();
      }, UP_STOP_MS - FORCE_MS);
    } else if (!force.signal.aborted) {
      log.warn(
        `${name} again: ending by force. Nothing that was acknowledged is lost; the next start takes longer`,
      );
      force.abort();
    } else {
      log.error(`${name} for the third time: ending at once. The next start ends what was left running`);
      process.exit(1);
    }
  }
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    stop: stop.signal,
    force: force.signal,
    unlessStopped: (work) => Promise.race([work, stopped]),
    dispose() {
      clearTimeout(deadline);
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

/**
 * The processes all at once, because none needs another one to end well: what the collector has redirected is in the
 * stream or its spool, and every other one goes on from what a store says. Then the engines that they used.
 */
export async function stopAll(options: { started: readonly Supervised[]; log: Logger }): Promise<void> {
  const { started, log } = options;
  const startedAt = Date.now();
  const waitingFor = new Set<Supervised>();
  const line = setInterval(() => {
    const names = [...waitingFor].map(({ name, pids }) => `${name} (pid ${pids.join(', ')})`).join(', ');
    log.info(`stopping for ${Math.round((Date.now() - startedAt) / 1000)} s; waits for ${names}`);
  }, WAITING_LINE_MS);

  async function stopThese(these: readonly Supervised[]): Promise<void> {
    await Promise.all(
      these.map(async (one) => {
        waitingFor.add(one);
        await one.stop();
        waitingFor.delete(one);
        log.debug({ name: one.name }, 'stopped');
      }),
    );
  }
  const isService = ({ name }: Supervised): boolean => SERVICES.some((service) => service.name === name);
  try {
    await stopThese(started.filter(isService));
    await stopThese(started.filter((one) => !isService(one)));
  } finally {
    clearInterval(line);
  }
  if (started.length > 0) log.info('everything is stopped');
}
