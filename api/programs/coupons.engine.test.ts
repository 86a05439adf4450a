import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';

let api: TestApi;
let shop: Tenant;
let key: string;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  key = shop.keys.operator;
});
afterAll(async () => await api?.stop());

const affiliate = (id: number) => `aff_${id}`;

async function create(code: string, more: object = {}) {
  const json = { affiliate_id: affiliate(shop.affiliateId), code, ...more };
  return await api.call('POST', '/v1/coupons', { key, json });
}

async function actionsOf(id: unknown): Promise<unknown[]> {
  const { body } = await api.call('GET', `/v1/audit-log?subject=${id}`, { key });
  return (body.data as { action: string }[]).map(({ action }) => action).toReversed();
}

test('an operator gives, changes and withdraws codes, and the audit log has it', async () => {
  const made = await create('Spring10', { valid_until: '2100-01-01T00:00:00Z' });
  expect(made.status).toBe(201);
  expect(made.body).toMatchObject({
    code: 'Spring10',
    campaign_id: `cmp_${shop.campaignId}`,
    valid_from: null,
    withdrawn_at: null,
  });
  const { id } = made.body;
  const taken = await create('SPRING10', {
    affiliate_id: affiliate(shop.otherAffiliateId),
    valid_from: null,
  });
  expect([taken.status, taken.body.errors]).toMatchObject([422, [{ field: 'code' }]]);
  const changed = await api.call('PATCH', `/v1/coupons/${id}`, { key, json: { valid_until: null } });
  expect([changed.status, changed.body.valid_until]).toEqual([200, null]);
  const stale = await api.call('PATCH', `/v1/coupons/${id}`, {
    key,
    json: { valid_until: '2099-01-01T00:00:00Z' },
    headers: { 'if-match': made.headers.get('etag') ?? '"x"' },
  });
  expect(stale.status).toBe(412);
  const withdrawn = await api.call('POST', `/v1/coupons/${id}/withdraw`, { key });
  expect([withdrawn.status, withdrawn.body.withdrawn_at]).toEqual([200, expect.any(String)]);
  const again = await api.call('POST', `/v1/coupons/${id}/withdraw`, { key });
  expect([again.status, again.body]).toEqual([200, withdrawn.body]);
  const late = await api.call('PATCH', `/v1/coupons/${id}`, { key, json: { valid_until: null } });
  expect([late.status, late.body.code]).toEqual([409, 'wrong_state']);
  const next = await create('spring10', { affiliate_id: affiliate(shop.otherAffiliateId) });
  expect([next.status, next.body.valid_from]).toEqual([201, expect.any(String)]);
  expect(await actionsOf(id)).toEqual(['coupon.create', 'coupon.update', 'coupon.withdraw']);
});

test('bad codes are refused by name', async () => {
  for (const code of ['', ' ', 'A\u200bB', 'A,B', 'x'.repeat(65), 'a\nb']) {
    const answer = await create(code);
    expect([code, answer.status, answer.body.errors]).toMatchObject([code, 422, [{ field: 'code' }]]);
  }
  const foreign = await api.tenant('foreign');
  const theirs = await create('THEIRS', { affiliate_id: affiliate(foreign.affiliateId) });
  expect([theirs.status, theirs.body.errors]).toMatchObject([422, [{ field: 'affiliate_id' }]]);
  const campaign = await create('CMP', { campaign_id: `cmp_${foreign.campaignId}` });
  expect([campaign.status, campaign.body.errors]).toMatchObject([422, [{ field: 'campaign_id' }]]);
  const span = await create('SPAN', {
    valid_from: '2026-02-01T00:00:00Z',
    valid_until: '2026-01-01T00:00:00Z',
  });
  expect([span.status, span.body.errors]).toMatchObject([422, [{ field: 'valid_until' }]]);
});

