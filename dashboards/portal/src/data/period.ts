import { HOUR_MS } from '../../../../core/time.ts';
import { TIME_ZONE } from '../text/format.ts';
import { t } from '../text/t.ts';

/** Ranges of reports: days of the reader's own zone, half-open. */

export interface Range {
  readonly from: string;
  readonly to: string;
}

/** Every range includes the current hour. */
function nextHour(): number {
  return Math.floor(Date.now() / HOUR_MS + 1) * HOUR_MS;
}

/** Today and the days before it. */
export function lastDays(days: number): Range {
  const from = new Date();
  from.setHours(0, 0, 0, 0);
  from.setDate(from.getDate() - days + 1);
  return {
    from: from.toISOString(),
    to: new Date(nextHour()).toISOString(),
  };
}

/** Days of a range in the reports' format (`2026-11-24`), including days without a row. */
export function daysOf({ from, to }: Range): string[] {
  // In zones whose midnight is not a whole hour the range begins within the previous day, which is not shown.
  const day = new Date(Date.parse(from) + HOUR_MS - 1);
  const days: string[] = [];
  for (; day.getTime() < Date.parse(to); day.setDate(day.getDate() + 1)) days.push(dayName(day));
  return days;
}

const parts = new Intl.DateTimeFormat('en-CA', { timeZone: TIME_ZONE, dateStyle: 'short' });

function dayName(day: Date): string {
  return parts.format(day);
}

/** Start of a named day in Unix seconds, for a chart's axis. */
export function secondsOfDay(name: string): number {
  return new Date(`${name}T00:00:00`).getTime() / 1_000;
}

/** A named day that there is. */
export function isDay(name: string): boolean {
  return /^20\d\d-\d\d-\d\d$/.test(name) && !Number.isNaN(Date.parse(`${name}T00:00:00`));
}

/** The beginning of a named day in the reader's zone. */
export function startOfDay(name: string): string {
  return new Date(`${name}T00:00:00`).toISOString();
}

export function dayAfter(name: string): string {
  const day = new Date(`${name}T12:00:00`);
  day.setDate(day.getDate() + 1);
  return dayName(day);
}

export const PERIODS = [
  { value: '1', text: t('period.today') },
  { value: '7', text: t('period.7_days') },
  { value: '30', text: t('period.30_days') },
  { value: '90', text: t('period.90_days') },
] as const;
