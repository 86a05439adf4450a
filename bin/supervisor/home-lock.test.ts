import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
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
