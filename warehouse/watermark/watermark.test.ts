import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CLOCK_SKEW_BOUND_MS, forgettable, heldFrom, REMEMBERED_LEASES } from './watermark.ts';

const leases = fc.array(
  fc.record({ state: fc.constantFrom('open' as const, 'closed' as const), heldFromMs: fc.nat(10_000) }),
);

it('is never later than the oldest click that an open lease holds, nor than a lease yet to come', () => {
  fc.assert(
    fc.property(leases, fc.nat(10_000), (all, nowMs) => {
      const time = heldFrom(all, nowMs);
      expect(time).toBeLessThanOrEqual(nowMs - CLOCK_SKEW_BOUND_MS);
      for (const lease of all.filter((one) => one.state === 'open')) {
        expect(time).toBeLessThanOrEqual(lease.heldFromMs);
      }
    }),
  );
});

it('closed leases hold nothing back', () => {
  expect(heldFrom([{ state: 'closed', heldFromMs: 5 }], 10_000)).toBe(10_000 - CLOCK_SKEW_BOUND_MS);
});

it('open leases and the fifty that ended last are remembered', () => {
  const closed = Array.from({ length: REMEMBERED_LEASES + 2 }, (_, node) => ({
    state: node % 2 === 0 ? ('closed' as const) : ('crashed' as const),
    node,
    updatedAtMs: 5_000 - node,
  }));
  const open = { state: 'open' as const, node: 2_000, updatedAtMs: 0 };
  expect(forgettable([open, ...closed])).toEqual(closed.slice(REMEMBERED_LEASES));
  expect(forgettable(closed.slice(0, REMEMBERED_LEASES))).toEqual([]);
});
