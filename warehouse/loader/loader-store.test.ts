import { expect, it } from 'vitest';
import type { InsertIntent } from './block.ts';
import { createUnfinishedWatch, type LoaderState, MAX_UNFINISHED_MS } from './loader-store.ts';

const intent: InsertIntent = { token: '1:1-5@then', stream: 'then', lo: 1, hi: 5, rows: 5, skipped: [] };

/** A shard with an intent of NATS's time `storedAtMs`, and a checkpoint at `seq`. */
function state(revision: number, storedAtMs: number, seq = 0): LoaderState {
  return {
    intent: { value: intent, revision, storedAtMs },
    checkpoint: { value: { stream: 'then', seq, accepted: new Map() }, revision: 1, storedAtMs },
  };
}

function watchAt(given: { monotonicMs: number; wallMs: number }) {
  const clock = { ...given };
  const watch = createUnfinishedWatch({ monotonicMs: () => clock.monotonicMs, wallMs: () => clock.wallMs });
  return { clock, watch };
}

const UNFINISHED = expect.objectContaining({ code: 'shard_unfinished' });
const HOUR_MS = 3_600_000;

it.each([-HOUR_MS, 0, HOUR_MS])('an insert stands by the monotonic clock, NATS %d ms ahead', (aheadMs) => {
  const { clock, watch } = watchAt({ monotonicMs: 0, wallMs: HOUR_MS });
  // Finished: the shard was seen before the insert began.
  watch.check(1, state(1, HOUR_MS + aheadMs, 5));
  watch.check(1, state(2, HOUR_MS + aheadMs));
  clock.monotonicMs += MAX_UNFINISHED_MS;
  watch.check(1, state(2, HOUR_MS + aheadMs));
  clock.monotonicMs += 1;
  expect(() => watch.check(1, state(2, HOUR_MS + aheadMs))).toThrow(UNFINISHED);
  watch.check(1, state(2, HOUR_MS + aheadMs, 5));
  watch.check(1, state(3, HOUR_MS + aheadMs));
});

it('what was begun before the watch is as old as NATS says', () => {
  const { clock, watch } = watchAt({ monotonicMs: 0, wallMs: HOUR_MS });
  watch.check(1, state(1, HOUR_MS - MAX_UNFINISHED_MS));
  clock.monotonicMs += 1;
  expect(() => watch.check(1, state(1, HOUR_MS - MAX_UNFINISHED_MS))).toThrow(UNFINISHED);
  expect(() => watch.check(2, state(1, HOUR_MS - MAX_UNFINISHED_MS - 1))).toThrow(UNFINISHED);
});
