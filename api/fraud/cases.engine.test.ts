import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';

let api: TestApi;
let shop: Tenant;
let foreign: Tenant;
let key: string;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  foreign = await api.tenant('foreign');
  key = shop.keys.fraud;
});
afterAll(async () => await api?.stop());

async function reviewed(tenant = shop): Promise<string> {
  const { affiliateId } = tenant;
  const order = { tenant, orderId: randomUUID(), affiliateId, outcome: 'review' } as const;
  return `cnv_${await decideConversion(api.ledger, order)}`;
}

const post = async (path: string, json: object, as = key) => await api.call('POST', path, { key: as, json });

async function opened(ids: readonly string[]): Promise<string> {
  const { status, body } = await post('/v1/cases', { title: 'One visitor', conversion_ids: ids });
  expect(status).toBe(201);
  return `/v1/cases/${String(body.id)}`;
}

describe('a case', () => {
  test('is opened, read, noted, decided and found by its order', async () => {
    const [good, bad, kept] = [await reviewed(), await reviewed(), await reviewed()];
    const path = await opened([good, bad]);
    await post(`${path}/orders`, { conversion_ids: [kept, good] });
    const noted = await post(`${path}/notes`, { note: 'same phone' });
    expect(noted.body).toMatchObject({ state: 'open', orders: 3, in_review: 3 });
    const removed = await api.call('DELETE', `${path}/orders/${kept}`, { key });
    expect(removed.body).toMatchObject({ orders: 2, notes: [{ act: 'note', text: 'same phone' }] });
    const decided = await post(`${path}/decide`, {
      note: 'one person',
      approve: [good],
      reject: [bad],
      partner_reason: { code: 'unusual_traffic' },
    });
    expect([decided.status, decided.body]).toMatchObject([
      200,
      { approved: [good], rejected: [bad], skipped: [], case: { state: 'decided', in_review: 0 } },
    ]);
    const again = await post(`${path}/decide`, { note: 'x', approve: [good] });
    expect([again.status, again.body]).toMatchObject([409, { code: 'wrong_state', state: 'decided' }]);
    const [one, other] = [good, bad].map((id) => api.call('GET', `/v1/conversions/${id}`, { key }));
    expect((await one)?.body).toMatchObject({ state: 'attributed', partner_reason: null });
    expect((await other)?.body).toMatchObject({
      state: 'rejected',
      partner_reason: { code: 'unusual_traffic' },
    });
    const explained = await api.call('GET', `/v1/conversions/${bad}/explanation`, { key });
    expect(explained.text).toContain(`rejected in case ${path.slice('/v1/cases/'.length)}: one person.`);
    const found = await api.call('GET', `/v1/cases?conversion_id=${bad}&state=decided`, { key });
    expect(found.body.data).toMatchObject([{ title: 'One visitor', orders: 2 }]);
    const log = await api.call('GET', `/v1/audit-log?subject=${path.slice('/v1/cases/'.length)}`, { key });
    expect((log.body.data as { action: string }[]).map(({ action }) => action)).toEqual([
      'case.decide',
      'case.remove_order',
      'case.note',
      'case.add_orders',
      'case.open',
    ]);
    expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
  });

  test('begins with the orders that share something with one', async () => {
    const [first, second] = [await reviewed(), await reviewed()];
    const related = await api.call('GET', `/v1/conversions/${first}/related?shared=affiliate`, { key });
    const ids = (related.body.data as { conversion_id: string }[]).map(({ conversion_id: id }) => id);
    expect(ids).toEqual(expect.arrayContaining([first, second]));
    const { body } = await post('/v1/cases', {
      title: 'One partner',
      subject: { kind: 'affiliate', value: `aff_${shop.affiliateId}` },
      related: { to: first, shared: ['affiliate'] },
    });
    expect(body).toMatchObject({ orders: ids.length, in_review: ids.length });
    expect(body.shared).toContainEqual({
      kind: 'affiliate',
      value: `aff_${shop.affiliateId}`,
      orders: ids.length,
      affiliates: 1,
    });
    const closed = await post(`/v1/cases/${String(body.id)}/close`, { note: 'nothing in it' });
    expect(closed.body).toMatchObject({ state: 'closed', in_review: ids.length });
    const rest = await post(`/v1/cases/${String(body.id)}/orders`, { conversion_ids: [first] });
    expect([rest.status, rest.body]).toMatchObject([409, { code: 'wrong_state', state: 'closed' }]);
    const wrong = await api.call('GET', `/v1/conversions/${first}/related?shared=shoe`, { key });
    expect(wrong.status).toBe(422);
  });

  test('has the order that it is related to, or says why it cannot', async () => {
    const first = await reviewed();
    const related = async (to: string, more: object = {}) => {
      const json = { title: 'One address', related: { to, shared: ['ip', 'payment_account'] }, ...more };
      return (await post('/v1/cases', json)).body;
    };
    const theirs = await reviewed(foreign);
    for (const none of [theirs, 'cnv_2000000000']) {
      const message = `there is no order ${none} in the program of the case`;
      expect(await related(none)).toMatchObject({ errors: [{ field: 'related.to', message }] });
    }
    const opened = await related(first, { conversion_ids: [first] });
    expect(opened.has_more).toBe(false);
    expect((opened.case_orders as { conversion_id: string }[]).map(({ conversion_id: id }) => id)).toContain(
      first,
    );
    const message = `${first} is in the open case ${String(opened.id)}`;
    expect(await related(first)).toMatchObject({ errors: [{ field: 'related.to', message }] });
    const alone = `cnv_${await decideConversion(api.ledger, {
      ...{ tenant: shop, orderId: randomUUID(), affiliateId: shop.affiliateId, outcome: 'attributed' },
    })}`;
    expect(await related(alone, { related: { to: alone, shared: ['payment_account'] } })).toMatchObject({
      orders: 1,
      case_orders: [{ conversion_id: alone, state: 'attributed' }],
    });
  });

  test('begins with a value of its kind', async () => {
    const begin = async (kind: string, value: string) =>
      (await post('/v1/cases', { title: 'x', subject: { kind, value } })).body;
    expect(await begin('ip', 'spring')).toMatchObject({
      errors: [{ field: 'subject', message: 'must be an IPv4 or IPv6 address' }],
    });
    const { id, subject } = await begin('customer', 'ann@example.com');
    expect(subject).toMatchObject({
      kind: 'customer',
      value: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    });
    const found = await api.call('GET', '/v1/cases?search=ann@example.com', { key });
    expect(found.body.data).toMatchObject([{ id }]);
  });

  test('keeps an order that it has decided', async () => {
    const [bad, left] = [await reviewed(), await reviewed()];
    const path = await opened([bad, left]);
    await post(`${path}/decide`, { note: 'one person', reject: [bad] });
    const removed = await api.call('DELETE', `${path}/orders/${bad}`, { key });
    expect([removed.status, removed.body]).toMatchObject([
      409,
      { code: 'wrong_state', detail: `${bad} was decided in this case, and stays in it` },
    ]);
  });

  test('is whose it is said to be, if they review orders of the program', async () => {
    const path = await opened([]);
    const user = async (role: string, tenant: Tenant) => {
      const json = {
        email: `${randomUUID()}@example.com`,
        name: 'u',
        role,
        program_id: `prg_${tenant.programId}`,
      };
      return String((await post('/v1/users', json, tenant.keys.operator)).body.id);
    };
    const [own, finance, theirs] = [
      await user('fraud', shop),
      await user('finance', shop),
      await user('fraud', foreign),
    ];
    const assign = async (assigned_to: string | null) =>
      await api.call('PATCH', path, { key, json: { assigned_to } });
    expect((await assign(own)).body).toMatchObject({ assigned_to: own });
    for (const stranger of [finance, theirs, 'usr_2000000000']) {
      expect((await assign(stranger)).body).toMatchObject({ errors: [{ field: 'assigned_to' }] });
    }
    expect((await assign(null)).body).toMatchObject({ assigned_to: null, title: 'One visitor' });
  });

  test('names what cannot be in it, and what is not', async () => {
    const [own, theirs] = [await reviewed(), await reviewed(foreign)];
    const path = await opened([own]);
    const refused = async (on: string, json: object, as = key) => (await post(on, json, as)).body;
    const fault = (field: string) => ({ code: 'invalid_input', errors: [{ field }] });
    expect(await refused('/v1/cases', { title: 'x', conversion_ids: [own] })).toMatchObject(
      fault('conversion_ids'),
    );
    expect(await refused('/v1/cases', { title: 'x', conversion_ids: [theirs] })).toMatchObject(
      fault('conversion_ids'),
    );
    expect(await refused(`${path}/decide`, { note: 'x', reject: [theirs] })).toMatchObject(fault('reject'));
    expect(await refused(`${path}/decide`, { note: 'x' })).toMatchObject(fault('approve'));
    const gone = await api.call('DELETE', `${path}/orders/${theirs}`, { key });
    expect(gone.status).toBe(404);
  });

  test('is for those who review orders of its program', async () => {
    const path = await opened([await reviewed()]);
    for (const role of ['affiliate', 'advertiser', 'finance'] as const) {
      expect((await api.call('GET', path, { key: shop.keys[role] })).status).toBe(403);
      expect((await api.call('GET', '/v1/cases', { key: shop.keys[role] })).status).toBe(403);
    }
    const stranger = foreign.keys.fraud;
    expect((await api.call('GET', path, { key: stranger })).status).toBe(404);
    const decided = await post(`${path}/decide`, { note: 'x', approve: [await reviewed(foreign)] }, stranger);
    expect(decided.status).toBe(404);
    expect((await api.call('GET', '/v1/cases', { key: stranger })).body.data).toEqual([]);
    const { key: all } = await createApiKey(api.ledger, { role: 'fraud', name: 'all', programId: null });
    expect((await api.call('GET', path, { key: all })).status).toBe(200);
    expect((await post('/v1/cases', { title: 'x' }, all)).body).toMatchObject({
      errors: [{ field: 'program_id' }],
    });
  });
});
