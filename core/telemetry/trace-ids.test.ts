import { expect, test } from 'vitest';
import { CLICKS_PER_TRACE, createTraceIds } from './trace-ids.ts';

const ids = createTraceIds('https://go.example');

test('are the same in every process of an installation, and others in others', () => {
  const other = createTraceIds('https://go.example');
  expect(other.order(7n)).toEqual(ids.order(7n));
  expect(createTraceIds('https://go.other').order(7n)).not.toEqual(ids.order(7n));
});

test('differ by what they are about', () => {
  const all = [
    ids.order(1n),
    ids.order(2n),
    ids.payout(1n),
    ids.block('0:1-2@x'),
    ids.batch(1, 0, 1),
    ids.batch(1, CLICKS_PER_TRACE, 1),
    // Not the same digits in another order.
    ids.batch(11, 0, 1),
    ids.click(2, 0),
  ].flat();
  expect(new Set(all.map(({ traceId }) => traceId)).size).toBe(all.length);
  expect(new Set(all.map(({ spanId }) => spanId)).size).toBe(all.length);
  for (const { traceId, spanId } of all)
    expect(`${traceId} ${spanId}`).toMatch(/^[0-9a-f]{32} [0-9a-f]{16}$/);
});

test.each([
  [0, 1],
  [1_000, 24],
  [1_000, 25],
  [CLICKS_PER_TRACE - 1, 2],
  [5_000, 4_096],
])(
  'each click of a batch from %i on of %i is in a trace that has a span of the batch, and no trace is without',
  (firstSeq, rows) => {
    const batch = ids.batch(3, firstSeq, rows);
    const clicks = Array.from({ length: rows }, (_, i) => ids.click(3, firstSeq + i));
    expect(new Set(batch.map(({ traceId }) => traceId))).toEqual(
      new Set(clicks.map(({ traceId }) => traceId)),
    );
    expect(ids.loading(3, firstSeq, rows).map(({ traceId }) => traceId)).toEqual(
      batch.map(({ traceId }) => traceId),
    );
  },
);
