import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { projectRoot } from '../core/config/paths.ts';
import { freePlatformPorts } from '../engines/engine.ts';
import { waitFor } from './support/engines.ts';

/** Dependencies are installed again: half a gigabyte, from the package manager's cache or the network. */
const INSTALL_DEADLINE_MS = 300_000;

/** The two commands of the README, in a copy of the tree that has nothing installed. */
describe('a fresh clone', () => {
  let clone = '';
  let env: Record<string, string> = {};
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    clone = join(mkdtempSync(join(tmpdir(), 'afflux-clone-')), 'a fresh clone');
    for (const file of sourceFiles()) {
      mkdirSync(dirname(join(clone, file)), { recursive: true });
      copyFileSync(join(projectRoot, file), join(clone, file));
    }
    env = ordinaryEnvironment();
    env.NATS_SERVER = inject('natsServer').binary;
    Object.assign(env, await freePlatformPorts());
  });
  afterAll(async () => {
    for (const child of children) interrupt(child);
    for (const child of children) {
      await waitFor(() => hasEnded(child), {
        deadlineMs: 30_000,
        what: 'the end of npm',
      });
    }
    rmSync(dirname(clone), { recursive: true, force: true });
  });

  /** Ctrl-C in a terminal: everything in its foreground group gets the signal. */
  function interrupt(child: ChildProcess): void {
    if (!hasEnded(child)) process.kill(-(child.pid ?? 0), 'SIGINT');
  }

  /** Runs npm in the clone from another folder, in a group of its own, and collects what it says. */
  function npm(...args: string[]): { child: ChildProcess; output: () => string } {
    const child = spawn('npm', ['--prefix', clone, ...args], { env, cwd: tmpdir(), detached: true });
    children.push(child);
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (part) => {
        text += part;
      });
    }
    return { child, output: () => text };
  }

  it(
    'starts with npm start, redirects, and stops with Ctrl-C',
    async () => {
      expect(existsSync(join(clone, 'node_modules'))).toBe(false);
      const start = npm('start');
      await waitFor(() => start.output().includes('Afflux is up') || hasEnded(start.child), {
        deadlineMs: INSTALL_DEADLINE_MS,
        what: 'npm start',
      });
      expect(start.output()).toContain('Afflux is up');
      // As README goes on.
      const demo = npm('run', 'demo', '--', '--clicks', '0');
      await waitFor(() => hasEnded(demo.child), { deadlineMs: 60_000, what: 'npm run demo' });
      expect(demo.child.exitCode, demo.output()).toBe(0);
      const answer = await fetch(`http://localhost:${env.COLLECTOR_PORT}/c/ann-summer`, {
        redirect: 'manual',
      });
      expect(answer.status).toBe(302);
      accessSync(join(clone, 'dist/bin/afflux.js'), constants.X_OK);
      interrupt(start.child);
      await waitFor(() => hasEnded(start.child), { deadlineMs: 30_000, what: 'the stop' });
      expect(start.output()).toContain('everything is stopped');
    },
    INSTALL_DEADLINE_MS + 60_000,
  );

  it('passes its tests with npm test', async () => {
    // The whole suite is what is running now; one file of it shows that the command finds all it needs.
    const test = npm('test', '--', 'core/money.test');
    await waitFor(() => hasEnded(test.child), { deadlineMs: 120_000, what: 'npm test' });
    expect(test.output()).toMatch(/Test Files .*1 passed/);
    expect(test.child.exitCode).toBe(0);
  }, 150_000);
});

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** A user's own environment: without this run's test runner and without settings of Afflux. */
function ordinaryEnvironment(): Record<string, string> {
  const ours = readFileSync(join(projectRoot, '.env.example'), 'utf8').matchAll(/^#? ?([A-Z_]+)=/gm);
  const hidden = new Set(['NODE_ENV', 'TEST', ...[...ours].map((match) => match[1])]);
  const kept = Object.entries(process.env).filter(
    ([name]) => !hidden.has(name) && !/^(VITEST|npm_)/.test(name),
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, value ?? '']));
}

/** What a commit of the tree as it is would hold. */
function sourceFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: projectRoot,
    encoding: 'utf8',
  });
  return listed.split('\0').filter((file) => file !== '' && existsSync(join(projectRoot, file)));
}
