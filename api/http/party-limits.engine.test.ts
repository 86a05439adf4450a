import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { signedIn } from '../../test/support/users.ts';
import { MAX_AFFILIATE_KEYS, MAX_AFFILIATE_WEBHOOKS } from './party-limits.ts';

/** So that the limits below are reached by few requests. */
const REQUESTS_PER_MINUTE = 3_000;
const AFFILIATE_REQUESTS = 300;
const FAILURES = 30;

let api: TestApi;
let mine: Tenant;
let tenants = 0;

beforeAll(async () => {
  api = await startTestApi(async (url) => url, { requestsPerMinute: REQUESTS_PER_MINUTE });
});
afterAll(async () => {
  await api?.stop();
});

async function freshTenant(): Promise<Tenant> {
  mine = await api.tenant(`limits ${++tenants}`);
  return mine;
}

async function affiliateKey(name: string, affiliateId = mine.affiliateId): Promise<string> {
  const { programId } = mine;
  return (await createApiKey(api.ledger, { role: 'affiliate', name, programId, affiliateId })).key;
}

describe('an affiliate with many keys', { tags: ['attack'] }, () => {
  test('has one quota of requests over all of them and its users', async () => {
    const { programId, affiliateId, otherAffiliateId } = await freshTenant();
    const keys = await Promise.all(Array.from({ length: 10 }, (_, i) => affiliateKey(`k${i}`)));
    const perKey = AFFILIATE_REQUESTS / keys.length;
    const answers = await Promise.all(
      keys.flatMap((key) => Array.from({ length: perKey + 10 }, () => api.call('GET', '/v1/me', { key }))),
    );
    // A window may have begun meanwhile; each key of its own would have been allowed all of its 40.
    expect(answers.filter(({ status }) => status === 429).length).toBeGreaterThan(0);
    const user = await signedIn(api, { role: 'affiliate', programId, affiliateId });
    const left = /r=(\d+)/.exec((await user.call('GET', '/v1/me')).headers.get('ratelimit') ?? '')?.[1];
    expect(Number(left)).toBeLessThan(AFFILIATE_REQUESTS - 1);
    const other = await affiliateKey('other', otherAffiliateId);
    expect((await api.call('GET', '/v1/me', { key: other })).status).toBe(200);
  });

  test('makes no more keys than the limit, also at once', async () => {
    await freshTenant();
    const make = () =>
      api.call('POST', '/v1/api-keys', { key: mine.keys.affiliate, json: { role: 'affiliate', name: 'n' } });
    const answers = await Promise.all(Array.from({ length: MAX_AFFILIATE_KEYS + 5 }, make));
    // It had one already.
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(MAX_AFFILIATE_KEYS - 1);
    const refused = answers.find(({ status }) => status !== 201);
    expect(refused?.body).toMatchObject({ code: 'limit_reached', status: 409, limit: MAX_AFFILIATE_KEYS });
    // A rotation without an overlap takes the place of the old key.
    const [id] = answers.flatMap(({ body }) => (body.api_key as { id: string } | undefined)?.id ?? []);
    const rotate = (json: object) =>
      api.call('POST', `/v1/api-keys/${id}/rotate`, { key: mine.keys.affiliate, json });
    expect((await rotate({})).status).toBe(409);
    expect((await rotate({ grace_seconds: 0 })).status).toBe(201);
  });

  test('makes no more webhooks than the limit, and tests them a few times a minute', async () => {
    await freshTenant();
    const keys = [mine.keys.affiliate, await affiliateKey('second')];
    const json = { url: 'https://partner.example/' };
    const made = await Promise.all(
      Array.from({ length: MAX_AFFILIATE_WEBHOOKS + 3 }, (_, i) =>
        api.call('POST', '/v1/webhooks', { key: keys[i % 2] ?? '', json }),
      ),
    );
    expect(made.filter(({ status }) => status === 201)).toHaveLength(MAX_AFFILIATE_WEBHOOKS);
    expect(made.find(({ status }) => status === 409)?.body.limit).toBe(MAX_AFFILIATE_WEBHOOKS);
    const ids = made.flatMap(({ body }) => (body.webhook as { id: string } | undefined)?.id ?? []);
    const statuses: number[] = [];
    for (let i = 0; i < 12; i++) {
      const path = `/v1/webhooks/${ids[i % ids.length]}/test`;
      statuses.push((await api.call('POST', path, { key: keys[i % 2] ?? '', json: {} })).status);
    }
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 202), 429, 429]);
  });

  test('opens ten streams over all of them, and leaves room for the operator', async () => {
    await freshTenant();
    const keys = await Promise.all(Array.from({ length: 4 }, (_, i) => affiliateKey(`s${i}`)));
    const stop = new AbortController();
    const open = (key: string) =>
      fetch(`${api.url}/v1/freshness/stream`, {
        signal: stop.signal,
        headers: { authorization: `Bearer ${key}` },
      });
    const answers = await Promise.all(keys.flatMap((key) => Array.from({ length: 5 }, () => open(key))));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
    expect((await open(mine.keys.operator)).status).toBe(200);
    stop.abort();
  });
});

