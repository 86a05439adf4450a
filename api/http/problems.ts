import type { OperatingErrorCode } from '../../core/errors.ts';

/**
 * The API's error answers: RFC 9457 problem details.
 * One table gives every code its status, title and log level; a code that is not in it does not exist.
 */

interface ProblemKind {
  readonly status: number;
  readonly title: string;
  /** `info`: a mistake of the caller; `warn`: needs an operator's attention; `error`: a fault of the server. */
  readonly level: 'info' | 'warn' | 'error';
}

export const PROBLEMS = {
  malformed_request: { status: 400, title: 'Malformed HTTP request', level: 'info' },
  malformed_body: { status: 400, title: 'Malformed request body', level: 'info' },
  unauthorized: { status: 401, title: 'Missing or invalid credentials', level: 'info' },
  forbidden: { status: 403, title: 'Not permitted for this caller', level: 'info' },
  csrf_token_missing: { status: 403, title: 'Missing or invalid CSRF token', level: 'info' },
  second_factor_required: { status: 403, title: 'A code of the second factor is needed', level: 'info' },
  enrolment_required: { status: 403, title: 'A second factor must be set up first', level: 'info' },
  reauthentication_required: { status: 403, title: 'The password must be confirmed', level: 'info' },
  ip_not_allowed: { status: 403, title: 'Calls from this address are not allowed', level: 'info' },
  signature_required: { status: 403, title: 'The call must be signed', level: 'info' },
  route_not_found: { status: 404, title: 'No such route', level: 'info' },
  not_found: { status: 404, title: 'Not found, or not visible to this caller', level: 'info' },
  method_not_allowed: { status: 405, title: 'Method not allowed', level: 'info' },
  request_timeout: { status: 408, title: 'The request took too long to arrive', level: 'info' },
  conflict: { status: 409, title: 'Already recorded with different content', level: 'info' },
  replayed: { status: 409, title: 'This signed call was received before', level: 'info' },
  already_downloaded: { status: 409, title: 'The file was downloaded before', level: 'info' },
  preview_changed: {
    status: 409,
    title: 'What would be paid has changed since the preview',
    level: 'info',
  },
  wrong_state: { status: 409, title: 'The current state does not permit this change', level: 'info' },
  limit_reached: { status: 409, title: 'The limit of what a party may have is reached', level: 'info' },
  precondition_failed: {
    status: 412,
    title: 'The resource has changed since the version in If-Match',
    level: 'info',
  },
  body_too_large: { status: 413, title: 'Request body too large', level: 'info' },
  unsupported_media_type: { status: 415, title: 'Unsupported content type', level: 'info' },
  invalid_input: { status: 422, title: 'Invalid input', level: 'info' },
  idempotency_key_reused: {
    status: 422,
    title: 'Idempotency-Key was used with a different request',
    level: 'info',
  },
  too_costly: { status: 422, title: 'The query exceeds its time or memory limit', level: 'info' },
  rate_limited: { status: 429, title: 'Rate limit exceeded', level: 'info' },
  locked_out: { status: 429, title: 'Too many wrong passwords or codes', level: 'info' },
  headers_too_large: { status: 431, title: 'URL and headers too large', level: 'info' },
  internal: { status: 500, title: 'Internal server error', level: 'error' },
  payout_provider_refused: {
    status: 502,
    title: 'The payout provider refuses to work for the operator’s account',
    level: 'warn',
  },
  unavailable: { status: 503, title: 'A backing store is unavailable; try again', level: 'warn' },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof PROBLEMS;

export const PROBLEM_CODES = Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]];
export const PROBLEM_MEDIA_TYPE = 'application/problem+json';

/**
 * The problem that answers each operating error: what the caller can act upon, and `internal` for the rest, which an
 * operator has to mend. Its status and log level follow from {@link PROBLEMS}.
 */
