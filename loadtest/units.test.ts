import { expect, it } from 'vitest';
import { atMostSelect1, inUnits } from './units.ts';

const unit = { name: 'SELECT 1', ms: 2 };

it('gives every time of a row as a multiple as well', () => {
  expect(inUnits({ what: 'a report', p50_ms: 3, 'p95 ms': 8, count: 5 }, unit)).toEqual({
    what: 'a report',
    p50_ms: 3,
    'p95 ms': 8,
    count: 5,
    'p50 ÷ SELECT 1': 1.5,
    'p95 ÷ SELECT 1': 4,
  });
  expect(inUnits({ what: 'report p95, ms', value: 30 }, unit)).toMatchObject({ '÷ SELECT 1': 15 });
  const count = { what: 'clicks stored', value: 7 };
  expect(inUnits(count, unit)).toEqual(count);
});

it('gives a goal in milliseconds and one in multiples: a slower machine misses the one and not the other', () => {
  expect(atMostSelect1('a report p95', 22, 15, unit)).toEqual([
    { name: 'a report p95 ms', value: 22, bound: '≤ 15', ok: false },
    { name: 'a report p95 ÷ SELECT 1', value: 11, bound: '≤ 13.64', ok: true },
  ]);
});
