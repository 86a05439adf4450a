import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { vestDue } from '../../ledger/books/commissions.ts';
import { findConversionByOrder } from '../../ledger/conversions/conversions.ts';
import {
  type Answer,
  decideConversion,
  startTestApi,
  type Tenant,
  type TestApi,
} from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';

let api: TestApi;
let shop: Tenant;
let key: string;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  key = shop.keys.advertiser;
});
afterAll(async () => {
  await api?.stop();
});

/** An order of 100.00 that earned 10.00. */
async function credited(orderId: string): Promise<string> {
  const { affiliateId } = shop;
  const id = await decideConversion(api.ledger, {
    tenant: shop,
    orderId,
    affiliateId,
    outcome: 'attributed',
  });
  return `cnv_${id}`;
}

async function earned(orderId: string): Promise<string> {
  const [row] = await api.ledger<{ left: bigint }[]>`
    select coalesce(sum(m.amount_minor - m.reversed_minor), 0)::bigint as left
    from conversions c left join commissions m on m.conversion_id = c.id
    where c.program_id = ${shop.programId} and c.order_id = ${orderId}`;
  return String(row?.left);
}

const postback = (query: string) => api.call('GET', `/postback?key=${key}&${query}`);
const whole = (orderId: string, more: string) => `order_id=${orderId}&amount=100.00&currency=EUR&${more}`;

/** Each way in by which a shop says what happened to an order. */
const WAYS: readonly [string, (report: Record<string, string>) => Promise<Answer>][] = [
  ['postback', (report) => postback(new URLSearchParams(report).toString())],
  ['form', (report) => api.call('POST', '/postback', { key, form: new URLSearchParams(report).toString() })],
  ['api', (report) => api.call('POST', '/v1/conversions', { key, json: report })],
  ['batch', batch],
  ['import', importRow],
];

async function batch(report: Record<string, string>): Promise<Answer> {
  const answer = await api.call('POST', '/v1/conversions/batch', { key, json: { conversions: [report] } });
  const [item] = answer.body.items as Record<string, unknown>[];
  const problem = item?.problem as Record<string, unknown> | null;
  const status = problem === null ? 200 : Number(problem?.status ?? 422);
  return { ...answer, status, body: { ...item, ...problem } };
}

async function importRow(report: Record<string, string>): Promise<Answer> {
  const csv = `${Object.keys(report).join(',')}\n${Object.values(report).join(',')}\n`;
  const started = await api.call(
    'POST',
    `/v1/imports?kind=conversions&program_id=prg_${shop.programId}&dry_run=false`,
    { key: shop.keys.operator, raw: csv, headers: { 'content-type': 'text/csv' } },
  );
  const { id } = started.body;
  const job = await waitFor(
    async () => {
      const { body } = await api.call('GET', `/v1/jobs/${id}`, { key: shop.keys.operator });
      return body.result === null ? undefined : body;
    },
    { deadlineMs: 10_000, what: 'the result of the import' },
  );
  const { refused_rows: refused } = job.result as { refused_rows: Record<string, unknown>[] };
  return { ...started, status: refused.length === 0 ? 200 : 422, body: { ...job, ...refused[0] } };
}

