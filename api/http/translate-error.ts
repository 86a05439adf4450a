import { InputError, OperatingError } from '../../core/errors.ts';
import { DatabaseError } from '../../core/postgres/connection.ts';
import { type FieldFault, Problem, type ProblemCode, RETRY_AFTER_S } from './problems.ts';

/** What Fastify, Node's HTTP parser and the databases throw, as the problem it is answered with. */

/** Fastify's own codes (fastify.dev/docs/latest/Reference/Errors) that are a caller's mistake. */
const FASTIFY_CODES: Readonly<Record<string, readonly [ProblemCode, detail: string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['body_too_large', 'the body is larger than this route takes'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'send application/json'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['malformed_request', 'the body has not the length of its header'],
  FST_ERR_BAD_URL: ['malformed_request', 'the path is not valid percent-encoded UTF-8'],
  FST_ERR_MAX_LIMIT: ['route_not_found', 'a part of the path is too long'],
};

/** What the PostgreSQL client throws when the server is away, beside Node's own socket errors. */
const CONNECTION_CODES = new Set([
  'CONNECT_TIMEOUT',
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);

/**
 * PostgreSQL answers that pass by themselves: connection exceptions (08), insufficient resources (53), operator
 * intervention such as a restart or a statement timeout (57), and lost races that outlasted their retries (40, 55P03).
 */
const PASSING_SQLSTATE = /^(08|40|53|57)|^55P03$/;

/** ClickHouse's names of the limits that each query has. */
const COST_LIMIT = /\b(TIMEOUT_EXCEEDED|MEMORY_LIMIT_EXCEEDED)\b/;

/** ClickHouse's names of what passes by itself: too much is asked of it, or it is about to end. */
const PASSING_REFUSAL =
  /\b(TOO_MANY_SIMULTANEOUS_QUERIES|CANNOT_SCHEDULE_TASK|CANNOT_ALLOCATE_MEMORY|SERVER_OVERLOADED|QUERY_WAS_CANCELLED|ABORTED|SOCKET_TIMEOUT|NETWORK_ERROR)\b/;

const AWAY_CODES = new Set(['postgres_unreachable', 'clickhouse_unreachable', 'nats_unreachable']);

/** Turns anything thrown while a request was handled into the problem it is answered with. */
export function translateError(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof InputError) return fromInputError(error);
  const faults = validationFaults(error);
  if (faults) return invalidFields(faults);
  if (isAway(error)) {
    return new Problem('unavailable', {
      detail: `${awayStore(error)} does not answer; nothing was changed, try again`,
      headers: { 'retry-after': String(RETRY_AFTER_S) },
      cause: error,
    });
  }
  if (error instanceof OperatingError && COST_LIMIT.test(error.message)) {
    return new Problem('too_costly', {
      detail:
        'ask for a shorter range, fewer groups or no distinct visitors; or have it written to a file, by hours',
      cause: error,
    });
  }
  const { code, statusCode } = asFastifyError(error);
  const known = code === undefined ? undefined : FASTIFY_CODES[code];
  if (known) return new Problem(known[0], { detail: known[1] });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new Problem('malformed_request', { detail: (error as Error).message });
  }
  return new Problem('internal', {
    detail: 'the server failed; the request id leads to its log',
    cause: error,
  });
}

function fromInputError(error: InputError): Problem {
  const prefix = `${error.field}: `;
  const message = error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message;
  const { field, code } = error;
  return invalidFields([{ field, message, ...(code !== 'invalid_input' && { code }) }]);
}

/** The answer for faulty fields. */
export function invalidFields(faults: readonly FieldFault[]): Problem {
  const detail = faults.map(({ field, message }) => `${field}: ${message}`).join('; ');
  return new Problem('invalid_input', { detail, errors: faults });
}

/** Thrown by the validator compiler of the server: every field at fault, in the order of the schema. */
export class ValidationFaults extends Error {
  readonly faults: readonly FieldFault[];

  constructor(faults: readonly FieldFault[]) {
    super('validation failed');
    this.faults = faults;
  }
}

function validationFaults(error: unknown): readonly FieldFault[] | undefined {
  return error instanceof ValidationFaults ? error.faults : undefined;
}

function isAway(error: unknown): boolean {
  if (error instanceof OperatingError) {
    return (
      AWAY_CODES.has(error.code) ||
      (error.code === 'clickhouse_refused' && PASSING_REFUSAL.test(error.message))
    );
  }
  if (error instanceof DatabaseError) return PASSING_SQLSTATE.test(error.code ?? '');
  const { code } = asFastifyError(error);
  return code !== undefined && CONNECTION_CODES.has(code);
}

function awayStore(error: unknown): string {
  return error instanceof OperatingError && error.code === 'nats_unreachable' ? 'NATS' : 'a database';
}

function asFastifyError(error: unknown): { code?: string; statusCode?: number } {
  if (typeof error !== 'object' || error === null) return {};
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  const statusCode =
    'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : undefined;
  return { ...(code !== undefined && { code }), ...(statusCode !== undefined && { statusCode }) };
}
