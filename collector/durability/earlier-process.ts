import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../../core/errors.ts';

/** A process that wrote its name into a state file. */
export interface ProcessName {
  readonly pid: number;
  /** When it started, in clock ticks since the machine did: another process with its pid has another. Absent where there is no /proc. */
  readonly started?: string | undefined;
}

/** A stop in order lets go of the folder within this; its supervisor kills it soon after. */
const ENDING_MS = 20_000;
const POLL_MS = 20;

export function ownName(): ProcessName {
  return { pid: process.pid, started: startOf(process.pid) };
}

/** Whether exactly this process still runs; undefined where the system does not say. */
export function stillRuns({ pid, started }: ProcessName): boolean | undefined {
  return started === undefined ? undefined : pid !== process.pid && startOf(pid) === started;
}

/**
 * Waits until the process that had a state folder before has let go of it: two at once would cut off, replay and delete each
 * other's spool. Workers whose parent was killed end in order, while the next parent starts others in their place.
 * @throws OperatingError `collector_running`.
 */
export async function untilEnded(
  earlier: ProcessName,
  { folder, stopping }: { folder: string; stopping?: AbortSignal | undefined },
): Promise<void> {
  const deadline = performance.now() + ENDING_MS;
  while (stillRuns(earlier) === true) {
    if (performance.now() > deadline) {
      throw new OperatingError(
        'collector_running',
        `a collector with process id ${earlier.pid} uses ${folder}; stop it, or set another AFFLUX_HOME`,
      );
    }
    await delay(POLL_MS, undefined, { signal: stopping });
  }
}

/** Field 22 of /proc/<pid>/stat; undefined for a process that is gone or a zombie, and where there is no /proc. */
function startOf(pid: number): string | undefined {
  try {
    // pid (command) state …: the command can hold anything.
    const [state, ...rest] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
    return state === 'Z' || state === 'X' ? undefined : rest[18];
  } catch {
    return undefined;
  }
}
