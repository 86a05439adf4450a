/** Spans of time, whose names say their unit, and time zones. */

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
export const WEEK_MS = 7 * DAY_MS;

/**
 * Clocks of shops, collectors and this machine differ, and many shops give the time of an order to the minute: times that
 * different machines say of one order are compared with this tolerance.
 */
export const CLOCK_TOLERANCE_MS = 5 * MINUTE_MS;

export const HOUR_S = 3_600;
export const DAY_S = 24 * HOUR_S;

/** The canonical name of a time zone given in any case, such as Europe/Vienna; undefined: it is none that every store knows. */
export function canonicalTimeZone(name: string): string | undefined {
  // Offsets such as "+01:00" are zones to JavaScript, and none to the stores.
  if (!/^[A-Za-z][\w+/-]*$/.test(name)) return undefined;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}
