import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { MAX_WAITING } from '../traffic/limits.ts';

/** What became of one request. */
export type Outcome = 'good' | 'wrong' | 'unanswered';

/** What became of all requests of one kind. */
export interface Answers {
  readonly counts: Readonly<Record<Outcome, number>>;
  /** From the moment a request was due until it was answered, microseconds: a stall counts for all it held up. */
  readonly latencyUs: RecordableHistogram;
  /** `dueAt` by the clock of `performance.now()`. */
  record(dueAt: number, outcome: Outcome): void;
}

/** What became of all arrivals. */
export interface Arrivals {
  readonly sent: number;
  /** Not sent, because too many were still waiting for their answers. */
  readonly dropped: number;
  /**
   * From the moment an arrival was due until it was sent, microseconds: what the generator itself was late by. While
   * this is small, the latencies are the platform's.
   */
  readonly latenessUs: RecordableHistogram;
}

const TICK_MS = 1;

export function createAnswers(): Answers {
  const counts = { good: 0, wrong: 0, unanswered: 0 };
  const latencyUs = createHistogram();
  return {
    counts,
    latencyUs,
    record(dueAt, outcome) {
      counts[outcome]++;
      recordSince(latencyUs, dueAt);
    },
  };
}

/**
 * Lets requests arrive at a steady rate, whether or not the answers keep up: the n-th is due n / rate after the start.
 * Resolves when all of them are answered; `send` has a time limit of its own.
 * @throws Error when a `send` does, once all that are under way have come to their end.
 */
export async function sendAtRate(options: {
  perSecond: number;
  seconds: number;
  send: (n: number, dueAt: number) => Promise<void>;
}): Promise<Arrivals> {
  const { perSecond, seconds, send } = options;
  const latenessUs = createHistogram();
  let sent = 0;
  let dropped = 0;
  let waiting = 0;
  let failure: Error | undefined;

  function arrive(n: number, dueAt: number): void {
    if (waiting >= MAX_WAITING) {
      dropped++;
      return;
    }
    recordSince(latenessUs, dueAt);
    sent++;
    waiting++;
    void send(n, dueAt)
      .catch((cause: unknown) => {
        failure ??= new Error(`arrival ${n} failed`, { cause });
      })
      .finally(() => waiting--);
  }

  const planned = Math.round(perSecond * seconds);
  const startedAt = performance.now();
  for (let next = 0; next < planned && !failure; ) {
    for (;;) {
      const dueAt = startedAt + (next * 1_000) / perSecond;
      if (next >= planned || dueAt > performance.now()) break;
      arrive(next++, dueAt);
    }
    await delay(TICK_MS);
  }
  while (waiting > 0) await delay(TICK_MS);
  if (failure) throw failure;
  return { sent, dropped, latenessUs };
}

function recordSince(histogram: RecordableHistogram, sinceMs: number): void {
  histogram.record(Math.max(1, Math.round((performance.now() - sinceMs) * 1_000)));
}

/** A percentile in milliseconds. */
export function percentileMs(histogram: RecordableHistogram, percentile: number): number {
  return histogram.percentile(percentile) / 1_000;
}
