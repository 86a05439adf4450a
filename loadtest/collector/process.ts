import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpuMs, rssMb } from '../process-usage.ts';
import { isTrueWithin } from '../wait.ts';

/** A server under measurement: one process, pinned to one core. */
export interface Measured {
  readonly pid: number;
  /** User and system time of the process so far, milliseconds. */
  cpuMs(): number;
  rssMb(): number;
  stop(): Promise<void>;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
}

const READY_DEADLINE_MS = 60_000;
const POLL_MS = 50;

/** Starts `command` on the core `core` and waits until `url` answers. */
export async function startMeasured(options: {
  command: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** As `taskset -c` takes it: one core, or several. */
  core: number | string;
  url: string;
}): Promise<Measured> {
  const { command, env = {}, core, url } = options;
  const child = spawn('taskset', ['-c', String(core), ...command], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  // taskset becomes the program it starts, so the child's pid is the server's.
  const pid = child.pid ?? 0;
  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }
  await waitUntilAnswering(url, child).catch(async (error: unknown) => {
    await end('SIGKILL');
    throw error;
  });
  return {
    pid,
    cpuMs: () => cpuMs(pid),
    rssMb: () => rssMb(pid),
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}

async function waitUntilAnswering(url: string, child: ChildProcess): Promise<void> {
  const isAnswering = async (): Promise<boolean> => {
    if (child.exitCode !== null) throw new Error(`a server for ${url} ended with code ${child.exitCode}`);
    const answer = await fetch(url, { redirect: 'manual' }).catch(() => undefined);
    return answer !== undefined && answer.status < 500;
  };
  if (!(await isTrueWithin(READY_DEADLINE_MS, isAnswering, POLL_MS)))
    throw new Error(`${url} did not answer`);
}

/** Keeps a process, all its threads and whatever it starts from now on, on one core or several. */
export function pin(pid: number, core: number | string): void {
  execFileSync('taskset', ['-a', '-c', '-p', String(core), String(pid)], { stdio: 'ignore' });
}
