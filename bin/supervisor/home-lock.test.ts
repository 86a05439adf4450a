import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { lockHome } from './home-lock.ts';

let home: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'afflux-home-'));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

test('is taken, given back, and taken again', () => {
  const lock = lockHome(home);
  expect(lock.wasCrash).toBe(false);
  lock.release();
  const again = lockHome(home);
  expect(again.wasCrash).toBe(false);
  again.release();
});

test.each(['', '0\n', 'x', '999999999\n', '1\n'])(
  'a lock left behind by a crash (%j) is taken over',
  (content) => {
    writeFileSync(join(home, 'afflux.pid'), content);
    const lock = lockHome(home);
    expect(lock.wasCrash).toBe(true);
    lock.release();
  },
);

test('a folder that cannot be written to is named', () => {
  expect(() => lockHome(join(home, 'missing'))).toThrow(/cannot write in .*missing.*AFFLUX_HOME/);
});

test('of several starters after a crash exactly one gets the folder', async () => {
  const starters = Array.from({ length: 5 }, () => startStarter());
  try {
    for (let round = 0; round < 200; round++) {
      const folder = mkdtempSync(join(home, 'round-'));
      writeFileSync(join(folder, 'afflux.pid'), '999999999\n');
      const results = await Promise.all(starters.map((starter) => starter.lock(folder)));
      expect([round, results.toSorted()]).toEqual([
        round,
        [...Array.from({ length: starters.length - 1 }, () => 'already_running'), 'locked'],
      ]);
    }
  } finally {
    for (const starter of starters) starter.stop();
  }
});

/** A process that takes the lock of a folder when it is asked to, as `afflux up` does. */
function startStarter(): { lock(folder: string): Promise<string>; stop(): void } {
  const lockModule = pathToFileURL(fromProject('dist/bin/supervisor/home-lock.js')).href;
  const script = `const { lockHome } = await import(${JSON.stringify(lockModule)});
    process.on('message', (home) => {
      try {
        lockHome(home);
        process.send('locked');
      } catch (error) {
        process.send(error.code ?? String(error));
      }
    });`;
  // A lock belongs to a process whose command line names the program.
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, 'afflux'], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return {
    async lock(folder) {
      child.send(folder);
      return String((await once(child, 'message'))[0]);
    },
    stop: () => child.kill(),
  };
}
