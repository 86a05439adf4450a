import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { setTerms } from '../../ledger/programs/terms.ts';
import {
  type Answer,
  decideConversion,
  startTestApi,
  type Tenant,
  type TestApi,
} from '../../test/support/api.ts';

let api: TestApi;
let tenant: Tenant;
let tenants = 0;

beforeAll(async () => {
  api = await startTestApi();
});
beforeEach(async () => {
  tenant = await api.tenant(`tenant ${++tenants}`);
});
afterAll(async () => {
  await api?.stop();
});

function post(path: string, json?: unknown, key = tenant.keys.operator): Promise<Answer> {
  return api.call('POST', path, { key, ...(json !== undefined && { json }) });
}

function decide(outcome: 'attributed' | 'review'): Promise<bigint> {
  return decideConversion(api.ledger, { tenant, orderId: 'o', affiliateId: tenant.affiliateId, outcome });
}

async function balance(): Promise<Record<string, string>> {
  const path = `/v1/affiliates/aff_${tenant.affiliateId}/balance`;
  const { body } = await api.call('GET', path, { key: tenant.keys.affiliate });
  const { affiliate_id: _, ...accounts } = body as Record<string, { amount: string }>;
  return Object.fromEntries(Object.entries(accounts).map(([name, money]) => [name, money.amount]));
}

describe('a conversion in review', () => {
  const note = { note: 'looked at it' };

  test('is approved once, by the operator or the fraud team', async () => {
    const path = `/v1/conversions/cnv_${await decide('review')}`;
    const seen = await api.call('GET', path, { key: tenant.keys.affiliate });
    expect(seen.body).toMatchObject({ state: 'review', reason: 'unusual_traffic' });
    expect(seen.text).not.toMatch(/instant_conversion|threshold/);
    const full = await api.call('GET', path, { key: tenant.keys.fraud });
    expect(full.body).toMatchObject({ reason: 'instant_conversion', evidence: { secret: 'threshold' } });
    const approved = await post(`${path}/approve`, note, tenant.keys.fraud);
    expect([approved.status, approved.body.state]).toEqual([200, 'attributed']);
    const again = await post(`${path}/approve`, note);
    expect([again.status, again.body.code, again.body.state]).toEqual([409, 'wrong_state', 'attributed']);
    expect(await balance()).toMatchObject({ pending: '10.00' });
  });

  test('has its exact reason for those alone who see the evidence, by every way to it', async () => {
    const id = await decide('review');
    const { operator, fraud, finance, advertiser, affiliate } = tenant.keys;
    for (const [key, reason] of [
      [operator, 'instant_conversion'],
      [fraud, 'instant_conversion'],
      [finance, 'unusual_traffic'],
      [advertiser, 'unusual_traffic'],
      [affiliate, 'unusual_traffic'],
    ] as const) {
      const one = await api.call('GET', `/v1/conversions/cnv_${id}`, { key });
      expect(one.body.reason).toBe(reason);
      const list = await api.call('GET', '/v1/conversions', { key });
      expect(list.body.data).toMatchObject([{ reason }]);
      const csv = await api.call('GET', '/v1/conversions.csv', { key });
      expect(csv.text).toContain(reason);
      if (reason === 'unusual_traffic') expect(csv.text).not.toContain('instant_conversion');
    }
    const order = { order_id: 'o', amount: '100.00', currency: 'EUR', customer_id: 'customer-7' };
    const postback = await api.call('GET', `/postback?key=${advertiser}&${new URLSearchParams(order)}`);
    expect(postback.body).toMatchObject({ status: 'duplicate', reason: 'unusual_traffic' });
    const report = await post('/v1/conversions', order, advertiser);
    expect(report.body.conversion).toMatchObject({ reason: 'unusual_traffic' });
    const differs = await post('/v1/conversions', { ...order, amount: '99.00' }, advertiser);
    expect(differs.body).toMatchObject({ code: 'conflict', recorded: { reason: 'unusual_traffic' } });
  });

  test('is rejected, and earns nothing', async () => {
    const path = `/v1/conversions/cnv_${await decide('review')}`;
    expect((await post(`${path}/reject`)).body.field).toBe('body');
    expect((await post(`${path}/reject`, { note: '' })).body.field).toBe('note');
    const rejected = await post(`${path}/reject`, note);
    expect(rejected.body).toMatchObject({ state: 'rejected', status: 'rejected' });
    expect(await balance()).toMatchObject({ pending: '0.00', available: '0.00' });
    expect((await post(`${path}/confirm`)).body.code).toBe('wrong_state');
  });
});

