import type { Readiness } from '../../core/service/service.ts';
import { MINUTE_MS } from '../../core/time.ts';

/** Half of what the alert loader-lag allows; the watermark moves every second as a rule. */
export const STANDSTILL_MS = MINUTE_MS;

/**
 * Whether the watermark moves: a loader that loads nothing because a collector's clicks do not arrive fails at nothing,
 * and looks healthy.
 */
export function createStandstill(now: () => number) {
  let seen = 0;
  let movedAtMs = now();
  return {
    /**
     * @param completeToMs the watermark as it was published last, Unix milliseconds; 0 before that.
     * @param waiting messages of the stream that are not loaded yet.
     */
    readiness(completeToMs: number, waiting: number): Readiness {
      if (completeToMs !== seen) movedAtMs = now();
      seen = completeToMs;
      if (now() - movedAtMs < STANDSTILL_MS) return { ready: true };
      const reason =
        completeToMs === 0
          ? `complete_to was not published for ${STANDSTILL_MS / 1_000} s`
          : `complete_to stands at ${new Date(completeToMs).toISOString()} for more than ${STANDSTILL_MS / 1_000} s`;
      const cause =
        waiting > 0
          ? `${waiting} messages are still to be loaded`
          : 'a collector holds clicks that NATS does not take, or has ended without its last ones';
      return { ready: false, reason: `${reason}: ${cause}` };
    },
  };
}
