import { ApiProblem } from '../data/api.ts';

/** What went wrong, in words that say what to do next. */
export interface ProblemText {
  readonly title: string;
  readonly advice: string;
  /** Leads support to the log. */
  readonly requestId?: string;
}

export function describeProblem(error: unknown): ProblemText {
  if (!(error instanceof ApiProblem)) {
    const offline = error instanceof TypeError;
    return offline
      ? {
          title: 'The server cannot be reached',
          advice: 'Check your connection, then try again. Nothing was lost.',
        }
      : { title: 'This page failed', advice: `Reload it. If it happens again, tell us: ${String(error)}` };
  }
  const { problem, retryAfter } = error;
  const requestId = problem.request_id;
  const detail = sentence(problem.detail);
  switch (problem.code) {
    case 'rate_limited':
      return { title: 'Too many requests', advice: `Wait ${Math.max(1, retryAfter)} s, then try again.` };
    case 'locked_out':
      return { title: 'Too many wrong passwords', advice: detail };
    case 'unavailable':
      return {
        title: 'A backing store is unavailable',
        advice: 'Nothing was lost. Try again in a moment.',
        requestId,
      };
    case 'internal':
      return {
        title: 'The server failed',
        advice: 'Try again. If it happens again, give support this number:',
        requestId,
      };
    case 'precondition_failed':
      return {
        title: 'Somebody changed this in the meantime',
        advice: 'Reload the page to see it, then make your change again.',
      };
    case 'forbidden':
      return {
        title: 'Your role may not do this',
        advice: 'Ask an operator of the program to do it for you.',
      };
    case 'not_found':
      return { title: 'This does not exist', advice: 'Check the address, or go back to the list.' };
    case 'invalid_input':
      return { title: 'Please correct this', advice: detail };
    default:
      return { title: problem.title, advice: detail };
  }
}

/** What is wrong with each field, by the field's name in the API. */
export function fieldProblems(error: unknown): Readonly<Record<string, string>> {
  if (!(error instanceof ApiProblem)) return {};
  const { errors, field, detail } = error.problem;
  if (errors) return Object.fromEntries(errors.map((one) => [one.field, one.message]));
  return field === undefined ? {} : { [field]: detail };
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
