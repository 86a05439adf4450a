import type { BenchRow, BenchTarget } from '../bench.ts';
import type { LoadFixture } from './fixture.ts';
import { watchFreshness } from './freshness.ts';
import {
  arrivalRow,
  arrivalTargets,
  freshnessRow,
  freshnessTarget,
  type Limits,
  REDIRECT_LIMITS,
} from './limits.ts';
import { type Arrivals, type Outcome, sendAtRate } from './rate.ts';
import { createReaders } from './readers.ts';
import { reconcileClicks, reconcileOrders } from './reconcile.ts';
import { createShop } from './shop.ts';

/** Rows and targets of one run; the run is good when every target is met. */
export interface Outcomes {
  readonly rows: readonly BenchRow[];
  readonly targets: readonly BenchTarget[];
}

export interface Load {
  /** Clicks a second. */
  readonly rate: number;
  readonly seconds: number;
}

/** Enough for V8 to compile what a click runs through, on both sides. */
const WARM_UP_SECONDS = 3;

/** Redirects at a steady rate. */
export async function redirects(fixture: LoadFixture, { rate, seconds }: Load): Promise<Outcomes> {
  const { visitors, warehouse } = fixture;
  await warmUp(fixture, rate);
  const freshness = watchFreshness(warehouse);
  const clicks = await sendAtRate({ perSecond: rate, seconds, send: () => visitors.click() });
  const behindMs = await freshness.stop();
  await fixture.drain();
  const reconciled = await reconcileClicks(warehouse, visitors.received());
  return {
    rows: [arrivalRow('redirects', rate, clicks), freshnessRow(behindMs), ...reconciled.rows],
    targets: [
      ...arrivalTargets('redirects', clicks, REDIRECT_LIMITS),
      freshnessTarget(behindMs),
      ...reconciled.targets,
    ],
  };
}

/** Of so many clicks one leads to an order: two in a hundred. */
const CLICKS_AN_ORDER = 50;

/** Clicks, and beside them orders by postback, an operator's reports and a partner in the portal. */
export async function mixed(fixture: LoadFixture, { rate, seconds }: Load): Promise<Outcomes> {
  const { visitors, warehouse, ledger, api, reportProblem, platform } = fixture;
  const { demo } = platform;
  const shop = createShop({ client: api, demo, recentClick: visitors.recentClick, reportProblem });
  const readers = await createReaders({ client: api, demo, reportProblem });
  await warmUp(fixture, rate);
  const kinds: readonly { what: string; perSecond: number; limits: Limits; send: Send }[] = [
    { what: 'redirects', perSecond: rate, limits: REDIRECT_LIMITS, send: () => visitors.click() },
    {
      what: 'postbacks',
      perSecond: rate / CLICKS_AN_ORDER,
      limits: { p99Ms: 100, p999Ms: 500 },
      send: shop.postback,
    },
    { what: 'reports', perSecond: 2, limits: { p99Ms: 500, p999Ms: 1_000 }, send: readers.report },
    { what: 'portal reads', perSecond: 10, limits: { p99Ms: 250, p999Ms: 500 }, send: readers.portal },
  ];
  const freshness = watchFreshness(warehouse);
  const arrivals = await Promise.all(
    kinds.map(({ perSecond, send }) => sendAtRate({ perSecond, seconds, send })),
  );
  const behindMs = await freshness.stop();
  await fixture.drain();
  await fixture.decide();
  const reconciled = [
    await reconcileClicks(warehouse, visitors.received()),
    await reconcileOrders(ledger, shop.accepted()),
  ];
  const each = <T>(make: (kind: (typeof kinds)[number], seen: Arrivals) => T[]): T[] =>
    kinds.flatMap((kind, i) => (arrivals[i] ? make(kind, arrivals[i]) : []));
  return {
    rows: [
      ...each(({ what, perSecond }, seen) => [arrivalRow(what, perSecond, seen)]),
      freshnessRow(behindMs),
      ...reconciled.flatMap(({ rows }) => rows),
    ],
    targets: [
      ...each(({ what, limits }, seen) => arrivalTargets(what, seen, limits)),
      freshnessTarget(behindMs),
      ...reconciled.flatMap(({ targets }) => targets),
    ],
  };
}

type Send = (n: number) => Promise<Outcome>;

/** Both sides are as they are after a while; these clicks are reconciled too. */
export async function warmUp({ visitors }: LoadFixture, rate: number): Promise<void> {
  await sendAtRate({ perSecond: rate, seconds: WARM_UP_SECONDS, send: () => visitors.click() });
}
