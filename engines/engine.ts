import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { PORT_VARIABLES } from '../core/config/config.ts';
import { errorText, OperatingError } from '../core/errors.ts';
import type { Logger } from '../core/service/log.ts';

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

/** How the start of a process, and the process, can be ended from outside. */
export interface Cancellation {
  /** Ends the start early, in order; a process that has started goes on. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the process by force, whether it is starting or has started, as its own deadline would. */
  readonly force?: AbortSignal | undefined;
}

export interface EngineProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  /** The last lines it wrote, for the error message when it does not start. */
  lastLines(): string;
  stop(): Promise<void>;
}

/**
 * An engine ends by force this long after the signal to stop: what it has acknowledged is on the disk, and its next
 * start takes longer. `afflux up` stops its engines after its processes, and all of them within 30 s.
 */
export const ENGINE_STOP_MS = 10_000;
/** A process that its force signal does not end, such as one that is stopped itself, is killed after this. */
export const FORCE_MS = 2_000;

const KEPT_LINES = 12;
const POLL_MS = 20;
/** A process that takes longer to say whether it is ready is asked again: it may have accepted a connection too early. */
const ANSWER_TIMEOUT_MS = 5_000;
/** A program that has not said its version after this will not. */
const VERSION_TIMEOUT_MS = 10_000;
/** How often a start that takes long says what it waits for. */
const WAITING_LINE_MS = 10_000;
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
  force?: AbortSignal | undefined;
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
  const signal = (name: NodeJS.Signals): void => {
    if (child.exitCode === null && child.signalCode === null) child.kill(name);
  };
  function force(): void {
    signal(options.forceSignal);
    setTimeout(() => signal('SIGKILL'), FORCE_MS).unref();
  }
  if (options.force?.aborted) force();
  options.force?.addEventListener('abort', force, { once: true });
  void exited.then(() => options.force?.removeEventListener('abort', force));

  async function stop(): Promise<void> {
    signal(options.stopSignal);
    const ended = await Promise.race([
      exited.then(() => true),
      delay(options.stopTimeoutMs, false, { ref: false }),
    ]);
    if (!ended) force();
    await exited;
  }

  return { child, pid: child.pid ?? 0, exited, lastLines: () => kept.join('\n  '), stop };
}

/** Whether a process is ready, and if not, what it waits for. */
export type Answer = 'ready' | { readonly waitsFor: string };

/** Of a process that does not listen yet. */
export const NO_ANSWER: Answer = { waitsFor: 'an answer on its port' };

/**
 * Waits until `answers` says that the process is ready, and fails at once when it ends before that. A wait that takes
 * long is logged every ten seconds, with what it is for. No answer holds up its end: one that does not come counts as
 * none.
 * @throws OperatingError `engine_failed` with the last lines of its output.
 */
export async function waitUntilReady(options: {
  name: string;
  process: Pick<EngineProcess, 'exited' | 'lastLines' | 'stop'>;
  /** Its signal ends a question that takes too long. */
  answers: (signal: AbortSignal) => Promise<Answer>;
  timeoutMs: number;
  log?: Logger | undefined;
  /** Ends the waiting, and the process, early. */
  signal?: AbortSignal | undefined;
}): Promise<void> {
  const { name, process: engine, log } = options;
  let ended = false;
  void engine.exited.then(() => {
    ended = true;
  });
  const startedAt = Date.now();
  let lines = 0;
  for (;;) {
    const leftMs = Math.max(0, startedAt + options.timeoutMs - Date.now());
    const timeoutMs = Math.min(ANSWER_TIMEOUT_MS, leftMs);
    const answer = (await withLimit(options.answers, { timeoutMs, signal: options.signal })) ?? NO_ANSWER;
    if (answer === 'ready') return;
    const waitedMs = Date.now() - startedAt;
    const late = waitedMs >= options.timeoutMs;
    const cancelled = options.signal?.aborted === true;
    if (ended || late || cancelled) {
      const outcome = ended
        ? 'ended while starting'
        : cancelled
          ? 'was stopped while starting'
          : `was not ready within ${options.timeoutMs / 1000} s; it waits for ${answer.waitsFor}`;
      await engine.stop();
      throw new OperatingError(
        'engine_failed',
        `${name} ${outcome}. Its last lines:\n  ${engine.lastLines()}`,
      );
    }
    if (waitedMs > WAITING_LINE_MS * (lines + 1)) {
      lines += 1;
      const seconds = Math.round(waitedMs / 1000);
      log?.warn(`starting for ${seconds} s of ${options.timeoutMs / 1000} s; waits for ${answer.waitsFor}`);
    }
    await delay(POLL_MS);
  }
}

