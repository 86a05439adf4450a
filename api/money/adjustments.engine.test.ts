import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { vestDue } from '../../ledger/books/commissions.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';

let api: TestApi;
let tenants = 0;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => await api?.stop());

const fresh = () => api.tenant(`tenant ${++tenants}`);

async function post(tenant: Tenant, path: string, json: object, headers: Record<string, string> = {}) {
  return await api.call('POST', path, { key: tenant.keys.finance, json, headers });
}

const adjust = (tenant: Tenant, kind: string, amount: string, headers?: Record<string, string>) =>
  post(
    tenant,
    `/v1/affiliates/aff_${tenant.affiliateId}/adjustments`,
    { kind, amount, currency: 'EUR', note: `a ${kind}` },
    headers,
  );

async function balance(tenant: Tenant, affiliateId = tenant.affiliateId): Promise<Record<string, string>> {
  const { body } = await api.call('GET', `/v1/affiliates/aff_${affiliateId}/balance`, {
    key: tenant.keys.operator,
  });
  const parts = Object.entries(body).filter(([name]) => name !== 'affiliate_id');
  return Object.fromEntries(
    parts.flatMap(([name, money]) => {
      const { amount } = money as { amount: string };
      return amount === '0.00' ? [] : [[name, amount]];
    }),
  );
}

async function earn(tenant: Tenant, affiliateId = tenant.affiliateId): Promise<void> {
  const orderId = randomUUID();
  await decideConversion(api.ledger, { tenant, orderId, affiliateId, outcome: 'attributed' });
}

async function vest(tenant: Tenant): Promise<void> {
  const { programId } = tenant;
  await vestDue(api.ledger, { now: new Date(Date.now() + 40 * 86_400_000), limit: 100, programId });
  await api.ledger`update commissions set available_at = now() where program_id = ${programId}`;
}

