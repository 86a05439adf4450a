import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';

let api: TestApi;
let shop: Tenant;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
});
afterAll(async () => {
  await api?.stop();
});

interface Kept {
  readonly calls: number;
  readonly bytes: number;
}

async function kept(): Promise<Kept> {
  const [row] = await api.ledger<[Kept]>`
    select count(*)::integer as calls, coalesce(sum(pg_column_size(c.*)), 0)::integer as bytes from postback_calls c`;
  return row;
}

async function counted(network: string): Promise<{ via: string; reason: string; calls: number }[]> {
  const { body } = await api.call('GET', '/v1/unidentified-calls', { key: api.operatorKey });
  return (body.data as { network: string; via: string; reason: string; calls: number }[])
    .filter((count) => count.network === network)
    .map(({ via, reason, calls }) => ({ via, reason, calls }));
}

/** As much as a body may hold of what no compression makes smaller. */
function large(): string {
  return Array.from({ length: 15 }, (_, i) => `p${i}=${randomBytes(1_500).toString('hex')}`).join('&');
}

describe('a stranger who reports orders without a key', { tags: ['attack'] }, () => {
  const ways: [string, (address: string) => Promise<Answer>][] = [
    [
      'in a form',
      (address) => api.call('POST', '/postback', { form: large(), headers: { 'x-forwarded-for': address } }),
    ],
    [
      'under the name of a key that signs, with a wrong signature',
      async (address) =>
        api.call('POST', '/postback', {
          form: large(),
          headers: {
            'x-forwarded-for': address,
            'afflux-key': await signingKey(),
            'webhook-id': randomBytes(8).toString('hex'),
            'webhook-timestamp': String(Math.floor(Date.now() / 1_000)),
            'webhook-signature': 'v1,x',
          },
        }),
    ],
    [
      'with the key of an affiliate, which may not',
      (address) =>
        api.call('POST', '/postback', {
          form: large(),
          key: shop.keys.affiliate,
          headers: { 'x-forwarded-for': address },
        }),
    ],
    [
      'by a pixel of a program that takes none',
      (address) =>
        api.call(
          'GET',
          `/pixel?program_id=prg_${shop.programId}&order_id=1&amount=1&currency=EUR&sub1=${'x'.repeat(6_000)}`,
          {
            headers: { 'x-forwarded-for': address },
          },
        ),
    ],
  ];

  let key: Promise<string> | undefined;
  async function signingKey(): Promise<string> {
    key ??= api
      .call('POST', '/v1/api-keys', {
        key: shop.keys.operator,
        json: { role: 'advertiser', name: 'signs', signing: true },
      })
      .then(({ body }) => (body.api_key as { id: string }).id);
    return await key;
  }

  test.each(ways)('fills no disk: %s', async (_name, call) => {
    const before = await kept();
    const third = ways.findIndex(([, one]) => one === call);
    const answers: Answer[] = [];
    for (let i = 0; i < 40; i++) answers.push(await call(`203.0.${third}.${i + 1}`));
    for (const { status } of answers) expect([200, 401, 403, 429]).toContain(status);
    const after = await kept();
    expect(after.calls - before.calls).toBeGreaterThan(0);
    expect(after.calls - before.calls).toBeLessThanOrEqual(5);
    expect((after.bytes - before.bytes) / (after.calls - before.calls)).toBeLessThan(1_500);
    const [actor] = await api.ledger`
      select 1 from postback_calls where actor is not null and status in (401, 403)`;
    expect(actor).toBeUndefined();
  });

  test('is counted, in each of these ways', async () => {
    for (const third of ways.keys()) {
      const counts = await waitFor(
        async () => {
          const found = await counted(`203.0.${third}.0/24`);
          return found.reduce((sum, { calls }) => sum + calls, 0) === 40 ? found : undefined;
        },
        { deadlineMs: 15_000, what: 'the counts' },
      );
      expect(counts.every(({ reason }) => reason.length > 3)).toBe(true);
    }
  });

  test('with a thousand networks: the rest is counted together', async () => {
    const calls = Array.from({ length: 1_100 }, (_, i) =>
      api.call('GET', '/postback?order_id=1', {
        headers: { 'x-forwarded-for': `2001:db8:${i.toString(16)}::1` },
      }),
    );
    await Promise.all(calls);
    await waitFor(async () => (await counted('0.0.0.0/0')).length > 0, {
      deadlineMs: 15_000,
      what: 'the counts',
    });
    const [row] = await api.ledger<[{ networks: number }]>`
      select count(distinct network)::integer as networks from unidentified_calls`;
    expect(row.networks).toBeLessThanOrEqual(1_001);
  });
});

test('a reviewer reads no working key out of the log of calls, whatever parameter it stood in', {
  tags: ['attack'],
}, async () => {
  const { key } = await createApiKey(api.ledger, {
    role: 'advertiser',
    name: 'leaky',
    programId: shop.programId,
  });
  const encoded = key.replaceAll('_', '%255F');
  const path = `/postback?order_id=leak&amount=1&currency=EUR&api_key=${key}&Key=${key}&sub1=x%26k=${encoded}&TOKEN=t1`;
  expect((await api.call('GET', path, { key })).status).toBe(200);
  const failed = await api.call('GET', `/postback?order_id=leak&amount=${key}&currency=EUR&${key}=1`, {
    key,
  });
  expect(failed.status).toBe(422);
  const { body, text } = await api.call('GET', '/v1/postback-calls?order_id=leak', { key: shop.keys.fraud });
  expect(body.data).toHaveLength(2);
  const secret = key.slice(-20);
  expect(text).not.toContain(secret);
  expect(text).toContain('[hidden]');
  expect(text).not.toContain('TOKEN');
  expect(api.logLines.join('')).not.toContain(secret);
});
