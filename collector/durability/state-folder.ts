import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../../core/errors.ts';
import {
  type ClaimOwner,
  claimFolder,
  claimOwner,
  type FolderClaim,
  FolderClaimed,
} from '../../core/files/folder-claim.ts';
import type { Logger } from '../../core/service/log.ts';

/** A process that wrote its name into a file. */
export interface ProcessName {
  readonly pid: number;
  /** When it started, in clock ticks since the machine did: another process with its pid has another. Absent where there is no /proc. */
  readonly started?: string | undefined;
  /** Within what its pid means something: this start of the machine, and a container or none. Absent as `started` is. */
  readonly place?: string | undefined;
}

/** What a collector writes into the claim of its folder. */
interface ClaimText extends ProcessName {
  /** The process that started it, where that keeps it running: without it the collector has to end. */
  readonly supervisor?: number;
}

/** A stop in order lets go of the folder within this; its supervisor kills it soon after. */
const ENDING_MS = 20_000;
const CLAIM_NAME = 'collector';
const POLL_MS = 20;

export function ownName(): ProcessName {
  return { pid: process.pid, started: readStat(process.pid)?.started, place: ownPlace() };
}

/** Whether exactly this process still runs, and is another one; undefined where the system does not say. */
export function stillRuns({ pid, started, place }: ProcessName): boolean | undefined {
  if (started === undefined || place !== ownPlace()) return undefined;
  return pid !== process.pid && readStat(pid)?.started === started;
}

/**
 * Takes the state folder of a collector, before anything in it is touched: two at once would cut off, replay and delete each
 * other's spool. Waits for a process that is about to let go of it: workers whose parent was killed end in order, while the
 * next parent starts others in their place. One of them that has not ended by then hangs, and is ended by force, which loses
 * no click that it redirected. The claim ends with the process.
 * @throws OperatingError `collector_running`; AbortError when it is stopped.
 */
export async function claimStateFolder(
  folder: string,
  { log, stopping }: { log: Logger; stopping?: AbortSignal | undefined },
): Promise<FolderClaim> {
  mkdirSync(folder, { recursive: true });
  const supervisor = process.connected ? process.ppid : undefined;
  const content = JSON.stringify({ ...ownName(), supervisor });
  let waitsFor: number | undefined;
  let isForced = false;
  let deadline = 0;
  for (;;) {
    const owner = claimUnlessOwned(folder, content);
    if ('release' in owner) return owner;
    const { pid, isOrphan } = owner;
    if (pid !== waitsFor) {
      log.warn({ pid, folder }, 'waiting for another collector to end');
      waitsFor = pid;
      isForced = false;
      deadline = performance.now() + ENDING_MS;
    } else if (performance.now() > deadline) {
      if (!isOrphan || isForced) throw collectorRunning(pid, folder);
      log.error({ pid, folder }, 'ending by force a collector that hangs since its supervisor has ended');
      endByForce(pid, folder);
      isForced = true;
      deadline = performance.now() + ENDING_MS;
    }
    await delay(POLL_MS, undefined, { signal: stopping });
  }
}

function claimUnlessOwned(folder: string, content: string): FolderClaim | ClaimOwner {
  try {
    return claimFolder({ folder, name: CLAIM_NAME, content, ownerOf });
  } catch (error) {
    if (error instanceof FolderClaimed) return error.owner;
    throw error;
  }
}

/** The other collector that has a state folder at this moment. */
export function stateFolderOwner(folder: string): ClaimOwner | undefined {
  return claimOwner({ folder, name: CLAIM_NAME, ownerOf });
}

export function collectorRunning(pid: number, folder: string): OperatingError {
  return new OperatingError(
    'collector_running',
    `a collector with process id ${pid} uses ${folder}; stop it, or set another AFFLUX_HOME`,
  );
}

function endByForce(pid: number, folder: string): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // Of another user.
    if ((error as NodeJS.ErrnoException).code === 'EPERM') throw collectorRunning(pid, folder);
  }
}

function ownerOf(path: string): ClaimOwner | undefined {
  let name: ClaimText;
  try {
    name = JSON.parse(readFileSync(path, 'utf8')) as ClaimText;
  } catch {
    // Released meanwhile, or empty after a power cut.
    return undefined;
  }
  // Without /proc, any process that has the pid counts. Of another place: what its leases say is asked before the folder is touched.
  const runs =
    stillRuns(name) ?? (name.started === undefined && name.pid !== process.pid && isAlive(name.pid));
  if (!runs) return undefined;
  const { pid, supervisor } = name;
  const parent = readStat(pid)?.parent;
  return { pid, isOrphan: supervisor !== undefined && parent !== undefined && parent !== supervisor };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Parent, and start in clock ticks since the machine's: fields 4 and 22 of /proc/<pid>/stat. Undefined for a process that is
 * gone or a zombie, and where there is no /proc.
 */
function readStat(pid: number): { parent: number; started: string | undefined } | undefined {
  try {
    // pid (command) state parent …: the command can hold anything.
    const [state, parent, ...rest] =
      readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
    return state === 'Z' || state === 'X' ? undefined : { parent: Number(parent), started: rest[17] };
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