async function expectSoundBooks(): Promise<void> {
  expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

test('a bonus is paid by the next payout, and a deduction lessens it, each with its note in the statement', async () => {
  const tenant = await fresh();
  expect((await adjust(tenant, 'bonus', '25.00')).status).toBe(201);
  expect(await balance(tenant)).toEqual({ adjustments: '25.00' });
  const paid = await api.runPayouts(tenant.keys.finance);
  expect(paid.body).toMatchObject({ built: 1, submitted: 1 });
  expect(await balance(tenant)).toEqual({ in_transit: '25.00' });
  const [payout] = (await api.call('GET', '/v1/payouts', { key: tenant.keys.affiliate })).body.data as {
    id: string;
  }[];
  const items = await api.call('GET', `/v1/payouts/${payout?.id}/items`, { key: tenant.keys.affiliate });
  expect(items.body.data).toEqual([
    {
      kind: 'adjustment',
      commission_id: null,
      conversion_id: null,
      order_id: null,
      amount: { amount: '25.00', currency: 'EUR' },
    },
  ]);
  await post(tenant, `/v1/payouts/${payout?.id}/mark-paid`, {});
  await post(tenant, `/v1/payouts/${payout?.id}/return`, { failure: 'closed', account_refused: false });
  expect(await balance(tenant)).toEqual({ adjustments: '25.00' });
  await adjust(tenant, 'deduction', '40.00');
  expect(await balance(tenant)).toEqual({ adjustments: '-15.00' });
  await earn(tenant);
  await earn(tenant);
  await vest(tenant);
  expect((await api.runPayouts(tenant.keys.finance)).body).toMatchObject({ built: 1 });
  expect(await balance(tenant)).toEqual({ in_transit: '5.00' });
  const statement = await api.call('GET', `/v1/affiliates/aff_${tenant.affiliateId}/statement`, {
    key: tenant.keys.affiliate,
  });
  const lines = statement.body.data as { kind: string; note: string | null }[];
  expect(lines.filter(({ note }) => note !== null)).toMatchObject([
    { kind: 'bonus', note: 'a bonus', adjustments: { amount: '25.00' } },
    { kind: 'deduction', note: 'a deduction', adjustments: { amount: '-40.00' } },
  ]);
  const csv = await api.call('GET', `/v1/affiliates/aff_${tenant.affiliateId}/statement?format=csv`, {
    key: tenant.keys.affiliate,
  });
  expect(csv.text).toContain(',-40.00,"a deduction"\r\n');
  const listed = await api.call('GET', `/v1/affiliates/aff_${tenant.affiliateId}/adjustments`, {
    key: tenant.keys.affiliate,
  });
  expect(listed.body.data).toMatchObject([{ kind: 'deduction' }, { kind: 'bonus' }]);
  const log = await api.call(
    'GET',
    `/v1/audit-log?subject=aff_${tenant.affiliateId}&action=affiliate.bonus`,
    {
      key: tenant.keys.operator,
    },
  );
  expect(log.body.data).toMatchObject([{ after: { amount: { amount: '25.00' }, note: 'a bonus' } }]);
  await expectSoundBooks();
});

test('a repeated request gives one bonus, and who may not is refused', async () => {
  const tenant = await fresh();
  const headers = { 'idempotency-key': randomUUID() };
  const [first, again] = [
    await adjust(tenant, 'bonus', '5.00', headers),
    await adjust(tenant, 'bonus', '5.00', headers),
  ];
  expect(again.body).toEqual(first.body);
  expect(await balance(tenant)).toEqual({ adjustments: '5.00' });
  const path = `/v1/affiliates/aff_${tenant.affiliateId}/adjustments`;
  const json = { kind: 'bonus', amount: '5.00', currency: 'EUR', note: 'for me' };
  expect((await api.call('POST', path, { key: tenant.keys.affiliate, json })).status).toBe(403);
  expect((await post(tenant, path, { ...json, amount: '0.00' })).body.field).toBe('amount');
  expect((await post(tenant, path, { ...json, currency: 'USD' })).body.field).toBe('currency');
  const foreign = await fresh();
  expect((await post(foreign, path, json)).status).toBe(404);
});

test('a payout takes no more of a bonus than the provider pays at once, and none that owes', async () => {
  const tenant = await fresh();
  await adjust(tenant, 'deduction', '3.00');
  const preview = await api.call('GET', '/v1/payouts/preview', { key: tenant.keys.finance });
  expect(preview.body).toMatchObject({
    payouts: 0,
    left_out: [{ reason: 'debt', adjustments: { amount: '-3.00' } }],
  });
});

test('a terminated affiliate forfeits all that is not paid, what comes later stays even', async () => {
  const tenant = await fresh();
  await earn(tenant);
  await vest(tenant);
  await earn(tenant);
  await adjust(tenant, 'bonus', '2.00');
  const path = `/v1/affiliates/aff_${tenant.affiliateId}/forfeit`;
  const json = { note: 'breach of the terms' };
  expect((await post(tenant, path, json)).body).toMatchObject({ code: 'wrong_state', state: 'active' });
  await api.call('POST', `/v1/affiliates/aff_${tenant.affiliateId}/terminate`, {
    key: tenant.keys.operator,
    json: { note: 'breach' },
  });
  const forfeited = await post(tenant, path, json);
  expect([forfeited.status, forfeited.body.amount]).toEqual([201, { amount: '-22.00', currency: 'EUR' }]);
  expect(await balance(tenant)).toEqual({ pending: '10.00', available: '10.00', adjustments: '-20.00' });
  expect((await post(tenant, path, json)).body.code).toBe('wrong_state');
  await vest(tenant);
  const one = `?affiliate_id=aff_${tenant.affiliateId}`;
  const preview = await api.call('GET', `/v1/payouts/preview${one}`, { key: tenant.keys.finance });
  expect(preview.body).toMatchObject({ payouts: 0 });
  await expectSoundBooks();
});

test('a payout under way is closed before anything is forfeited', async () => {
  const tenant = await fresh();
  await adjust(tenant, 'bonus', '2.00');
  await api.runPayouts(tenant.keys.finance);
  await api.call('POST', `/v1/affiliates/aff_${tenant.affiliateId}/terminate`, {
    key: tenant.keys.operator,
    json: { note: 'breach' },
  });
  const refused = await post(tenant, `/v1/affiliates/aff_${tenant.affiliateId}/forfeit`, { note: 'x' });
  expect([refused.status, refused.body.detail]).toEqual([409, expect.stringContaining('submitted')]);
});
