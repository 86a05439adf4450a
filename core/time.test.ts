import { expect, it } from 'vitest';
import { addMonths, canonicalTimeZone } from './time.ts';

it.each([
  ['europe/vienna', 'Europe/Vienna'],
  ['EUROPE/VIENNA', 'Europe/Vienna'],
  ['utc', 'UTC'],
  ['gmt', 'UTC'],
  ['Etc/GMT+5', 'Etc/GMT+5'],
  ['US/Pacific-New', 'America/Los_Angeles'],
])('the time zone %s is %s', (name, canonical) => {
  expect(canonicalTimeZone(name)).toBe(canonical);
});

it.each(['', 'Mars/Phobos', '+02:00', '-01', 'Factory', 'UTC\0', 'Europe/Vienna; drop', 'CET CEST'])(
  '"%s" is no time zone',
  (name) => {
    expect(canonicalTimeZone(name)).toBeUndefined();
  },
);

it.each([
  ['2026-01-31T10:00:00.000Z', 1, '2026-02-28T10:00:00.000Z'],
  ['2028-01-31T23:59:59.999Z', 1, '2028-02-29T23:59:59.999Z'],
  ['2026-01-31T10:00:00.000Z', 2, '2026-03-31T10:00:00.000Z'],
  ['2026-11-30T00:00:00.000Z', 3, '2027-02-28T00:00:00.000Z'],
  ['2026-11-29T08:30:00.000Z', 12, '2027-11-29T08:30:00.000Z'],
  ['2024-02-29T08:30:00.000Z', 12, '2025-02-28T08:30:00.000Z'],
])('%s and %i months are %s', (time, months, later) => {
  expect(addMonths(new Date(time), months).toISOString()).toBe(later);
});