describe('a payout', () => {
  async function payout(): Promise<string> {
    const id = await decide('attributed');
    expect(await balance()).toMatchObject({ pending: '10.00', available: '0.00' });
    expect((await post(`/v1/conversions/cnv_${id}/confirm`)).status).toBe(200);
    expect(await balance()).toMatchObject({ pending: '0.00', available: '10.00' });
    const { preview } = (await api.call('GET', '/v1/payouts/preview', { key: tenant.keys.finance })).body;
    const runs = await Promise.all(
      [1, 2, 3, 4].map(() => post('/v1/payouts/run', { preview }, tenant.keys.finance)),
    );
    expect(runs.map(({ status }) => status).toSorted()).toEqual([200, 409, 409, 409]);
    const done = runs.find(({ status }) => status === 200)?.body;
    expect(done).toMatchObject({ built: 1, submitted: 1, payouts: [{ state: 'submitted' }] });
    const { body } = await api.call('GET', '/v1/payouts', { key: tenant.keys.affiliate });
    const [made, ...others] = body.data as { id: string; amount: object; state: string }[];
    expect(others).toEqual([]);
    expect(made).toMatchObject({ amount: { amount: '10.00', currency: 'EUR' }, state: 'submitted' });
    expect(await balance()).toMatchObject({ available: '0.00', in_transit: '10.00' });
    return `/v1/payouts/${made?.id}`;
  }

  test('is made once by runs at once, and settled once', async () => {
    const path = await payout();
    const settled = await post(`${path}/mark-paid`, undefined, tenant.keys.finance);
    expect(settled.body).toMatchObject({ state: 'paid', closed_at: expect.any(String) });
    expect((await post(`${path}/mark-paid`)).body).toMatchObject({ code: 'wrong_state', state: 'paid' });
    expect(await balance()).toMatchObject({ in_transit: '0.00', paid: '10.00', available: '0.00' });
    const { body } = await api.call('GET', '/v1/commissions?state=paid', { key: tenant.keys.affiliate });
    expect(body.data).toMatchObject([{ level: 1, amount: { amount: '10.00', currency: 'EUR' } }]);
  });

  test('that fails gives its commissions back', async () => {
    const path = await payout();
    const failed = await post(`${path}/fail`, { failure: 'account closed' });
    expect(failed.body).toMatchObject({ state: 'failed', failure: 'account closed' });
    expect(await balance()).toMatchObject({ available: '10.00', in_transit: '0.00', paid: '0.00' });
  });
});

