import { assert } from '../../core/errors.ts';

/**
 * Asks a store one question for each item that has one, all in one call, and returns the answers by item. The stores
 * answer in the sequence of the questions; only here are answers joined to items by position.
 * @param questionOf Undefined: there is no question for this item, and the result has no answer of it.
 */
export async function askEach<Item extends object, Question, Answer>(
  items: readonly Item[],
  questionOf: (item: Item) => Question | undefined,
  ask: (questions: readonly Question[]) => Promise<readonly Answer[]>,
): Promise<Map<Item, Answer>> {
  const asked: Item[] = [];
  const questions: Question[] = [];
  for (const item of items) {
    const question = questionOf(item);
    if (question === undefined) continue;
    asked.push(item);
    questions.push(question);
  }
  if (questions.length === 0) return new Map();
  const answers = await ask(questions);
  assert(answers.length === questions.length, 'every question has one answer');
  return new Map(answers.map((answer, i) => [asked[i] as Item, answer]));
}
