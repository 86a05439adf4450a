import { describe, expect, test } from 'vitest';
import { InputError, OperatingError } from '../../core/errors.ts';
import { ConnectionError } from '../../core/postgres/connection.ts';
import { PROBLEMS } from './problems.ts';
import { translateError } from './translate-error.ts';

function statusOf(error: unknown): number {
  return PROBLEMS[translateError(error).code].status;
}

describe('an operating error is answered by its code, whatever its message says', () => {
  test.each([
    ['postgres_unreachable', 503],
    ['clickhouse_unreachable', 503],
    ['nats_unreachable', 503],
    ['no_dead_letter', 404],
    ['wrong_state', 409],
    ['disk_full', 500],
    ['rows_refused', 500],
  ] as const)('%s: %d', (code, status) => {
    const message = 'TIMEOUT_EXCEEDED, TOO_MANY_SIMULTANEOUS_QUERIES';
    expect(statusOf(new OperatingError(code, message))).toBe(status);
  });

  test.each([
    ['TIMEOUT_EXCEEDED', 159, 422],
    ['MEMORY_LIMIT_EXCEEDED', 241, 422],
    ['CANNOT_ALLOCATE_MEMORY', 173, 503],
    ['TOO_MANY_SIMULTANEOUS_QUERIES', 202, 503],
    ['SOCKET_TIMEOUT', 209, 503],
    ['NETWORK_ERROR', 210, 503],
    ['ABORTED', 236, 503],
    ['QUERY_WAS_CANCELLED', 394, 503],
    ['CANNOT_SCHEDULE_TASK', 439, 503],
    ['SERVER_OVERLOADED', 745, 503],
    ['UNKNOWN_TABLE', 60, 500],
    ['no number', undefined, 500],
    ['no number', Number.NaN, 500],
  ] as const)('ClickHouse %s (%s): %d', (_name, clickhouseCode, status) => {
    const options = clickhouseCode === undefined ? {} : { clickhouseCode };
    expect(statusOf(new OperatingError('clickhouse_refused', 'refused', options))).toBe(status);
  });

  test('and shows neither its message nor its cause when it is a fault of the server', () => {
    const problem = translateError(new OperatingError('disk_full', 'secret path'));
    expect([problem.code, problem.message.includes('secret')]).toEqual(['internal', false]);
  });
});

test.each([
  ['57P01', 503],
  ['40001', 503],
  ['53300', 503],
  ['08006', 503],
  ['55P03', 503],
  ['ECONNREFUSED', 503],
  ['23514', 500],
  ['42P01', 500],
])('an error with the code %s: %d', (code, status) => {
  expect(statusOf(Object.assign(new Error('x'), { code }))).toBe(status);
});

test('an input error keeps its field and its reason apart', () => {
  const { code, errors } = translateError(new InputError('rate', 'is: not known', 'no_rate'));
  expect([code, errors]).toEqual([
    'invalid_input',
    [{ field: 'rate', message: 'is: not known', code: 'no_rate' }],
  ]);
});

test('an answer that did not come says nothing of what was done', () => {
  for (const error of [
    new ConnectionError('PostgreSQL does not answer', { code: 'ETIMEDOUT' }),
    new ConnectionError('the connection to PostgreSQL has ended'),
    new OperatingError('nats_unreachable', 'x'),
  ]) {
    const { message: detail } = translateError(error);
    expect(detail).toContain('repeat it with the same Idempotency-Key');
    expect(detail).not.toContain('nothing');
  }
});
