import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { signedIn } from '../../test/support/users.ts';

// Side by side, because streams end some seconds after the right to them.
let api: TestApi;
let tenants = 0;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => {
  await api?.stop();
});

async function freshTenant(): Promise<Tenant> {
  return await api.tenant(`ends ${++tenants}`);
}

async function madeBy(
  call: (json: object) => Promise<Answer>,
  json: object,
): Promise<{ key: string; id: string }> {
  const { status, body } = await call(json);
  expect(status).toBe(201);
  return { key: String(body.key), id: (body.api_key as { id: string }).id };
}

const statusOf = async (path: string, key: string) => (await api.call('GET', path, { key })).status;

/** An open stream of freshness; resolves when the server has ended it. */
async function openStream(headers: Readonly<Record<string, string>>): Promise<{ ended: Promise<void> }> {
  const response = await fetch(`${api.url}/v1/freshness/stream`, { headers });
  expect(response.status).toBe(200);
  const drain = async () => {
    for await (const chunk of response.body ?? []) void chunk;
  };
  return { ended: drain() };
}

function bearer(key: string) {
  return { authorization: `Bearer ${key}` };
}

describe.concurrent('a user who was disabled goes on', { tags: ['attack'] }, () => {
  test('by no key of theirs, nor by one that such a key made, nor by a stream or webhook', async () => {
    const { programId, keys } = await freshTenant();
    const user = await signedIn(api, { role: 'operator', programId });
    const json = { role: 'operator', name: 'n' };
    const first = await madeBy((body) => user.call('POST', '/v1/api-keys', { json: body }), json);
    const second = await madeBy(
      (body) => api.call('POST', '/v1/api-keys', { key: first.key, json: body }),
      json,
    );
    const hook = await api.call('POST', '/v1/webhooks', {
      key: second.key,
      json: { url: 'https://former.example/' },
    });
    const streams = await Promise.all([openStream(user.headers), openStream(bearer(first.key))]);
    const others = await openStream(bearer(keys.operator));
    let othersEnded = false;
    void others.ended.then(() => {
      othersEnded = true;
    });

    const disabled = await api.call('PATCH', `/v1/users/usr_${user.userId}`, {
      key: keys.operator,
      json: { status: 'disabled' },
    });
    expect(disabled.status).toBe(200);
    for (const { key } of [first, second]) expect(await statusOf('/v1/me', key)).toBe(401);
    const path = `/v1/webhooks/${(hook.body.webhook as { id: string }).id}`;
    expect((await api.call('GET', path, { key: keys.operator })).body).toMatchObject({
      status: 'disabled',
      disabled_reason: 'the user who made it was disabled',
    });
    await Promise.all(streams.map(({ ended }) => ended));
    expect(othersEnded).toBe(false);

    const active = { key: keys.operator, json: { status: 'active' } };
    expect((await api.call('PATCH', `/v1/users/usr_${user.userId}`, active)).status).toBe(200);
    expect(await statusOf('/v1/me', first.key)).toBe(200);
  });

  test('but a key that somebody else rotated stays', async () => {
    const { programId, keys } = await freshTenant();
    const user = await signedIn(api, { role: 'operator', programId });
    const json = { role: 'advertiser', name: 'shop' };
    const shop = await madeBy((body) => user.call('POST', '/v1/api-keys', { json: body }), json);
    const taken = await madeBy(
      () => api.call('POST', `/v1/api-keys/${shop.id}/rotate`, { key: keys.operator, json: {} }),
      {},
    );
    const status = { key: keys.operator, json: { status: 'disabled' } };
    await api.call('PATCH', `/v1/users/usr_${user.userId}`, status);
    expect([await statusOf('/v1/me', shop.key), await statusOf('/v1/me', taken.key)]).toEqual([401, 200]);
  });
});

test.concurrent('a stream goes on after its user has signed out', { tags: ['attack'] }, async () => {
  const { programId } = await freshTenant();
  const user = await signedIn(api, { role: 'operator', programId });
  const { ended } = await openStream(user.headers);
  expect((await user.call('DELETE', '/v1/session')).status).toBe(204);
  await ended;
});

