import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { forgetIdempotencyKeys } from '../../ledger/access/idempotency.ts';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';

let api: TestApi;
let mine: Tenant;
let foreign: Tenant;

beforeAll(async () => {
  api = await startTestApi();
  mine = await api.tenant('mine');
  foreign = await api.tenant('foreign');
});
afterAll(async () => {
  await api?.stop();
});

function create(name: string, idempotencyKey: string, key = mine.keys.operator): Promise<Answer> {
  return api.call('POST', '/v1/campaigns', {
    key,
    json: { name },
    headers: { 'idempotency-key': idempotencyKey },
  });
}

async function campaignsNamed(name: string): Promise<number> {
  const { body } = await api.call('GET', '/v1/campaigns?limit=1000', { key: mine.keys.operator });
  return (body.data as { name: string }[]).filter((campaign) => campaign.name === name).length;
}

describe('an Idempotency-Key', () => {
  test('makes twenty requests at once one change, answered alike', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => create('once', 'k-1')));
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers[0]?.status).toBe(201);
    expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(19);
    expect(await campaignsNamed('once')).toBe(1);
  });

  test('with another request is refused, and says nothing of the first', async () => {
    await create('first', 'k-2');
    const other = await create('second', 'k-2');
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
    expect(await campaignsNamed('second')).toBe(0);
  });

  test('belongs to its caller', async () => {
    await create('shared', 'k-3');
    const theirs = await create('shared', 'k-3', foreign.keys.operator);
    expect([theirs.status, theirs.body.program_id]).toEqual([201, `prg_${foreign.programId}`]);
  });

  test('of a request that failed is free again', async () => {
    const json = { ref_code: 'idem', name: 'x', email: 'x@example.com', parent_id: 'aff_2000000000' };
    const call = { key: mine.keys.operator, headers: { 'idempotency-key': 'k-4' } };
    expect((await api.call('POST', '/v1/affiliates', { ...call, json })).status).toBe(422);
    const { parent_id: _, ...right } = json;
    expect((await api.call('POST', '/v1/affiliates', { ...call, json: right })).status).toBe(201);
  });

  test('shows the new key again when its request is repeated, and is stored encrypted', async () => {
    const call = {
      key: api.operatorKey,
      json: { role: 'fraud', name: 'f' },
      headers: { 'idempotency-key': 'k-5' },
    };
    const [first, again] = [
      await api.call('POST', '/v1/api-keys', call),
      await api.call('POST', '/v1/api-keys', call),
    ];
    expect(again.text).toBe(first.text);
    const [row] = await api.ledger<
      { answer: Buffer }[]
    >`select answer from idempotency_keys where key = 'k-5'`;
    expect(row?.answer.includes(String(first.body.key))).toBe(false);
    await forgetIdempotencyKeys(api.ledger, { before: new Date(Date.now() + 1_000) });
    expect((await api.call('POST', '/v1/api-keys', call)).text).not.toBe(first.text);
  });

  test('is visible ASCII', async () => {
    for (const key of ['a b', 'x'.repeat(256)]) {
      const answer = await create('never', key);
      expect([answer.status, answer.body.field]).toEqual([422, 'idempotency-key']);
    }
  });

  test('makes one job of a repeated import or report, and one answer of a repeated batch', async () => {
    const key = mine.keys.operator;
    const twice = async (path: string, call: object) => {
      const headers = { 'idempotency-key': 'k-jobs', 'content-type': 'text/csv' };
      const send = () => api.call('POST', path, { key, headers, ...call });
      const [first, again] = [await send(), await send()];
      expect([again.status, again.body]).toEqual([first.status, first.body]);
      expect(again.headers.get('idempotent-replayed')).toBe('true');
      return first;
    };
    const month = 'from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z';
    const jobs = [
      await twice('/v1/imports?kind=affiliates', { raw: 'ref_code,name,email\nidem-job,A,a@example.com' }),
      await twice(`/v1/report-jobs?${month}`, { headers: { 'idempotency-key': 'k-report' } }),
    ];
    expect(jobs.map(({ status }) => status)).toEqual([202, 202]);
    const { body } = await api.call('GET', '/v1/jobs', { key });
    expect((body.data as unknown[]).length).toBe(2);
    const other = { 'idempotency-key': 'k-jobs', 'content-type': 'text/csv' };
    const reused = await api.call('POST', '/v1/imports?kind=affiliates', {
      key,
      headers: other,
      raw: 'ref_code,name,email\nidem-other,A,a@example.com',
    });
    expect(reused.body.code).toBe('idempotency_key_reused');

    const conversions = [{ order_id: 'idem-batch', amount: '1', currency: 'EUR' }];
    const batch = await twice('/v1/conversions/batch', {
      json: { conversions },
      headers: { 'idempotency-key': 'k-batch' },
    });
    expect(batch.body).toMatchObject({ accepted: 1, duplicate: 0 });
  });
});

