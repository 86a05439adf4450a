import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { projectRoot } from '../core/paths.ts';
import { freePort } from '../engines/engine.ts';
import { waitFor } from './support/engines.ts';

/** Dependencies are installed anew: half a gigabyte, from the package manager's cache or the network. */
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
    env = {
      PATH: process.env.PATH ?? '',
      HOME: process.env.HOME ?? '',
      NATS_SERVER: inject('natsServer').binary,
    };
    for (const name of ['COLLECTOR', 'API', 'LOADER', 'ATTRIBUTION', 'POSTGRES', 'CLICKHOUSE', 'NATS']) {
      env[`${name}_PORT`] = String(await freePort());
    }
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGINT');
    for (const child of children) {
      await waitFor(() => child.exitCode !== null, { deadlineMs: 30_000, what: 'the end of npm' });
    }
    rmSync(dirname(clone), { recursive: true, force: true });
  });

  /** Runs npm in the clone from another folder, and collects what it says. */
  function npm(...args: string[]): { child: ChildProcess; output: () => string } {
    const child = spawn('npm', ['--prefix', clone, ...args], { env, cwd: tmpdir() });
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
      await waitFor(() => start.output().includes('Afflux is up') || start.child.exitCode !== null, {
        deadlineMs: INSTALL_DEADLINE_MS,
        what: 'npm start',
      });
      expect(start.output()).toContain('Afflux is up');
      const answer = await fetch(`http://localhost:${env.COLLECTOR_PORT}/c/ann-summer`, {
        redirect: 'manual',
      });
      expect(answer.status).toBe(302);
      start.child.kill('SIGINT');
      await waitFor(() => start.child.exitCode !== null, { deadlineMs: 30_000, what: 'the stop' });
      expect(start.output()).toContain('everything is stopped');
    },
    INSTALL_DEADLINE_MS + 60_000,
  );

  it('passes its tests with npm test', async () => {
    // The whole suite is what is running now; one file of it shows that the command finds all it needs.
    const test = npm('test', '--', 'core/money');
    await waitFor(() => test.child.exitCode !== null, { deadlineMs: 120_000, what: 'npm test' });
    expect(test.output()).toMatch(/Test Files .*1 passed/);
    expect(test.child.exitCode).toBe(0);
  }, 150_000);
});

/** What a commit of the tree as it is would hold. */
function sourceFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: projectRoot,
    encoding: 'utf8',
  });
  return listed.split('\0').filter((file) => file !== '' && existsSync(join(projectRoot, file)));
}
