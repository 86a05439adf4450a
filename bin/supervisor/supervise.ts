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

/** What is kept running: a process, or several of one name. */
export interface Supervised {
  readonly name: string;
  /** Those that run at this moment. */
  readonly pids: readonly number[];
  /** Ends it for good. */
  stop(): Promise<void>;
}

/** The pause after a second failure in a row; each further one doubles it. */
const SECOND_PAUSE_MS = 500;
/** A crash loop then costs a tenth of a core, and a cause that has gone is noticed soon. */
const LONGEST_PAUSE_MS = 10_000;
/** One that was up for so long did not fail at its start: it is started again at once. */
const STABLE_MS = 10_000;

/** The pauses before the restarts of one process: none after it ran well, longer and longer while it fails. */
export interface RestartPauses {
  /** To be called when it is up. */
  cameUp(): void;
  /** To be called when it has ended or did not come up. @returns how long to wait, milliseconds. */
  next(): number;
}

export function createRestartPauses(now: () => number = () => performance.now()): RestartPauses {
  let failures = 0;
  let upAt: number | undefined;
  return {
    cameUp() {
      upAt = now();
    },
    next() {
      if (upAt !== undefined && now() - upAt >= STABLE_MS) failures = 0;
      upAt = undefined;
      const pauseMs = failures === 0 ? 0 : Math.min(LONGEST_PAUSE_MS, SECOND_PAUSE_MS * 2 ** (failures - 1));
      failures += 1;
      return pauseMs;
    },
  };
}

/** A process that can be kept running. */
export interface Unit {
  readonly name: string;
  readonly start: (cancellation: Cancellation) => Promise<Started>;
  /** Ends it by force at every moment; it is stopped too, or it would be started again. */
  readonly force?: AbortSignal | undefined;
  readonly log: Logger;
}

/**
 * Starts a process and keeps it running. Returns once it is up for the first time. `signal` ends that start early.
 * @throws what `start` throws the first time.
 */
export async function supervise(options: Unit & { signal: AbortSignal }): Promise<Supervised> {
  const { signal, force } = options;
  return keepRunning(options, await options.start({ signal, force }));
}

/**
 * Starts a process again whenever it ends by itself or does not start, after {@link RestartPauses}.
 * @param first The process that is up; undefined for one whose first start has failed.
 */
export function keepRunning(unit: Unit, first: Started | undefined): Supervised {
  const { name, log, force } = unit;
  const stopping = new AbortController();
  const pauses = createRestartPauses();
  let current = first;
  if (current) pauses.cameUp();

  async function startAgain(): Promise<void> {
    while (!stopping.signal.aborted) {
      if (current) {
        const status = await current.exited;
        current = undefined;
        if (stopping.signal.aborted) return;
        log.error({ ...status }, 'ended unexpectedly');
      }
      const pauseMs = pauses.next();
      log.warn({ pauseMs }, 'restarting');
      await delay(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      try {
        current = await unit.start({ signal: stopping.signal, force });
        pauses.cameUp();
        log.info({ pid: current.pid }, 'restarted');
      } catch (error) {
        if (!stopping.signal.aborted) log.error(errorText(error));
      }
    }
  }
  const loop = startAgain();

  return {
    name,
    get pids() {
      return current ? [current.pid] : [];
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
