import { startLoop } from '../../core/service/loop.ts';
import { atMost, type BenchRow, type BenchTarget, round } from '../bench.ts';
import type { Platform, Target } from '../platform.ts';
import { rssMb } from '../process-usage.ts';
import { QUARTERS, visitors } from '../traffic/scenarios.ts';
import type { LoadFixture } from './fixture.ts';
import { watchFreshness } from './freshness.ts';
import { freshnessRow, freshnessTarget, seenRows, seenTargets } from './limits.ts';
import { reconcile } from './reconcile.ts';
import type { Load, Outcomes } from './scenarios.ts';

const LOOK_MS = 1_000;
/** ClickHouse fills its caches and NATS its stream, up to their limits; these two keep nothing. */
const STEADY: readonly Target[] = ['collector', 'loader'];
const WATCHED: readonly Target[] = [...STEADY, 'api', 'attribution', 'scheduler', 'nats', 'clickhouse'];
/**
 * Of the mean of the last quarter over the larger of the first two. While the heaps find their size they also shrink: the
 * collector was seen to go from 133 MB in the first quarter to 103 in the second and to stand at 122 from the third on, to
 * within 0.3 MB over the last three minutes.
 */
const MAX_GROWTH_PERCENT = 10;

/** Redirects for a long time, in quarters that must all be as good: latency, freshness and memory do not drift. */
export async function soak(
  { generator, platform, stores }: LoadFixture,
  { rate, seconds }: Load,
): Promise<Outcomes> {
  const rows: BenchRow[] = [];
  const targets: BenchTarget[] = [];
  const memory: Map<Target, number>[] = [];
  await generator.warmUp(rate);
  for (let number = 0; number < QUARTERS; number++) {
    const freshness = watchFreshness(stores.warehouse);
    const resident = watchMemory(platform);
    const seen = await generator.send({ rates: visitors(rate), seconds: seconds / QUARTERS, number });
    const behindMs = await freshness.stop();
    const means = await resident.stop();
    memory.push(means);
    const quarter = `quarter ${number + 1}`;
    const figures = [...seenRows(seen), freshnessRow(behindMs), { what: 'resident MB', ...rounded(means) }];
    rows.push(...figures.map((row) => ({ ...row, what: `${quarter}: ${row.what}` })));
    targets.push(
      ...[...seenTargets(seen), freshnessTarget(behindMs)].map((target) => ({
        ...target,
        name: `${quarter}: ${target.name}`,
      })),
    );
    process.stderr.write(`${quarter}: ${JSON.stringify(figures)}\n`);
  }
  const reconciled = await reconcile(stores, generator.received());
  const growth = STEADY.map((target) => {
    const [first = 0, second = 0, last = 0] = [0, 1, QUARTERS - 1].map((i) => memory[i]?.get(target));
    const percent = (last / Math.max(first, second) - 1) * 100;
    return atMost(`${target}: resident memory, first half to last quarter, %`, percent, MAX_GROWTH_PERCENT);
  });
  return {
    rows: [...rows, ...reconciled.rows],
    targets: [...targets, ...growth, ...reconciled.targets],
  };
}

/** Mean resident memory of each process, megabytes. */
function watchMemory(platform: Platform): { stop(): Promise<Map<Target, number>> } {
  const seen = new Map(WATCHED.map((target): [Target, number[]] => [target, []]));
  const loop = startLoop(async () => {
    for (const [target, values] of seen) {
      const pid = platform.pidOf(target);
      if (pid !== undefined) values.push(rssMb(pid));
    }
    return LOOK_MS;
  });
  return {
    async stop() {
      await loop.stop();
      return new Map([...seen].map(([target, values]) => [target, mean(values)]));
    },
  };
}

function rounded(means: ReadonlyMap<Target, number>): Record<string, number> {
  return Object.fromEntries([...means].map(([target, mb]) => [target, round(mb)]));
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
