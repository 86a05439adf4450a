import { expect, test } from 'vitest';
import { createStandstill, STANDSTILL_MS } from './standstill.ts';

test('is not ready once the watermark has stood for its bound, and is again when it moves', () => {
  let nowMs = 1_000;
  const { readiness } = createStandstill(() => nowMs);
  expect(readiness(0, 0)).toEqual({ ready: true });
  nowMs += STANDSTILL_MS - 1;
  expect(readiness(Date.UTC(2026, 0, 1), 0)).toEqual({ ready: true });
  nowMs += STANDSTILL_MS - 1;
  expect(readiness(Date.UTC(2026, 0, 1), 0)).toEqual({ ready: true });
  nowMs += 1;
  expect(readiness(Date.UTC(2026, 0, 1), 0)).toEqual({
    ready: false,
    reason: expect.stringContaining('complete_to stands at 2026-01-01T00:00:00.000Z for more than 60 s'),
  });
  expect(readiness(Date.UTC(2026, 0, 1) + 1, 0)).toEqual({ ready: true });
});

test('says that nothing was ever published', () => {
  let nowMs = 1_000;
  const { readiness } = createStandstill(() => nowMs);
  nowMs += STANDSTILL_MS;
  expect(readiness(0, 7)).toEqual({
    ready: false,
    reason: 'complete_to was not published for 60 s: 7 messages are still to be loaded',
  });
});
