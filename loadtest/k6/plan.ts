import type { ConstantArrivalRateScenario, Options, Threshold } from 'k6/options';
import { type Kind, LIMITS, MAX_WAITING } from '../traffic/limits.ts';
import { type ArrivalRate, kindsOf, visitors, WARM_UP_SECONDS } from '../traffic/scenarios.ts';
import { timeMetric } from './generator.ts';

/** Counters that a good run leaves at 0. */
export const FAULTS = ['wrong', 'unanswered', 'dropped_iterations'] as const;
/** Of a second's arrivals, so many wait at once where the platform answers within 100 ms. */
const VUS_A_RATE = 0.1;
const FEWEST_VUS = 4;
const SECOND_MS = 1_000;

/** The options of k6 that every script shares. */
export function optionsOf(run: {
  scenarios: Record<string, ConstantArrivalRateScenario>;
  thresholds: Record<string, Threshold[]>;
  rate: number;
}): Options {
  const [warmUp] = visitors(run.rate);
  return {
    discardResponseBodies: true,
    summaryTrendStats: ['med', 'p(99)', 'p(99.9)', 'max'],
    scenarios: {
      ...(warmUp && { warm_up: arrivals(warmUp, { exec: 'warmUp', startS: 0, seconds: WARM_UP_SECONDS }) }),
      ...run.scenarios,
    },
    thresholds: run.thresholds,
  };
}

/** A run of one part: every kind of arrival from the warm-up's end to the run's. */
export function steady(
  { rate, seconds }: { rate: number; seconds: number },
  rates: readonly ArrivalRate[],
): Options {
  return optionsOf({
    rate,
    scenarios: Object.fromEntries(
      rates.map((one) => [
        one.arrival,
        arrivals(one, { exec: one.arrival, startS: WARM_UP_SECONDS, seconds }),
      ]),
    ),
    thresholds: limitsOf(rates),
  });
}

/** Arrivals at a constant rate, whether or not the answers keep up; what no VU is free for is counted as dropped. */
export function arrivals(
  { count, inMs }: ArrivalRate,
  { exec, startS, seconds }: { exec: string; startS: number; seconds: number },
): ConstantArrivalRateScenario {
  const perSecond = (count * SECOND_MS) / inMs;
  return {
    executor: 'constant-arrival-rate',
    exec,
    rate: count,
    timeUnit: `${inMs / SECOND_MS}s`,
    startTime: `${startS}s`,
    duration: `${seconds}s`,
    preAllocatedVUs: Math.max(FEWEST_VUS, Math.ceil(perSecond * VUS_A_RATE)),
    maxVUs: MAX_WAITING,
  };
}

/** Every limit of the kinds of requests, and no fault; `of` is one scenario, by default all. */
export function limitsOf(rates: readonly ArrivalRate[], of?: string): Record<string, Threshold[]> {
  const limits: [string, Threshold[]][] = kindsOf(rates).map((kind: Kind) => [
    tagged(timeMetric(kind), of),
    [`p(99)<=${LIMITS[kind].p99Ms}`, `p(99.9)<=${LIMITS[kind].p999Ms}`],
  ]);
  const faults: [string, Threshold[]][] = FAULTS.map((name) => [tagged(name, of), ['count==0']]);
  return Object.fromEntries([...limits, ...faults]);
}

/** Thresholds that cannot fail: k6 keeps the values of one scenario only where a threshold asks for them. */
export function shown(metrics: readonly string[], of: string): Record<string, Threshold[]> {
  const always = (name: string): Threshold => (name.endsWith('_ms') ? 'max>=0' : 'count>=0');
  return Object.fromEntries(metrics.map((name) => [tagged(name, of), [always(name)]]));
}

/** The name of a metric of one scenario. */
export function tagged(metric: string, of: string | undefined): string {
  return of === undefined ? metric : `${metric}{scenario:${of}}`;
}
