import { DAY_MS } from '../../../core/time.ts';
import { type CountQuestion, countOrders } from '../../../ledger/conversions/order-history.ts';
import type { Database } from '../../../ledger/postgres/db.ts';
import { withinTime } from './within-time.ts';

/**
 * How many orders an affiliate, a coupon or a program had on the days before and today. What is counted once is kept in
 * memory, so that only the orders since are read, whatever the days before brought.
 */

export interface DaysQuestion extends Pick<CountQuestion, 'of' | 'id'> {
  /** Beginning of the day (UTC), Unix ms. */
  readonly day: number;
  /** Days before it that are counted. */
  readonly days: number;
  /** Up to when orders count, Unix ms; a whole quarter hour. It may lie before `day`. */
  readonly until: number;
  /** Its orders are decided: what is counted is kept beyond the call. */
  readonly isSettled: boolean;
}

export interface Days {
  readonly today: number;
  /** The oldest first. */
  readonly before: readonly number[];
}

export interface OrderCounts {
  /**
   * One answer a question in the same order; undefined where it could not be counted in the time: what was counted so far is
   * kept, and the next one goes on from there.
   */
  read(ledger: Database, questions: readonly DaysQuestion[]): Promise<(Days | undefined)[]>;
}

/** Orders received in `[from, to)`, Unix ms, by quarter hours and, of the days before, by days. */
interface Kept {
  from: number;
  to: number;
  readonly counts: Map<number, number>;
}

/** Affiliates, coupons and programs that are kept: some 10 MB at the most. */
const MAX_KEPT = 10_000;
/** What one question counts at the most; a large program is read day by day. */
const STEP_DAYS = { affiliate: 7, coupon: 7, program: 1 } as const;
/** Steps of one question to the database. */
const STEPS_AT_ONCE = 16;
/** The steps from what is kept up to now are short. */
const LATEST_AT_ONCE = 200;
const BUDGET_MS = 1_000;
const DAY_SPAN_S = 86_400 as const;
const QUARTER_S = 900 as const;

export function createOrderCounts(): OrderCounts {
  const kept = new Map<string, Kept>();
  return {
    async read(ledger, questions) {
      const deadline = performance.now() + BUDGET_MS;
      const passing = new Map<string, Kept>();
      const asked = questions.map((question) => {
        const key = `${question.of} ${question.id} ${question.day}`;
        const place = question.isSettled ? kept : passing;
        const start = Math.min(question.day, question.until);
        const known = place.get(key) ?? { from: start, to: start, counts: new Map() };
        place.delete(key);
        place.set(key, known);
        return { question, known };
      });
      await extend(ledger, asked, deadline);
      for (const key of kept.keys()) {
        if (kept.size <= MAX_KEPT) break;
        kept.delete(key);
      }
      return asked.map(({ question, known }) => daysOf(question, known));
    },
  };
}

interface Asked {
  readonly question: DaysQuestion;
  readonly known: Kept;
}

interface Step {
  readonly known: Kept;
  readonly of: CountQuestion['of'];
  readonly id: number;
  readonly day: number;
  readonly from: number;
  readonly to: number;
  readonly span: CountQuestion['span'];
}

async function extend(ledger: Database, asked: readonly Asked[], deadline: number): Promise<void> {
  for (const kind of ['affiliate', 'coupon', 'program'] as const) {
    const own = asked.filter(({ question }) => question.of === kind);
    // Once for each that is kept: the farthest end, and the days before.
    const ends = new Map<Kept, Step>();
    const before = new Map<Kept, Step[]>();
    for (const { question, known } of own) {
      const { id, day, days, until } = question;
      const to = Math.max(until, ends.get(known)?.to ?? 0);
      if (to > known.to) ends.set(known, { known, of: kind, id, day, from: known.to, to, span: QUARTER_S });
      if (!before.has(known))
        before.set(known, stepsBack(known, { of: kind, id, day, from: day - days * DAY_MS }));
    }
    for (const [steps, size] of [
      [[...ends.values()], LATEST_AT_ONCE],
      [[...before.values()].flat(), STEPS_AT_ONCE],
    ] as const) {
      for (let i = 0; i < steps.length; i += size) {
        const leftMs = deadline - performance.now();
        if (leftMs <= 0 || !(await take(ledger, steps.slice(i, i + size), leftMs))) break;
      }
    }
  }
}

function stepsBack(known: Kept, step: Pick<Step, 'of' | 'id' | 'day' | 'from'>): Step[] {
  const steps: Step[] = [];
  for (let to = known.from; to > step.from; ) {
    const from = Math.max(step.from, to - STEP_DAYS[step.of] * DAY_MS);
    steps.push({ ...step, known, from, to, span: DAY_SPAN_S });
    to = from;
  }
  return steps;
}

/** Counts and keeps; false: not in the time. A batch beside this one may have kept the same meanwhile. */
async function take(ledger: Database, steps: readonly Step[], leftMs: number): Promise<boolean> {
  const questions = steps.map(({ of, id, span, from, to }) => ({
    ...{ of, id, span, from: new Date(from), to: new Date(to) },
  }));
  const answers = await withinTime(ledger, leftMs, (tx) => countOrders(tx, questions));
  if (!answers) return false;
  for (const [i, { known, day, from, to }] of steps.entries()) {
    if (from !== known.to && to !== known.from) continue;
    for (const { at, orders } of answers[i] ?? []) {
      const bucket = at < day ? Math.floor(at / DAY_MS) * DAY_MS : at;
      known.counts.set(bucket, (known.counts.get(bucket) ?? 0) + orders);
    }
    if (from === known.to) known.to = to;
    else known.from = from;
  }
  return true;
}

function daysOf({ day, days, until }: DaysQuestion, { from, to, counts }: Kept): Days | undefined {
  if (from > day - days * DAY_MS || to < until) return undefined;
  const before = Array.from({ length: days }, (_, i) => counts.get(day - (days - i) * DAY_MS) ?? 0);
  let today = 0;
  for (const [at, orders] of counts) if (at >= day && at < until) today += orders;
  return { today, before };
}
