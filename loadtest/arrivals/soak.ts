import { startLoop } from '../../core/service/loop.ts';
import { atMost, type BenchRow, type BenchTarget, round } from '../bench.ts';
import type { Platform, Target } from '../platform.ts';
import { rssMb } from '../process-usage.ts';
import type { LoadFixture } from './fixture.ts';
import { watchFreshness } from './freshness.ts';
import { arrivalRow, arrivalTargets, freshnessRow, freshnessTarget, REDIRECT_LIMITS } from './limits.ts';
import { sendAtRate } from './rate.ts';
import { reconcileClicks } from './reconcile.ts';
import { type Load, type Outcomes, warmUp } from './scenarios.ts';

const QUARTERS = 4;
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
export async function soak(fixture: LoadFixture, { rate, seconds }: Load): Promise<Outcomes> {
  const rows: BenchRow[] = [];
  const targets: BenchTarget[] = [];
  const memory: Map<Target, number>[] = [];
  await warmUp(fixture, rate);
  for (let quarter = 1; quarter <= QUARTERS; quarter++) {
    const freshness = watchFreshness(fixture.warehouse);
    const resident = watchMemory(fixture.platform);
    const clicks = await sendAtRate({
      perSecond: rate,
      seconds: seconds / QUARTERS,
      send: () => fixture.visitors.click(),
    });
    const behindMs = await freshness.stop();
    const means = await resident.stop();
    memory.push(means);
    const what = `quarter ${quarter}: redirects`;
    const { what: fresh, ...behind } = freshnessRow(behindMs);
    rows.push(arrivalRow(what, rate, clicks), { what: `quarter ${quarter}: ${fresh}`, ...behind });
    rows.push({ what: `quarter ${quarter}: resident MB`, ...rounded(means) });
    targets.push(...arrivalTargets(what, clicks, REDIRECT_LIMITS));
    targets.push({
      ...freshnessTarget(behindMs),
      name: `quarter ${quarter}: ${freshnessTarget(behindMs).name}`,
    });
    process.stderr.write(`${JSON.stringify(rows.slice(-3))}\n`);
  }
  await fixture.drain();
  const reconciled = await reconcileClicks(fixture.warehouse, fixture.visitors.received());
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
