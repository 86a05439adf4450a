import { minutesOfDay, type RoutingSchedule, WEEKDAYS } from '../../core/links/routing.ts';
import { DAY_MS, MINUTE_MS } from '../../core/time.ts';

/** Every zone changes its clock on a quarter of an hour, so an offset holds for one. */
const QUARTER_MS = 15 * MINUTE_MS;
/** 1970-01-01 was a Thursday. */
const EPOCH_WEEKDAY = 4;
const DAYS_PER_WEEK = 7;

/** Milliseconds to add to a UTC time to get the local time of a zone. */
type ZoneOffset = (nowMs: number) => number;

/** The offset of a zone, computed by Intl once in a quarter of an hour: Intl is too slow for every click. */
function createZoneOffset(timezone: string): ZoneOffset {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  });
  let lastQuarter = -1;
  let offsetMs = 0;
  return (nowMs) => {
    const quarter = Math.floor(nowMs / QUARTER_MS);
    if (quarter !== lastQuarter) {
      lastQuarter = quarter;
      const parts = new Map(
        format.formatToParts(quarter * QUARTER_MS).map(({ type, value }) => [type, Number(value)]),
      );
      const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
      const local = Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'));
      offsetMs = local - quarter * QUARTER_MS;
    }
    return offsetMs;
  };
}

/** Whether a schedule is open at a time. */
export type IsOpen = (nowMs: number) => boolean;

/** Compiles schedules; those of one time zone share its clock. */
export function createScheduleCompiler(): (schedule: RoutingSchedule) => IsOpen {
  const zones = new Map<string, ZoneOffset>();
  return (schedule) => {
    const zone = zones.get(schedule.timezone) ?? createZoneOffset(schedule.timezone);
    zones.set(schedule.timezone, zone);
    const days = WEEKDAYS.map((day) => schedule.days.includes(day));
    const from = minutesOfDay(schedule.from);
    const to = minutesOfDay(schedule.to);
    return (nowMs) => {
      const local = nowMs + zone(nowMs);
      const day = Math.floor(local / DAY_MS);
      const minute = Math.floor((local - day * DAY_MS) / MINUTE_MS);
      const weekday = (day + EPOCH_WEEKDAY) % DAYS_PER_WEEK;
      if (from < to) return days[weekday] === true && minute >= from && minute < to;
      // Over midnight: the hours after it belong to the day on which the schedule opened.
      const opened = minute >= from ? weekday : (weekday + DAYS_PER_WEEK - 1) % DAYS_PER_WEEK;
      return days[opened] === true && (minute >= from || minute < to);
    };
  };
}
