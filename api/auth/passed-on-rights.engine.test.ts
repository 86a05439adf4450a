import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';

let api: TestApi;
let mine: Tenant;

beforeAll(async () => {
  api = await startTestApi();
  mine = await api.tenant('mine');
});
afterAll(async () => {
  await api?.stop();
});

async function operatorKey(more: { scopes?: string[]; expiresAt?: Date } = {}) {
  const made = await createApiKey(api.ledger, {
    role: 'operator',
    name: 'narrow',
    programId: mine.programId,
    ...more,
  });
  return { key: made.key, path: `/v1/api-keys/key_${made.apiKey.id}` };
}

function post(path: string, key: string, json: object = {}): Promise<Answer> {
  return api.call('POST', path, { key, json });
}

function expiryOf(answer: Answer): number {
  return Date.parse(String((answer.body.api_key as { expires_at: string | null }).expires_at));
}

describe('a narrowed key that wants more', { tags: ['attack'] }, () => {
  test('rotates no key with scopes that it lacks', async () => {
    const { key, path } = await operatorKey({ scopes: ['keys:write', 'keys:read'] });
    const wide = await operatorKey();
    const refused = await post(`${wide.path}/rotate`, key);
    expect([refused.status, refused.body.code]).toEqual([403, 'forbidden']);
    expect((await api.call('GET', '/v1/me', { key: wide.key })).status).toBe(200);
    const own = await post(`${path}/rotate`, key);
    expect([own.status, (own.body.api_key as { scopes: string[] }).scopes]).toEqual([
      201,
      ['keys:write', 'keys:read'],
    ]);
  });

  test('makes and rotates no key that outlives it', async () => {
    const end = new Date(Date.now() + HOUR_MS);
    const { key, path } = await operatorKey({ expiresAt: end });
    const made = await post('/v1/api-keys', key, { role: 'operator', name: 'n' });
    expect([made.status, expiryOf(made)]).toEqual([201, end.getTime()]);
    const rotated = await post(`${path}/rotate`, key, { grace_seconds: 60 });
    expect([rotated.status, expiryOf(rotated)]).toEqual([201, end.getTime()]);
    const later = { expires_at: new Date(end.getTime() + DAY_MS).toISOString() };
    for (const [url, json] of [
      ['/v1/api-keys', { role: 'operator', name: 'n', ...later }],
      [`${path}/rotate`, later],
    ] as const) {
      const refused = await post(url, key, json);
      expect([url, refused.status, refused.body.field]).toEqual([url, 422, 'expires_at']);
    }
  });

  test('makes no user, who would have neither scopes nor an end', async () => {
    const user = { email: 'me@example.com', name: 'Me', role: 'operator' };
    const affiliate = { ref_code: 'me', name: 'Me', email: 'me2@example.com' };
    const narrow = await operatorKey({ scopes: ['users:write', 'affiliates:write'] });
    const ending = await operatorKey({ expiresAt: new Date(Date.now() + HOUR_MS) });
    for (const { key } of [narrow, ending]) {
      expect((await post('/v1/users', key, user)).status).toBe(403);
      expect((await post('/v1/affiliates/invite', key, affiliate)).status).toBe(403);
    }
    expect((await post('/v1/users', (await operatorKey()).key, user)).status).toBe(201);
  });

  test('receives no event by a webhook that it may not read', async () => {
    const { key } = await operatorKey({ scopes: ['webhooks:write', 'conversions:read'] });
    const url = 'https://partner.example/';
    for (const events of [[], ['payout.created'], ['conversion.created', 'affiliate.created']]) {
      const refused = await post('/v1/webhooks', key, { url, events });
      expect([events, refused.status, refused.body.field]).toEqual([events, 422, 'events']);
    }
    expect((await post('/v1/webhooks', key, { url, events: ['conversion.created'] })).status).toBe(201);
    // Nor by leading somebody else's to an address of its own.
    const other = await post('/v1/webhooks', mine.keys.operator, { url });
    const path = `/v1/webhooks/${(other.body.webhook as { id: string }).id}`;
    const led = await api.call('PATCH', path, { key, json: { url: 'https://thief.example/' } });
    expect([led.status, led.body.field]).toEqual([422, 'events']);
  });
});

describe('the file of a report in the hands of somebody without the right to it', {
  tags: ['attack'],
}, () => {
  const REPORT = '/v1/report-jobs?from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z';

  async function downloadUrl(key: string): Promise<{ url: string; job: string }> {
    const started = await api.call('POST', REPORT, { key });
    expect(started.status).toBe(202);
    const job = String(started.body.id);
    const url = await waitFor(
      async () => {
        const { body } = await api.call('GET', `/v1/jobs/${job}`, { key });
        return (body.result as { download_url?: string } | null)?.download_url;
      },
      { deadlineMs: 20_000, what: 'the report' },
    );
    return { url, job };
  }

  test('a key without reports:read sees the job and not the link', async () => {
    const { url, job } = await downloadUrl(mine.keys.operator);
    const { key } = await operatorKey({ scopes: ['imports:read'] });
    const list = await api.call('GET', '/v1/jobs?kind=report', { key });
    expect(list.body.data).toContainEqual(expect.objectContaining({ id: job, state: 'done', result: null }));
    expect(list.text).not.toContain('signature=');
    const one = await api.call('GET', `/v1/jobs/${job}`, { key });
    expect([one.status, one.body.result]).toEqual([200, null]);
    expect((await api.call('GET', url)).status).toBe(200);
  });

  test('the link ends with the key that made it', async () => {
    const maker = await operatorKey();
    const { url } = await downloadUrl(maker.key);
    expect((await api.call('GET', url)).status).toBe(200);
    expect((await api.call('DELETE', maker.path, { key: mine.keys.operator })).status).toBe(204);
    expect((await api.call('GET', url)).status).toBe(404);
  });
});
