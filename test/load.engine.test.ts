import { expect, test } from 'vitest';
import { withLoadFixture } from '../loadtest/arrivals/fixture.ts';
import { reconcile } from '../loadtest/arrivals/reconcile.ts';
import { mixed } from '../loadtest/arrivals/scenarios.ts';
import { soak } from '../loadtest/arrivals/soak.ts';

const RATE = 200;
const SECONDS = 4;
/** A steady load for so long; by default none. */
const SOAK_MINUTES = Number(process.env.AFFLUX_TEST_SOAK_MINUTES ?? 0);
const OVERHEAD_MS = 300_000;

test('clicks, postbacks, reports and portal reads at a steady rate: what was answered is what is stored', {
  timeout: OVERHEAD_MS,
}, async () => {
  await withLoadFixture(async (fixture) => {
    const { rows, targets } = await mixed(fixture, { rate: RATE, seconds: SECONDS });
    const exact = targets.filter(({ bound }) => bound === '= 0');
    // Wrong answers first: they tell why a figure is wrong.
    expect(fixture.problems).toEqual([]);
    expect(exact.filter(({ ok }) => !ok)).toEqual([]);
    const counts = new Map(rows.map(({ what, count }) => [what, count]));
    expect(counts.get('redirects')).toBe(RATE * SECONDS);
    expect(counts.get('clicks stored')).toBeGreaterThanOrEqual(RATE * SECONDS);
    expect(counts.get('orders recorded')).toBe((RATE * SECONDS) / 50);

    // A visitor who holds the redirect of another click than the one that is stored is noticed, and so is an order.
    const received = fixture.generator.received();
    const totals = {
      ...received.totals,
      click_id_sum_2: received.totals.click_id_sum_2 + 1,
      orders_minor: received.totals.orders_minor + 1,
    };
    const { targets: wrong } = await reconcile(fixture.stores, { ...received, totals });
    expect(wrong.filter(({ ok }) => !ok).map(({ name, value }) => [name, value])).toEqual([
      ['sums of click ids that differ from those received', 1],
      ['their amounts, minor units', -1],
    ]);
  });
});

test.runIf(SOAK_MINUTES > 0)(
  'a steady load for minutes: every redirect is stored, and memory does not grow',
  { timeout: SOAK_MINUTES * 60_000 + OVERHEAD_MS },
  async () => {
    await withLoadFixture(async (fixture) => {
      const { targets } = await soak(fixture, { rate: RATE, seconds: SOAK_MINUTES * 60 });
      // Latency and freshness are targets of `npm run load`, on a machine that does nothing else.
      const checked = targets.filter(
        ({ name, bound }) => bound === '= 0' || name.includes('resident memory'),
      );
      expect(fixture.problems).toEqual([]);
      expect(checked.filter(({ ok }) => !ok)).toEqual([]);
    });
  },
);
