import { ApiProblem } from '../data/api.ts';
import { t } from './t.ts';

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
          title: t('problemText.the_server_is_unreachable'),
          advice: t('problemText.check_your_connection_then_try'),
        }
      : {
          title: t('problemText.error_on_this_page'),
          advice: t('problemText.reload_the_page_if_the', { error: String(error) }),
        };
  }
  const { problem, retryAfter } = error;
  const requestId = problem.request_id;
  const detail = sentence(problem.detail);
  switch (problem.code) {
    case 'rate_limited':
      return {
        title: t('problemText.too_many_requests'),
        advice: t('problemText.wait_value_s_then_try', { value: Math.max(1, retryAfter) }),
      };
    case 'locked_out':
      return { title: t('problemText.too_many_wrong_passwords_or'), advice: detail };
    case 'unavailable':
      return {
        title: t('problemText.a_backing_store_is_unavailable'),
        advice: t('problemText.nothing_was_lost_try_again'),
        requestId,
      };
    case 'internal':
      return {
        title: t('problemText.server_error'),
        advice: t('problemText.try_again_if_the_error'),
        requestId,
      };
    case 'precondition_failed':
      return {
        title: t('problemText.changed_by_another_user'),
        advice: t('problemText.reload_the_page_then_repeat'),
      };
    case 'forbidden':
      return {
        title: t('problemText.not_permitted_for_your_role'),
        advice: t('problemText.ask_an_operator_of_the'),
      };
    case 'enrolment_required':
      return {
        title: t('common.set_up_a_second_factor'),
        advice: t('problemText.your_program_requires_it_now'),
      };
    case 'reauthentication_required':
      return {
        title: t('problemText.your_password_was_not_confirmed'),
        advice: t('problemText.nothing_was_changed_repeat_the'),
      };
    case 'not_found':
      return { title: t('problemText.not_found'), advice: t('problemText.check_the_address_or_go') };
    case 'invalid_input':
      return { title: t('problemText.invalid_input'), advice: detail };
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