describe('a stranger who tries keys', { tags: ['attack'] }, () => {
  const from = (address: string, key = 'afx_operator_wrong') =>
    api.call('GET', '/v1/me', { key, headers: { 'x-forwarded-for': address } });

  test('is announced a limit, and refused beyond it; the right key passes from the same address', async () => {
    const address = '198.51.100.7';
    const first = await from(address);
    expect([first.status, first.headers.get('ratelimit-policy')]).toEqual([
      401,
      `"failed authentications";q=${FAILURES};w=60`,
    ]);
    const answers = await Promise.all(Array.from({ length: 3 * FAILURES }, () => from(address)));
    expect(answers.filter(({ status }) => status === 401).length).toBeLessThanOrEqual(2 * FAILURES);
    const refused = answers.find(({ status }) => status === 429);
    expect(refused?.body.code).toBe('rate_limited');
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await from(address, api.operatorKey)).status).toBe(200);
    expect((await from('198.51.100.8')).status).toBe(401);
  });

  test('has one limit for the /64 that an IPv6 customer has', async () => {
    const answers = await Promise.all(
      Array.from({ length: 3 * FAILURES }, (_, i) => from(`2001:db8:1:2::${(i + 1).toString(16)}`)),
    );
    expect(answers.some(({ status }) => status === 429)).toBe(true);
    expect((await from('2001:db8:1:3::1')).status).toBe(401);
  });

  test('by reporting orders as well', async () => {
    const call = () =>
      api.call('GET', '/postback?key=x&order_id=1&amount=1&currency=EUR', {
        headers: { 'x-forwarded-for': '198.51.100.9' },
      });
    const answers = await Promise.all(Array.from({ length: 3 * FAILURES }, call));
    expect(answers.some(({ status }) => status === 429)).toBe(true);
  });
});

test('a guess at the secret in the URL of a source is refused beyond the limit before it is stored', {
  tags: ['attack'],
}, async () => {
  const { keys } = await freshTenant();
  const json = { kind: 'tune', name: 'tune', secret: 'tok' };
  const made = await api.call('POST', '/v1/sources', { key: keys.advertiser, json });
  const { id, url } = made.body.source as { id: string; url: string };
  const statuses: number[] = [];
  // More than a window's, which may end meanwhile.
  while (statuses.length < 3 * FAILURES && !statuses.includes(429)) {
    const guess = `${new URL(url).pathname}?transaction_id=t&amount=5&adv_sub=G-1&security_token=g${statuses.length}`;
    statuses.push((await api.call('GET', guess)).status);
  }
  expect(statuses.at(-1)).toBe(429);
  const list = `/v1/postback-calls?source_id=${id}&code=signature_required&limit=1000`;
  const { data } = (await api.call('GET', list, { key: keys.advertiser })).body;
  expect(data).toHaveLength(statuses.filter((status) => status === 202).length);
});
