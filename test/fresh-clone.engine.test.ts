import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { fromProject, projectRoot } from '../core/config/paths.ts';

/** `.ci/run` shows the same with its own checkout; here everything is installed a second time, which takes minutes. */
const WANTED = process.env.AFFLUX_TEST_FRESH_CLONE === '1';
const INSTALL_DEADLINE_MS = 420_000;

/** The first commands of the README, in a copy of the tree that has nothing installed. */
describe.runIf(WANTED)('a fresh clone', () => {
  let clone = '';
  let env: Record<string, string> = {};

  beforeAll(() => {
    clone = join(mkdtempSync(join(tmpdir(), 'afflux-clone-')), 'a fresh clone');
    for (const file of sourceFiles()) {
      mkdirSync(dirname(join(clone, file)), { recursive: true });
      copyFileSync(join(projectRoot, file), join(clone, file));
    }
    env = { ...ordinaryEnvironment(), NATS_SERVER: inject('natsServer').binary };
  });
  afterAll(() => {
    rmSync(dirname(clone), { recursive: true, force: true });
  });

  it('starts with npm start, redirects, and stops with Ctrl-C', { timeout: INSTALL_DEADLINE_MS }, () => {
    expect(existsSync(join(clone, 'node_modules'))).toBe(false);
    const { status, stderr } = spawnSync(process.execPath, [fromProject('scripts/first-start.mjs'), clone], {
      env,
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
  });

  it('passes its tests with npm test', { timeout: INSTALL_DEADLINE_MS }, () => {
    // The whole suite is what is running now; one file of it shows that the command finds all it needs.
    const command = ['--prefix', clone, 'test', '--', 'core/money.test'];
    const { status, stdout } = spawnSync('npm', command, { env, cwd: tmpdir(), encoding: 'utf8' });
    expect(stdout).toMatch(/Test Files .*1 passed/);
    expect(status).toBe(0);
  });
});

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
