import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const CLOCK_TICKS_PER_S = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

interface Process {
  readonly parent: number;
  /** Its own user and system time and that of the children it has waited for, clock ticks. */
  readonly ticks: number;
}

/** CPU time of a process and of all it has started, milliseconds; 0 when it is gone. */
export function treeCpuMs(root: number): number {
  const processes = readProcesses();
  const ticksOf = (pid: number): number => {
    let ticks = processes.get(pid)?.ticks ?? 0;
    for (const [child, { parent }] of processes) if (parent === pid) ticks += ticksOf(child);
    return ticks;
  };
  return (ticksOf(root) * 1_000) / CLOCK_TICKS_PER_S;
}

/** Child processes of `parent` that run the program `name`. */
export function childrenNamed(parent: number, name: string): number[] {
  return [...readProcesses()].flatMap(([pid, process]) =>
    process.parent === parent && commandOf(pid) === name ? [pid] : [],
  );
}

function readProcesses(): Map<number, Process> {
  const processes = new Map<number, Process>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // pid (command) state parent …; utime, stime, cutime and cstime are the 14th to the 17th.
      const fields = readFileSync(`/proc/${name}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
      const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
      processes.set(Number(name), { parent: Number(fields[1]), ticks });
    } catch {
      // It has ended meanwhile.
    }
  }
  return processes;
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}
