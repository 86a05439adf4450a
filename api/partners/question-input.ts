import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import type { Answer } from '../../ledger/partners/applications.ts';
import {
  MAX_ANSWER_LENGTHS,
  MAX_CHOICES,
  MAX_LABEL_LENGTH,
  MAX_QUESTIONS,
  QUESTION_KINDS,
  type Question,
} from '../../ledger/partners/sign-up.ts';
import { lines, text } from '../schemas/schemas.ts';

/** The questions of a sign-up page, and the answers to them. */

const label = text(MAX_LABEL_LENGTH);

export const questionView = z
  .object({
    label: z.string(),
    kind: z.enum(QUESTION_KINDS),
    required: z.boolean(),
    choices: z.array(z.string()).meta({ description: 'What can be chosen; empty for the other kinds.' }),
  })
  .meta({ id: 'SignUpQuestion' });

const question = z
  .strictObject({
    label,
    kind: z.enum(QUESTION_KINDS),
    required: z.boolean().default(true),
    choices: z.array(label).max(MAX_CHOICES).default([]),
  })
  .refine(({ kind, choices }) => (kind === 'choice') === choices.length > 0, {
    path: ['choices'],
    message: 'are for the kind choice, which needs at least one',
  });

export const questionsInput = z
  .array(question)
  .max(MAX_QUESTIONS)
  .refine((questions) => new Set(questions.map((one) => one.label)).size === questions.length, {
    message: 'must have different labels',
  });

/** As long as the longest kind allows; its own length is checked with the question. */
export const answersInput = z
  .array(z.strictObject({ label, answer: lines(MAX_ANSWER_LENGTHS.long) }))
  .max(MAX_QUESTIONS)
  .default([])
  .meta({ description: 'By the label of the question; a question that is not required may be left out.' });

/** The answers in the order of the questions. @throws InputError naming `answers`, or the place of a question in them. */
export function readAnswers(
  questions: readonly Question[],
  given: z.output<typeof answersInput>,
): readonly Answer[] {
  const unknown = given.find(({ label: named }) => questions.every((one) => one.label !== named));
  if (unknown) throw new InputError('answers', `there is no question "${unknown.label}"`);
  return questions.flatMap((asked, i) => {
    const field = `answers.${i}`;
    const answers = given.filter((one) => one.label === asked.label);
    if (answers.length > 1) throw new InputError(field, 'is given twice');
    const [answer] = answers;
    if (!answer && asked.required) throw new InputError(field, 'is required');
    return answer ? [{ label: asked.label, answer: checkedAnswer(asked, answer.answer, field) }] : [];
  });
}

function checkedAnswer({ kind, choices }: Question, answer: string, field: string): string {
  if (kind === 'choice') {
    if (!choices.includes(answer)) throw new InputError(field, 'must be one of the choices');
    return answer;
  }
  const max = MAX_ANSWER_LENGTHS[kind];
  if (answer.length > max) throw new InputError(field, `must not exceed ${max} characters`);
  if (kind === 'short' && answer.includes('\n')) throw new InputError(field, 'must be one line');
  return answer;
}
