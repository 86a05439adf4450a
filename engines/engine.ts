import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { PORT_VARIABLES } from '../core/config/config.ts';
import { errorText, OperatingError } from '../core/errors.ts';

/** How a process ended: an exit code, or the signal that killed it. */
export interface ExitStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running engine. */
export interface Engine {
  readonly name: string;
  /** Where clients connect, ready for `DATABASE_URL`, `CLICKHOUSE_URL` or `NATS_URL`. */
  readonly url: string;
  readonly pid: number;
  /** Settles when the process has ended, for whatever reason; never rejects. */
  readonly exited: Promise<ExitStatus>;
  /** Ends the engine in an orderly way and waits for it; ends it by force past its deadline. */
  stop(): Promise<void>;
}

export interface EngineProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  /** The last lines it wrote, for the error message when it does not start. */
  lastLines(): string;
  stop(): Promise<void>;
}

const KEPT_LINES = 12;
const POLL_MS = 20;
/** How long the port of a process that has just been stopped can stay in use. */
const ENDING_PROCESS_MS = 1_000;

/**
 * Starts an engine's process in a process group of its own: a Ctrl-C in the terminal reaches only the supervisor,
 * which then stops the engines last.
 * @throws OperatingError `engine_failed` when the program cannot be run.
 */
export async function spawnEngine(options: {
  name: string;
  command: string;
  args: readonly string[];
  spawn?: SpawnOptions;
  /** Called with every line of its output. */
  onLine: (line: string) => void;
  stopSignal: NodeJS.Signals;
  stopTimeoutMs: number;
  /** The signal that ends it past its deadline, with the least damage. */
  forceSignal: NodeJS.Signals;
}): Promise<EngineProcess> {
  const child = spawn(options.command, options.args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options.spawn,
    detached: true,
  });
  const kept: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    createInterface({ input: stream }).on('line', (line) => {
      kept.push(line);
      if (kept.length > KEPT_LINES) kept.shift();
      options.onLine(line);
    });
  }
  const exited = new Promise<ExitStatus>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
    child.once('error', () => resolve({ code: null, signal: null }));
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) =>
      reject(
        new OperatingError('engine_failed', `cannot run ${options.command}: ${errorText(cause)}`, { cause }),
      ),
    );
  });
  const running = (): boolean => child.exitCode === null && child.signalCode === null;

  async function stop(): Promise<void> {
    if (running()) child.kill(options.stopSignal);
    const ended = await Promise.race([
      exited.then(() => true),
      delay(options.stopTimeoutMs, false, { ref: false }),
    ]);
    if (!ended && running()) child.kill(options.forceSignal);
    await exited;
  }

  return { child, pid: child.pid ?? 0, exited, lastLines: () => kept.join('\n  '), stop };
}

/**
 * Waits until `answers` resolves to true, and fails at once when the process ends before that.
 * @throws OperatingError `engine_failed` with the last lines of its output.
 */
export async function waitUntilReady(options: {
  name: string;
  process: Pick<EngineProcess, 'exited' | 'lastLines' | 'stop'>;
  answers: () => Promise<boolean>;
  timeoutMs: number;
  /** Ends the waiting, and the process, early. */
  signal?: AbortSignal;
}): Promise<void> {
  const { name, process: engine } = options;
  let ended = false;
  void engine.exited.then(() => {
    ended = true;
  });
  const deadline = Date.now() + options.timeoutMs;
  while (!(await options.answers())) {
    const late = Date.now() > deadline;
    const cancelled = options.signal?.aborted === true;
    if (ended || late || cancelled) {
      const outcome = ended
        ? 'ended while starting'
        : cancelled
          ? 'was stopped while starting'
          : `did not answer within ${options.timeoutMs / 1000} s`;
      await engine.stop();
      throw new OperatingError(
        'engine_failed',
        `${name} ${outcome}. Its last lines:\n  ${engine.lastLines()}`,
      );
    }
    await delay(POLL_MS);
  }
}

/** The command line of a process, or undefined when there is no such process. */
function commandLine(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return undefined;
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    // No /proc: not Linux, or the process is just ending.
    return '';
  }
}

/** The process of a pid file (its first line) whose command line holds `marker`, or undefined. */
export function findLeftover(pidFile: string, marker: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(pidFile, 'utf8');
  } catch {
    return undefined;
  }
  const pid = Number(text.split('\n')[0]);
  // Another program can have the pid by now: only the data folder in its command line makes it ours.
  return pid > 1 && commandLine(pid)?.includes(marker) ? pid : undefined;
}

/** Ends a process that is not our child, and waits until it is gone. */
export async function stopLeftover(options: {
  pid: number;
  signal: NodeJS.Signals;
  timeoutMs: number;
}): Promise<void> {
  const deadline = Date.now() + options.timeoutMs;
  let signal: NodeJS.Signals = options.signal;
  process.kill(options.pid, signal);
  while (isAlive(options.pid)) {
    if (Date.now() > deadline && signal !== 'SIGKILL') {
      signal = 'SIGKILL';
      process.kill(options.pid, signal);
    }
    await delay(POLL_MS);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    // An orphan that has ended is a zombie until its new parent reaps it, which some containers' never do.
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

/**
 * Makes sure that a port can be listened on, before a program is started that would fail with a message of its own.
 * @throws OperatingError `port_unavailable` naming the variable to change.
 */
export async function requireFreePort(options: {
  host: string;
  port: number;
  variable: string;
  patienceMs?: number;
}): Promise<void> {
  const { host, port, variable } = options;
  // A process that is just ending loses its command line a moment before its sockets.
  const deadline = Date.now() + (options.patienceMs ?? ENDING_PROCESS_MS);
  for (;;) {
    const failure = await listenOnce(host, port);
    if (failure === undefined) return;
    if (Date.now() >= deadline) {
      const why = failure === 'EADDRINUSE' ? 'another program is using it' : failure;
      throw new OperatingError(
        'port_unavailable',
        `cannot listen on ${host}:${port}: ${why}. Stop that program, or set ${variable} to a free port`,
      );
    }
    await delay(POLL_MS);
  }
}

function listenOnce(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** Below the range from which systems take the ports of outgoing connections, which would take one just found free. */
const FREE_PORTS = { from: 10_000, to: 32_000 };

/** A loopback port that is free at this moment. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FREE_PORTS.from, FREE_PORTS.to);
    if ((await listenOnce('127.0.0.1', port)) === undefined) return port;
  }
}

/** Free ports, all different, for every service and engine of a platform, by the variables that set them. */
export async function freePlatformPorts(): Promise<Record<string, string>> {
  const ports = new Set<string>();
  while (ports.size < PORT_VARIABLES.length) ports.add(String(await freePort()));
  const list = [...ports];
  return Object.fromEntries(PORT_VARIABLES.map((name, i) => [name, list[i] ?? '']));
}
