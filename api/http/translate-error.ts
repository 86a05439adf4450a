import { InputError, OperatingError } from '../../core/errors.ts';
import {
  CLICKHOUSE_PROBLEMS,
  type FieldFault,
  OPERATING_PROBLEMS,
  Problem,
  type ProblemCode,
  RETRY_AFTER_S,
} from './problems.ts';

/** What Fastify, Node's HTTP parser and the databases throw, as the problem it is answered with. */

/** Fastify's own codes (fastify.dev/docs/latest/Reference/Errors) that are a caller's mistake. */
const FASTIFY_CODES: Readonly<Record<string, readonly [ProblemCode, detail: string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['body_too_large', 'the body is larger than this route takes'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'send application/json'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['malformed_request', 'Content-Length does not match the body'],
  FST_ERR_BAD_URL: ['malformed_request', 'the path is not valid percent-encoded UTF-8'],
  FST_ERR_MAX_LIMIT: ['route_not_found', 'a part of the path is too long'],
};

/** Codes of Node's sockets and of the PostgreSQL client for a server that does not answer. */
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
  'NO_PRIMARY',
]);

/**
 * PostgreSQL's transient errors, by SQLSTATE: connection exceptions (08), insufficient resources (53), operator
 * intervention such as a restart or a statement timeout (57), and lost races that outlasted their retries (40, 55P03).
 */
const TRANSIENT_SQLSTATE = /^(?:(?:08|40|53|57)[0-9A-Z]{3}|55P03)$/;

/** Turns anything thrown while a request was handled into the problem it is answered with. */
export function translateError(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof InputError) {
    const { field, reason, code } = error;
    return invalidFields([{ field, message: reason, ...(code !== 'invalid_input' && { code }) }]);
  }
  if (error instanceof ValidationFaults) return invalidFields(error.faults);
  if (error instanceof OperatingError) return fromOperatingError(error);
  const { code, statusCode } = codesOf(error);
  if (code !== undefined && (TRANSIENT_SQLSTATE.test(code) || CONNECTION_CODES.has(code))) {
    return unavailable('a database', error);
  }
  const known = code === undefined ? undefined : FASTIFY_CODES[code];
  if (known) return new Problem(known[0], { detail: known[1] });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new Problem('malformed_request', { detail: (error as Error).message });
  }
  return internal(error);
}

function fromOperatingError(error: OperatingError): Problem {
  const byClickHouse =
    error.code === 'clickhouse_refused' ? CLICKHOUSE_PROBLEMS.get(error.clickhouseCode ?? 0) : undefined;
  const code = byClickHouse ?? OPERATING_PROBLEMS[error.code];
  switch (code) {
    case 'internal':
      return internal(error);
    case 'unavailable':
      return unavailable(error.code.startsWith('nats_') ? 'NATS' : 'a database', error);
    case 'too_costly':
      return new Problem(code, {
        detail:
          'request a shorter range, fewer groups or no distinct visitors; or export it as a report job by hours',
        cause: error,
      });
    default:
      return new Problem(code, { detail: error.message });
  }
}

/** A commit that was sent and not answered may have been done. */
function unavailable(store: string, cause: unknown): Problem {
  return new Problem('unavailable', {
    detail: `${store} does not answer; try again. A change may have been made: repeat it with the same Idempotency-Key`,
    headers: { 'retry-after': String(RETRY_AFTER_S) },
    cause,
  });
}

function internal(cause: unknown): Problem {
  return new Problem('internal', { detail: 'the server failed; the request id leads to its log', cause });
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

function codesOf(error: unknown): { code?: string; statusCode?: number } {
  if (typeof error !== 'object' || error === null) return {};
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  const statusCode =
    'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : undefined;
  return { ...(code !== undefined && { code }), ...(statusCode !== undefined && { statusCode }) };
}
