import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import type { Demo } from '../../bin/demo/data.ts';
import { type Config, loadConfig } from '../../core/config/config.ts';
import { fromProject } from '../../core/config/paths.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import { freePlatformPorts } from '../../engines/engine.ts';
import { waitFor } from './engines.ts';

/** The whole platform as `npm start` runs it, on a folder and ports of its own. */
export interface TestPlatform {
  readonly apiUrl: string;
  readonly collectorUrl: string;
  /** Of a platform that was started with it. */
  readonly demo: Demo;
  readonly config: Config;
  /** What its processes were started with. */
  readonly env: Readonly<Record<string, string>>;
  /** The platform's output so far: mails too, as there is no mail server. */
  output(): string;
  /** Runs the command line, to its end. @throws Error with its output. */
  afflux(...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

const START_MS = 60_000;
const COMMAND_MS = 150_000;
const STOP_MS = 30_000;

/**
 * @param options.prepare Fills the data folder before the platform opens it.
 * @param options.demo Whether it has the demo program, without traffic; default yes.
 * @param options.env More variables, such as the URLs of servers.
 */
export async function startPlatform(
  options: {
    prepare?: (home: string) => Promise<void>;
    env?: Readonly<Record<string, string>>;
    demo?: boolean;
  } = {},
): Promise<TestPlatform> {
  const home = mkdtempSync(join(tmpdir(), 'afflux-platform-'));
  await options.prepare?.(home);
  const env: Record<string, string> = {
    PATH: process.env.PATH ?? '',
    AFFLUX_HOME: home,
    LOG_FORMAT: 'text',
    NATS_SERVER: inject('natsServer').binary,
    ...(await freePlatformPorts()),
    ...options.env,
  };
  const run = (...args: string[]) => start(args, env);
  const up = run('up');
  async function afflux(...args: string[]): Promise<string> {
    const { child, output } = run(...args);
    await waitFor(() => hasEnded(child), { deadlineMs: COMMAND_MS, what: `afflux ${args.join(' ')}` });
    if (child.exitCode !== 0) throw new Error(output());
    return output();
  }
  async function stop(): Promise<void> {
    up.child.kill('SIGINT');
    await waitFor(() => hasEnded(up.child), { deadlineMs: STOP_MS, what: 'the platform to end' });
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  }
  try {
    await waitFor(() => up.output().includes('Afflux is up after') || hasEnded(up.child), {
      deadlineMs: START_MS,
      what: 'the platform to be up',
    });
    if (hasEnded(up.child)) throw new Error(up.output());
    if (options.demo ?? true) await afflux('demo', '--clicks', '0');
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    apiUrl: `http://localhost:${env.API_PORT}`,
    collectorUrl: `http://localhost:${env.COLLECTOR_PORT}`,
    get demo() {
      return JSON.parse(readFileSync(join(home, 'demo.json'), 'utf8')) as Demo;
    },
    config: withGeneratedSecrets(loadConfig(env)),
    env,
    output: up.output,
    afflux,
    stop,
  };
}

function start(args: string[], env: Record<string, string>): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), ...args], { env, cwd: tmpdir() });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (text += bytes));
  return { child, output: () => text };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