/**
 * The last step of a start, once the process answers. The process is stopped when the step fails or is ended early.
 * @throws OperatingError `engine_failed`, or what the step throws.
 */
export async function completeStart(options: {
  name: string;
  process: Pick<EngineProcess, 'stop'>;
  step: (signal: AbortSignal) => Promise<true>;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}): Promise<void> {
  try {
    if (await withLimit(options.step, options)) return;
  } catch (error) {
    await options.process.stop();
    throw error;
  }
  await options.process.stop();
  const why = options.signal?.aborted ? 'was stopped' : `took longer than ${options.timeoutMs / 1000} s`;
  throw new OperatingError('engine_failed', `${options.name} ${why} while its database was created`);
}

/** The result of `work`; undefined when its time is over or `signal` comes first, and its signal then ends the work. */
async function withLimit<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<T | undefined> {
  if (signal?.aborted) return undefined;
  const limit = new AbortController();
  const end = (): void => limit.abort();
  const over = new Promise<undefined>((resolve) => {
    limit.signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  const timer = setTimeout(end, timeoutMs);
  signal?.addEventListener('abort', end, { once: true });
  try {
    return await Promise.race([over, work(limit.signal)]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', end);
  }
}

/** What a program says of its version; '' when it cannot be run or does not end. */
export async function readVersionText(program: string): Promise<string> {
  const options = { timeout: VERSION_TIMEOUT_MS, killSignal: 'SIGKILL' } as const;
  return await promisify(execFile)(program, ['--version'], options).then(
    ({ stdout }) => stdout,
    () => '',
  );
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
 * @param options.otherHost What to set where this machine lacks the address.
 * @throws OperatingError `port_unavailable` naming the variable to change.
 */
export async function requireFreePort(options: {
  host: string;
  port: number;
  variable: string;
  otherHost: string;
  patienceMs?: number;
}): Promise<void> {
  const { host, port, variable, otherHost } = options;
  // A process that is just ending loses its command line a moment before its sockets.
  const deadline = Date.now() + (options.patienceMs ?? ENDING_PROCESS_MS);
  for (;;) {
    const failure = await listenOnce(host, port);
    if (failure === undefined) return;
    // Only a port that is in use becomes free by waiting.
    if (failure !== 'EADDRINUSE' || Date.now() >= deadline) {
      const why = listenAdvice(failure, { variable, otherHost });
      throw new OperatingError('port_unavailable', `cannot listen on ${host}:${port}: ${why}`);
    }
    await delay(POLL_MS);
  }
}

function listenAdvice(failure: string, options: { variable: string; otherHost: string }): string {
  const { variable, otherHost } = options;
  switch (failure) {
    case 'EADDRINUSE':
      return `another program is using it. Stop that program, or set ${variable} to a free port`;
    case 'EADDRNOTAVAIL':
      return `this machine has no such address. Give it one ("ip address"), or set ${otherHost}`;
    case 'EACCES':
      return `this user may not listen there. Set ${variable} to a port from 1024 on`;
    default:
      return `${failure}. Set ${variable} to another port, or ${otherHost}`;
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
