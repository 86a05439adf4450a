import { JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import {
  isLostRace,
  isStreamMissing,
  isUnanswered,
  lacksServers,
  lacksStorage,
  natsFailure,
  untilLed,
} from './nats-errors.ts';

/** As nats-server 2.15 answers them. */
const WRONG_LAST = api(10071, 400, 'wrong last sequence: 7');
const WRONG_LAST_OF_REPLICATED = api(10164, 400, 'wrong last sequence');
const UNAVAILABLE = api(10008, 503, 'JetStream system temporarily unavailable');
const NO_STREAM = api(10059, 404, 'stream not found');
const NO_PEERS = api(10005, 400, 'no suitable peers for placement');
const NO_RESPONDERS = Object.assign(new Error('jetstream is not enabled'), { name: 'JetStreamNotEnabled' });

function api(err_code: number, code: number, description: string): JetStreamApiError {
  return new JetStreamApiError({ err_code, code, description });
}

test('each failure is of one kind', () => {
  const kinds = { isLostRace, isStreamMissing, isUnanswered, lacksServers, lacksStorage };
  const kindsOf = (error: unknown) =>
    Object.entries(kinds).flatMap(([name, isOf]) => (isOf(error) ? [name] : []));
  expect(kindsOf(WRONG_LAST)).toEqual(['isLostRace']);
  expect(kindsOf(WRONG_LAST_OF_REPLICATED)).toEqual(['isLostRace']);
  expect(kindsOf(NO_STREAM)).toEqual(['isStreamMissing']);
  expect(kindsOf(NO_PEERS)).toEqual(['lacksServers']);
  const silent = new errors.RequestError('no responders', { cause: new errors.NoRespondersError('s') });
  for (const error of [UNAVAILABLE, NO_RESPONDERS, new errors.TimeoutError(), silent]) {
    expect(kindsOf(error)).toEqual(['isUnanswered']);
  }
  const denied = new errors.RequestError('x', {
    cause: new errors.PermissionViolationError('x', 'publish', 's'),
  });
  expect(kindsOf(denied)).toEqual([]);
  expect(kindsOf(new Error('wrong last sequence'))).toEqual([]);
});

test('all of them are failures of NATS, and a bug is none', () => {
  for (const error of [WRONG_LAST, UNAVAILABLE, NO_RESPONDERS, new errors.TimeoutError()]) {
    expect(natsFailure(error)?.code).toBe('nats_failed');
  }
  expect(natsFailure(new TypeError('x is not a function'))).toBeUndefined();
});

test('a request is repeated while there is no leader, and no longer', async () => {
  const answers: unknown[] = [UNAVAILABLE, NO_RESPONDERS, 'value'];
  const request = async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  expect(await untilLed(request)).toBe('value');
  answers.push(NO_STREAM, 'never asked for');
  await expect(untilLed(request)).rejects.toBe(NO_STREAM);
  expect(answers).toHaveLength(1);
});
