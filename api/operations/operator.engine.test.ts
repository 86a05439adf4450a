import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => {
  await api?.stop();
});

function send(method: string, path: string, json?: unknown): Promise<Answer> {
  return api.call(method, path, { key: api.operatorKey, ...(json !== undefined && { json }) });
}

async function made(path: string, json: unknown): Promise<Record<string, unknown>> {
  const answer = await send('POST', path, json);
  expect([path, answer.status, answer.text.slice(0, answer.status === 201 ? 0 : 500)]).toEqual([
    path,
    201,
    '',
  ]);
  return answer.body;
}

describe('from nothing to a link', () => {
  test('everything a program needs is created, read, changed and logged', async () => {
    const program = await made('/v1/programs', { name: 'Shoes', currency: 'EUR' });
    const campaign = await made('/v1/campaigns', {
      program_id: program.id,
      name: 'Winter',
      landing_url: 'https://shop.example/',
      starts_at: '2026-11-01T00:00:00Z',
      cookie_days: 14,
    });
    const parent = await made('/v1/affiliates', {
      program_id: program.id,
      ref_code: 'parent',
      name: 'Parent',
      email: 'parent@example.com',
      status: 'active',
    });
    const child = await made('/v1/affiliates', {
      program_id: program.id,
      ref_code: 'child',
      name: 'Child',
      email: 'child@example.com',
      parent_id: parent.id,
    });
    expect(child).toMatchObject({ status: 'pending', approved_at: null, parent_id: parent.id });
    const approved = await send('PATCH', `/v1/affiliates/${child.id}`, { status: 'active' });
    expect(approved.body).toMatchObject({ status: 'active', approved_at: expect.any(String), name: 'Child' });
    const terms = await made('/v1/terms', {
      program_id: program.id,
      commission_type: 'hybrid',
      rate_bps: 512.5,
      fixed: { amount: '1.50', currency: 'EUR' },
      level_rates_bps: [212.35],
      hold_days: 14,
      payout_min: { amount: '25', currency: 'EUR' },
    });
    expect(terms).toMatchObject({
      rate_bps: 512.5,
      level_rates_bps: [212.35],
      fixed: { amount: '1.50', currency: 'EUR' },
      payout_min: { amount: '25.00', currency: 'EUR' },
      valid_to: null,
      attribution_model: 'last_click',
    });
    const link = await made('/v1/links', {
      campaign_id: campaign.id,
      affiliate_id: child.id,
      landing_url: 'https://shop.example/{sub1}?ref={click_id}',
      code: 'winter-child',
    });
    expect(link).toMatchObject({ url: 'https://go.example/c/winter-child', program_id: program.id });
    const paused = await send('PATCH', `/v1/links/${link.id}`, { status: 'paused' });
    expect(paused.body).toMatchObject({ ...link, status: 'paused' });
    const balance = await send('GET', `/v1/affiliates/${child.id}/balance`);
    expect(balance.body).toMatchObject({ pending: { amount: '0.00', currency: 'EUR' } });
    for (const path of [`/v1/programs/${program.id}`, `/v1/campaigns/${campaign.id}`]) {
      expect((await send('GET', path)).status).toBe(200);
    }
    const log = await api.ledger<
      { action: string; actor: string }[]
    >`select action, actor from audit_log order by id`;
    expect(log.map(({ action }) => action)).toEqual([
      'program.create',
      'campaign.create',
      'affiliate.create',
      'affiliate.create',
      'user.create',
      'affiliate.update',
      'terms.set',
      'link.create',
      'link.update',
    ]);
    expect(new Set(log.map(({ actor }) => actor))).toEqual(new Set(['key:1']));
  });
});

