import { expect, it } from 'vitest';
import { canonicalTimeZone } from './time.ts';

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
