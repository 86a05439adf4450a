import fc from 'fast-check';
import { expect, test } from 'vitest';
import { askEach } from './ask-each.ts';

interface Item {
  readonly question: number | undefined;
}

const anyItems = fc
  .array(fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }))
  .map((questions) => questions.map((question): Item => ({ question })));

test('every item gets the answer to its own question, with gaps and equal questions among them', async () => {
  await fc.assert(
    fc.asyncProperty(anyItems, async (items) => {
      const calls: (readonly number[])[] = [];
      const answers = await askEach(
        items,
        ({ question }) => question,
        async (questions) => {
          calls.push(questions);
          return questions.map((question) => `answer to ${question}`);
        },
      );
      const asking = items.filter(({ question }) => question !== undefined);
      expect(new Set(answers.keys())).toEqual(new Set(asking));
      for (const item of asking) expect(answers.get(item)).toBe(`answer to ${item.question}`);
      expect(calls).toEqual(asking.length === 0 ? [] : [asking.map(({ question }) => question)]);
    }),
  );
});

test('a missing answer is an error, not a shift of the others', async () => {
  const items = [{ question: 1 }, { question: 2 }];
  const ask = async (questions: readonly number[]) => questions.slice(1);
  await expect(askEach(items, ({ question }) => question, ask)).rejects.toThrow(
    'every question has one answer',
  );
});
