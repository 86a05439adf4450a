import {
  type ClickToOrder,
  readClickToOrder,
  readUsualTimes,
  type TimesQuestion,
  type UsualTimes,
} from '../../../ledger/conversions/order-history.ts';
import type { Database } from '../../../ledger/postgres/db.ts';
import { withinTime } from './within-time.ts';

/**
 * How long after their click the latest orders of an affiliate came, and those of a program. An answer holds for a quarter
 * of an hour of orders, and is kept in memory so that a busy affiliate's orders are read once in that time.
 */

/** The older orders are decided: what is read is kept beyond the call. */
interface Settled {
  readonly isSettled: boolean;
}

export type OwnTimesQuestion = TimesQuestion & Settled;

export interface UsualTimesQuestion extends Settled {
  readonly programId: number;
  readonly until: Date;
}

export interface ClickTimes {
  /** Of an affiliate in a campaign. One answer a question in the same order; all undefined: they could not be read in the time. */
  own(ledger: Database, questions: readonly OwnTimesQuestion[]): Promise<(ClickToOrder | undefined)[]>;
  /** Of a program's affiliates by campaign; the same. */
  usual(
    ledger: Database,
    questions: readonly UsualTimesQuestion[],
  ): Promise<(readonly UsualTimes[] | undefined)[]>;
}

/** Affiliates in campaigns that are kept: some 3 MB. */
const MAX_KEPT_OWN = 10_000;
/** Programs that are kept; each has up to 1,000 rows. */
const MAX_KEPT_USUAL = 50;
/** What one reading may take: a batch is delayed by no more. */
const LIMIT_MS = 1_000;

export function createClickTimes(): ClickTimes {
  const own = createKept<OwnTimesQuestion, ClickToOrder>(MAX_KEPT_OWN);
  const usual = createKept<UsualTimesQuestion, readonly UsualTimes[]>(MAX_KEPT_USUAL);
  return {
    own: (ledger, questions) =>
      own.read(questions, (asked) => withinTime(ledger, LIMIT_MS, (tx) => readClickToOrder(tx, asked))),
    usual: (ledger, questions) =>
      usual.read(questions, (asked) => withinTime(ledger, LIMIT_MS, (tx) => readUsualTimes(tx, asked))),
  };
}

/** Answers by their question, those that were used last; of questions that are not settled none is kept. */
function createKept<Question extends Settled, Answer>(maxKept: number) {
  const kept = new Map<string, Answer>();
  return {
    async read(
      questions: readonly Question[],
      ask: (questions: readonly Question[]) => Promise<readonly Answer[] | undefined>,
    ): Promise<(Answer | undefined)[]> {
      const keys = questions.map(({ isSettled: _, ...question }) => JSON.stringify(question));
      const known = keys.map((key, i) => (questions[i]?.isSettled ? kept.get(key) : undefined));
      const missing = questions.filter((_, i) => known[i] === undefined);
      const read = missing.length === 0 ? [] : await ask(missing);
      const answers = new Map(missing.map((question, i) => [question, read?.[i]]));
      return questions.map((question, i) => {
        const answer = known[i] ?? answers.get(question);
        const key = keys[i];
        if (answer === undefined || key === undefined || !question.isSettled) return answer;
        kept.delete(key);
        kept.set(key, answer);
        for (const oldest of kept.keys()) {
          if (kept.size <= maxKept) break;
          kept.delete(oldest);
        }
        return answer;
      });
    },
  };
}