describe.each(WAYS)('by %s', (way, report) => {
  const id = (name: string) => `${way}-${name}`;

  test('a cancelled order earns nothing, and what it earned is taken back', async () => {
    for (const [i, status] of ['cancelled', 'void', 'rejected', 'Canceled'].entries()) {
      const orderId = id(`cancel-${i}`);
      await credited(orderId);
      expect(await earned(orderId)).toBe('1000');
      const answer = await report({ order_id: orderId, amount: '100.00', currency: 'EUR', status });
      expect([answer.status, await earned(orderId)]).toEqual([200, '0']);
    }
  });

  test('a refunded order earns nothing, whether an amount is given or not', async () => {
    for (const more of [{}, { amount: '100.00', currency: 'EUR' }]) {
      const orderId = id(`refund-${Object.keys(more).length}`);
      await credited(orderId);
      const answer = await report({ order_id: orderId, status: 'refunded', ...more });
      expect([answer.status, await earned(orderId)]).toEqual([200, '0']);
    }
  });

  test('an unknown status is refused by name, and nothing is recorded', async () => {
    for (const field of ['status', 'event', 'type']) {
      const orderId = id(`unknown-${field}`);
      const answer = await report({ order_id: orderId, amount: '100.00', currency: 'EUR', [field]: 'lost' });
      expect([answer.status, answer.body.field]).toEqual([422, field]);
      expect(await findConversionByOrder(api.ledger, { programId: shop.programId, orderId })).toBeUndefined();
    }
  });

  test('a pending order is held until it is approved', async () => {
    const orderId = id('pending');
    await report({ order_id: orderId, amount: '100.00', currency: 'EUR', status: 'pending' });
    const found = () => findConversionByOrder(api.ledger, { programId: shop.programId, orderId });
    expect(await found()).toMatchObject({ awaitsShop: true });
    await report({ order_id: orderId, amount: '100.00', currency: 'EUR', status: 'paid' });
    expect(await found()).toMatchObject({ awaitsShop: false });
  });
});

