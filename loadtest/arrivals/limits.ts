import type { RecordableHistogram } from 'node:perf_hooks';
import { atMost, type BenchRow, type BenchTarget, round } from '../bench.ts';
import { type Arrivals, percentileMs } from './rate.ts';
import { none } from './reconcile.ts';

/** What the answers to one kind of request have to keep. */
export interface Limits {
  readonly p99Ms: number;
  readonly p999Ms: number;
}

/** The platform's goal under load; past 250 ms the collector gives up waiting for the stream and takes its spool. */
export const REDIRECT_LIMITS: Limits = { p99Ms: 50, p999Ms: 250 };
/** A fifth of the redirects' limit: a generator that is later than that tells of itself, not of the platform. */
const LATENESS_P99_MS = 10;
const FRESHNESS_P99_MS = 3_000;

export function arrivalRow(what: string, perSecond: number, arrivals: Arrivals): BenchRow {
  const { sent, latencyUs, latenessUs } = arrivals;
  return {
    what,
    count: sent,
    per_s: round(perSecond),
    p50_ms: round(percentileMs(latencyUs, 50)),
    p99_ms: round(percentileMs(latencyUs, 99)),
    p999_ms: round(percentileMs(latencyUs, 99.9)),
    sent_late_p99_ms: round(percentileMs(latenessUs, 99)),
  };
}

export function arrivalTargets(what: string, arrivals: Arrivals, { p99Ms, p999Ms }: Limits): BenchTarget[] {
  const { dropped, wrong, unanswered, latencyUs, latenessUs } = arrivals;
  return [
    atMost(`${what} p99 ms`, percentileMs(latencyUs, 99), p99Ms),
    atMost(`${what} p99.9 ms`, percentileMs(latencyUs, 99.9), p999Ms),
    atMost(`${what} sent late by, p99 ms`, percentileMs(latenessUs, 99), LATENESS_P99_MS),
    none(`${what} not sent`, dropped),
    none(`${what} answered wrongly`, wrong),
    none(`${what} without an answer`, unanswered),
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
