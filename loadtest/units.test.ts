import { expect, it } from 'vitest';
import {
  atMostInUnits,
  type BenchUnit,
  inUnits,
  measureBetween,
  type UnitTimes,
  unitOf,
  unitRow,
} from './units.ts';

const unit: BenchUnit = { name: 'SELECT 1', ms: 2, p95Ms: 3, beforeMs: 2, afterMs: 2 };

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
  expect(atMostInUnits('a report p95', 22, 15, unit)).toEqual([
    { name: 'a report p95 ms', value: 22, bound: '≤ 15', ok: false },
    { name: 'a report p95 ÷ SELECT 1', value: 11, bound: '≤ 13.64', ok: true },
  ]);
});

it('sets no goal in a unit without a reference', () => {
  expect(atMostInUnits('postbacks p99', 7, 35, { ...unit, name: 'one INSERT', ms: 0.5 })[1]).toEqual({
    name: 'postbacks p99 ÷ one INSERT',
    value: 14,
    bound: '≤ 50',
    ok: true,
  });
  expect(() => atMostInUnits('redirects p99', 7, 35, { ...unit, name: 'bare uWebSockets.js' })).toThrow(
    'no goal is set in bare uWebSockets.js',
  );
});

it('times units before and after the work, and takes the median of both', async () => {
  const happened: string[] = [];
  const timer =
    (name: UnitTimes['name'], ...times: UnitTimes['timesMs'][]) =>
    async (): Promise<UnitTimes> => {
      happened.push(name);
      return { name, timesMs: times.shift() ?? [] };
    };
  const { done, units } = await measureBetween(
    [timer('SELECT 1', [1, 1, 2], [4, 4, 9]), timer('one INSERT', [5, 5, 5], [5, 5, 5])],
    async () => {
      happened.push('work');
      return 7;
    },
  );
  expect(happened).toEqual(['SELECT 1', 'one INSERT', 'work', 'SELECT 1', 'one INSERT']);
  expect(done).toBe(7);
  expect(units).toEqual([
    { name: 'SELECT 1', ms: 4, p95Ms: 9, beforeMs: 1, afterMs: 4 },
    { name: 'one INSERT', ms: 5, p95Ms: 5, beforeMs: 5, afterMs: 5 },
  ]);
});

it('shows the spread of a unit', () => {
  const times = (timesMs: number[]): UnitTimes => ({ name: 'SELECT 1', timesMs });
  expect(unitRow(unitOf(times([1, 1, 1]), times([3, 3, 3])))).toEqual({
    what: 'SELECT 1, the unit',
    p50_ms: 3,
    p95_ms: 3,
    before_ms: 1,
    after_ms: 3,
  });
});
