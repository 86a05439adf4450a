import { expect, test } from 'vitest';
import { withKeptKeys } from './kept-keys.ts';

/** Sends changes to a server that answers with these statuses; 0: the connection breaks. Returns the keys it saw. */
async function keysOf(sent: readonly { key?: string; path?: string; body?: string; status: number }[]) {
  const seen: (string | null)[] = [];
  let status = 0;
  const send = withKeptKeys(async (request) => {
    seen.push(request.headers.get('idempotency-key'));
    if (status === 0) throw new TypeError('fetch failed');
    return new Response(null, { status });
  });
  for (const { key, path = 'a', body = '{}', ...answer } of sent) {
    status = answer.status;
    const headers = new Headers(key === undefined ? [] : [['idempotency-key', key]]);
    const request = new Request(`https://portal.test/${path}`, { method: 'POST', headers, body });
    await send(request).catch(() => undefined);
  }
  return seen;
}

test('a change is repeated under its key until it has succeeded', async () => {
  expect(
    await keysOf([
      { key: '1', status: 503 },
      { key: '2', status: 0 },
      // Refused before the key is looked at.
      { key: '3', status: 403 },
      { key: '4', status: 201 },
      { key: '5', status: 201 },
    ]),
  ).toEqual(['1', '1', '1', '1', '5']);
});

test('another change has a key of its own, and one without a key none', async () => {
  expect(
    await keysOf([
      { key: '1', status: 503 },
      { key: '2', body: '{"a":1}', status: 503 },
      { key: '3', path: 'b', status: 503 },
      { status: 503 },
      { key: '4', status: 201 },
    ]),
  ).toEqual(['1', '2', '3', null, '1']);
});

test('changes that were given up are forgotten', async () => {
  const given = Array.from({ length: 30 }, (_, i) => ({ key: `${i}`, path: `${i}`, status: 503 }));
  const again = { key: 'again', status: 201 };
  const keys = await keysOf([...given, { ...again, path: '0' }, { ...again, path: '29' }]);
  expect(keys.slice(30)).toEqual(['again', '29']);
});
