import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../../core/errors.ts';
import { claimFolder, type FolderClaim, FolderClaimed } from '../../core/files/folder-claim.ts';

/** A process that wrote its name into a file. */
export interface ProcessName {
  readonly pid: number;
  /** When it started, in clock ticks since the machine did: another process with its pid has another. Absent where there is no /proc. */
  readonly started?: string | undefined;
  /** Within what its pid means something: this start of the machine, and a container or none. Absent as `started` is. */
  readonly place?: string | undefined;
}

/** A stop in order lets go of the folder within this; its supervisor kills it soon after. */
const ENDING_MS = 20_000;
const POLL_MS = 20;

export function ownName(): ProcessName {
  return { pid: process.pid, started: startOf(process.pid), place: ownPlace() };
}

/** Whether exactly this process still runs, and is another one; undefined where the system does not say. */
export function stillRuns({ pid, started, place }: ProcessName): boolean | undefined {
  if (started === undefined || place !== ownPlace()) return undefined;
  return pid !== process.pid && startOf(pid) === started;
}

/**
 * Takes the state folder of a collector, before anything in it is touched: two at once would cut off, replay and delete each
 * other's spool. Waits for a process that is about to let go of it: workers whose parent was killed end in order, while the
 * next parent starts others in their place. The claim ends with the process.
 * @throws OperatingError `collector_running`.
 */
export async function claimStateFolder(folder: string, stopping?: AbortSignal): Promise<FolderClaim> {
  mkdirSync(folder, { recursive: true });
  const content = JSON.stringify(ownName());
  const deadline = performance.now() + ENDING_MS;
  for (;;) {
    try {
      return claimFolder({ folder, name: 'collector', content, ownerOf });
    } catch (error) {
      if (!(error instanceof FolderClaimed)) throw error;
      if (performance.now() > deadline) throw collectorRunning(error.pid, folder);
    }
    await delay(POLL_MS, undefined, { signal: stopping });
  }
}

export function collectorRunning(pid: number, folder: string): OperatingError {
  return new OperatingError(
    'collector_running',
    `a collector with process id ${pid} uses ${folder}; stop it, or set another AFFLUX_HOME`,
  );
}

function ownerOf(path: string): number | undefined {
  let name: ProcessName;
  try {
    name = JSON.parse(readFileSync(path, 'utf8')) as ProcessName;
  } catch {
    // Released meanwhile, or empty after a power cut.
    return undefined;
  }
  // Without /proc, any process that has the pid counts. Of another place: what its leases say is asked before the folder is touched.
  const runs =
    stillRuns(name) ?? (name.started === undefined && name.pid !== process.pid && isAlive(name.pid));
  return runs ? name.pid : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
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

function ownPlace(): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return undefined;
  }
}
