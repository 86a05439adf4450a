/** Unix milliseconds that never step back, whatever the machine's clock does. */
export interface Clock {
  now(): number;
}

/**
 * `floorMs` is a time already reported as complete: no click is older, even if this machine's clock is behind.
 */
export function createMonotonicClock(floorMs: number, systemNow: () => number = Date.now): Clock {
  let last = floorMs;
  return {
    now() {
      const now = systemNow();
      if (now > last) last = now;
      return last;
    },
  };
}
