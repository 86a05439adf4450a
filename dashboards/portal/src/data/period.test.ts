import { expect, test } from 'vitest';
import { HOUR_MS } from '../../../../core/time.ts';
import { daysOf, lastDays } from './period.ts';

test('ranges are whole hours, begin with a day, and reach into the hour under way', () => {
  const { from, to } = lastDays(30);
  expect([Date.parse(from) % HOUR_MS, Date.parse(to) % HOUR_MS]).toEqual([0, 0]);
  expect(Date.parse(to)).toBeGreaterThan(Date.now());
  expect(Date.parse(to)).toBeLessThanOrEqual(Date.now() + HOUR_MS);
});

test('every day of a range is named once, in order, also where clocks are changed', () => {
  for (const days of [1, 7, 30, 400]) {
    const names = daysOf(lastDays(days));
    expect(names).toHaveLength(days);
    expect(names).toEqual([...new Set(names)].toSorted());
    expect(names.every((name) => /^\d{4}-\d\d-\d\d$/.test(name))).toBe(true);
  }
});
