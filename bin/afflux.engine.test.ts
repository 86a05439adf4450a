import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { freePort, spawnEngine } from '../engines/engine.ts';
import { waitFor } from '../test/support/engines.ts';

function afflux(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return spawnSync(process.execPath, [fromProject('dist/bin/afflux.js'), ...args], {
    cwd: tmpdir(),
    env: { PATH: process.env.PATH, ...env },
    encoding: 'utf8',
  });
}

test('afflux --version prints the version of package.json, from any folder', () => {
  const { version } = JSON.parse(readFileSync(fromProject('package.json'), 'utf8')) as { version: string };
  const { stdout, status } = afflux(['--version']);
  expect({ stdout, status }).toEqual({ stdout: `${version}\n`, status: 0 });
  expect(readFileSync(fromProject('CHANGELOG.md'), 'utf8')).toContain(`\n## ${version}\n`);
});

test('a refusal of NATS is one sentence', async () => {
  const home = mkdtempSync(join(tmpdir(), 'afflux-command-'));
  const port = await freePort();
  let output = '';
  const server = await spawnEngine({
    name: 'nats',
    command: inject('natsServer').binary,
    args: ['--addr', '127.0.0.1', '--port', String(port)],
    onLine: (line) => (output += line),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 10_000,
    forceSignal: 'SIGKILL',
  });
  try {
    await waitFor(() => output.includes('Server is ready'), {
      deadlineMs: 10_000,
      what: 'a server without JetStream',
    });
    const env = { AFFLUX_HOME: home, NATS_URL: `nats://127.0.0.1:${port}` };
    const { stderr, status } = afflux(['deadletters', 'list'], env);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^afflux: a request to NATS failed: jetstream is not enabled.*\n$/);
  } finally {
    await server.stop();
    rmSync(home, { recursive: true, force: true });
  }
});
