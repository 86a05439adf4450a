import type { RecordableHistogram } from 'node:perf_hooks';
import { atMost, type BenchRow, type BenchTarget, none, round } from '../bench.ts';
import { LIMITS } from '../traffic/limits.ts';
import type { Seen } from './generator.ts';
import { percentileMs } from './rate.ts';

/** A fifth of the redirects' limit: a generator that is later than that tells of itself, not of the platform. */
const LATENESS_P99_MS = 10;
const FRESHNESS_P99_MS = 3_000;

/** One row for each kind of request, and one for the generator itself. */
export function seenRows({ seconds, arrivals, answers }: Seen): BenchRow[] {
  const rows = [...answers].map(([what, { counts, latencyUs }]): BenchRow => {
    const count = counts.good + counts.wrong + counts.unanswered;
    return {
      what,
      count,
      per_s: round(count / seconds),
      p50_ms: round(percentileMs(latencyUs, 50)),
      p99_ms: round(percentileMs(latencyUs, 99)),
      p999_ms: round(percentileMs(latencyUs, 99.9)),
    };
  });
  const late = { what: 'arrivals, sent late by', count: arrivals.sent };
  return [...rows, { ...late, p99_ms: round(percentileMs(arrivals.latenessUs, 99)) }];
}

export function seenTargets({ arrivals, answers }: Seen): BenchTarget[] {
  return [
    ...[...answers].flatMap(([what, { counts, latencyUs }]) => [
      atMost(`${what} p99 ms`, percentileMs(latencyUs, 99), LIMITS[what].p99Ms),
      atMost(`${what} p99.9 ms`, percentileMs(latencyUs, 99.9), LIMITS[what].p999Ms),
      none(`${what} answered wrongly`, counts.wrong),
      none(`${what} without an answer`, counts.unanswered),
    ]),
    atMost('arrivals sent late by, p99 ms', percentileMs(arrivals.latenessUs, 99), LATENESS_P99_MS),
    none('arrivals not sent', arrivals.dropped),
  ];
}

export function freshnessRow(behindMs: RecordableHistogram): BenchRow {
  return {
    what: 'complete_to behind the clock',
    p50_ms: round(behindMs.percentile(50)),
    p99_ms: round(behindMs.percentile(99)),
  };
}

export function freshnessTarget(behindMs: RecordableHistogram): BenchTarget {
  return atMost('complete_to behind the clock, p99 ms', behindMs.percentile(99), FRESHNESS_P99_MS);
}
