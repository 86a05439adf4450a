import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-run-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(source: string, ...args: string[]) {
  const file = join(folder, 'script.mjs');
  writeFileSync(file, source);
  const child = spawn(process.execPath, [fromProject('scripts/run.mjs'), file, ...args]);
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (bytes) => {
      said[name] += bytes;
    });
  }
  return { child, file, said, ended: once(child, 'close') };
}

test('runs a script with its arguments, and exits with its code', async () => {
  const { ended, file, said } = run(
    'console.log(JSON.stringify(process.argv.slice(1))); process.exitCode = 7;',
    ...['--clicks', '10', 'a b'],
  );
  expect(await ended).toEqual([7, null]);
  expect(JSON.parse(said.stdout)).toEqual([file, '--clicks', '10', 'a b']);
});

test('exits with 1 and the error that a script throws', async () => {
  const { ended, said } = run("throw new Error('broken')");
  expect(await ended).toEqual([1, null]);
  expect(said.stderr).toContain('Error: broken');
});

test.each(['SIGINT', 'SIGTERM'] as const)('a script hears %s once and ends when it likes', async (signal) => {
  const { child, ended, said } = run(`
    let heard = 0;
    process.on('${signal}', () => { heard++; setTimeout(() => { console.log('heard', heard); process.exit(3); }, 200); });
    setInterval(() => undefined, 1000);
    console.log('ready');`);
  await once(child.stdout, 'data');
  child.kill(signal);
  expect(await ended).toEqual([3, null]);
  expect(said.stdout).toBe('ready\nheard 1\n');
});

test('a script that does not listen dies of the signal', async () => {
  const { child, ended } = run("setInterval(() => undefined, 1000); console.log('ready');");
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  expect(await ended).toEqual([null, 'SIGTERM']);
});
