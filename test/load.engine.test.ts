import { expect, test } from 'vitest';
import { onField } from '../loadtest/arrivals/field.ts';
import { reconcileClicks } from '../loadtest/arrivals/reconcile.ts';
import { mixed } from '../loadtest/arrivals/scenarios.ts';

const RATE = 200;
const SECONDS = 4;

test('clicks, postbacks, reports and portal reads at a steady rate: what was answered is what is stored', {
  timeout: 300_000,
}, async () => {
  await onField(async (field) => {
    const { rows, targets } = await mixed(field, { rate: RATE, seconds: SECONDS });
    const exact = targets.filter(({ bound }) => bound === '= 0');
    // First what was said, for it tells why a figure is wrong.
    expect(field.complaints).toEqual([]);
    expect(exact.filter(({ ok }) => !ok)).toEqual([]);
    const counts = new Map(rows.map(({ what, count }) => [what, count]));
    expect(counts.get('redirects')).toBe(RATE * SECONDS);
    expect(counts.get('clicks stored')).toBeGreaterThanOrEqual(RATE * SECONDS);
    expect(counts.get('orders recorded')).toBe((RATE * SECONDS) / 50);

    // A visitor who holds the redirect of another click than the one that is stored is noticed.
    const received = field.visitors.received();
    const leases = new Map(
      [...received.leases].map(([node, sums]) => [node, { ...sums, seqSum: sums.seqSum + 1 }]),
    );
    const { targets: wrong } = await reconcileClicks(field.warehouse, { ...received, leases });
    expect(wrong.filter(({ ok }) => !ok).map(({ name, value }) => [name, value])).toEqual([
      ['node leases whose clicks are others than those received', received.leases.size],
    ]);
  });
});