describe('a report', () => {
  test('tells what it did', async () => {
    await credited('answered');
    const did = async (query: string) => {
      const { status, body } = await postback(`order_id=answered&${query}`);
      return [status, body.status, body.outcome];
    };
    expect(await did('status=changed&amount=120.00&currency=EUR')).toEqual([200, 'accepted', 'raised']);
    expect(await earned('answered')).toBe('1200');
    const logged = await api.call('GET', '/v1/postback-calls?order_id=answered', { key });
    expect(logged.body.data).toMatchObject([
      { outcome: 'accepted', status: 200, conversion_id: expect.stringMatching(/^cnv_/) },
    ]);
    expect(await did('status=changed&amount=120.00&currency=EUR')).toEqual([200, 'duplicate', 'unchanged']);
    expect(await did('amount=120.00&currency=EUR&customer_id=customer-7')).toEqual([
      200,
      'duplicate',
      'unchanged',
    ]);
    expect(await did('status=changed&amount=90.00&currency=EUR')).toEqual([200, 'accepted', 'lowered']);
    expect(await earned('answered')).toBe('900');
    expect(await did('status=chargeback')).toEqual([200, 'accepted', 'charged_back']);
    expect(await did('status=dispute_won')).toEqual([200, 'accepted', 'restored']);
    expect(await earned('answered')).toBe('900');
    expect(await did('status=cancelled')).toEqual([200, 'accepted', 'cancelled']);
    expect(await did('status=cancelled')).toEqual([200, 'duplicate', 'unchanged']);
    expect(await did('status=approved')).toEqual([200, 'duplicate', 'unchanged']);
    expect(await earned('answered')).toBe('0');
    expect(await did('status=restored')).toEqual([200, 'accepted', 'restored']);
    expect(await earned('answered')).toBe('900');
  });

  test('of the cancellation of an order that is not known is 404, and logged; with the order it is kept', async () => {
    const early = await postback('order_id=early&status=cancelled');
    expect([early.status, early.body.code]).toEqual([404, 'not_found']);
    const { body } = await api.call('GET', '/v1/postback-calls?order_id=early', { key });
    expect(body.data).toMatchObject([{ outcome: 'rejected', status: 404, code: 'not_found' }]);
    const headers = { 'idempotency-key': 'early-2' };
    const json = { order_id: 'early-2', status: 'cancelled' };
    expect((await api.call('POST', '/v1/conversions', { key, json, headers })).status).toBe(404);
    const keyed = await api.call('GET', '/v1/postback-calls?order_id=early-2', { key });
    expect(keyed.body.data).toMatchObject([{ outcome: 'rejected', status: 404 }]);
    const kept = await postback(whole('kept', 'status=cancelled'));
    expect([kept.status, kept.body.outcome]).toEqual([200, 'cancelled']);
    const report = await postback(whole('kept', ''));
    expect([report.status, report.body.outcome]).toEqual([200, 'unchanged']);
    const found = await findConversionByOrder(api.ledger, { programId: shop.programId, orderId: 'kept' });
    expect(found?.cancelledAt).toBeInstanceOf(Date);
  });

  test('whose words contradict each other is refused; a sale says nothing against them', async () => {
    await credited('words');
    const both = await postback(whole('words', 'event=refund&status=approved'));
    expect([both.status, both.body.field]).toEqual([422, 'event']);
    expect(await earned('words')).toBe('1000');
    const sale = await postback('order_id=words&event=sale&status=cancelled');
    expect(sale.body.outcome).toBe('cancelled');
  });

  test('under a name of the program, in any case, is not ignored', async () => {
    const tenant = await api.tenant('mapped');
    const path = `/v1/programs/prg_${tenant.programId}/postback-settings`;
    const parameters = { state: 'status' };
    const json = { parameters, pixel: true };
    expect((await api.call('PUT', path, { key: tenant.keys.operator, json })).status).toBe(200);
    const call = (query: string) => api.call('GET', `/postback?key=${tenant.keys.advertiser}&${query}`);
    const order = 'order_id=m-1&amount=1.00&currency=EUR';
    expect((await call(`${order}&state=lost`)).body.field).toBe('status');
    expect((await call(`${order}&STATUS=lost`)).body.field).toBe('status');
    expect((await call(`${order}&Status=approved&status=cancelled`)).status).toBe(422);
    expect((await call(`${order}&state=cancelled`)).body.outcome).toBe('cancelled');
    const pixel = await api.call('GET', `/pixel?program_id=prg_${tenant.programId}&${order}2&state=lost`);
    expect(pixel.headers.get('afflux-status')).toBe('rejected; code=invalid_input');
  });

  test('of a browser is of an order, never of what happened to one', async () => {
    const tenant = await api.tenant('browser');
    const path = `/v1/programs/prg_${tenant.programId}/postback-settings`;
    await api.call('PUT', path, { key: tenant.keys.operator, json: { pixel: true } });
    const pixel = async (query: string) => {
      const url = `/pixel?program_id=prg_${tenant.programId}&order_id=px&${query}`;
      return (await api.call('GET', url)).headers.get('afflux-status');
    };
    expect(await pixel('amount=3.00&currency=EUR&status=pending')).toBe('accepted');
    for (const status of ['cancelled', 'refunded', 'changed', 'restored', 'unknown']) {
      const answer = await pixel(`amount=3.00&currency=EUR&status=${status}`);
      expect([status, answer?.slice(0, 8)]).toEqual([status, 'rejected']);
    }
    expect(await pixel('amount=3.00&currency=EUR&status=approved')).toBe('duplicate');
    const found = await findConversionByOrder(api.ledger, { programId: tenant.programId, orderId: 'px' });
    expect(found).toMatchObject({ awaitsShop: true, cancelledAt: null });
  });

  test('is explained before it is made', async () => {
    await credited('explained');
    const explain = async (query: string) =>
      (await api.call('GET', `/v1/postbacks/test?key=${key}&${query}`)).body;
    expect(await explain('order_id=explained&status=cancelled')).toMatchObject({ would: 'accept' });
    expect(await explain('order_id=missing&status=cancelled')).toMatchObject({ would: 'reject' });
    expect(await earned('explained')).toBe('1000');
  });

  test('of a part needs a reference; a template that sends it where nothing is refunded is refused', async () => {
    await credited('parts');
    const part = await postback('order_id=parts&status=refunded&amount=30.00&currency=EUR');
    expect([part.status, part.body.field]).toEqual([422, 'refund_ref']);
    const named = 'order_id=parts&status=partially_refunded&amount=30.00&currency=EUR&refund_ref=r-1';
    expect((await postback(named)).body.outcome).toBe('refunded');
    expect((await postback(named)).body.outcome).toBe('unchanged');
    expect(await earned('parts')).toBe('700');
    const stray = await postback(whole('parts-2', 'refund_ref=r-1'));
    expect([stray.status, stray.body.field]).toEqual([422, 'refund_ref']);
    const other = await postback(named.replace('30.00', '31.00'));
    expect([other.status, other.body.code]).toEqual([409, 'conflict']);
    expect((await postback('order_id=parts&status=restored&refund_ref=r-1')).body.outcome).toBe('restored');
    expect(await earned('parts')).toBe('1000');
    const late = await postback(named);
    expect([late.status, late.body.code]).toEqual([409, 'conflict']);
  });
});

