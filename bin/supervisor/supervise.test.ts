import { EventEmitter, once } from 'node:events';
import { expect, test } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import type { ExitStatus } from '../../engines/engine.ts';
import { createRestartPauses, keepRunning, supervise, type Unit } from './supervise.ts';

const log = createLogger({ name: 'test', level: 'silent' });
const options = {
  name: 'program',
  log,
  signal: new AbortController().signal,
  force: new AbortController().signal,
};

/** A process that can be made to end, or to fail at its next start. */
class Program extends EventEmitter<{ end: [ExitStatus]; start: [] }> {
  starts = 0;
  failures = 0;

  async start(): Promise<Awaited<ReturnType<Unit['start']>>> {
    this.starts += 1;
    this.emit('start');
    if (this.failures-- > 0) throw new Error('does not start');
    const exited = once(this, 'end').then(([status]) => status as ExitStatus);
    return {
      pid: this.starts,
      exited,
      stop: async () => void this.emit('end', { code: 0, signal: null }),
    };
  }

  crash(): void {
    this.emit('end', { code: 1, signal: null });
  }
}

test('a process that ran well is started again at once, and pauses double while it fails', () => {
  let now = 0;
  const pauses = createRestartPauses(() => now);
  const failing = () => Array.from({ length: 9 }, () => pauses.next());
  const doubling = [0, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000];
  pauses.cameUp();
  expect(failing()).toEqual(doubling);
  pauses.cameUp();
  now += 9_999;
  expect(pauses.next()).toBe(10_000);
  pauses.cameUp();
  now += 10_000;
  expect(failing()).toEqual(doubling);
});

test('starts again after a crash, and after a start that fails', async () => {
  const program = new Program();
  const supervised = await supervise({ ...options, start: () => program.start() });
  program.failures = 1;
  program.crash();
  while (program.starts < 3) await once(program, 'start');
  await supervised.stop();
  expect(program.starts).toBe(3);
});

test('a stop ends it for good, also in a pause between two starts', async () => {
  const program = new Program();
  const supervised = await supervise({ ...options, start: () => program.start() });
  program.crash();
  await supervised.stop();
  expect([program.starts, supervised.pids]).toEqual([1, []]);
});

test('one whose first start has failed is started again until it is up', async () => {
  const program = new Program();
  program.failures = 1;
  const kept = keepRunning({ ...options, start: () => program.start() }, undefined);
  while (program.starts < 2) await once(program, 'start');
  await kept.stop();
  expect(program.starts).toBe(2);
});

test('the first start must succeed', async () => {
  const program = new Program();
  program.failures = 1;
  await expect(supervise({ ...options, start: () => program.start() })).rejects.toThrow('does not start');
  expect(program.starts).toBe(1);
});