describe('a payout that cannot be made', () => {
  const PATH = () => `/v1/affiliates/aff_${tenant.affiliateId}/payout-method`;

  async function available(): Promise<void> {
    expect((await post(`/v1/conversions/cnv_${await decide('attributed')}/confirm`)).status).toBe(200);
  }

  test('names its reason in the preview, in the run, and to the affiliate', async () => {
    await available();
    await api.ledger`update payout_methods set kind = 'stripe' where affiliate_id = ${tenant.affiliateId}`;
    const { body } = await api.call('GET', '/v1/payouts/preview', { key: tenant.keys.finance });
    const reason = 'method_does_not_fit_provider';
    expect(body).toMatchObject({ payouts: 0, left_out: [{ reason }], left_out_total: 1 });
    const run = await api.runPayouts(tenant.keys.finance);
    expect(run.body).toMatchObject({ built: 0, payouts: [], left_out: [{ reason }], stopped: null });
    expect((await api.call('GET', PATH(), { key: tenant.keys.affiliate })).body).toMatchObject({
      blocked: reason,
      refused_at: null,
    });
  });

  test('because a payment failed waits until the account changes or an operator allows it', async () => {
    await available();
    const [payout] = (await api.runPayouts(tenant.keys.finance)).body.payouts as { id: string }[];
    const path = `/v1/payouts/${payout?.id}`;
    await api.ledger`delete from mails`;
    await post(`${path}/fail`, { failure: 'bad iban' });
    for (let i = 0; i < 3; i++) {
      const { body } = await api.runPayouts(tenant.keys.finance);
      expect(body).toMatchObject({ built: 0, left_out: [{ reason: 'method_refused' }] });
    }
    expect((await api.mails()).map(({ to, subject }) => [to, subject])).toEqual([
      ['first@example.com', 'A payment to you was refused'],
    ]);
    const seen = await api.call('GET', PATH(), { key: tenant.keys.affiliate });
    expect(seen.body).toMatchObject({ blocked: 'method_refused', refused_at: expect.any(String) });
    expect((await post(`${PATH()}/allow`, undefined, tenant.keys.affiliate)).status).toBe(403);
    expect((await post(`${PATH()}/allow`, undefined, tenant.keys.finance)).body).toMatchObject({
      blocked: null,
    });
    expect((await post(`${PATH()}/allow`)).body.code).toBe('wrong_state');
    expect((await api.runPayouts(tenant.keys.finance)).body).toMatchObject({ built: 1, submitted: 1 });
  });

  test('for a fault of the provider’s shows its words to operators, and neutral ones to affiliates', async () => {
    await available();
    const [payout] = (await api.runPayouts(tenant.keys.finance)).body.payouts as { id: string }[];
    const id = BigInt(String(payout?.id).slice('pay_'.length));
    await api.ledger`
      update payouts set state = 'failed', failure = 'the payment was refused', provider_failure = 'sk_live_1 expired'
      where id = ${id}`;
    const path = `/v1/payouts/${payout?.id}`;
    const forAffiliate = await api.call('GET', path, { key: tenant.keys.affiliate });
    expect(forAffiliate.body).toMatchObject({ failure: 'the payment was refused', provider_failure: null });
    const listed = await api.call('GET', '/v1/payouts', { key: tenant.keys.affiliate });
    expect(forAffiliate.text + listed.text).not.toContain('sk_live');
    const forFinance = await api.call('GET', path, { key: tenant.keys.finance });
    expect(forFinance.body).toMatchObject({ provider_failure: 'sk_live_1 expired' });
  });
});

test('a preview by a key that may only read leaves no journal', async () => {
  await decide('attributed');
  await api.ledger`
    update commissions set available_at = now() - interval '1 second' where program_id = ${tenant.programId}`;
  const { keys, programId } = tenant;
  const narrow = { role: 'finance', name: 'reader', scopes: ['money:read'] };
  const key = String((await post('/v1/api-keys', narrow)).body.key);
  const journals = async () => [
    ...(await api.ledger`select id, kind from journals where program_id = ${programId} order by id`),
  ];
  const before = await journals();
  const preview = await api.call('GET', '/v1/payouts/preview', { key });
  expect([preview.status, preview.body.total]).toEqual([200, { amount: '10.00', currency: 'EUR' }]);
  expect(await balance()).toMatchObject({ pending: '10.00', available: '0.00' });
  expect(await journals()).toEqual(before);
  expect((await post('/v1/payouts/run', { preview: preview.body.preview }, key)).status).toBe(403);
  const run = await post('/v1/payouts/run', { preview: preview.body.preview }, keys.finance);
  expect(run.body).toMatchObject({ vested: 1, built: 1, submitted: 1, left_out: [] });
});

