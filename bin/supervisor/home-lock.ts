import { existsSync, linkSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError } from '../../core/errors.ts';
import { findLeftover } from '../../engines/engine.ts';

/** The one running `afflux up` of a data folder. */
interface HomeLock {
  /** Whether an earlier one ended without giving the lock back: killed, or the machine lost power. */
  readonly wasCrash: boolean;
  release(): void;
}

/** A file that a process has, or had, the lock by: `afflux.pid`, and after a crash `afflux.1.pid` and so on. */
interface LockFile {
  readonly path: string;
  readonly generation: number;
  /** The process, if it is another one and still runs. */
  readonly owner: number | undefined;
}

/**
 * Takes the data folder for this process. A lock left behind by a crash is never deleted to make room, because another
 * starter may have replaced it by then: the next generation is created, which one process only can do, and the older
 * files go afterwards.
 * @throws OperatingError `already_running` with the pid of the other one.
 */
export function lockHome(home: string): HomeLock {
  let wasCrash = false;
  for (;;) {
    const found = lockFiles(home);
    refuseOther(home, found);
    wasCrash ||= found.length > 0;
    const generation = Math.max(-1, ...found.map((file) => file.generation)) + 1;
    const path = join(home, generation === 0 ? 'afflux.pid' : `afflux.${generation}.pid`);
    if (!create(home, path)) continue;
    try {
      // A starter that saw the folder before ours was created may hold another generation.
      refuseOther(home, lockFiles(home));
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
    for (const stale of found) rmSync(stale.path, { force: true });
    return { wasCrash, release: () => rmSync(path, { force: true }) };
  }
}

function refuseOther(home: string, files: readonly LockFile[]): void {
  const owner = files.find((file) => file.owner !== undefined)?.owner;
  if (owner === undefined) return;
  throw new OperatingError(
    'already_running',
    `Afflux is already running on ${home} (pid ${owner}). Stop it, or set AFFLUX_HOME to another folder and the ports to free ones`,
  );
}

function lockFiles(home: string): LockFile[] {
  let names: string[];
  try {
    names = readdirSync(home);
  } catch (error) {
    throw unusable(home, error);
  }
  return names.flatMap((name): LockFile[] => {
    const match = /^afflux(?:\.([1-9]\d*))?\.pid$/.exec(name);
    if (!match) return [];
    const path = join(home, name);
    const pid = findLeftover(path, 'afflux');
    // Released since the folder was read.
    if (pid === undefined && !existsSync(path)) return [];
    return [{ path, generation: Number(match[1] ?? 0), owner: pid === process.pid ? undefined : pid }];
  });
}

/** Whether the file was created by this process; its content is whole as soon as it is visible. */
function create(home: string, path: string): boolean {
  const draft = join(home, `.afflux.pid.${process.pid}`);
  try {
    writeFileSync(draft, `${process.pid}\n`);
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw unusable(home, error);
  } finally {
    rmSync(draft, { force: true });
  }
}

function unusable(home: string, cause: unknown): OperatingError {
  return new OperatingError(
    'home_unusable',
    `cannot write in ${home}: ${(cause as Error).message}. Make it writable, or set AFFLUX_HOME`,
    { cause },
  );
}
