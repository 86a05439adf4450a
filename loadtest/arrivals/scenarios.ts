import type { BenchRow, BenchTarget } from '../bench.ts';
import { type ArrivalRate, mixedArrivals, visitors } from '../traffic/scenarios.ts';
import type { LoadFixture } from './fixture.ts';
import { watchFreshness } from './freshness.ts';
import { freshnessRow, freshnessTarget, seenRows, seenTargets } from './limits.ts';
import { reconcile } from './reconcile.ts';

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

/** Redirects at a steady rate. */
export async function redirects(fixture: LoadFixture, load: Load): Promise<Outcomes> {
  return await steady(fixture, load, visitors(load.rate));
}

/** Clicks, and beside them orders, an operator's reports and a partner in the portal. */
export async function mixed(fixture: LoadFixture, load: Load): Promise<Outcomes> {
  await fixture.generator.openAccess();
  return await steady(fixture, load, mixedArrivals(load.rate));
}

async function steady(
  { generator, stores }: LoadFixture,
  { rate, seconds }: Load,
  rates: readonly ArrivalRate[],
): Promise<Outcomes> {
  await generator.warmUp(rate);
  const freshness = watchFreshness(stores.warehouse);
  const seen = await generator.send({ rates, seconds });
  const behindMs = await freshness.stop();
  const reconciled = await reconcile(stores, generator.received());
  return {
    rows: [...seenRows(seen), freshnessRow(behindMs), ...reconciled.rows],
    targets: [...seenTargets(seen), freshnessTarget(behindMs), ...reconciled.targets],
  };
}
