import { translateError } from '../http/translate-error.ts';

/**
 * Work that gathers while a transaction is in flight, and goes together when it ends: under load one commit makes many
 * durable.
 */
export interface Batches<Entry, Answer> {
  submit(entry: Entry): Promise<Answer>;
}

/** Entries of one transaction: more would hold its locks for long and gain little. */
const MAX_BATCH = 200;

/**
 * Batches go one at a time: two at once are half as large, which cost 455 µs of CPU an order instead of 365, and gave 2,922
 * orders/s instead of 3,265 (32 connections of shops on two cores, four runs each in turns).
 */
export function createBatches<Entry, Answer>(options: {
  /** Answers in the order of the entries; undefined for one that must be repeated alone. */
  work: (entries: readonly Entry[]) => Promise<readonly (Answer | undefined)[]>;
  /** One that locks what others wait for goes alone. */
  isAlone: (entry: Entry) => boolean;
}): Batches<Entry, Answer> {
  const { work, isAlone } = options;
  interface Waiting {
    readonly entry: Entry;
    readonly resolve: (answer: Answer) => void;
    readonly reject: (error: unknown) => void;
  }
  const queue: Waiting[] = [];
  let isBusy = false;

  function pump(): void {
    if (isBusy || queue.length === 0) return;
    isBusy = true;
    void settle(queue.splice(0, MAX_BATCH)).finally(() => {
      isBusy = false;
      pump();
    });
  }

  async function settle(batch: readonly Waiting[]): Promise<void> {
    try {
      const answers = await work(batch.map(({ entry }) => entry));
      const again = batch.filter((one, i) => {
        const answer = answers[i];
        if (answer !== undefined) one.resolve(answer);
        return answer === undefined;
      });
      for (const one of again) void settle([one]);
    } catch (error) {
      // An entry that the database refuses must not fail the others.
      if (batch.length > 1 && translateError(error).code === 'internal') {
        await Promise.all(batch.map((one) => settle([one])));
      } else {
        for (const { reject } of batch) reject(error);
      }
    }
  }

  return {
    submit: (entry) =>
      new Promise((resolve, reject) => {
        const one = { entry, resolve, reject };
        if (isAlone(entry)) {
          void settle([one]);
        } else {
          queue.push(one);
          pump();
        }
      }),
  };
}
