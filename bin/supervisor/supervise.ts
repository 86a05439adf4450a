import { setTimeout as delay } from 'node:timers/promises';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import type { Cancellation, ExitStatus } from '../../engines/engine.ts';

/** A process that is up. */
interface Started {
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  stop(): Promise<void>;
}

/** A process that is kept running. */
export interface Supervised {
  readonly name: string;
  readonly pid: number;
  /** Ends it for good. */
  stop(): Promise<void>;
}

/** A crash costs little once and must cost little when it repeats. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** A process that ran this long restarts quickly again. */
const STABLE_MS = 60_000;

/** How long to wait after so many failures in a row, in milliseconds. */
export function restartPauseMs(failures: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
}

/**
 * Starts a process and starts it again whenever it ends by itself, with pauses that double up to half a minute.
 * Returns once it is up for the first time. @throws what `start` throws the first time.
 */
export async function supervise<T extends Started>(options: {
  name: string;
  start: (cancellation: Cancellation) => Promise<T>;
  /** Ends the first start early. */
  signal: AbortSignal;
  /** Ends it by force at every moment; it is stopped too, or it would be started again. */
  force: AbortSignal;
  log: Logger;
}): Promise<Supervised> {
  const { name, log, signal, force } = options;
  const stopping = new AbortController();
  let current: T | undefined = await options.start({ signal, force });

  async function keepRunning(): Promise<void> {
    let failures = 0;
    let startedAt = Date.now();
    while (!stopping.signal.aborted) {
      if (current) {
        const status = await current.exited;
        current = undefined;
        if (stopping.signal.aborted) return;
        log.error({ ...status }, 'ended unexpectedly');
      }
      if (Date.now() - startedAt > STABLE_MS) failures = 0;
      const pauseMs = restartPauseMs(failures);
      failures += 1;
      log.warn({ pauseMs }, 'restarting');
      await delay(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      startedAt = Date.now();
      try {
        current = await options.start({ signal: stopping.signal, force });
        log.info({ pid: current.pid }, 'restarted');
      } catch (error) {
        log.error(errorText(error));
      }
    }
  }
  const loop = keepRunning();

  return {
    name,
    get pid() {
      return current?.pid ?? 0;
    },
    async stop() {
      stopping.abort();
      await current?.stop();
      await loop;
      // It may have come up during the stop.
      await current?.stop();
    },
  };
}