describe('refunds', () => {
  test('without an amount are of all that is left', async () => {
    await credited('all-left');
    const refund = (json: object) =>
      api.call('POST', '/v1/refunds', { key, json: { order_id: 'all-left', ...json } });
    expect((await refund({ refund_ref: 'a', amount: '33.33', currency: 'EUR' })).status).toBe(201);
    const above = await refund({ refund_ref: 'b', amount: '110.00', currency: 'EUR' });
    expect([above.status, above.body.field]).toEqual([422, 'amount']);
    const rest = await refund({ refund_ref: 'b', note: 'the parcel was lost' });
    expect(rest.body).toMatchObject({ status: 'recorded', refund: { amount: { amount: '66.67' } } });
    expect(await earned('all-left')).toBe('0');
    const log = await api.call('GET', '/v1/audit-log?action=conversion.refund', { key: shop.keys.operator });
    expect(log.text).toContain('the parcel was lost');
    expect((await refund({ refund_ref: 'b' })).body).toMatchObject({ status: 'duplicate' });
    expect((await refund({ refund_ref: 'c' })).body).toMatchObject({ status: 'duplicate', refund: null });
  });
});

describe('operators and shops by the conversion', () => {
  const act = (id: string, what: string, json: object = {}, as = key) =>
    api.call('POST', `/v1/conversions/${id}/${what}`, { key: as, json });

  test('cancel once, restore, raise and lower, before and after a payout; the books hold', async () => {
    const id = await credited('acted');
    const operator = shop.keys.operator;
    expect((await act(id, 'cancel', { note: 'a test order' }, operator)).body.outcome).toBe('cancelled');
    expect((await act(id, 'cancel')).body).toMatchObject({ status: 'duplicate', outcome: 'unchanged' });
    expect((await act(id, 'restore')).body).toMatchObject({
      outcome: 'restored',
      conversion: { refunded: { amount: '0.00' }, cancelled_at: null, state: 'attributed' },
    });
    await vestDue(api.ledger, { now: new Date(Date.now() + 90 * 86_400_000), limit: 1_000 });
    await api.ledger`update commissions set available_at = now() where state = 'available'`;
    expect((await api.runPayouts(shop.keys.finance)).status).toBe(200);
    const raised = await act(
      id,
      'change',
      { amount: '150.00', currency: 'EUR', note: 'an item more' },
      operator,
    );
    expect(raised.body).toMatchObject({ outcome: 'raised', conversion: { amount: { amount: '150.00' } } });
    expect(await earned('acted')).toBe('1500');
    expect((await act(id, 'change', { amount: '50.00', currency: 'EUR' })).body.outcome).toBe('lowered');
    expect(await earned('acted')).toBe('500');
    // What was lowered is no refund: of the order that it is now, all is left.
    const { body } = await api.call('GET', `/v1/conversions/${id}/amounts`, { key: operator });
    expect(body).toMatchObject({
      total: { amount: '50.00' },
      refunded: { amount: '0.00' },
      left: { amount: '50.00' },
    });
    const wrong = await act(id, 'change', { amount: '50.00', currency: 'USD' });
    expect([wrong.status, wrong.body.field]).toEqual([422, 'currency']);
    expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
    const log = await api.call('GET', `/v1/audit-log?subject=${id}`, { key: operator });
    expect(log.text).toContain('a test order');
  });

  test('of another program find nothing', async () => {
    const id = await credited('foreign');
    const other = await api.tenant('other');
    for (const what of ['cancel', 'restore']) {
      expect((await act(id, what, {}, other.keys.advertiser)).status).toBe(404);
    }
    expect(await earned('foreign')).toBe('1000');
  });
});
