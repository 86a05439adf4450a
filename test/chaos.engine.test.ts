import { expect, test } from 'vitest';
import { runChaos } from '../loadtest/chaos/run.ts';

/** More, by hand: AFFLUX_TEST_CHAOS_MINUTES=5 AFFLUX_TEST_CHAOS_SEED=2 npm test -- test/chaos */
const MINUTES = Number(process.env.AFFLUX_TEST_CHAOS_MINUTES ?? 0.5);
const SEED = Number(process.env.AFFLUX_TEST_CHAOS_SEED ?? 1);
/** Starting, recovering and comparing take their time whatever the load takes. */
const OVERHEAD_MS = 600_000;

test('the whole platform keeps its promises while its processes and engines fail', {
  timeout: MINUTES * 60_000 + OVERHEAD_MS,
}, async () => {
  const said: string[] = [];
  const result = await runChaos({ minutes: MINUTES, seed: SEED, say: (line) => said.push(line) });
  const { clicks, orders, money, notRecovered, auditFaults, strange } = result;
  expect(
    {
      clicks: [clicks.lost, clicks.duplicated, clicks.foreign, clicks.examples],
      orders: [orders.lost, orders.duplicated, orders.undecided, orders.wrong, orders.examples],
      money: [money.commissionDifferenceMinor, money.payoutDifferenceMinor, money.paymentsTwice],
      notRecovered,
      auditFaults,
      strange,
    },
    said.join('\n'),
  ).toEqual({
    clicks: [0, 0, 0, []],
    orders: [0, 0, 0, 0, []],
    money: [0n, 0n, 0],
    notRecovered: [],
    auditFaults: [],
    strange: [],
  });
  expect(result.ok).toBe(true);
  expect(clicks.received).toBeGreaterThan(0);
  expect(orders.accepted).toBeGreaterThan(0);
  expect(money.paidMinor).toBeGreaterThan(0n);
});
