import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey, listApiKeys } from '../../ledger/access/api-keys.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import {
  type Answer,
  decideConversion,
  startTestApi,
  type Tenant,
  type TestApi,
} from '../../test/support/api.ts';

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

function get(path: string, key?: string): Promise<Answer> {
  return api.call('GET', path, key === undefined ? {} : { key });
}

describe('keys', () => {
  test('missing, wrong, long, revoked and expired keys answer alike', async () => {
    const make = async (expiresAt?: Date) => {
      const made = await createApiKey(api.ledger, { role: 'operator', name: 'x', expiresAt });
      return { key: made.key, path: `/v1/api-keys/key_${made.apiKey.id}` };
    };
    const expired = await make(new Date(Date.now() - 1));
    const revoked = await make();
    expect((await get('/v1/me', revoked.key)).status).toBe(200);
    expect((await api.call('DELETE', revoked.path, { key: api.operatorKey })).status).toBe(204);
    const answers = await Promise.all([
      get('/v1/me'),
      get('/v1/me', 'afx_operator_wrong'),
      get('/v1/me', 'x'.repeat(10_000)),
      get('/v1/me', revoked.key),
      get('/v1/me', expired.key),
      api.call('GET', '/v1/me', { headers: { authorization: `Basic ${api.operatorKey}` } }),
      get(`/v1/me?key=${api.operatorKey}`),
      get(`/postback?order_id=1&amount=1&currency=EUR`),
      get(`/postback?key=wrong&order_id=1&amount=1&currency=EUR`),
      get(`/postback?key=a&key=b&order_id=1&amount=1&currency=EUR`),
    ]);
    for (const { status, headers, body } of answers) {
      expect([status, headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
      expect({ ...body, request_id: '' }).toEqual({ ...answers[0]?.body, request_id: '' });
    }
  });

  test('are asked for before a body is read', async () => {
    const raw = 'x'.repeat(100_000);
    expect((await api.call('POST', '/v1/conversions', { raw })).status).toBe(401);
  });

  test('are shown once and listed without what is secret', async () => {
    const json = { role: 'affiliate', name: 'site', affiliate_id: `aff_${mine.affiliateId}` };
    const created = await api.call('POST', '/v1/api-keys', { key: mine.keys.operator, json });
    expect(created.status).toBe(201);
    const key = created.body.key as string;
    expect((await get('/v1/me', key)).body).toMatchObject({
      role: 'affiliate',
      program_id: `prg_${mine.programId}`,
      affiliate_id: `aff_${mine.affiliateId}`,
    });
    const list = await get('/v1/api-keys', mine.keys.operator);
    expect(list.text).not.toContain(key);
    expect(list.text).not.toMatch(/hash/);
  });

  test('are looked for by their hash: no column of any table has one, nor a session, nor a password', async () => {
    const { key } = await createApiKey(api.ledger, {
      role: 'fraud',
      name: 'hashed',
      programId: mine.programId,
    });
    expect((await get('/v1/me', key)).status).toBe(200);
    const tables = await api.ledger<{ name: string }[]>`
      select quote_ident(table_name) as name from information_schema.tables
      where table_schema = 'public' and table_type = 'BASE TABLE'`;
    expect(tables.length).toBeGreaterThan(20);
    for (const { name } of tables) {
      const [row] = await api.ledger.unsafe(`select count(*) as n from ${name} t where t::text like $1`, [
        `%${key}%`,
      ]);
      expect([name, row?.n]).toEqual([name, 0n]);
    }
    // The whole hash is one look into an index: how far a guess is right does not show in the time it takes.
    const plan = await api.ledger.unsafe(
      `explain select from api_keys where key_hash = '\\x00' and revoked_at is null`,
    );
    expect(plan.map((line) => line['QUERY PLAN']).join(' ')).toMatch(/Index .*key_hash/);
  });

  test('of one program make and see keys of that program only', async () => {
    const json = { role: 'operator', name: 'wide' };
    const created = await api.call('POST', '/v1/api-keys', { key: mine.keys.operator, json });
    expect(created.body.api_key).toMatchObject({ program_id: `prg_${mine.programId}` });
    const asked = { ...json, program_id: `prg_${foreign.programId}` };
    expect((await api.call('POST', '/v1/api-keys', { key: mine.keys.operator, json: asked })).status).toBe(
      403,
    );
    const theirs = await listApiKeys(api.ledger, { programId: foreign.programId, limit: 100 });
    for (const { id } of theirs.rows) {
      const answer = await api.call('DELETE', `/v1/api-keys/key_${id}`, { key: mine.keys.operator });
      expect(answer.status).toBe(404);
    }
    const program = { name: 'another', currency: 'EUR' };
    expect((await api.call('POST', '/v1/programs', { key: mine.keys.operator, json: program })).status).toBe(
      403,
    );
  });

  test('a role may do what its routes say and no more', async () => {
    const { advertiser, affiliate, fraud, finance } = mine.keys;
    const forbidden: [string, string, string][] = [
      ['GET', '/v1/payouts', advertiser],
      ['GET', '/v1/affiliates', advertiser],
      ['GET', '/v1/affiliates', affiliate],
      ['GET', '/v1/api-keys', finance],
      ['GET', '/v1/audit-log', affiliate],
      ['POST', '/v1/conversions', affiliate],
      ['POST', '/v1/conversions/cnv_1/approve', affiliate],
      ['POST', '/v1/conversions/cnv_1/confirm', fraud],
      ['POST', '/v1/payouts/run', affiliate],
      ['POST', '/v1/payouts/run', advertiser],
      ['POST', '/v1/campaigns', affiliate],
      ['PATCH', `/v1/links/lnk_${mine.linkId}`, affiliate],
      ['POST', '/v1/terms', finance],
    ];
    for (const [method, path, key] of forbidden) {
      const answer = await api.call(method, path, { key });
      expect([method, path, answer.status]).toEqual([method, path, 403]);
    }
  });
});

/** A conversion, commission, payout and terms of the tenant's second affiliate: what its first must not see. */
async function creditOther(tenant: Tenant): Promise<{ conversionId: bigint; payoutId: bigint }> {
  const { ledger } = api;
  const { programId, otherAffiliateId: affiliateId } = tenant;
  await setTerms(ledger, { programId, affiliateId, rateBps: 2_000, payoutMinMinor: 0n });
  const conversionId = await decideConversion(ledger, {
    tenant,
    orderId: 'of-other',
    affiliateId,
    outcome: 'attributed',
  });
  const { keys } = tenant;
  const confirmed = await api.call('POST', `/v1/conversions/cnv_${conversionId}/confirm`, {
    key: keys.operator,
  });
  expect(confirmed.status).toBe(200);
  const run = await api.runPayouts(keys.finance);
  const [payout] = run.body.payouts as { id: string }[];
  return { conversionId, payoutId: BigInt(payout?.id.slice('pay_'.length) ?? 0) };
}

describe('an affiliate', { tags: ['attack'] }, () => {
  test('sees nothing of another affiliate of its program, and what it sees of its own is safe', async () => {
    const { conversionId, payoutId } = await creditOther(mine);
    const other = mine.otherAffiliateId;
    const otherLinks = await get(`/v1/links?affiliate_id=aff_${other}`, mine.keys.operator);
    const [link] = otherLinks.body.data as { id: string; code: string }[];
    const range = 'from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&group_by=affiliate';
    const byId = [
      `/v1/affiliates/aff_${other}`,
      `/v1/affiliates/aff_${other}/balance`,
      `/v1/links/${link?.id}`,
      `/v1/conversions/cnv_${conversionId}`,
      `/v1/payouts/pay_${payoutId}`,
      `/v1/programs/prg_${foreign.programId}`,
      `/v1/campaigns/cmp_${foreign.campaignId}`,
      `/v1/affiliates/aff_${foreign.affiliateId}`,
      `/v1/affiliates/aff_${foreign.affiliateId}/balance`,
      `/v1/links/lnk_${foreign.linkId}`,
    ];
    const lists = [
      '/v1/conversions',
      '/v1/commissions',
      `/v1/commissions?conversion_id=cnv_${conversionId}`,
      '/v1/payouts',
      '/v1/links',
      '/v1/terms',
      '/v1/programs',
      '/v1/campaigns',
      '/v1/api-keys',
      '/v1/webhooks',
      `/v1/reports?${range}`,
    ];
    const asking = [
      `/v1/conversions?affiliate_id=aff_${other}`,
      `/v1/commissions?affiliate_id=aff_${other}`,
      `/v1/payouts?affiliate_id=aff_${other}`,
      `/v1/links?affiliate_id=aff_${other}`,
      `/v1/reports?${range}&affiliate_id=aff_${other}`,
      `/v1/campaigns?program_id=prg_${foreign.programId}`,
      `/v1/terms?program_id=prg_${foreign.programId}`,
    ];
    const key = mine.keys.affiliate;
    for (const path of byId) {
      const answer = await get(path, key);
      expect([path, answer.status, answer.body.code]).toEqual([path, 404, 'not_found']);
      const nothing = await get(path.replace(/_\d+/, '_2000000000'), key);
      expect(nothing.body.detail).toBe(answer.body.detail);
    }
    for (const path of asking) expect([path, (await get(path, key)).status]).toEqual([path, 403]);
    for (const path of lists) {
      const answer = await get(path, key);
      expect([path, answer.status]).toEqual([path, 200]);
      for (const secret of [
        `"aff_${other}"`,
        `"prg_${foreign.programId}"`,
        'of-other',
        `"${link?.code}"`,
        '2000',
      ]) {
        expect([path, answer.text.includes(secret)]).toEqual([path, false]);
      }
    }
    // The same routes do show it to whom it belongs, so the silence above is not an empty table.
    const { key: owner } = await createApiKey(api.ledger, {
      role: 'affiliate',
      name: 'other',
      programId: mine.programId,
      affiliateId: other,
    });
    const own = await get(`/v1/conversions/cnv_${conversionId}`, owner);
    expect(own.body).toMatchObject({ order_id: 'of-other', state: 'attributed' });
    expect(own.text).not.toMatch(/threshold|customer-7/);
    expect((await get(`/v1/payouts/pay_${payoutId}`, owner)).body.amount).toEqual({
      amount: '10.00',
      currency: 'EUR',
    });
    const full = await get(`/v1/conversions/cnv_${conversionId}`, mine.keys.fraud);
    expect(full.body).toMatchObject({ evidence: { secret: 'threshold' }, customer_id: 'customer-7' });
  });

  test('makes links of its own in campaigns of its program', async () => {
    const key = mine.keys.affiliate;
    const json = { campaign_id: `cmp_${mine.campaignId}`, landing_url: 'https://shop.example/?c={click_id}' };
    const made = await api.call('POST', '/v1/links', { key, json });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      affiliate_id: `aff_${mine.affiliateId}`,
      url: `https://go.example/c/${made.body.code}`,
    });
    const asOther = { ...json, affiliate_id: `aff_${mine.otherAffiliateId}` };
    expect((await api.call('POST', '/v1/links', { key, json: asOther })).status).toBe(403);
    const elsewhere = { ...json, campaign_id: `cmp_${foreign.campaignId}` };
    const refused = await api.call('POST', '/v1/links', { key, json: elsewhere });
    expect([refused.status, refused.body.field]).toEqual([422, 'campaign_id']);
  });
});

