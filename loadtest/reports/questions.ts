import { SELECT_1, type UnitTimes } from '../units.ts';

/** The questions to all stores, their answers, which must be the same, and the time they take. */

/** Counts by the hour, day or span they belong to. */
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
  clicksByDay: 'report of all campaigns, 7 days by day',
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
  /** The way there and back. */
  readonly select1: () => Promise<unknown>;
}

/** What every store has to answer, in the order of the keys that are asked. */
export type Expected = Readonly<Record<Question, readonly Answer[]>>;

/** What a question depends on beside the span, which is the same for all. */
const KEY_OF: Readonly<Record<Question, (asked: Asked) => string | number>> = {
  clicksByHour: ({ campaign }) => campaign,
  clicksByDay: () => 'all campaigns',
  clicksOfIp: ({ ip }) => ip,
  clicksOfFingerprint: ({ fingerprint }) => fingerprint,
};

/** So many different keys of a question. */
export function countKeys(question: Question, asked: readonly Asked[]): number {
  return new Set(asked.map(KEY_OF[question])).size;
}

/** Times of so many questions, milliseconds. */
export interface Timing {
  readonly timesMs: readonly number[];
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/** Every answer was compared with the expected one: those of the warm-up too. */
export interface ComparedTiming extends Timing {
  /** Different keys among them. */
  readonly keys: number;
}

const MAX_WARM_UP = 5;
const MAX_ASKED = 200;
const MIN_ASKED = 5;
/** A slow store gets fewer questions: a scan of 50 million rows takes longer than this. */
const WARM_UP_MS = 2_000;
const PATIENCE_MS = 8_000;

/** All answers of one store, each asked once. */
export async function answersOf(store: Store, asked: readonly Asked[]): Promise<Expected> {
  const answers = {} as Record<Question, Answer[]>;
  for (const question of QUESTION_NAMES) {
    answers[question] = [];
    for (const one of asked) answers[question].push(await store[question](one));
  }
  return answers;
}

/** Asks one question over and over. @throws Error when an answer is not the expected one. */
export async function time(
  store: Store,
  question: Question,
  { asked, expected }: { asked: readonly Asked[]; expected: Expected },
): Promise<ComparedTiming> {
  let next = 0;
  const timing = await timed(async () => {
    const i = next++ % asked.length;
    const askedAt = performance.now();
    const answer = await store[question](asked[i] as Asked);
    const tookMs = performance.now() - askedAt;
    requireSame(`${store.name}, ${QUESTIONS[question]}`, answer, expected[question][i]);
    return tookMs;
  });
  return { ...timing, keys: countKeys(question, asked.slice(0, next)) };
}

/** Of the store's `SELECT 1`. */
export async function timeSelect1(store: Store): Promise<UnitTimes> {
  const { timesMs } = await timed(async () => {
    const askedAt = performance.now();
    await store.select1();
    return performance.now() - askedAt;
  });
  return { name: SELECT_1, timesMs };
}

/** `ask` says how many milliseconds its answer took. */
async function timed(ask: () => Promise<number>): Promise<Timing> {
  const startedAt = performance.now();
  for (let i = 0; i < MAX_WARM_UP; i++) {
    await ask();
    if (performance.now() - startedAt > WARM_UP_MS) break;
  }
  const times: number[] = [];
  const warmAt = performance.now();
  while (times.length < MAX_ASKED) {
    if (times.length >= MIN_ASKED && performance.now() - warmAt > PATIENCE_MS) break;
    times.push(await ask());
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(share * (times.length - 1))] ?? Number.NaN;
  return { timesMs: times, p50Ms: at(0.5), p95Ms: at(0.95) };
}

function requireSame(what: string, answer: Answer, expected: Answer | undefined): void {
  const [here, there] = [JSON.stringify(answer), JSON.stringify(expected)];
  if (here !== there) throw new Error(`${what}: the answer is ${here}, and ours ${there}`);
}