test('an affiliate lists its own codes, page by page, and makes none', async () => {
  await create('Mine');
  await create('Mine too');
  await create('Of another', { affiliate_id: affiliate(shop.otherAffiliateId) });
  const own = await api.call('GET', '/v1/coupons?limit=1', { key: shop.keys.affiliate });
  const rest = await api.call('GET', `/v1/coupons?limit=100&cursor=${own.body.next_cursor}`, {
    key: shop.keys.affiliate,
  });
  const seen = [...(own.body.data as object[]), ...(rest.body.data as object[])] as Record<string, string>[];
  expect(new Set(seen.map(({ affiliate_id }) => affiliate_id))).toEqual(
    new Set([affiliate(shop.affiliateId)]),
  );
  expect(seen.map(({ code }) => code)).toEqual(expect.arrayContaining(['Mine', 'Mine too']));
  const { key: other } = await createApiKey(api.ledger, {
    role: 'affiliate',
    name: 'other',
    programId: shop.programId,
    affiliateId: shop.otherAffiliateId,
  });
  expect((await api.call('GET', `/v1/coupons/${seen[0]?.id}`, { key: other })).status).toBe(404);
  const json = { affiliate_id: affiliate(shop.affiliateId), code: 'Self' };
  expect((await api.call('POST', '/v1/coupons', { key: shop.keys.affiliate, json })).status).toBe(403);
  const found = await api.call('GET', '/v1/coupons?code=%20MINE%20', { key });
  expect(found.body.data).toMatchObject([{ code: 'Mine' }]);
});

async function imported(csv: string, dryRun: boolean) {
  const started = await api.call('POST', `/v1/imports?kind=coupons&dry_run=${dryRun}`, {
    key,
    raw: csv,
    headers: { 'content-type': 'text/csv' },
  });
  expect(started.status).toBe(202);
  return await waitFor(
    async () => {
      const { body } = await api.call('GET', `/v1/jobs/${started.body.id}`, { key });
      return body.state === 'running' ? undefined : (body.result as Record<string, unknown>);
    },
    { deadlineMs: 20_000, what: 'the import' },
  );
}

test('codes come by CSV, each row by itself, and a dry run writes nothing', async () => {
  const csv = [
    'affiliate_ref_code,code,valid_from,valid_until',
    'first,CSV1,,',
    'first,csv1,,',
    'missing,CSV2,,',
    'other,CSV3,2026-01-01T00:00:00Z,2027-01-01T00:00:00Z',
    'other,"CSV,4",,',
  ].join('\n');
  const refused = [
    { line: 3, field: 'code' },
    { line: 4, field: 'affiliate_ref_code' },
    { line: 6, field: 'code' },
  ];
  expect(await imported(csv, true)).toMatchObject({
    dry_run: true,
    taken: 2,
    refused: 3,
    refused_rows: refused,
  });
  expect((await api.call('GET', '/v1/coupons?code=csv1', { key })).body.data).toEqual([]);
  expect(await imported(csv, false)).toMatchObject({ dry_run: false, taken: 2, refused: 3 });
  expect((await api.call('GET', '/v1/coupons?code=csv3', { key })).body.data).toMatchObject([
    { affiliate_id: affiliate(shop.otherAffiliateId), valid_until: '2027-01-01T00:00:00.000Z' },
  ]);
});

test('which of click and coupon wins is a setting of the program', async () => {
  const path = `/v1/programs/prg_${shop.programId}`;
  const before = await api.call('GET', path, { key });
  expect(before.body.coupon_evidence).toBe('coupon_wins');
  const changed = await api.call('PATCH', path, { key, json: { coupon_evidence: 'click_wins' } });
  expect(changed.body).toMatchObject({
    coupon_evidence: 'click_wins',
    rules_version: Number(before.body.rules_version) + 1,
  });
  const seen = await api.call('GET', path, { key: shop.keys.affiliate });
  expect(seen.body.coupon_evidence).toBeUndefined();
});
