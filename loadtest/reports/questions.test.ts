import { expect, it } from 'vitest';
import { DAY_MS, WEEK_MS } from '../../core/time.ts';
import { DAYS } from '../warehouse/generate.ts';
import { fingerprintOf, spansUpTo } from './conventional-rows.ts';
import { type Answer, type Asked, answersOf, countKeys, type Store, time } from './questions.ts';

const ASKED = [1, 2, 3].map(
  (campaign): Asked => ({
    campaign,
    from: new Date(0),
    to: new Date(WEEK_MS),
    ip: '198.51.100.7',
    fingerprint: '255',
    now: new Date(WEEK_MS),
  }),
);

function storeOf(clicksByHour: (asked: Asked) => Answer): Store {
  const none = (): Promise<Answer> => Promise.resolve([]);
  return {
    name: 'a store',
    bytes: 1,
    select1: none,
    clicksByHour: (asked) => Promise.resolve(clicksByHour(asked)),
    clicksByDay: none,
    clicksOfIp: none,
    clicksOfFingerprint: none,
  };
}

it('asks every key, and takes no answer that differs from the expected one', async () => {
  const right = (asked: Asked): Answer => [['1970-01-01T00:00:00Z', asked.campaign]];
  const expected = await answersOf(storeOf(right), ASKED);
  expect(expected.clicksByHour.map(([hour]) => hour?.[1])).toEqual([1, 2, 3]);

  const { timesMs, keys, p50Ms, p95Ms } = await time(storeOf(right), 'clicksByHour', {
    asked: ASKED,
    expected,
  });
  expect(timesMs).toHaveLength(200);
  expect(keys).toBe(3);
  expect(p95Ms).toBeGreaterThanOrEqual(p50Ms);

  const wrong = storeOf((asked) => (asked.campaign === 3 ? [] : right(asked)));
  await expect(time(wrong, 'clicksByHour', { asked: ASKED, expected })).rejects.toThrow(
    'a store, campaign report, 7 days by hour: the answer is [], and ours [["1970-01-01T00:00:00Z",3]]',
  );
});

it('counts keys by what a question depends on', () => {
  expect(countKeys('clicksByHour', ASKED)).toBe(3);
  expect(countKeys('clicksByHour', ASKED.slice(0, 2))).toBe(2);
  expect(countKeys('clicksByDay', ASKED)).toBe(1);
  expect(countKeys('clicksOfIp', ASKED)).toBe(1);
});

it.for([DAY_MS, WEEK_MS])('divides the days of the clicks into spans of %i ms, without gaps', (lengthMs) => {
  const endMs = Date.UTC(2026, 10, 27, 13, 45);
  const spans = spansUpTo(endMs, lengthMs);
  expect(spans[0]?.from.getTime()).toBeLessThanOrEqual(endMs - DAYS * DAY_MS);
  expect(spans.at(-1)?.to.getTime()).toBeGreaterThan(endMs);
  for (const { from, to } of spans) expect(to.getTime() - from.getTime()).toBe(lengthMs);
  expect(spans.slice(1).map(({ from }) => from)).toEqual(spans.slice(0, -1).map(({ to }) => to));
});

it('writes a fingerprint as the conventional design keeps it', () => {
  expect(fingerprintOf('255')).toBe('00000000000000ff00000000000000ff');
});
