import { expect, test } from 'vitest';
import { FAULT_KINDS, makeSchedule } from './schedule.ts';

test('a seed gives one schedule, another seed another', () => {
  const options = { durationMs: 300_000, kinds: FAULT_KINDS };
  expect(makeSchedule({ seed: 7, ...options })).toEqual(makeSchedule({ seed: 7, ...options }));
  expect(makeSchedule({ seed: 7, ...options })).not.toEqual(makeSchedule({ seed: 8, ...options }));
});

test.each([20_000, 120_000, 1_200_000])('every kind has its turn within %i ms', (durationMs) => {
  for (let seed = 0; seed < 20; seed++) {
    const schedule = makeSchedule({ seed, durationMs, kinds: FAULT_KINDS });
    expect(new Set(schedule.map(({ kind }) => kind))).toEqual(new Set(FAULT_KINDS));
    for (const { atMs } of schedule) {
      expect(atMs).toBeGreaterThanOrEqual(0);
      expect(atMs).toBeLessThan(durationMs);
    }
    expect(schedule).toEqual(schedule.toSorted((a, b) => a.atMs - b.atMs));
  }
});
