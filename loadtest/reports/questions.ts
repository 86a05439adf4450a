/** The questions to both stores, and the time of their answers. */

/** Counts by the hour, or by the span, they belong to. */
export type Answer = readonly (readonly [string, number])[];

export interface Asked {
  readonly campaign: number;
  /** Seven whole days. */
  readonly from: Date;
  readonly to: Date;
  readonly ip: string;
  /** A decimal number. */
  readonly fingerprint: string;
  readonly now: Date;
}

export const QUESTIONS = {
  clicksByHour: 'campaign report, 7 days by hour',
  clicksOfIp: 'clicks of one ip: 5 minutes, 1 hour, 24 hours',
  clicksOfFingerprint: 'clicks of one fingerprint: 5 minutes, 1 hour, 24 hours',
} as const;
export type Question = keyof typeof QUESTIONS;
export const QUESTION_NAMES = Object.keys(QUESTIONS) as readonly Question[];

/** The same clicks in one of the designs. */
export interface Store extends Readonly<Record<Question, (asked: Asked) => Promise<Answer>>> {
  readonly name: string;
  /** On disk, everything that answers. */
  readonly bytes: number;
}

/** 50th and 95th percentile of so many questions, milliseconds. */
export interface Timing {
  readonly asked: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
}

const WARM_UP = 5;
const MAX_ASKED = 200;
const MIN_ASKED = 10;
/** A slow store gets fewer questions. */
const PATIENCE_MS = 8_000;

export async function time(ask: (i: number) => Promise<unknown>): Promise<Timing> {
  for (let i = 0; i < WARM_UP; i++) await ask(i);
  const times: number[] = [];
  const startedAt = performance.now();
  while (times.length < MAX_ASKED) {
    const askedAt = performance.now();
    if (times.length >= MIN_ASKED && askedAt - startedAt > PATIENCE_MS) break;
    await ask(times.length);
    times.push(performance.now() - askedAt);
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(share * (times.length - 1))] ?? Number.NaN;
  return { asked: times.length, p50Ms: at(0.5), p95Ms: at(0.95) };
}

/** @throws Error when two stores do not answer the same. */
export async function compare(stores: readonly Store[], asked: readonly Asked[]): Promise<void> {
  const [first, ...others] = stores;
  for (const question of QUESTION_NAMES) {
    for (const one of asked) {
      const expected = JSON.stringify(await first?.[question](one));
      for (const store of others) {
        const answer = JSON.stringify(await store[question](one));
        if (answer !== expected) {
          throw new Error(
            `${QUESTIONS[question]}: ${first?.name} says ${expected}, ${store.name} says ${answer}`,
          );
        }
      }
    }
  }
}
