/**
 * What the API answers when it does not do what was asked: RFC 9457 problem details.
 * One table gives every code its status, title and log level; a code that is not in it does not exist.
 */

interface ProblemKind {
  readonly status: number;
  readonly title: string;
  /** Somebody else's mistake is `info`; `warn` wants an operator's look; `error` is ours. */
  readonly level: 'info' | 'warn' | 'error';
}

export const PROBLEMS = {
  malformed_request: { status: 400, title: 'The request is not well-formed HTTP', level: 'info' },
  malformed_body: { status: 400, title: 'The body does not parse', level: 'info' },
  unauthorized: { status: 401, title: 'A valid API key is needed', level: 'info' },
  forbidden: { status: 403, title: 'This API key may not do that', level: 'info' },
  csrf_token_missing: { status: 403, title: 'The token of the session is missing', level: 'info' },
  ip_not_allowed: { status: 403, title: 'Calls from this address are not allowed', level: 'info' },
  signature_required: { status: 403, title: 'The call must be signed', level: 'info' },
  route_not_found: { status: 404, title: 'There is no such route', level: 'info' },
  not_found: { status: 404, title: 'There is no such thing, or it is not yours to see', level: 'info' },
  method_not_allowed: { status: 405, title: 'The route does not answer this method', level: 'info' },
  request_timeout: { status: 408, title: 'The request took too long to arrive', level: 'info' },
  conflict: { status: 409, title: 'It is recorded already, with other content', level: 'info' },
  replayed: { status: 409, title: 'This signed call was received before', level: 'info' },
  wrong_state: { status: 409, title: 'It is not in a state in which this can be done', level: 'info' },
  precondition_failed: { status: 412, title: 'It is not as If-Match says', level: 'info' },
  body_too_large: { status: 413, title: 'The body is too large', level: 'info' },
  unsupported_media_type: { status: 415, title: 'The content type is not understood here', level: 'info' },
  invalid_input: { status: 422, title: 'A field is not valid', level: 'info' },
  idempotency_key_reused: {
    status: 422,
    title: 'The Idempotency-Key belongs to another request',
    level: 'info',
  },
  too_costly: { status: 422, title: 'The question takes more time or memory than one may', level: 'info' },
  rate_limited: { status: 429, title: 'More was asked for than is allowed at a time', level: 'info' },
  locked_out: { status: 429, title: 'Too many wrong passwords', level: 'info' },
  headers_too_large: { status: 431, title: 'The URL and headers are too large', level: 'info' },
  internal: { status: 500, title: 'The server failed', level: 'error' },
  unavailable: { status: 503, title: 'A database or NATS is away; try again', level: 'warn' },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof PROBLEMS;

export const PROBLEM_CODES = Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]];
export const PROBLEM_MEDIA_TYPE = 'application/problem+json';

/** Seconds after which a client should try again when a database is away. */
export const RETRY_AFTER_S = 2;

/** One field at fault, by the name the caller wrote. */
export interface FieldFault {
  readonly field: string;
  readonly message: string;
  /** Where the field is well-formed: what else stands against it. */
  readonly code?: string;
}

interface ProblemParts {
  /** In words: what is wrong and what would be right. Never a secret, never another tenant's data. */
  readonly detail: string;
  /** Every field at fault; the first becomes `field`. */
  readonly errors?: readonly FieldFault[];
  /** Further members of the body, such as what is stored already. */
  readonly members?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Thrown by routes and hooks; answered by the error handler. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly errors: readonly FieldFault[];
  readonly members: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ProblemCode, { detail, errors = [], members = {}, headers = {}, cause }: ProblemParts) {
    super(detail, cause === undefined ? undefined : { cause });
    this.name = 'Problem';
    this.code = code;
    this.errors = errors;
    this.members = members;
    this.headers = headers;
  }
}

/** The body of a problem as it goes out. */
export function problemBody(problem: Problem, requestId: string): Record<string, unknown> {
  const { status, title } = PROBLEMS[problem.code];
  const [first] = problem.errors;
  return {
    type: `urn:problem-type:afflux:${problem.code}`,
    title,
    status,
    code: problem.code,
    detail: problem.message,
    ...(first && { field: first.field, errors: problem.errors }),
    ...problem.members,
    request_id: requestId,
  };
}

/** The answer for one faulty field. */
export function invalidField(field: string, message: string): Problem {
  return new Problem('invalid_input', { detail: `${field}: ${message}`, errors: [{ field, message }] });
}

/** The answer when something does not exist or belongs to somebody else: both look alike. */
export function notFound(what: string): Problem {
  return new Problem('not_found', { detail: `there is no ${what}` });
}
