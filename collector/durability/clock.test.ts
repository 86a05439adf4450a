import { describe, expect, it } from 'vitest';
import { createMonotonicClock } from './clock.ts';

describe('the clock of clicks', () => {
  it('stands still while the machine’s steps back, and goes on with it', () => {
    const readings = [1_000, 1_001, 400, 900, 1_001, 1_002];
    const clock = createMonotonicClock(0, () => readings.shift() ?? 0);
    expect(Array.from({ length: 6 }, () => clock.now())).toEqual([1_000, 1_001, 1_001, 1_001, 1_001, 1_002]);
  });

  it('never tells a time before the one that was promised to be complete', () => {
    let machine = 5_000;
    const clock = createMonotonicClock(9_000, () => machine);
    expect(clock.now()).toBe(9_000);
    machine = 9_001;
    expect(clock.now()).toBe(9_001);
  });
});
