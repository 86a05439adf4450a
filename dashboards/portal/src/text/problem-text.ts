import { ApiProblem } from '../data/api.ts';

/** An error and the next step for the user. */
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
          title: 'The server is unreachable',
          advice: 'Check your connection, then try again. Nothing was lost.',
        }
      : {
          title: 'Error on this page',
          advice: `Reload the page. If the error persists, report: ${String(error)}`,
        };
  }
  const { problem, retryAfter } = error;
  const requestId = problem.request_id;
  const detail = sentence(problem.detail);
  switch (problem.code) {
    case 'rate_limited':
      return { title: 'Too many requests', advice: `Wait ${Math.max(1, retryAfter)} s, then try again.` };
    case 'locked_out':
      return { title: 'Too many wrong passwords or codes', advice: detail };
    case 'unavailable':
      return {
        title: 'A backing store is unavailable',
        advice: 'Nothing was lost. Try again in a moment.',
        requestId,
      };
    case 'internal':
      return {
        title: 'Server error',
        advice: 'Try again. If the error persists, send this number to support:',
        requestId,
      };
    case 'precondition_failed':
      return {
        title: 'Changed by another user',
        advice: 'Reload the page, then repeat your change.',
      };
    case 'forbidden':
      return {
        title: 'Not permitted for your role',
        advice: 'Ask an operator of the program.',
      };
    case 'enrolment_required':
      return { title: 'Set up a second factor', advice: 'Your program requires it now. Reload the page.' };
    case 'reauthentication_required':
      return {
        title: 'Your password was not confirmed',
        advice: 'Nothing was changed. Repeat the action, then enter your password.',
      };
    case 'not_found':
      return { title: 'Not found', advice: 'Check the address, or go back to the list.' };
    case 'invalid_input':
      return { title: 'Invalid input', advice: detail };
    default:
      return { title: problem.title, advice: detail };
  }
}

/** Messages by the field's name in the API. */
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