describe.concurrent('a key in wrong hands goes on after its revocation', { tags: ['attack'] }, () => {
  test('by the keys and webhooks that it made, unless they end with it', async () => {
    const { programId, keys } = await freshTenant();
    const stolen = await createApiKey(api.ledger, { role: 'operator', name: 's', programId });
    const json = { role: 'operator', name: 'n' };
    const first = await madeBy(
      (body) => api.call('POST', '/v1/api-keys', { key: stolen.key, json: body }),
      json,
    );
    const second = await madeBy(
      () => api.call('POST', `/v1/api-keys/${first.id}/rotate`, { key: first.key, json: {} }),
      {},
    );
    const hook = await api.call('POST', '/v1/webhooks', {
      key: second.key,
      json: { url: 'https://thief.example/' },
    });
    const stream = await openStream(bearer(second.key));
    const path = `/v1/api-keys/key_${stolen.apiKey.id}?with_made=true`;
    expect((await api.call('DELETE', path, { key: keys.operator })).status).toBe(204);
    for (const key of [stolen.key, first.key, second.key]) expect(await statusOf('/v1/me', key)).toBe(401);
    const { id } = hook.body.webhook as { id: string };
    const after = await api.call('GET', `/v1/webhooks/${id}`, { key: keys.operator });
    expect(after.body.status).toBe('disabled');
    await stream.ended;
    expect(await statusOf('/v1/me', keys.operator)).toBe(200);
  });

  test('a plain revocation leaves what a rotation has put in its place', async () => {
    const { programId, keys } = await freshTenant();
    const old = await createApiKey(api.ledger, { role: 'operator', name: 's', programId });
    const path = `/v1/api-keys/key_${old.apiKey.id}`;
    const next = await madeBy(() => api.call('POST', `${path}/rotate`, { key: old.key, json: {} }), {});
    expect((await api.call('DELETE', path, { key: keys.operator })).status).toBe(204);
    expect(await statusOf('/v1/me', next.key)).toBe(200);
  });
});

describe.concurrent('an affiliate that is', { tags: ['attack'] }, () => {
  const decide = ({ affiliateId, keys }: Tenant, verb: string) =>
    api.call('POST', `/v1/affiliates/aff_${affiliateId}/${verb}`, {
      key: keys.operator,
      json: { note: 'because' },
    });
  const writes = ({ affiliateId, campaignId }: Tenant): [string, string, object][] => [
    ['POST', '/v1/links', { campaign_id: `cmp_${campaignId}`, landing_url: 'https://shop.example/' }],
    ['PUT', `/v1/affiliates/aff_${affiliateId}/payout-method`, { kind: 'paypal', email: 'a@example.com' }],
    ['PATCH', `/v1/affiliates/aff_${affiliateId}/profile`, { email: 'thief@example.com' }],
    ['POST', '/v1/api-keys', { role: 'affiliate', name: 'n' }],
    ['POST', '/v1/webhooks', { url: 'https://partner.example/' }],
  ];

  test('suspended changes nothing by a key or a session, and reads on', async () => {
    const tenant = await freshTenant();
    const { programId, affiliateId, keys } = tenant;
    const user = await signedIn(api, { role: 'affiliate', programId, affiliateId });
    expect((await decide(tenant, 'suspend')).status).toBe(200);
    for (const [method, path, json] of writes(tenant)) {
      const byKey = await api.call(method, path, { key: keys.affiliate, json });
      const bySession = await user.call(method, path, { json });
      expect([path, byKey.status, bySession.status]).toEqual([path, 403, 403]);
    }
    for (const path of ['/v1/me', '/v1/links', `/v1/affiliates/aff_${affiliateId}/balance`, '/v1/payouts']) {
      expect([path, await statusOf(path, keys.affiliate)]).toEqual([path, 200]);
    }
    expect((await user.call('DELETE', '/v1/session')).status).toBe(204);
  });

  test('terminated reads its money, nothing else; its streams and webhooks end', async () => {
    const tenant = await freshTenant();
    const { affiliateId, keys } = tenant;
    const hook = await api.call('POST', '/v1/webhooks', {
      key: keys.affiliate,
      json: { url: 'https://partner.example/' },
    });
    const stream = await openStream(bearer(keys.affiliate));
    expect((await decide(tenant, 'terminate')).status).toBe(200);
    for (const [method, path, json] of writes(tenant)) {
      const refused = await api.call(method, path, { key: keys.affiliate, json });
      expect([path, refused.status]).toEqual([path, 403]);
    }
    const own = `/v1/affiliates/aff_${affiliateId}`;
    const month = 'from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z';
    for (const path of [
      '/v1/links',
      '/v1/conversions',
      '/v1/freshness/stream',
      '/v1/webhooks',
      '/v1/campaigns',
    ]) {
      expect([path, await statusOf(path, keys.affiliate)]).toEqual([path, 403]);
    }
    const money = [
      `${own}/balance`,
      `${own}/statement?month=2026-11`,
      `${own}/earnings?${month}`,
      '/v1/payouts',
    ];
    for (const path of ['/v1/me', ...money]) {
      expect([path, await statusOf(path, keys.affiliate)]).toEqual([path, 200]);
    }
    const { id } = hook.body.webhook as { id: string };
    expect((await api.call('GET', `/v1/webhooks/${id}`, { key: keys.operator })).body).toMatchObject({
      status: 'disabled',
      disabled_reason: 'the affiliate was terminated',
    });
    await stream.ended;
  });
});
