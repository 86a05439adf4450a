import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { fromProject } from '../config/paths.ts';
import { SHUTDOWN_TIMEOUT_MS } from './service.ts';

const folder = mkdtempSync(join(tmpdir(), 'afflux-service-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('a process ends in time although native work of it never does', async () => {
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  // Opening a pipe that nothing writes keeps a thread of the pool for ever.
  const program = `
    import { open } from 'node:fs/promises';
    import { createLogger } from ${JSON.stringify(fromProject('dist/core/service/log.js'))};
    import { runProcess } from ${JSON.stringify(fromProject('dist/core/service/service.js'))};
    setInterval(() => undefined, 1_000);
    await runProcess(createLogger({ name: 'stuck', level: 'info' }), async () => ({
      stop: () => open(${JSON.stringify(pipe)}, 'r'),
    }));`;
  const stuck = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(stuck, 'exit');
  try {
    await new Promise<void>((resolve) => {
      let printed = '';
      stuck.stdout.on('data', (chunk: Buffer) => {
        printed += chunk;
        if (printed.includes('"ready"')) resolve();
      });
    });
    const startedAt = performance.now();
    stuck.kill('SIGTERM');
    expect(await ended).toEqual([null, 'SIGKILL']);
    expect(performance.now() - startedAt).toBeLessThan(SHUTDOWN_TIMEOUT_MS + 5_000);
  } finally {
    stuck.kill('SIGKILL');
  }
});