export const OPERATING_PROBLEMS: Readonly<Record<OperatingErrorCode, ProblemCode>> = {
  already_running: 'internal',
  backup_damaged: 'internal',
  backup_incomplete: 'internal',
  block_miscounted: 'internal',
  block_refused_in_part: 'internal',
  clickhouse_refused: 'internal',
  clickhouse_unreachable: 'unavailable',
  collector_running: 'internal',
  data_key_missing: 'internal',
  dead_letter_cut: 'wrong_state',
  deduplication_off: 'internal',
  cluster_unfit: 'internal',
  other_shard: 'internal',
  disk_full: 'internal',
  engine_failed: 'internal',
  engine_user: 'internal',
  export_outdated: 'internal',
  geo_database_unreadable: 'internal',
  geo_unreadable: 'internal',
  grafana_refused: 'internal',
  grafana_unreachable: 'internal',
  home_unusable: 'internal',
  intent_unreadable: 'internal',
  invalid_config: 'internal',
  invalid_rates: 'internal',
  keys_differ: 'internal',
  loader_block_pending: 'internal',
  loader_paused: 'internal',
  loader_state_broken: 'internal',
  loader_superseded: 'internal',
  malformed_batch: 'internal',
  migration_changed: 'internal',
  migration_failed: 'internal',
  migration_locked: 'internal',
  migration_missing: 'internal',
  nats_disconnected: 'unavailable',
  nats_failed: 'internal',
  nats_login: 'internal',
  nats_server_missing: 'internal',
  nats_unreachable: 'unavailable',
  no_dead_letter: 'not_found',
  no_demo: 'internal',
  no_free_node: 'internal',
  not_found: 'not_found',
  not_ready: 'internal',
  nothing_to_erase: 'internal',
  nothing_to_replay: 'internal',
  owner_unknown: 'internal',
  passphrase_missing: 'internal',
  passphrase_wrong: 'internal',
  payout_file_failed: 'internal',
  payout_provider_refused: 'payout_provider_refused',
  port_unavailable: 'internal',
  postgres_login: 'internal',
  postgres_missing: 'internal',
  postgres_pooled: 'internal',
  postgres_session: 'internal',
  postgres_unreachable: 'unavailable',
  preview_changed: 'preview_changed',
  reader_stalled: 'internal',
  restore_unfinished: 'internal',
  rows_refused: 'internal',
  server_unavailable: 'internal',
  shard_unfinished: 'internal',
  shared_memory: 'internal',
  snapshot_damaged: 'internal',
  spool_failed: 'internal',
  spool_full: 'internal',
  state_unreadable: 'internal',
  store_newer: 'internal',
  store_pre_release: 'internal',
  stream_order: 'internal',
  stream_refused: 'internal',
  stream_replaced: 'internal',
  stream_unanswered: 'internal',
  stream_unreadable: 'internal',
  target_not_empty: 'internal',
  timeout: 'internal',
  usage: 'internal',
  wrong_state: 'wrong_state',
};

/** What a `clickhouse_refused` is instead, by ClickHouse's number of the error (system.errors). */
export const CLICKHOUSE_PROBLEMS: ReadonlyMap<number, ProblemCode> = new Map([
  // The limits of a query: TIMEOUT_EXCEEDED, MEMORY_LIMIT_EXCEEDED.
  [159, 'too_costly'],
  [241, 'too_costly'],
  [396, 'too_costly'],
  // The server is overloaded or shutting down: CANNOT_ALLOCATE_MEMORY, TOO_MANY_SIMULTANEOUS_QUERIES, SOCKET_TIMEOUT,
  // NETWORK_ERROR, ABORTED, QUERY_WAS_CANCELLED, CANNOT_SCHEDULE_TASK, SERVER_OVERLOADED.
  [173, 'unavailable'],
  [202, 'unavailable'],
  [209, 'unavailable'],
  [210, 'unavailable'],
  [236, 'unavailable'],
  [394, 'unavailable'],
  [439, 'unavailable'],
  [745, 'unavailable'],
]);

/** Seconds after which a client should try again when a store is unavailable. */
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

/** The answer when the state of something does not permit the change. */
export function wrongState(what: string, state: string): Problem {
  return new Problem('wrong_state', { detail: `the ${what} is ${state}`, members: { state } });
}

/** The answer when something does not exist or belongs to somebody else: both look alike. */
export function notFound(what: string): Problem {
  return new Problem('not_found', { detail: `there is no ${what}` });
}
