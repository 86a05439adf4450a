import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

/** What became of one arrival. */
export type Outcome = 'good' | 'wrong' | 'unanswered';

/** What became of all arrivals of one kind. */
export interface Arrivals {
  readonly sent: number;
  /** Not sent, because too many were still waiting for their answers. */
  readonly dropped: number;
  /** Answers that are not what they should be. */
  readonly wrong: number;
  readonly unanswered: number;
  /** From the moment an arrival was due until it was answered, microseconds: a stall counts for all it held up. */
  readonly latencyUs: RecordableHistogram;
  /**
   * From the moment an arrival was due until it was sent, microseconds: what the generator itself was late by. While
   * this is small, the latencies are the platform's.
   */
  readonly latenessUs: RecordableHistogram;
}

/** More open requests than a platform that keeps up ever has; beyond it further ones are not sent, but counted. */
const MAX_WAITING = 4_096;
const TICK_MS = 1;

/**
 * Lets requests arrive at a steady rate, whether or not the answers keep up: the n-th is due n / rate after the start.
 * Resolves when all of them are answered; `send` has a time limit of its own.
 * @throws Error when a `send` does, once all that are under way have come to their end.
 */
export async function sendAtRate(options: {
  perSecond: number;
  seconds: number;
  send: (n: number) => Promise<Outcome>;
}): Promise<Arrivals> {
  const { perSecond, seconds, send } = options;
  const latencyUs = createHistogram();
  const latenessUs = createHistogram();
  const counts = { good: 0, wrong: 0, unanswered: 0 };
  let sent = 0;
  let dropped = 0;
  let waiting = 0;
  let failure: Error | undefined;

  function arrive(n: number, dueAt: number): void {
    if (waiting >= MAX_WAITING) {
      dropped++;
      return;
    }
    record(latenessUs, dueAt);
    sent++;
    waiting++;
    void send(n)
      .then((outcome) => {
        record(latencyUs, dueAt);
        counts[outcome]++;
      })
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
  return { sent, dropped, wrong: counts.wrong, unanswered: counts.unanswered, latencyUs, latenessUs };
}

function record(histogram: RecordableHistogram, sinceMs: number): void {
  histogram.record(Math.max(1, Math.round((performance.now() - sinceMs) * 1_000)));
}

/** A percentile in milliseconds. */
export function percentileMs(histogram: RecordableHistogram, percentile: number): number {
  return histogram.percentile(percentile) / 1_000;
}
