import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError } from '../../core/errors.ts';
import { findLeftover } from '../../engines/engine.ts';

/** The one running `afflux up` of a data folder. */
interface HomeLock {
  /** Whether an earlier one ended without giving the lock back: killed, or the machine lost power. */
  readonly wasCrash: boolean;
  release(): void;
}

/**
 * Takes the data folder for this process.
 * @throws OperatingError `already_running` with the pid of the other one.
 */
export function lockHome(home: string): HomeLock {
  const path = join(home, 'afflux.pid');
  let wasCrash = false;
  for (;;) {
    try {
      writeFileSync(path, `${process.pid}\n`, { flag: 'wx' });
      return { wasCrash, release: () => rmSync(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw unusable(home, error);
    }
    const pid = findLeftover(path, 'afflux');
    if (pid !== undefined && pid !== process.pid) {
      throw new OperatingError(
        'already_running',
        `Afflux is already running on ${home} (pid ${pid}). Stop it, or set AFFLUX_HOME to another folder and the ports to free ones`,
      );
    }
    wasCrash = true;
    removeStale(path);
  }
}

/** Leaves the file alone when somebody else has taken the lock meanwhile. */
function removeStale(path: string): void {
  const pid = Number(readFileSync(path, 'utf8'));
  try {
    if (pid > 0) process.kill(pid, 0);
  } catch {
    // It has ended.
  }
  rmSync(path, { force: true });
}

function unusable(home: string, cause: unknown): OperatingError {
  return new OperatingError(
    'home_unusable',
    `cannot write in ${home}: ${(cause as Error).message}. Make it writable, or set AFFLUX_HOME`,
    { cause },
  );
}
