import { atLeast, type BenchRow, round } from '../bench.ts';
import type { Platform, Target } from '../platform.ts';
import { cpuMs } from '../process-usage.ts';
import { MAX_STEPS, nextRate, visitors } from '../traffic/scenarios.ts';
import type { LoadFixture } from './fixture.ts';
import { watchFreshness } from './freshness.ts';
import { freshnessTarget, seenRows, seenTargets } from './limits.ts';
import { drain, reconcile } from './reconcile.ts';
import type { Load, Outcomes } from './scenarios.ts';

/** Between the last rate that held and the first that did not: to 1.25^(1/4), six in a hundred. */
const REFINEMENTS = 2;
const WATCHED: readonly Target[] = ['collector', 'nats', 'loader', 'clickhouse'];

/**
 * Redirects at ever higher rates, `seconds` each, to the highest that holds every limit. Each step begins when the
 * one before is counted. The generator shares the machine, so the row of each step says who used it.
 */
export async function ramp(
  { generator, platform, stores }: LoadFixture,
  { rate: first, seconds }: Load,
): Promise<Outcomes> {
  let steps = 0;
  const rows: BenchRow[] = [];

  async function holds(rate: number): Promise<boolean> {
    const freshness = watchFreshness(stores.warehouse);
    const used = startUsage(platform);
    const seen = await generator.send({ rates: visitors(rate), seconds, number: steps++ });
    const cores = used();
    const behindMs = await freshness.stop();
    const missed = [...seenTargets(seen), freshnessTarget(behindMs)]
      .filter(({ ok }) => !ok)
      .map(({ name, value }) => `${name}: ${value}`);
    const [row, late] = seenRows(seen);
    rows.push({
      ...row,
      sent_late_p99_ms: late?.p99_ms ?? 0,
      ...cores,
      fresh_p99_ms: behindMs.percentile(99),
      missed: missed.join('; '),
    });
    process.stderr.write(`${rate}/s: ${missed.length === 0 ? 'holds' : missed.join('; ')}\n`);
    await drain(stores.warehouse);
    return missed.length === 0;
  }

  await generator.warmUp(first);
  let held = 0;
  let failed = first;
  while (steps < MAX_STEPS && (await holds(failed))) {
    held = failed;
    failed = nextRate(failed);
  }
  for (let i = 0; i < REFINEMENTS && held > 0; i++) {
    const between = Math.round(Math.sqrt(held * failed));
    if (await holds(between)) held = between;
    else failed = between;
  }
  const reconciled = await reconcile(stores, generator.received());
  return {
    rows: [...rows, { what: 'the highest rate that holds', per_s: held }, ...reconciled.rows],
    targets: [atLeast('the highest rate that holds, clicks/s', held, first), ...reconciled.targets],
  };
}

/** Cores that each process uses, from now until it is read. */
function startUsage(platform: Platform): () => Record<string, number> {
  const startedAt = performance.now();
  const pids = WATCHED.map((target) => platform.pidOf(target) ?? process.pid);
  const before = pids.map(cpuMs);
  const own = process.cpuUsage();
  return () => {
    const tookMs = performance.now() - startedAt;
    const cores = WATCHED.map((target, i): [string, number] => [
      `${target}_cores`,
      round((cpuMs(pids[i] ?? 0) - (before[i] ?? 0)) / tookMs),
    ]);
    const { user, system } = process.cpuUsage(own);
    return { ...Object.fromEntries(cores), generator_cores: round((user + system) / 1_000 / tookMs) };
  };
}