describe('what is saved is checked', () => {
  let tenant: Tenant;
  beforeAll(async () => {
    tenant = await api.tenant('checked');
  });

  test.each([
    'javascript:alert(1)',
    'data:text/html,x',
    '//shop.example/',
    'https://user:secret@shop.example/',
    'https://shop.example/\r\nSet-Cookie: a=b',
    'https://phish.example/',
    'https://shop.example/{unknown}',
    'https://{sub1}.example/',
    `https://shop.example/${'x'.repeat(2_000)}`,
    '',
  ])('a link does not lead to %j', async (landingUrl) => {
    const { campaignId, affiliateId, linkId } = tenant;
    const json = {
      campaign_id: `cmp_${campaignId}`,
      affiliate_id: `aff_${affiliateId}`,
      landing_url: landingUrl,
    };
    const created = await send('POST', '/v1/links', json);
    expect([created.status, created.body.field]).toEqual([422, 'landing_url']);
    const changed = await send('PATCH', `/v1/links/lnk_${linkId}`, { landing_url: landingUrl });
    expect([changed.status, changed.body.field]).toEqual([422, 'landing_url']);
    const { body } = await send('GET', `/v1/links/lnk_${linkId}`);
    expect(body.landing_url).toBe('https://shop.example/');
  });

  test.each([
    ['/v1/programs', { name: 'x', currency: 'EURO' }, 'currency'],
    ['/v1/programs', { name: 'x', currency: 'XXX' }, 'currency'],
    ['/v1/programs', { name: '', currency: 'EUR' }, 'name'],
    ['/v1/programs', { name: 'x', currency: 'EUR', id: 7 }, 'id'],
    ['/v1/programs', { name: 'x', currency: 'EUR', fallback_url: 'javascript:1' }, 'fallback_url'],
    ['/v1/campaigns', { name: 'x', program_id: 'prg_2000000000' }, 'program_id'],
    ['/v1/campaigns', { name: 'x' }, 'program_id'],
    ['/v1/terms', { program_id: 'PRG', rate_bps: 10_001 }, 'rate_bps'],
    ['/v1/terms', { program_id: 'PRG', rate_bps: 12.555 }, 'rate_bps'],
    ['/v1/terms', { program_id: 'PRG', rate_bps: '12.5' }, 'rate_bps'],
    ['/v1/terms', { program_id: 'PRG', level_rates_bps: [1, 0.001] }, 'level_rates_bps.1'],
    ['/v1/terms', { program_id: 'PRG', fixed: { amount: '1e3', currency: 'EUR' } }, 'fixed.amount'],
    ['/v1/terms', { program_id: 'PRG', fixed: { amount: '1', currency: 'USD' } }, 'fixed.currency'],
    ['/v1/affiliates', { program_id: 'PRG', ref_code: 'a b', name: 'x', email: 'x@y.z' }, 'ref_code'],
    ['/v1/affiliates', { program_id: 'PRG', ref_code: 'first', name: 'x', email: 'x@y.z' }, 'ref_code'],
    ['/v1/affiliates', { program_id: 'PRG', ref_code: 'mail', name: 'x', email: 'no address' }, 'email'],
    ['/v1/api-keys', { role: 'root', name: 'x' }, 'role'],
    ['/v1/api-keys', { role: 'affiliate', name: 'x', program_id: 'PRG' }, 'role'],
  ])('%s refuses %j', async (path, json, field) => {
    const text = JSON.stringify(json).replace('PRG', `prg_${tenant.programId}`);
    const answer = await send('POST', path, JSON.parse(text));
    expect([answer.status, answer.body.field]).toEqual([422, field]);
  });
});

test('lists are read page by page, each row once', async () => {
  const { programId } = await api.tenant('pages');
  const names = Array.from({ length: 7 }, (_, i) => `page ${i}`);
  for (const name of names) await made('/v1/campaigns', { program_id: `prg_${programId}`, name });
  const seen: string[] = [];
  let cursor = '';
  do {
    const { body } = await send('GET', `/v1/campaigns?program_id=prg_${programId}&limit=3${cursor}`);
    seen.push(...(body.data as { name: string }[]).map(({ name }) => name));
    cursor = body.next_cursor === null ? '' : `&cursor=${body.next_cursor}`;
  } while (cursor !== '');
  expect(seen).toEqual(['pages', ...names]);
});

