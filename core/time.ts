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

/** A clock that differs by more than this is reported: figures and decisions of seconds depend on it. */
export const CLOCK_WARNING_MS = 1_000;

/** Another machine's clock, read between two moments of this one's; Unix milliseconds. */
export interface ClockReading {
  readonly askedAtMs: number;
  readonly serverMs: number;
  readonly answeredAtMs: number;
}

/**
 * How far the other clock is at least ahead of this one, milliseconds; below 0: behind. An answer that took long shows
 * nothing within its time.
 */
export function aheadMs({ askedAtMs, serverMs, answeredAtMs }: ClockReading): number {
  if (serverMs < askedAtMs) return serverMs - askedAtMs;
  return serverMs > answeredAtMs ? serverMs - answeredAtMs : 0;
}

export const HOUR_S = 3_600;
export const DAY_S = 24 * HOUR_S;

/** So many calendar months later, in UTC: a month after the 31st of January is the last day of February. */
export function addMonths(time: Date, months: number): Date {
  const later = new Date(time);
  later.setUTCDate(1);
  later.setUTCMonth(later.getUTCMonth() + months);
  const lastDay = new Date(Date.UTC(later.getUTCFullYear(), later.getUTCMonth() + 1, 0)).getUTCDate();
  later.setUTCDate(Math.min(time.getUTCDate(), lastDay));
  return later;
}

/** By the name in small letters: there are some 600. */
const canonicalNames = new Map<string, string>();

/**
 * The canonical name of a time zone given in any case, such as Europe/Vienna; undefined: it is none that every store knows.
 * Names are kept: finding one takes some 50 µs, and each report asks twice.
 */
export function canonicalTimeZone(name: string): string | undefined {
  const spelling = name.toLowerCase();
  const known = canonicalNames.get(spelling);
  if (known !== undefined) return known;
  const canonical = findTimeZone(name);
  if (canonical !== undefined) canonicalNames.set(spelling, canonical);
  return canonical;
}

function findTimeZone(name: string): string | undefined {
  // Offsets such as "+01:00" are zones to JavaScript, and none to the stores.
  if (!/^[A-Za-z][\w+/-]*$/.test(name)) return undefined;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}