describe('a key of one program', { tags: ['attack'] }, () => {
  test('finds nothing of another program, and changes nothing there', async () => {
    const operator = mine.keys.operator;
    const changes: [string, string, unknown][] = [
      ['PATCH', `/v1/programs/prg_${foreign.programId}`, { name: 'x' }],
      ['PATCH', `/v1/campaigns/cmp_${foreign.campaignId}`, { name: 'x' }],
      ['PATCH', `/v1/affiliates/aff_${foreign.affiliateId}`, { status: 'terminated' }],
      ['PATCH', `/v1/links/lnk_${foreign.linkId}`, { status: 'paused' }],
      ['POST', '/v1/refunds', { order_id: 'x', refund_ref: 'r', amount: '1', currency: 'EUR' }],
    ];
    for (const [method, path, json] of changes) {
      const answer = await api.call(method, path, { key: operator, json });
      expect([path, answer.status]).toEqual([path, 404]);
    }
    const terms = { program_id: `prg_${foreign.programId}`, rate_bps: 1 };
    expect((await api.call('POST', '/v1/terms', { key: operator, json: terms })).status).toBe(403);
    const { body } = await get(`/v1/affiliates/aff_${foreign.affiliateId}`, api.operatorKey);
    expect(body).toMatchObject({ status: 'active', name: 'foreign' });
  });

  test('cannot hang an affiliate under a parent of another program', async () => {
    const parent = await createAffiliate(api.ledger, {
      programId: foreign.programId,
      refCode: 'parent',
      name: 'parent',
      email: 'p@example.com',
    });
    const json = { ref_code: 'child', name: 'c', email: 'c@example.com', parent_id: `aff_${parent.id}` };
    const answer = await api.call('POST', '/v1/affiliates', { key: mine.keys.operator, json });
    expect([answer.status, answer.body.field]).toEqual([422, 'parent_id']);
  });
});
