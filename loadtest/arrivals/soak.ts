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
/** Of the mean of the last quarter over the second's: in the first one the heaps find their size. */
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
    const [second = 0, last = 0] = [memory[1]?.get(target), memory.at(-1)?.get(target)];
    const percent = (last / second - 1) * 100;
    return atMost(`${target}: resident memory, second quarter to last, %`, percent, MAX_GROWTH_PERCENT);
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
