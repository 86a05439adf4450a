import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { descendantsOf } from './process-usage.ts';
import { isTrueWithin } from './wait.ts';

/** Of engines on a machine that does other work. */
const START_MS = 120_000;
const LOOK_MS = 100;
const TIMEOUT_MS = START_MS + 60_000;

/** For all temporary folders of a command. */
let folder: string;
let commands: Command[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-ending-'));
  // Engines have a user of their own.
  chmodSync(folder, 0o755);
});
afterEach(async () => {
  for (const { child, ended } of commands) {
    child.kill('SIGTERM');
    await ended;
  }
  commands = [];
  rmSync(folder, { recursive: true, force: true });
});

interface Command {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

function start(args: readonly string[]): Command {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, TMPDIR: folder, NATS_SERVER: inject('natsServer').binary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes) => {
      output += bytes;
    });
  }
  const command = {
    child,
    output: () => output,
    ended: once(child, 'close').then(([code]) => code as number | null),
  };
  commands.push(command);
  return command;
}

/** The command lines of processes that run. */
function commandLines(pids: readonly number[]): string[] {
  return pids.flatMap((pid) => {
    if (!existsSync(`/proc/${pid}`)) return [];
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ') || [];
    } catch {
      return [];
    }
  });
}

/** Sends the signal once the command has a process of such a command line; expects that nothing is left, and returns the output. */
async function interrupt(
  args: readonly string[],
  { signal, started }: { signal: NodeJS.Signals; started: RegExp },
): Promise<string> {
  const { child, output, ended } = start(args);
  const pids = (): number[] => descendantsOf(child.pid ?? 0);
  const isStarted = (): boolean => commandLines(pids()).some((line) => started.test(line));
  expect(await isTrueWithin(START_MS, () => isStarted() || child.exitCode !== null, LOOK_MS)).toBe(true);
  const before = pids();
  child.kill(signal);
  child.kill(signal);
  expect(await ended, output()).toBe(1);
  expect(output()).toContain(`${signal}: ending what was started`);
  expect(commandLines(before)).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
  return output();
}

describe('a benchmark that is interrupted', () => {
  it('ends the server under load, the generator and the engines: bench:peers', {
    timeout: TIMEOUT_MS,
  }, async () => {
    await interrupt([fromProject('dist/loadtest/peers/main.js'), '--only', 'bare'], {
      signal: 'SIGINT',
      started: /^wrk |autocannon/,
    });
  });

  it('ends an engine that is just starting: bench:reports', { timeout: TIMEOUT_MS }, async () => {
    await interrupt([fromProject('dist/loadtest/reports/main.js'), '--rows', '1000'], {
      signal: 'SIGTERM',
      started: /postgres|npm/,
    });
  });
});

/** A command of a few lines; `work` has `run` and `spawn`. */
function scriptOf(work: string): string[] {
  const source = `import { spawn } from 'node:child_process';
    import { carryOut } from ${JSON.stringify(fromProject('dist/loadtest/ending.js'))};
    const say = (text) => process.stdout.write(text + ' ');
    await carryOut(async (run) => { run.makeFolder('made-'); ${work} });`;
  return ['--input-type=module', '-e', source];
}

const STARTS = `
  run.atEnd(() => say('first'));
  await run.start(async () => ({ stop: async () => say('second') }));
  spawn('sh', ['-c', 'sleep 1000 & exec sleep 1001'], { stdio: 'ignore' });`;

describe('what was started', () => {
  it.each([
    ['the work is done', '', 0],
    ['the work fails', "throw new Error('it failed');", 1],
    ['the work sets a code', 'process.exitCode = 3;', 3],
  ])('ends, the last first, when %s', async (_when, end, code) => {
    const { output, ended } = start(scriptOf(`${STARTS} ${end}`));
    expect(await ended).toBe(code);
    expect(output()).toMatch(/second first $/);
    expect(output().includes('it failed')).toBe(code === 1);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('ends although one end fails, and says so', async () => {
    const { output, ended } = start(
      scriptOf(
        `${STARTS} await run.start(async () => ({ stop: async () => { throw new Error('stuck'); } }));`,
      ),
    );
    expect(await ended).toBe(1);
    expect(output()).toContain('stuck');
    expect(output()).toContain('second first');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is awaited when it is interrupted at its start, and nothing is started any more', async () => {
    const starting = `${STARTS}
      await run.start((signal) => new Promise((resolve) => signal.addEventListener('abort', () =>
        setTimeout(() => resolve({ stop: async () => say('third') }), 100)))).catch(() => undefined);
      await run.start(async () => say('too late'));`;
    const output = await interrupt(scriptOf(starting), { signal: 'SIGINT', started: /^sleep 1001/ });
    expect(output).toMatch(/third second first $/);
    expect(output).not.toContain('too late');
  });
});
