import type { Logger } from '../../core/service/log.ts';
import { aheadMs, CLOCK_WARNING_MS, type ClockReading } from '../../core/time.ts';

/**
 * How far this machine's clock is from PostgreSQL's. Clicks carry the collector's time and orders the database's: the time
 * between them, caps and schedules are wrong by the difference.
 */
export interface ClockWatch {
  note(reading: ClockReading): void;
  /** At least so many milliseconds ahead of PostgreSQL; below 0: behind. */
  readonly offMs: number;
}

export function createClockWatch({ log }: { log: Logger }): ClockWatch {
  let offMs = 0;
  let isWarned = false;
  return {
    note(reading) {
      offMs = 0 - aheadMs(reading);
      const isOff = Math.abs(offMs) > CLOCK_WARNING_MS;
      if (isOff === isWarned) return;
      isWarned = isOff;
      const fields = { offSeconds: offMs / 1_000 };
      if (isOff)
        log.warn(fields, 'the clock of this machine differs from that of PostgreSQL: set both by NTP');
      else log.info(fields, 'the clock of this machine agrees with that of PostgreSQL again');
    },
    get offMs() {
      return offMs;
    },
  };
}
