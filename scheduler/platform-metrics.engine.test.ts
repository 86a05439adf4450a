import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createMetrics, type Running } from '../core/service/service.ts';
import { HOUR_S, MINUTE_MS } from '../core/time.ts';
import { postponeConversions } from '../ledger/conversions/conversion-claims.ts';
import { recordConversion } from '../ledger/conversions/conversions.ts';
import { waitFor } from '../test/support/engines.ts';
import { createParties, creditOrder, freshLedger, type TestLedger } from '../test/support/ledger.ts';
import { freshWarehouse, quietLog } from '../test/support/warehouse.ts';
import { startPlatformMetrics } from './platform-metrics.ts';

let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
beforeAll(async () => {
  [books, warehouse] = await Promise.all([freshLedger({ max: 2 }), freshWarehouse()]);
});
afterAll(async () => {
  await Promise.all([books?.close(), warehouse?.drop()]);
});

/** The first reading of the gauge, by state. */
async function readUndecided(): Promise<Record<string, number>> {
  const metrics = createMetrics();
  const { ledger } = books;
  const running: Running = startPlatformMetrics({
    ledger,
    warehouse,
    home: tmpdir(),
    metrics,
    log: quietLog,
  });
  try {
    const values = await waitFor(
      async () => {
        const metric = await metrics.getSingleMetric('afflux_orders_undecided_seconds')?.get();
        return metric?.values.length ? metric.values : undefined;
      },
      { deadlineMs: 10_000, what: 'the first reading' },
    );
    return Object.fromEntries(values.map(({ labels, value }) => [String(labels.state), value]));
  } finally {
    await running.stop();
  }
}

test('the age of the oldest undecided order is that of all programs, by state', async () => {
  const { ledger, owner } = books;
  const [first, second] = [await createParties(ledger), await createParties(ledger)];
  await creditOrder(ledger, first, { orderId: 'decided', amountMinor: 10_000n });
  const ages = { decided: 5 * HOUR_S, young: 60, old: 3 * HOUR_S, waiting: 2 * HOUR_S };
  expect(await readUndecided()).toEqual({ received: 0, awaiting_click: 0 });
  for (const [parties, orderId] of [
    [first, 'young'],
    [second, 'old'],
    [second, 'waiting'],
  ] as const) {
    const { programId } = parties;
    const report = { programId, orderId, amountMinor: 10_000n, currency: 'EUR', source: 'api' as const };
    const { conversion } = await recordConversion(ledger, report);
    if (orderId !== 'waiting') continue;
    await postponeConversions(ledger, [{ conversion, nextAttemptAt: new Date(Date.now() + MINUTE_MS) }]);
  }
  for (const [orderId, seconds] of Object.entries(ages)) {
    await owner`
      update conversions set received_at = clock_timestamp() - make_interval(secs => ${seconds}::integer)
      where order_id = ${orderId}`;
  }
  const { received = 0, awaiting_click: awaiting = 0 } = await readUndecided();
  expect(received).toBeGreaterThanOrEqual(ages.old);
  expect(received).toBeLessThan(ages.old + 60);
  expect(awaiting).toBeGreaterThanOrEqual(ages.waiting);
  expect(awaiting).toBeLessThan(ages.waiting + 60);
});
