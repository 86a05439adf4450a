import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  createWriteStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  type WriteStream,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Config, loadConfig } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';
import { withGeneratedSecrets } from '../core/config/secrets.ts';
import { freePlatformPorts } from '../engines/engine.ts';
import { findOwnNats } from './engines.ts';
import { childrenOf } from './process-usage.ts';
import { isTrueWithin } from './wait.ts';

/** Everything that `afflux up` keeps running, each in a process of its own. */
export type Target =
  | 'collector'
  | 'loader'
  | 'attribution'
  | 'scheduler'
  | 'api'
  | 'nats'
  | 'postgres'
  | 'clickhouse';

/** The part of the demo program's file that a run needs. */
export interface DemoFile {
  readonly program: { readonly id: number; readonly currency: string };
  readonly affiliates: readonly { readonly id: number; readonly parent_id: number | null }[];
  readonly links: readonly {
    readonly code: string;
    readonly campaign_id: number;
    readonly affiliate_id: number;
  }[];
  readonly keys: { readonly operator: string; readonly advertiser: string };
  readonly portal: { readonly partner: { readonly email: string; readonly password: string } };
}

/** The whole platform as `npm start` runs it, on a folder and ports of its own. */
export interface Platform {
  readonly config: Config;
  readonly demo: DemoFile;
  readonly collectorUrl: string;
  readonly apiUrl: string;
  /** The process that is the target at this moment, of several collectors one; undefined while it is down. */
  pidOf(target: Target): number | undefined;
  /** The processes that redirect, at this moment. */
  collectors(): { slot: number; pid: number }[];
  /** Sends a signal to a process only if it still is one of the platform's; whether it was sent. */
  signal(pid: number, signal: NodeJS.Signals): boolean;
  /** Starts `afflux …` beside the others, as another supervisor would. */
  startBeside(args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess;
  /** Runs `afflux …` to its end. */
  run(...args: string[]): Promise<{ code: number; output: string }>;
  /** Services that are not ready. */
  notReady(): Promise<string[]>;
  /** Ends everything, stopped and stuck processes too. */
  stop(): Promise<void>;
}

/** The name of the log below the folder: one JSON object a line. */
export const PLATFORM_LOG = 'platform.log';
const COMMAND = fromProject('dist/bin/afflux.js');
const START_MS = 120_000;
const STOP_MS = 60_000;
const READY_ANSWER_MS = 5_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * Starts it below `folder`; its output is in `platform.log` there. With `smallDisk` the collector's spool and NATS's
 * streams live on that disk. `workers`: collectors that share the port; one by default.
 * @throws Error when it does not come up.
 */
export async function startPlatform(options: {
  folder: string;
  smallDisk: string | undefined;
  workers?: number | undefined;
  /** Ends the start early. */
  signal?: AbortSignal | undefined;
}): Promise<Platform> {
  const { folder, smallDisk, workers, signal } = options;
  const home = join(folder, 'home');
  makeHome(home, smallDisk);
  const env = await environmentFor(home);
  const logFile = join(folder, PLATFORM_LOG);
  const log = createWriteStream(logFile);
  const up = spawnAfflux(['up', ...(workers === undefined ? [] : ['--workers', String(workers)])], {
    env,
    log,
  });
  const beside: ChildProcess[] = [];
  const processes = { home, up, beside, log };
  const isUp = hasPrinted(up, 'Afflux is up after');
  const isDecided = (): boolean => isUp() || !isRunning(up) || signal?.aborted === true;
  if (!(await isTrueWithin(START_MS, isDecided)) || !isRunning(up) || signal?.aborted) {
    await stopAll(processes);
    throw new Error(`the platform did not come up: see ${logFile}`);
  }
  const made = await runAfflux(['demo', '--clicks', '0'], env);
  if (made.code !== 0) {
    await stopAll(processes);
    throw new Error(`the demo program was not made: ${made.output}`);
  }
  const config = withGeneratedSecrets(loadConfig(env));
  const services = serviceUrls(config);
  return {
    config,
    demo: JSON.parse(readFileSync(join(home, 'demo.json'), 'utf8')) as DemoFile,
    collectorUrl: services.collector,
    apiUrl: services.api,
    pidOf: (target) => childrenOf(up.pid ?? 0).find((pid) => targetOf(pid) === target),
    collectors: () => childrenOf(up.pid ?? 0).flatMap((pid) => collectorAt(pid) ?? []),
    signal: (pid, signal) => isOf(home, pid) && trySignal(pid, signal),
    startBeside(args, more) {
      const child = spawnAfflux(args, { env: { ...env, ...more }, log });
      beside.push(child);
      return child;
    },
    run: (...args) => runAfflux(args, env),
    async notReady() {
      const answers = Object.entries(services).map(async ([name, url]) => ({
        name,
        ready: await isReady(url),
      }));
      return (await Promise.all(answers)).flatMap(({ name, ready }) => (ready ? [] : [name]));
    },
    stop: () => stopAll(processes),
  };
}

type Environment = Readonly<Record<string, string>>;

function makeHome(home: string, smallDisk: string | undefined): void {
  mkdirSync(home);
  if (smallDisk === undefined) return;
  for (const name of ['collector', 'nats']) {
    mkdirSync(join(smallDisk, name));
    symlinkSync(join(smallDisk, name), join(home, name));
  }
}

async function environmentFor(home: string): Promise<Environment> {
  const nats = await findOwnNats();
  return {
    PATH: process.env.PATH ?? '',
    AFFLUX_HOME: home,
    NATS_SERVER: nats.binary,
    ...(await freePlatformPorts()),
    // Every visitor has an address of its own.
    TRUSTED_PROXIES: '127.0.0.1',
    // One key of each role stands for all who have one.
    API_REQUESTS_PER_MINUTE: '1000000',
    API_CONCURRENT_REPORTS: '1000',
    // Runs are started by the operator of the run.
    PAYOUT_HOUR: 'off',
  };
}

function serviceUrls(config: Config) {
  const url = (port: number): string => `http://127.0.0.1:${port}`;
  return {
    collector: url(config.collectorPort),
    loader: url(config.loaderPort),
    attribution: url(config.attributionPort),
    scheduler: url(config.schedulerPort),
    api: url(config.apiPort),
  };
}

function spawnAfflux(
  args: readonly string[],
  { env, log }: { env: Environment; log: WriteStream },
): ChildProcess {
  const child = spawn(process.execPath, [COMMAND, ...args], {
    env,
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe'],
    // A Ctrl-C in the terminal is for the run: a second signal would make "afflux up" leave its engines behind.
    detached: true,
  });
  for (const stream of [child.stdout, child.stderr]) stream?.pipe(log, { end: false });
  return child;
}

async function runAfflux(
  args: readonly string[],
  env: Environment,
): Promise<{ code: number; output: string }> {
  const options = { env, cwd: tmpdir(), maxBuffer: MAX_OUTPUT_BYTES };
  return await promisify(execFile)(process.execPath, [COMMAND, ...args], options).then(
    ({ stdout }) => ({ code: 0, output: stdout }),
    ({ code, stdout, stderr }: { code?: number; stdout?: string; stderr?: string }) => ({
      code: code ?? 1,
      output: `${stdout ?? ''}${stderr ?? ''}`,
    }),
  );
}

/** `afflux up` on a data folder, the processes started beside it, and the log they all write. */
interface Processes {
  readonly home: string;
  readonly up: ChildProcess;
  readonly beside: readonly ChildProcess[];
  readonly log: WriteStream;
}

async function stopAll({ home, up, beside, log }: Processes): Promise<void> {
  const all = () => runningProcesses().filter((pid) => isOf(home, pid));
  for (const pid of all()) trySignal(pid, 'SIGCONT');
  for (const child of beside.filter(isRunning)) child.kill('SIGKILL');
  if (isRunning(up)) up.kill('SIGINT');
  const isOver = (): boolean => !isRunning(up) && all().length === 0;
  if (!(await isTrueWithin(STOP_MS, isOver))) {
    for (const pid of all()) trySignal(pid, 'SIGKILL');
    await isTrueWithin(STOP_MS, isOver);
  }
  log.end();
}

export function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function hasPrinted(child: ChildProcess, text: string): () => boolean {
  let output = '';
  let found = false;
  child.stdout?.on('data', (bytes: Buffer) => {
    if (found) return;
    output += bytes.toString('utf8');
    found = output.includes(text);
  });
  return () => found;
}

/** Whether a process is of the platform on a data folder: by its environment or an engine's command line. */
function isOf(home: string, pid: number): boolean {
  return (
    readProcess(pid, 'environ').split('\0').includes(`AFFLUX_HOME=${home}`) ||
    readProcess(pid, 'cmdline').includes(home)
  );
}

function runningProcesses(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** A file of /proc/<pid>; '' for a process that has ended. */
function readProcess(pid: number, file: 'stat' | 'environ' | 'cmdline'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function commandLine(pid: number): string[] {
  return readProcess(pid, 'cmdline').split('\0');
}

/** Undefined for what does not redirect. */
function collectorAt(pid: number): { slot: number; pid: number } | undefined {
  if (targetOf(pid) !== 'collector') return undefined;
  const line = commandLine(pid);
  return { slot: Number(line[line.indexOf('--slot') + 1] || 0) || 0, pid };
}

/** Which part of the platform a process is, by its command line. */
function targetOf(pid: number): Target | undefined {
  const line = commandLine(pid);
  const [program = '', first = '', second = ''] = line;
  if (first.endsWith('clickhouse-server/main.js')) return 'clickhouse';
  if (line.some((word) => word.endsWith('nats-server.conf'))) return 'nats';
  if (first.endsWith('afflux.js')) return second as Target;
  return program.endsWith('postgres') ? 'postgres' : undefined;
}

function trySignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(READY_ANSWER_MS) });
    await answer.text();
    return answer.ok;
  } catch {
    return false;
  }
}