describe('refunds', () => {
  let tenant: Tenant;
  beforeAll(async () => {
    tenant = await api.tenant('refunds');
    const json = { order_id: 'r1', amount: '100', currency: 'EUR' };
    await api.call('POST', '/v1/conversions', { key: tenant.keys.advertiser, json });
  });
  const refund = (json: object) =>
    api.call('POST', '/v1/refunds', { key: tenant.keys.advertiser, json: { currency: 'EUR', ...json } });

  test('count once by their reference and never exceed the order', async () => {
    const first = await refund({ order_id: 'r1', refund_ref: 'a', amount: '30' });
    expect(first.status).toBe(201);
    expect(first.body).toMatchObject({ status: 'recorded', refund: { amount: { amount: '30.00' } } });
    const { id } = first.body.conversion as { id: string };
    const again = await refund({ conversion_id: id, refund_ref: 'a', amount: '30' });
    expect([again.status, again.body.status]).toEqual([200, 'duplicate']);
    const other = await refund({ order_id: 'r1', refund_ref: 'a', amount: '31' });
    expect([other.status, other.body.code]).toEqual([409, 'conflict']);
    const more = await refund({ order_id: 'r1', refund_ref: 'b', amount: '70.01' });
    expect([more.status, more.body.field]).toEqual([422, 'amount']);
    const rest = await refund({ order_id: 'r1', refund_ref: 'b', amount: '70' });
    expect(rest.body.conversion).toMatchObject({ refunded: { amount: '100.00', currency: 'EUR' } });
  });

  test('at once with one reference make one', async () => {
    const json = { order_id: 'r2', amount: '100', currency: 'EUR' };
    await api.call('POST', '/v1/conversions', { key: tenant.keys.advertiser, json });
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => refund({ order_id: 'r2', refund_ref: 'a', amount: '10' })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(19).fill(200), 201]);
    const last = await refund({ order_id: 'r2', refund_ref: 'a', amount: '10' });
    expect(last.body.conversion).toMatchObject({ refunded: { amount: '10.00', currency: 'EUR' } });
  });

  test.each([
    [{ order_id: 'r1', refund_ref: 'x', amount: '0' }, 422, 'amount'],
    [{ order_id: 'r1', refund_ref: 'x', amount: '-1' }, 422, 'amount'],
    [{ order_id: 'r1', refund_ref: 'x', amount: '1', currency: 'USD' }, 422, 'currency'],
    [{ order_id: 'r1', amount: '1' }, 422, 'refund_ref'],
    [{ refund_ref: 'x', amount: '1' }, 422, 'order_id'],
    [{ order_id: 'r1', conversion_id: 'cnv_1', refund_ref: 'x', amount: '1' }, 422, 'order_id'],
    [{ order_id: 'unknown', refund_ref: 'x', amount: '1' }, 404, undefined],
    [{ conversion_id: 'cnv_9223372036854775807', refund_ref: 'x', amount: '1' }, 404, undefined],
  ])('%j is refused', async (json, status, field) => {
    const answer = await refund(json);
    expect([answer.status, answer.body.field]).toEqual([status, field]);
  });
});

test('terms that begin later are withdrawn once, in the audit log, and only before they begin', async () => {
  const mine = await api.tenant('terms');
  const key = mine.keys.operator;
  const from = new Date(Date.now() + 86_400_000).toISOString();
  const made = await api.call('POST', '/v1/terms', { key, json: { hold_days: 7, from } });
  expect(made.body).toMatchObject({
    valid_from: from,
    origins: { hold_days: 'named', payout_min: 'default' },
  });
  const path = `/v1/terms/${made.body.id}`;
  for (const _ of ['first', 'again']) expect((await api.call('DELETE', path, { key })).status).toBe(204);
  const { body } = await api.call('GET', `/v1/audit-log?subject=${made.body.id}`, { key });
  expect(body.data).toMatchObject([{ action: 'terms.withdraw' }, { action: 'terms.set' }]);
  const now = await api.call('POST', '/v1/terms', {
    key,
    json: { campaign_id: `cmp_${mine.campaignId}`, rate_bps: 1 },
  });
  expect(now.body.origins).toMatchObject({
    rate_bps: 'named',
    hold_days: expect.stringMatching(/^trm_\d+$/),
  });
  const late = await api.call('DELETE', `/v1/terms/${now.body.id}`, { key });
  expect([late.status, late.body.code]).toEqual([409, 'wrong_state']);
  const far = await api.call('POST', '/v1/terms', { key, json: { from: '2099-01-01T00:00:00Z' } });
  expect([far.status, far.body.field]).toEqual([422, 'from']);
});
