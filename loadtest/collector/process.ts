import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { cpuMs, rssMb } from '../process-usage.ts';

/** A server under measurement: one process, pinned to one core. */
export interface Measured {
  readonly pid: number;
  /** User and system time of the process so far, milliseconds. */
  cpuMs(): number;
  rssMb(): number;
  stop(): Promise<void>;
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
  await until(url, child);
  return {
    pid,
    cpuMs: () => cpuMs(pid),
    rssMb: () => rssMb(pid),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function until(url: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_DEADLINE_MS;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`a server for ${url} ended with code ${child.exitCode}`);
    const answer = await fetch(url, { redirect: 'manual' }).catch(() => undefined);
    if (answer && answer.status < 500) return;
    if (Date.now() > deadline) throw new Error(`${url} did not answer`);
    await delay(POLL_MS);
  }
}
