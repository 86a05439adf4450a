import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const MS_A_TICK = 1_000 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** User and system time of a process so far, milliseconds. */
export function cpuMs(pid: number): number {
  const [userTicks, systemTicks] = statOf(pid).ticks;
  return ((userTicks ?? Number.NaN) + (systemTicks ?? Number.NaN)) * MS_A_TICK;
}

/** Resident memory of a process, megabytes; 0 once it has ended and waits to be reaped. */
export function rssMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1_024;
}

/** User and system time so far, milliseconds, of these processes, all below them, and those of them that have ended. */
export function treeCpuMs(roots: readonly number[]): number {
  const processes = readProcesses();
  const isBelow = (pid: number): boolean =>
    roots.includes(pid) || (pid > 1 && isBelow(processes.get(pid)?.parent ?? 0));
  return [...processes].reduce((sum, [pid, { ticks }]) => sum + (isBelow(pid) ? ticks : 0), 0) * MS_A_TICK;
}

/** Child processes of `parent` that run the program `name`. */
export function childrenNamed(parent: number, name: string): number[] {
  return [...readProcesses()].flatMap(([pid, process]) =>
    process.parent === parent && process.name === name ? [pid] : [],
  );
}

/** Running child processes of `parent`. */
export function childrenOf(parent: number): number[] {
  return [...readProcesses()].flatMap(([pid, process]) =>
    process.parent === parent && process.state !== 'Z' ? [pid] : [],
  );
}

/** Running processes below `ancestor`, children before their own. */
export function descendantsOf(ancestor: number): number[] {
  return childrenOf(ancestor).flatMap((pid) => [pid, ...descendantsOf(pid)]);
}

interface Process {
  readonly name: string;
  /** Of proc(5); `Z`: it has ended, and its parent has not noticed. */
  readonly state: string;
  readonly parent: number;
  /** Its own time and that of the children it has waited for. */
  readonly ticks: number;
}

function readProcesses(): Map<number, Process> {
  const processes = new Map<number, Process>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const { name, state, parent, ticks } = statOf(Number(pid));
      processes.set(Number(pid), { name, state, parent, ticks: ticks.reduce((sum, each) => sum + each, 0) });
    } catch {
      // It has just ended.
    }
  }
  return processes;
}

/** Of proc(5); ticks: user, system, and those of its children that have ended. */
function statOf(pid: number): { name: string; state: string; parent: number; ticks: number[] } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // pid (name) state parent …; the name may hold anything.
  const end = stat.lastIndexOf(') ');
  const [state = '', parent, ...fields] = stat.slice(end + 2).split(' ');
  return {
    name: stat.slice(stat.indexOf('(') + 1, end),
    state,
    parent: Number(parent),
    ticks: fields.slice(9, 13).map(Number),
  };
}