test('one affiliate is paid now, below its minimum', async () => {
  const { affiliateId, programId } = tenant;
  await setTerms(api.ledger, { programId, holdDays: 0, payoutMinMinor: 100_000n });
  expect((await post(`/v1/conversions/cnv_${await decide('attributed')}/confirm`)).status).toBe(200);
  const key = tenant.keys.finance;
  const affiliate_id = `aff_${affiliateId}`;
  const everybody = await api.call('GET', '/v1/payouts/preview', { key });
  expect(everybody.body).toMatchObject({ payouts: 0, left_out: [{ affiliate_id, reason: 'below_minimum' }] });
  const { body } = await api.call('GET', `/v1/payouts/preview?affiliate_id=${affiliate_id}`, { key });
  expect(body).toMatchObject({ would_pay: [{ affiliate_id }], left_out: [] });
  const { preview } = body;
  expect((await post('/v1/payouts/run', { preview }, key)).body.code).toBe('preview_changed');
  const run = await post('/v1/payouts/run', { preview, affiliate_id }, key);
  expect(run.body).toMatchObject({ built: 1, payouts: [{ affiliate_id }] });
  const runs = await api.call('GET', '/v1/payout-runs', { key });
  expect(runs.body.data).toMatchObject([{ affiliate_id, payouts: 1 }]);
});

test('refunds are listed page by page, to whom they concern, in the currency they were reported in', async () => {
  const conversion = `cnv_${await decide('attributed')}`;
  await decideConversion(api.ledger, {
    tenant,
    orderId: 'of another',
    affiliateId: tenant.otherAffiliateId,
    outcome: 'attributed',
  });
  for (const [order_id, refund_ref, amount] of [
    ['o', 'r-1', '1.50'],
    ['of another', 'r-2', '2.00'],
    ['o', 'r-3', '3.00'],
  ]) {
    const json = { order_id, refund_ref, amount, currency: 'EUR' };
    expect((await post('/v1/refunds', json, tenant.keys.advertiser)).status).toBe(201);
  }
  type Listed = { refund_ref: string; id: string };
  const list = async (query: string, key: string) => {
    const { body } = await api.call('GET', `/v1/refunds?${query}`, { key });
    return { refs: (body.data as Listed[]).map(({ refund_ref }) => refund_ref), body };
  };
  const { keys } = tenant;
  const first = await list('limit=2', keys.operator);
  expect(first.refs).toEqual(['r-3', 'r-2']);
  const { refs, body } = await list(`limit=2&cursor=${first.body.next_cursor}`, keys.operator);
  expect([refs, body.next_cursor]).toEqual([['r-1'], null]);
  expect((body.data as unknown[])[0]).toMatchObject({
    conversion_id: conversion,
    order_id: 'o',
    affiliate_id: `aff_${tenant.affiliateId}`,
    program_id: `prg_${tenant.programId}`,
    amount: { amount: '1.50', currency: 'EUR' },
  });
  expect((await list('', keys.affiliate)).refs).toEqual(['r-3', 'r-1']);
  expect((await list(`conversion_id=${conversion}`, keys.finance)).refs).toEqual(['r-3', 'r-1']);
  expect((await list('order_id=of%20another', keys.advertiser)).refs).toEqual(['r-2']);
  expect((await list(`affiliate_id=aff_${tenant.otherAffiliateId}`, keys.fraud)).refs).toEqual(['r-2']);
  expect((await list('to=2026-01-01T00:00:00Z', keys.operator)).refs).toEqual([]);
  const other = await api.call('GET', `/v1/refunds?affiliate_id=aff_${tenant.otherAffiliateId}`, {
    key: keys.affiliate,
  });
  expect(other.status).toBe(403);
});