describe('If-Match', () => {
  test('lets one of two who read the same thing change it', async () => {
    const path = `/v1/campaigns/cmp_${mine.campaignId}`;
    const key = mine.keys.operator;
    const etag = (await api.call('GET', path, { key })).headers.get('etag') ?? '';
    expect(etag).toMatch(/^"[\w-]{22}"$/);
    const change = (name: string) =>
      api.call('PATCH', path, { key, json: { name }, headers: { 'if-match': etag } });
    const answers = await Promise.all([change('one'), change('two'), change('three')]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412]);
    const refused = answers.find(({ status }) => status === 412);
    const present = await api.call('GET', path, { key });
    expect(refused?.body.code).toBe('precondition_failed');
    expect(refused?.headers.get('etag')).toBe(present.headers.get('etag'));
    expect(answers.find(({ status }) => status === 200)?.headers.get('etag')).toBe(
      present.headers.get('etag'),
    );
    const anyway = { key, json: { name: 'four' }, headers: { 'if-match': '*' } };
    expect((await api.call('PATCH', path, anyway)).status).toBe(200);
  });

  test('is compared by every route that updates', async () => {
    const { body } = await api.call('GET', '/openapi.json');
    const paths = body.paths as Record<string, Record<string, { parameters?: { name: string }[] }>>;
    const without = Object.entries(paths).filter(([, methods]) => {
      const update = methods.patch ?? methods.put;
      return update && !update.parameters?.some(({ name }) => name === 'if-match');
    });
    expect(without.map(([path]) => path)).toEqual([]);
  });
});

describe('the audit log', () => {
  test('tells who changed what, from what, to what, within the program', async () => {
    const path = `/v1/affiliates/aff_${mine.otherAffiliateId}`;
    await api.call('PATCH', path, { key: mine.keys.operator, json: { status: 'suspended' } });
    const subject = `aff_${mine.otherAffiliateId}`;
    const { body } = await api.call('GET', `/v1/audit-log?subject=${subject}`, { key: mine.keys.fraud });
    const [entry] = body.data as Record<string, unknown>[];
    expect(entry).toMatchObject({
      action: 'affiliate.update',
      actor: expect.stringMatching(/^key:\d+$/),
      program_id: `prg_${mine.programId}`,
      before: { status: 'active' },
      after: { status: 'suspended' },
    });
    const theirs = await api.call('GET', `/v1/audit-log?subject=${subject}`, { key: foreign.keys.operator });
    expect(theirs.body.data).toEqual([]);
  });

  test('is not written when the change fails', async () => {
    const count = async () => (await api.ledger<{ n: bigint }[]>`select count(*) as n from audit_log`)[0]?.n;
    const before = await count();
    const path = `/v1/affiliates/aff_${mine.affiliateId}`;
    const json = { parent_id: `aff_${mine.affiliateId}` };
    expect((await api.call('PATCH', path, { key: mine.keys.operator, json })).status).toBe(422);
    expect(await count()).toBe(before);
  });
});

describe('keys', () => {
  test('with scopes do what their scopes say, and make none that do more', async () => {
    const json = { role: 'operator', name: 'narrow', scopes: ['campaigns:read', 'keys:write'] };
    const made = await api.call('POST', '/v1/api-keys', { key: mine.keys.operator, json });
    const key = String(made.body.key);
    expect((await api.call('GET', '/v1/campaigns', { key })).status).toBe(200);
    for (const [method, path] of [
      ['POST', '/v1/campaigns'],
      ['GET', '/v1/links'],
      ['GET', '/v1/api-keys'],
    ] as const) {
      expect([path, (await api.call(method, path, { key })).status]).toEqual([path, 403]);
    }
    for (const scopes of [undefined, ['links:read'], ['campaigns:read', 'links:read']]) {
      const wider = await api.call('POST', '/v1/api-keys', { key, json: { ...json, scopes } });
      expect([wider.status, wider.body.field]).toEqual([422, 'scopes']);
    }
    const same = await api.call('POST', '/v1/api-keys', {
      key,
      json: { ...json, scopes: ['campaigns:read'] },
    });
    expect(same.status).toBe(201);
  });

  test('of an affiliate make keys of that affiliate only', async () => {
    const key = mine.keys.affiliate;
    const own = await api.call('POST', '/v1/api-keys', { key, json: { role: 'affiliate', name: 'mine' } });
    expect(own.body.api_key).toMatchObject({ affiliate_id: `aff_${mine.affiliateId}`, role: 'affiliate' });
    const operator = await api.call('POST', '/v1/api-keys', { key, json: { role: 'operator', name: 'x' } });
    expect(operator.status).toBe(403);
    const json = { role: 'affiliate', name: 'x', affiliate_id: `aff_${mine.otherAffiliateId}` };
    expect((await api.call('POST', '/v1/api-keys', { key, json })).status).toBe(403);
    const { body } = await api.call('GET', '/v1/api-keys', { key });
    const owners = (body.data as { affiliate_id: string }[]).map((listed) => listed.affiliate_id);
    expect(new Set(owners)).toEqual(new Set([`aff_${mine.affiliateId}`]));
  });

  test('rotate: the old one works on for the grace it was given', async () => {
    const call = { key: mine.keys.operator };
    const made = await api.call('POST', '/v1/api-keys', { ...call, json: { role: 'fraud', name: 'old' } });
    const old = made.body as { key: string; api_key: { id: string } };
    const rotated = await api.call('POST', `/v1/api-keys/${old.api_key.id}/rotate`, call);
    expect(rotated.body.api_key).toMatchObject({ replaces: old.api_key.id, role: 'fraud', name: 'old' });
    for (const key of [old.key, String(rotated.body.key)]) {
      expect((await api.call('GET', '/v1/me', { key })).status).toBe(200);
    }
    const json = { grace_seconds: 0 };
    expect((await api.call('POST', `/v1/api-keys/${old.api_key.id}/rotate`, { ...call, json })).status).toBe(
      201,
    );
    expect((await api.call('GET', '/v1/me', { key: old.key })).status).toBe(401);
    const gone = await api.call('POST', `/v1/api-keys/${old.api_key.id}/rotate`, call);
    expect(gone.status).toBe(404);
  });
});
