import { once } from 'node:events';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import { forgetUnproven } from '../../ledger/integrations/postback-calls.ts';
import {
  type Answer,
  startTestApi,
  TEST_CLICK_KEY,
  type Tenant,
  type TestApi,
} from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';
import {
  type Sent,
  shopifyCall,
  shopifyMoney,
  shopifyOrder,
  shopifyRefund,
  stripeCall,
  stripeEvent,
  stripeSession,
  woocommerceCall,
  woocommerceOrder,
} from './kinds/example-events.ts';

let api: TestApi;
let shop: Tenant;
let other: Tenant;

beforeAll(async () => {
  api = await startTestApi();
  [shop, other] = [await api.tenant('shop'), await api.tenant('other')];
});
afterAll(async () => {
  await api?.stop();
});

type Row = Record<string, unknown>;
interface TestSource {
  readonly id: string;
  readonly path: string;
  readonly secret: string;
}

async function source(json: object, tenant = shop): Promise<TestSource> {
  const made = await api.call('POST', '/v1/sources', { key: tenant.keys.advertiser, json });
  expect(made.status, made.text).toBe(201);
  const { id, url } = made.body.source as { id: string; url: string };
  return { id, path: url.replace('https://portal.example', ''), secret: String(made.body.secret) };
}

const send = async ({ path }: TestSource, { headers, body }: Sent): Promise<Answer> =>
  await api.call('POST', path, { headers, raw: body });
const act = async (path: string, json: object = {}, key = shop.keys.advertiser, method = 'POST') =>
  await api.call(method, path, { key, json });
const get = async (path: string, key = shop.keys.advertiser) => (await api.call('GET', path, { key })).body;
const callsOf = async ({ id }: TestSource, query = '') =>
  (await get(`/v1/postback-calls?source_id=${id}&${query}`)).data as Row[];

async function orderOf(orderId: string): Promise<Row | undefined> {
  const { data } = (await get(`/v1/conversions?order_id=${orderId}`)) as { data: Row[] };
  return data[0];
}

/** Waits until so much of an order is refunded. */
async function refunded(orderId: string, amount: string): Promise<void> {
  await waitFor(async () => (Object(await orderOf(orderId)).refunded?.amount === amount ? true : undefined), {
    deadlineMs: 20_000,
    what: `${amount} of ${orderId} to be refunded`,
  });
}

describe('Shopify', () => {
  test('an order, its refunds and its cancellation, each once however often it is sent', async () => {
    const from = await source({ kind: 'shopify', secret: 'shh' });
    const codec = createClickIdCodec([TEST_CLICK_KEY]);
    const clickId = codec.encode({ ts: Date.now() - 60_000, node: 1, seq: 1 });
    const order = shopifyCall(
      'orders/paid',
      shopifyOrder('9007199254740993', { landing_site: `/?click_id=${clickId}` }),
      'shh',
    );
    const answers = await Promise.all(Array.from({ length: 5 }, () => send(from, order)));
    expect(answers.map(({ status }) => status)).toEqual(Array(5).fill(200));
    expect(answers.filter(({ body }) => body.status === 'accepted')).toHaveLength(1);
    expect((await send(from, order)).body).toMatchObject({
      status: 'duplicate',
      detail: 'it was done before',
    });
    const id = String(shopifyOrder('9007199254740993').id);
    expect(await orderOf(id)).toMatchObject({
      amount: { amount: '41.00' },
      click_id: clickId,
      coupons: ['SUMMER'],
    });

    for (const [ref, amount] of [
      [1, '10.50'],
      [2, '0.50'],
      [1, '10.50'],
    ] as const) {
      const refund = await send(from, shopifyCall('refunds/create', shopifyRefund(id, ref, amount), 'shh'));
      expect(refund.status, refund.text).toBe(200);
    }
    expect(await orderOf(id)).toMatchObject({ refunded: { amount: '11.00' } });
    const cancelled = shopifyOrder(id, { cancelled_at: new Date().toISOString() });
    expect((await send(from, shopifyCall('orders/cancelled', cancelled, 'shh'))).body).toMatchObject({
      did: ['cancelled'],
    });
    expect((await orderOf(id))?.cancelled_at).toBeTypeOf('string');
    // It comes again, late: the order stays cancelled.
    expect((await send(from, order)).body).toMatchObject({ status: 'duplicate' });
    expect((await orderOf(id))?.cancelled_at).toBeTypeOf('string');
    expect(await get(`/v1/sources/${from.id}`)).toMatchObject({ orders_24h: 1, last_refusal: null });
  });

  test('refunds in the currency of the customer, which by rounding are a cent more than the order', async () => {
    const from = await source({ kind: 'shopify', secret: 'shh' });
    const money = (euros: string, dollars: string) => shopifyMoney(euros, dollars);
    const refund = (orderId: string, id: number, dollars: string, lines: object) => {
      const transactions = [{ id: 1, kind: 'refund', status: 'success', amount: dollars, currency: 'USD' }];
      return shopifyCall(
        'refunds/create',
        { ...shopifyRefund(orderId, id, ''), ...lines, transactions },
        'shh',
      );
    };
    const whole = {
      refund_line_items: [{ subtotal_set: money('58.07', '50.25'), total_tax_set: money('4.65', '4.02') }],
      refund_shipping_lines: [{ subtotal_amount_set: money('6.00', '5.19') }],
    };
    const order = (id: string, total: string) =>
      shopifyCall(
        'orders/paid',
        shopifyOrder(id, { total_price: total, line_items: [], shipping_lines: [] }),
        'shh',
      );
    await send(from, order('69', '69.20'));
    expect((await send(from, refund('69', 1, '59.88', whole))).body).toMatchObject({ did: ['refunded'] });
    expect(await orderOf('69')).toMatchObject({ refunded: { amount: '69.20' } });
    expect((await send(from, refund('69', 1, '59.88', { ...whole, again: true }))).body).toMatchObject({
      status: 'duplicate',
    });
    // A third of it three times.
    await send(from, order('70', '10.00'));
    const third = { refund_line_items: [{ subtotal_set: money('3.34', '3.67') }] };
    for (const id of [1, 2, 3]) await send(from, refund('70', id, '3.67', third));
    expect(await orderOf('70')).toMatchObject({ refunded: { amount: '10.00' } });
    // What rounding cannot make is no refund of this order.
    await send(from, order('71', '69.10'));
    expect((await send(from, refund('71', 1, '59.88', whole))).body).toMatchObject({ code: 'invalid_input' });
    expect(await orderOf('71')).toMatchObject({ refunded: { amount: '0.00' } });
  });

  test('a body comes under two topics, and counts under each', async () => {
    const from = await source({ kind: 'shopify', secret: 'shh' });
    const order = shopifyOrder('7300');
    expect((await send(from, shopifyCall('orders/create', order, 'shh'))).body).toMatchObject({
      status: 'ignored',
    });
    expect((await send(from, shopifyCall('orders/paid', order, 'shh'))).body).toMatchObject({
      status: 'accepted',
    });
    expect((await send(from, shopifyCall('orders/paid', order, 'shh'))).body).toMatchObject({
      detail: 'it was done before',
    });
  });

  test('a refund that comes before its order is done with it', async () => {
    const from = await source({ kind: 'shopify', secret: 'shh' });
    const early = await send(from, shopifyCall('refunds/create', shopifyRefund('7001', 5, '1.00'), 'shh'));
    expect(early).toMatchObject({ status: 202, body: { status: 'stored', code: 'not_found' } });
    expect(await get(`/v1/sources/${from.id}`)).toMatchObject({ last_refusal: { code: 'not_found' } });
    await send(from, shopifyCall('orders/paid', shopifyOrder('7001'), 'shh'));
    await refunded('7001', '1.00');
    expect(await get(`/v1/sources/${from.id}`)).toMatchObject({ last_refusal: null, orders_24h: 1 });
  });

  test('a refund that comes before its order is done when the order comes by another way', async () => {
    const from = await source({ kind: 'shopify', secret: 'shh' });
    await send(from, shopifyCall('refunds/create', shopifyRefund('7002', 5, '1.00'), 'shh'));
    const stranger = await source({ kind: 'shopify', secret: 'shh' }, other);
    await send(stranger, shopifyCall('refunds/create', shopifyRefund('7002', 5, '1.00'), 'shh'));
    const reported = await act('/v1/conversions', { order_id: '7002', amount: '5.00', currency: 'EUR' });
    expect(reported.status).toBe(202);
    await refunded('7002', '1.00');
    expect(await callsOf(from, 'outcome=accepted')).toMatchObject([{ via: 'replay', actor: from.id }]);
    const refused = await get(`/v1/postback-calls?source_id=${stranger.id}`, other.keys.advertiser);
    expect(refused.data).toMatchObject([{ outcome: 'rejected', code: 'not_found' }]);
  });

  test('a refund whose order comes while its source is disabled is done once the source is enabled', async () => {
    const from = await source({ kind: 'shopify', secret: 'shh' });
    const key = shop.keys.operator;
    await send(from, shopifyCall('refunds/create', shopifyRefund('7003', 5, '1.00'), 'shh'));
    await api.call('PATCH', `/v1/sources/${from.id}`, { key, json: { status: 'disabled' } });
    await act('/v1/conversions', { order_id: '7003', amount: '5.00', currency: 'EUR' });
    await expect
      .poll(() => callsOf(from, 'via=replay'), { timeout: 20_000 })
      .toMatchObject([{ outcome: 'rejected', code: 'wrong_state' }]);
    await api.call('PATCH', `/v1/sources/${from.id}`, { key, json: { status: 'active' } });
    await refunded('7003', '1.00');
  });

  test('an order and its refund at once, many times', async () => {
    const from = await source({ kind: 'shopify', secret: 'shh' });
    const ids = Array.from({ length: 20 }, (_, i) => String(8_000 + i));
    await Promise.all(
      ids.flatMap((id) => [
        send(from, shopifyCall('refunds/create', shopifyRefund(id, 5, '1.00'), 'shh')),
        send(from, shopifyCall('orders/paid', shopifyOrder(id), 'shh')),
      ]),
    );
    for (const id of ids) await refunded(id, '1.00');
  });

  test('a call with another signature is stored and makes no order, whatever is done with it', {
    tags: ['attack'],
  }, async () => {
    const from = await source({ kind: 'shopify', secret: 'shh' });
    const right = shopifyCall('orders/paid', shopifyOrder('7100'), 'shh');
    const wrong = [
      shopifyCall('orders/paid', shopifyOrder('7100'), 'other'),
      { ...right, body: right.body.replace('41.00', '99.00') },
      { ...right, headers: { ...right.headers, 'x-shopify-hmac-sha256': '' } },
      { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'webhook_id=5' },
    ];
    const stored = { status: 202, body: { status: 'stored', code: 'signature_required' } };
    for (const one of wrong) expect(await send(from, one)).toMatchObject(stored);
    expect(await api.call('GET', `${from.path}?id=7100&total_price=1`)).toMatchObject(stored);
    const lines = await callsOf(from);
    expect(lines).toHaveLength(5);
    for (const line of lines) {
      expect(line).toMatchObject({ outcome: 'rejected', order_id: null, params: {} });
      expect(JSON.stringify(line)).not.toMatch(/7100|total_price|41\.00|Jon@/);
      expect((await act(`/v1/postback-calls/${line.id}/replay`)).body).toMatchObject({
        code: 'signature_required',
      });
    }
    expect((await act(`/v1/sources/${from.id}/replay`)).body).toMatchObject({ accepted: 0, rejected: 5 });
    expect(await orderOf('7100')).toBeUndefined();
    expect((await send(from, right)).body).toMatchObject({ status: 'accepted' });
    expect(await orderOf('7100')).toMatchObject({ amount: { amount: '41.00' } });
  });

  test('orders of a shop whose secret was pasted wrong come back once it is right', async () => {
    const from = await source({ kind: 'shopify', secret: 'mistyped' });
    for (const id of ['7110', '7111'])
      expect((await send(from, shopifyCall('orders/paid', shopifyOrder(id), 'shh'))).status).toBe(202);
    expect(await get(`/v1/sources/${from.id}`)).toMatchObject({
      last_refusal: { code: 'signature_required' },
    });
    expect((await act(`/v1/sources/${from.id}/rotate-secret`, { secret: 'shh' })).status).toBe(201);
    expect((await act(`/v1/sources/${from.id}/replay`)).body).toMatchObject({ accepted: 2, rejected: 0 });
    for (const id of ['7110', '7111']) expect(await orderOf(id)).toBeDefined();
    expect(await get(`/v1/sources/${from.id}`)).toMatchObject({ last_refusal: null });
  });

  test('a wrong secret is shown until a new call proves the right one and what was stored was tried again', async () => {
    const from = await source({ kind: 'woocommerce' });
    const refused = async () => ((await get(`/v1/sources/${from.id}`)).last_refusal as Row | null)?.code;
    const order = (id: number, secret: string) =>
      send(from, woocommerceCall('order.created', woocommerceOrder(id), secret));
    await order(7120, 'wrong');
    const ping = { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'webhook_id=5' };
    expect((await send(from, ping)).body).toMatchObject({ status: 'ignored' });
    expect(await refused()).toBe('signature_required');
    await act(`/v1/sources/${from.id}/replay`);
    expect(await refused()).toBe('signature_required');
    expect((await order(7121, from.secret)).body).toMatchObject({ status: 'accepted' });
    // The order of then can still be done, by the secret that its sender has.
    expect(await refused()).toBe('signature_required');
    expect((await act(`/v1/sources/${from.id}/replay`)).body).toMatchObject({ rejected: 1 });
    expect(await refused()).toBeUndefined();
    await order(7122, 'wrong');
    expect(await refused()).toBe('signature_required');
  });

  test('stores so many calls of an hour that prove nothing, by number and by size, and takes all that do', {
    tags: ['attack'],
  }, async () => {
    const forged = (id: string, filler = '') =>
      shopifyCall('orders/paid', { ...shopifyOrder(id), filler }, 'made up');
    const large = await source({ kind: 'shopify', secret: 'shh' });
    const statuses: number[] = [];
    for (let i = 0; i < 20; i++)
      statuses.push((await send(large, forged('1', 'x'.repeat(1_000_000)))).status);
    expect(statuses.filter((status) => status === 202)).toHaveLength(16);
    const many = await source({ kind: 'shopify' });
    const answers: Answer[] = [];
    for (let i = 0; i < 51; i++) {
      const ten = Array.from({ length: 10 }, (_, n) => send(many, forged(`${i}${n}`)));
      answers.push(...(await Promise.all(ten)));
    }
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(500);
    const other = answers.filter(({ status }) => status !== 202);
    for (const { status } of other) expect([401, 429]).toContain(status);
    for (const from of [large, many])
      expect((await callsOf(from, 'code=unauthorized')).length, 'lines of its own').toBeGreaterThan(0);
    const order = shopifyCall('orders/paid', shopifyOrder('7130'), 'shh');
    expect((await send(large, order)).body).toMatchObject({ status: 'accepted' });
  });

  test('calls before the secret is known are stored and done afterwards; both secrets are right for a day', async () => {
    const from = await source({ kind: 'shopify' });
    const first = await send(from, shopifyCall('orders/paid', shopifyOrder('7200'), 'shh'));
    const forged = await send(from, shopifyCall('orders/paid', shopifyOrder('7201'), 'made up'));
    expect([first.body.code, forged.body.code]).toEqual(['signature_required', 'signature_required']);
    expect((await act(`/v1/sources/${from.id}/rotate-secret`)).body).toMatchObject({ field: 'secret' });
    expect((await act(`/v1/sources/${from.id}/rotate-secret`, { secret: 'shh' })).status).toBe(201);
    expect((await act(`/v1/sources/${from.id}/replay`)).body).toMatchObject({ accepted: 1, rejected: 1 });
    expect(await orderOf('7200')).toBeDefined();
    expect(await orderOf('7201')).toBeUndefined();
    await act(`/v1/sources/${from.id}/rotate-secret`, { secret: 'new' });
    await expect
      .poll(async () => (await send(from, shopifyCall('orders/paid', shopifyOrder('7202'), 'new'))).status)
      .toBe(200);
    expect((await send(from, shopifyCall('orders/paid', shopifyOrder('7203'), 'shh'))).status).toBe(200);
  });
});

describe('WooCommerce', () => {
  test('an order as it stands: paid at the second try, changed, refunded in parts', async () => {
    const from = await source({ kind: 'woocommerce' });
    const update = async (more: object) => {
      const answer = await send(
        from,
        woocommerceCall('order.updated', woocommerceOrder(600, more), from.secret),
      );
      expect(answer.status, answer.text).toBe(answer.body.status === 'stored' ? 202 : 200);
      return answer.body;
    };
    const date_created_gmt = new Date().toISOString().slice(0, 19);
    expect(
      await send(from, {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: 'webhook_id=5',
      }),
    ).toMatchObject({ status: 200, body: { status: 'ignored' } });
    await update({ status: 'on-hold', date_created_gmt });
    expect(await orderOf('600')).toMatchObject({ awaits_shop: true });
    await update({ status: 'failed', date_created_gmt });
    expect((await orderOf('600'))?.cancelled_at).toBeTypeOf('string');
    await update({ status: 'processing', date_created_gmt });
    expect(await orderOf('600')).toMatchObject({ cancelled_at: null });
    // A call of then that was not done does not undo what has come since.
    await act(`/v1/sources/${from.id}`, { status: 'disabled' }, shop.keys.advertiser, 'PATCH');
    await expect
      .poll(
        async () => (await update({ status: 'processing', date_created_gmt, customer_note: 'old' })).status,
      )
      .toBe('stored');
    await act(`/v1/sources/${from.id}`, { status: 'active' }, shop.keys.advertiser, 'PATCH');
    await expect
      .poll(async () => (await update({ status: 'failed', date_created_gmt })).status)
      .not.toBe('stored');
    await update({ status: 'cancelled', date_created_gmt });
    expect((await act(`/v1/sources/${from.id}/replay`)).status).toBe(200);
    expect((await orderOf('600'))?.cancelled_at).toBeTypeOf('string');
    await update({ status: 'processing', date_created_gmt, customer_note: 'now' });
    expect(await orderOf('600')).toMatchObject({ cancelled_at: null });
    const raised = { status: 'completed', total: '39.35', date_created_gmt };
    expect(await update(raised)).toMatchObject({ status: 'accepted', did: ['raised'] });
    expect(await update({ ...raised, customer_note: 'x' })).toMatchObject({ status: 'duplicate' });
    const refunds = [
      { id: 1, total: '-5.00' },
      { id: 2, total: '-1.35' },
    ];
    expect(await update({ ...raised, refunds })).toMatchObject({
      status: 'accepted',
      did: ['unchanged', 'refunded', 'refunded'],
    });
    await update({ ...raised, refunds, customer_note: 'y' });
    // Back to the total of its first report, and up again.
    const first = { status: 'completed', date_created_gmt, refunds };
    expect(await update({ ...first, customer_note: 'z' })).toMatchObject({
      did: ['lowered', 'unchanged', 'unchanged'],
    });
    expect(await orderOf('600')).toMatchObject({ amount: { amount: '39.35' } });
    expect(await update({ ...raised, refunds, customer_note: 'up' })).toMatchObject({
      did: ['raised', 'unchanged', 'unchanged'],
    });
    expect(await orderOf('600')).toMatchObject({ amount: { amount: '39.35' }, refunded: { amount: '6.35' } });
  });
});

describe('Stripe', () => {
  test('a session, refunds in parts sent twice, a dispute that is won', async () => {
    const from = await source({ kind: 'stripe', secret: 'whsec_x' });
    const event = async (type: string, object: object, previous?: object) => {
      const answer = await send(
        from,
        stripeCall(stripeEvent(type, object, previous), 'whsec_x', { before: 'v1=00ff,v0=1,' }),
      );
      expect(answer.status, answer.text).toBe(200);
      return answer.body;
    };
    expect(await event('checkout.session.completed', stripeSession('a'))).toMatchObject({
      did: ['recorded'],
    });
    const charge = (amount_refunded: number) => ({
      id: 'ch_a',
      object: 'charge',
      payment_intent: 'pi_a',
      currency: 'eur',
      amount_refunded,
    });
    await event('charge.refunded', charge(1_000), { amount_refunded: 0 });
    await event('charge.refunded', { ...charge(1_000), twice: true }, { amount_refunded: 0 });
    await event('charge.refunded', charge(1_135), { amount_refunded: 1_000 });
    expect(await orderOf('pi_a')).toMatchObject({
      amount: { amount: '29.35' },
      refunded: { amount: '11.35' },
    });
    const dispute = { id: 'du_a', object: 'dispute', payment_intent: 'pi_a', amount: 1_800, currency: 'eur' };
    await event('charge.dispute.created', { ...dispute, status: 'needs_response' });
    expect(
      await event('charge.dispute.funds_withdrawn', { ...dispute, status: 'under_review' }),
    ).toMatchObject({ status: 'duplicate' });
    expect(await orderOf('pi_a')).toMatchObject({ refunded: { amount: '29.35' } });
    await event('charge.dispute.closed', { ...dispute, status: 'won' });
    expect(await orderOf('pi_a')).toMatchObject({ refunded: { amount: '11.35' } });
  });

  describe('a dispute', () => {
    const events = async (id: string) => {
      const from = await source({ kind: 'stripe', secret: 'whsec_x' });
      const intent = { payment_intent: `pi_${id}`, currency: 'eur' };
      const dispute = (type: string, status: string, amount = 2_935) =>
        send(
          from,
          stripeCall(
            stripeEvent(`charge.dispute.${type}`, {
              ...intent,
              id: `du_${id}`,
              object: 'dispute',
              amount,
              status,
            }),
            'whsec_x',
          ),
        );
      const refunded = (minor: number) =>
        send(
          from,
          stripeCall(
            stripeEvent(
              'charge.refunded',
              { ...intent, id: `ch_${id}`, object: 'charge', amount_refunded: minor },
              { amount_refunded: 0 },
            ),
            'whsec_x',
          ),
        );
      await send(from, stripeCall(stripeEvent('checkout.session.completed', stripeSession(id)), 'whsec_x'));
      const taken = async () => Object(await orderOf(`pi_${id}`)).refunded?.amount;
      return { dispute, refunded, taken };
    };

    test('that was won takes nothing, whichever of its events comes first', async () => {
      const { dispute, taken } = await events('won');
      expect((await dispute('closed', 'won')).body).toMatchObject({ did: ['restored'] });
      expect(await taken()).toBe('0.00');
      for (const type of ['created', 'funds_withdrawn', 'funds_reinstated']) {
        expect((await dispute(type, 'under_review')).body).toMatchObject({ status: 'duplicate' });
      }
      expect(await taken()).toBe('0.00');
    });

    test('of more than is left takes what is left, and gives back that', async () => {
      const { dispute, refunded, taken } = await events('more');
      await refunded(500);
      expect((await dispute('created', 'needs_response')).body).toMatchObject({ did: ['charged_back'] });
      expect(await taken()).toBe('29.35');
      expect((await dispute('funds_withdrawn', 'under_review')).body).toMatchObject({ status: 'duplicate' });
      expect((await dispute('closed', 'won')).body).toMatchObject({ did: ['restored'] });
      expect(await taken()).toBe('5.00');
      expect((await dispute('funds_reinstated', 'won')).body).toMatchObject({ status: 'duplicate' });
    });

    test('of an order of which nothing is left changes nothing', async () => {
      const { dispute, refunded, taken } = await events('none');
      await refunded(2_935);
      for (const status of ['won', 'needs_response', 'lost']) {
        const type = status === 'needs_response' ? 'created' : 'closed';
        expect((await dispute(type, status)).body).toMatchObject({ status: 'duplicate' });
      }
      expect(await taken()).toBe('29.35');
    });
  });

  describe('what is given back of an invoice names its payment', () => {
    const charge = (id: string) => ({
      id: `ch_${id}`,
      object: 'charge',
      payment_intent: `pi_${id}`,
      currency: 'eur',
      amount_refunded: 100,
    });
    const dispute = (id: string, status: string) => ({
      id: `du_${id}`,
      object: 'dispute',
      payment_intent: `pi_${id}`,
      charge: `ch_${id}`,
      amount: 1_900,
      currency: 'eur',
      status,
    });
    const invoice = (id: string, more: object) => ({
      id: `in_${id}`,
      object: 'invoice',
      amount_paid: 2_000,
      currency: 'eur',
      customer: 'cus_1',
      ...more,
    });
    const session = (id: string) =>
      stripeSession(id, {
        mode: 'subscription',
        payment_intent: null,
        invoice: `in_${id}`,
        amount_total: 2_000,
        total_details: {},
      });
    const paid = (id: string) => ({
      id: `inpay_${id}`,
      object: 'invoice_payment',
      amount_paid: 2_000,
      currency: 'eur',
      invoice: `in_${id}`,
      payment: { type: 'payment_intent', payment_intent: `pi_${id}` },
      status: 'paid',
    });
    type Event = readonly [type: string, object: object, previous?: object];
    const first = { billing_reason: 'subscription_create' };
    const renewal = { billing_reason: 'subscription_cycle' };
    const before = { payment_intent: 'pi_x', charge: 'ch_x' };

    test.each<[string, string, readonly Event[]]>([
      [
        's1',
        'a session, since 2025',
        [
          ['checkout.session.completed', session('s1')],
          ['invoice_payment.paid', paid('s1')],
        ],
      ],
      [
        's2',
        'a session, the payment first',
        [
          ['invoice_payment.paid', paid('s2')],
          ['checkout.session.completed', session('s2')],
        ],
      ],
      [
        's3',
        'a session, before 2025',
        [
          ['invoice.paid', invoice('s3', { ...first, ...before, payment_intent: 'pi_s3' })],
          ['checkout.session.completed', session('s3')],
        ],
      ],
      [
        'r1',
        'a renewal, since 2025',
        [
          ['invoice.paid', invoice('r1', renewal)],
          ['invoice_payment.paid', paid('r1')],
        ],
      ],
      [
        'r2',
        'a renewal, before 2025',
        [['invoice.paid', invoice('r2', { ...renewal, ...before, payment_intent: 'pi_r2' })]],
      ],
    ])('%s: %s', async (id, _, order) => {
      const refund: Event = ['charge.refunded', charge(id), { amount_refunded: 0 }];
      const opened: Event = ['charge.dispute.created', dispute(id, 'needs_response')];
      const won: Event = ['charge.dispute.closed', dispute(id, 'won')];
      // Each arrival of the refund: last, first, and between what is known of the order.
      for (const [n, at] of [order.length, 0, 1].entries()) {
        const from = await source({ kind: 'stripe', secret: 'whsec_x' });
        const events = [...order.slice(0, at), refund, ...order.slice(at)];
        const named = (object: object) =>
          JSON.parse(JSON.stringify(object).replaceAll(`_${id}"`, `_${id}${n}"`));
        const deliver = async ([type, object, previous]: Event) => {
          const answer = await send(from, stripeCall(stripeEvent(type, named(object), previous), 'whsec_x'));
          expect([200, 202]).toContain(answer.status);
        };
        for (const event of events) await deliver(event);
        const amount = async () => (await orderOf(`in_${id}${n}`))?.refunded;
        await refunded(`in_${id}${n}`, '1.00');
        await deliver(opened);
        expect(await amount()).toMatchObject({ amount: '20.00' });
        await deliver(won);
        expect(await amount()).toMatchObject({ amount: '1.00' });
        expect(await callsOf(from, 'outcome=accepted')).toContainEqual(
          expect.objectContaining({
            order_id: `in_${id}${n}`,
            params: expect.objectContaining({ named_as: `pi_${id}${n}` }),
          }),
        );
      }
    });

    test('a refund, what names its payment, and the order by another way', async () => {
      const from = await source({ kind: 'stripe', secret: 'whsec_x' });
      const deliver = async (event: Parameters<typeof stripeCall>[0]) =>
        (await send(from, stripeCall(event, 'whsec_x'))).status;
      expect(await deliver(stripeEvent('charge.refunded', charge('w1'), { amount_refunded: 0 }))).toBe(202);
      expect(await deliver(stripeEvent('invoice_payment.paid', paid('w1')))).toBe(200);
      await act('/v1/conversions', { order_id: 'in_w1', amount: '20.00', currency: 'EUR' });
      await refunded('in_w1', '1.00');
      // The order by the id of the payment, the refund by that of the invoice.
      expect(await deliver(stripeEvent('invoice_payment.paid', paid('w2')))).toBe(200);
      const byInvoice = { ...charge('w2'), payment_intent: undefined, invoice: 'in_w2' };
      expect(await deliver(stripeEvent('charge.refunded', byInvoice, { amount_refunded: 0 }))).toBe(202);
      await act('/v1/conversions', { order_id: 'pi_w2', amount: '20.00', currency: 'EUR' });
      await refunded('pi_w2', '1.00');
    });

    test('of another source names nothing here', { tags: ['attack'] }, async () => {
      const [mine, theirs] = [
        await source({ kind: 'stripe', secret: 'whsec_x' }),
        await source({ kind: 'stripe', secret: 'whsec_x' }, other),
      ];
      await send(mine, stripeCall(stripeEvent('invoice.paid', invoice('o1', renewal)), 'whsec_x'));
      await send(theirs, stripeCall(stripeEvent('invoice_payment.paid', paid('o1')), 'whsec_x'));
      for (const from of [mine, theirs]) {
        const event = stripeEvent('charge.refunded', charge('o1'), { amount_refunded: 0 });
        expect((await send(from, stripeCall(event, 'whsec_x'))).status).toBe(202);
      }
      expect((await orderOf('in_o1'))?.refunded).toMatchObject({ amount: '0.00' });
    });
  });

  test('a signature of long ago is refused', { tags: ['attack'] }, async () => {
    const from = await source({ kind: 'stripe', secret: 'whsec_x' });
    const event = stripeEvent('checkout.session.completed', stripeSession('b'));
    const late = await send(from, stripeCall(event, 'whsec_x', { at: Date.now() - 301_000 }));
    expect(late.body).toMatchObject({ code: 'signature_required' });
    expect((await act(`/v1/sources/${from.id}/replay`)).body).toMatchObject({ accepted: 0, rejected: 1 });
    expect(await orderOf('pi_b')).toBeUndefined();
    expect((await send(from, stripeCall(event, 'whsec_x', { at: Date.now() - 200_000 }))).status).toBe(200);
  });
});

describe('a mapping of its own', () => {
  const right = {
    fields: { order_id: 'nr', amount: { from: 'sum', units: 'minor' }, customer_email: 'who' },
    rules: [{ when: { kind: 'sale' }, does: 'approved' }],
  };

  test('is tried on a stored call, saved, and does what was refused; the log shows the call without addresses', async () => {
    const from = await source({ kind: 'anything', name: 'Own shop' });
    const body = JSON.stringify({
      nr: 'M-1',
      sum: 1234,
      kind: 'sale',
      who: 'ann@example.com',
      key: 'afx_operator_abcdef',
    });
    const stored = await send(from, { headers: { 'content-type': 'application/json' }, body });
    expect(stored).toMatchObject({ status: 202, body: { status: 'stored', code: 'invalid_input' } });
    const callId = String(stored.body.call_id);
    const shown = await get(`/v1/postback-calls/${callId}`);
    expect(shown).toMatchObject({
      source_id: from.id,
      outcome: 'rejected',
      via: 'source',
      request: { method: 'POST' },
    });
    expect(JSON.stringify(shown)).not.toMatch(/ann@example|abcdef/);
    const tried = await act(`/v1/sources/${from.id}/try`, { mapping: right, call_id: callId });
    expect(tried.body).toMatchObject({
      reports: [
        {
          params: {
            order_id: 'M-1',
            amount: '12.34',
            currency: 'EUR',
            customer_email: expect.stringMatching(/^sha256:/),
          },
          faults: [],
        },
      ],
      ignored: null,
    });
    expect(await orderOf('M-1')).toBeUndefined();
    const saved = await api.call('PATCH', `/v1/sources/${from.id}`, {
      key: shop.keys.advertiser,
      json: { mapping: right },
    });
    expect(saved.body).toMatchObject({ mapping: right, last_refusal: { call_id: callId } });
    expect((await act(`/v1/postback-calls/${callId}/replay`)).body).toMatchObject({ status: 'accepted' });
    expect((await act(`/v1/sources/${from.id}/replay`)).body).toMatchObject({
      accepted: 0,
      rejected: 0,
      next: null,
    });
    expect(await orderOf('M-1')).toMatchObject({ amount: { amount: '12.34' } });
    expect(await get(`/v1/sources/${from.id}`)).toMatchObject({ last_refusal: null, orders_24h: 1 });
  });

  test('is refused by its field when it is wrong', async () => {
    const json = { kind: 'anything', mapping: { rules: [{ does: 'approved', fields: { amount: 'a..b' } }] } };
    expect(await act('/v1/sources', json)).toMatchObject({
      status: 422,
      body: { field: 'mapping.rules.0.fields.amount.from.0' },
    });
  });

  test('one bad member of a list does not fail the others', async () => {
    const mapping = {
      fields: { order_id: '$body.id' },
      rules: [
        { does: 'approved', fields: { amount: 'total' } },
        { does: 'refunded', each: 'back[*]', fields: { refund_ref: 'ref', amount: 'sum' } },
      ],
    };
    const from = await source({ kind: 'anything', mapping });
    const body = JSON.stringify({
      id: 'L-1',
      total: 10,
      back: [
        { ref: 'a', sum: 'x' },
        { ref: 'b', sum: 3 },
      ],
    });
    const answer = await send(from, { headers: {}, body });
    expect(answer).toMatchObject({
      status: 202,
      body: { status: 'stored', code: 'invalid_input', did: ['recorded', 'refunded'] },
    });
    expect(await orderOf('L-1')).toMatchObject({ refunded: { amount: '3.00' } });
  });
});

test('TUNE: old URLs come by their host name, with their token', async () => {
  // A host name is one program's for the whole platform, and no secret.
  const tune = {
    kind: 'tune',
    host: 'Track.Shop.Example',
    secret: 'tok',
    program_id: `prg_${shop.programId}`,
  };
  const make = async (json: object, key: string) =>
    (await api.call('POST', '/v1/sources', { key, json })).status;
  expect(await make(tune, shop.keys.advertiser)).toBe(403);
  expect(await make(tune, shop.keys.operator)).toBe(403);
  expect(await make({ ...tune, secret: undefined }, api.operatorKey)).toBe(422);
  const made = await api.call('POST', '/v1/sources', { key: api.operatorKey, json: tune });
  const from = { ...(made.body.source as { id: string }), path: '', secret: 'tok' };
  // fetch sets the host itself.
  const call = async (query: string, host = 'track.shop.example'): Promise<unknown[]> => {
    const calling = httpGet(`${api.url}/aff_lsr?${query}`, { headers: { host } });
    const [answer] = (await once(calling, 'response')) as [IncomingMessage];
    return [answer.statusCode, Buffer.concat(await answer.toArray()).toString()];
  };
  const wrong = 'transaction_id=t1&amount=5&adv_sub=TU-1&security_token=no-such-token';
  expect(await call(wrong)).toEqual([202, 'success=false; err_msg=signature_required;']);
  expect(await orderOf('TU-1')).toBeUndefined();
  const query = 'transaction_id=t1&amount=5&adv_sub=TU-1&security_token=tok';
  expect(await call(query)).toEqual([200, 'success=true;']);
  expect(await call(query.replace('amount=5', 'amount=x'))).toEqual([
    202,
    'success=false; err_msg=invalid_input;',
  ]);
  expect(await orderOf('TU-1')).toMatchObject({ amount: { amount: '5.00' } });
  expect((await call(query, 'other.example'))[0]).toBe(404);
  const [line] = await callsOf(from, 'outcome=accepted');
  expect(JSON.stringify(await get(`/v1/postback-calls/${line?.id}`))).not.toContain('tok"');
  const seen = await Promise.all((await callsOf(from)).map(({ id }) => get(`/v1/postback-calls/${id}`)));
  expect(JSON.stringify(seen)).not.toContain('no-such-token');
  // A word in a URL could be guessed: each wrong one counts as a failed authentication.
  const guessed = await source({ kind: 'tune', secret: 'tok' });
  const guess = await api.call('GET', `${guessed.path}?transaction_id=t1&amount=5&security%5Ftoken=my-guess`);
  expect(guess).toMatchObject({ status: 202, body: { code: 'signature_required' } });
  expect(guess.headers.get('ratelimit-policy')).toContain('failed authentications');
  expect(JSON.stringify(await get(`/v1/postback-calls/${guess.body.call_id}`))).not.toContain('my-guess');
});

test('a call that its secret in the URL proved is done after that secret was replaced; a wrong one is not', async () => {
  const from = await source({ kind: 'tune', secret: 'first' });
  const call = (order: string, amount: string, token: string) =>
    api.call(
      'GET',
      `${from.path}?transaction_id=t&adv_sub=${order}&amount=${amount}&security_token=${token}`,
    );
  const early = [await call('TR-1', 'x', 'first'), await call('TR-2', '5', 'guess')];
  expect(early.map(({ body }) => body.code)).toEqual(['invalid_input', 'signature_required']);
  await act(`/v1/sources/${from.id}/rotate-secret`, { secret: 'second' });
  await act(`/v1/sources/${from.id}/rotate-secret`, { secret: 'third' });
  const replay = async ({ body }: Answer) => (await act(`/v1/postback-calls/${body.call_id}/replay`)).body;
  expect(await Promise.all(early.map(replay))).toMatchObject([
    { code: 'invalid_input' },
    { code: 'signature_required' },
  ]);
  // It is proven later, and stays so.
  await act(`/v1/sources/${from.id}/rotate-secret`, { secret: 'guess' });
  expect(await replay(early[1] as Answer)).toMatchObject({ status: 'accepted' });
  for (const secret of ['fourth', 'fifth']) await act(`/v1/sources/${from.id}/rotate-secret`, { secret });
  expect(await replay(early[1] as Answer)).toMatchObject({ status: 'duplicate' });
});

test('a tracker: lead, sale, rejection; a late repetition of the sale restores nothing', async () => {
  const from = await source({ kind: 'keitaro' });
  const call = async (query: string) => (await api.call('GET', `${from.path}?${query}`)).body;
  expect(await call('subid=c1&tid=K-9&status=lead&payout=1&currency=eur')).toMatchObject({
    did: ['pending'],
  });
  expect(await call('subid=c1&tid=K-9&status=sale&payout=12,50&currency=eur')).toMatchObject({
    status: 'accepted',
  });
  expect(await orderOf('K-9')).toMatchObject({ amount: { amount: '12.50' }, awaits_shop: false });
  expect(await call('subid=c1&tid=K-9&status=rejected&payout=12.50&currency=eur')).toMatchObject({
    did: ['rejected'],
  });
  await call('subid=c1&tid=K-9&status=sale&payout=12.50&currency=eur');
  expect((await orderOf('K-9'))?.cancelled_at).toBeTypeOf('string');
});

describe('access', () => {
  test('sources, calls and replays are of their own program', { tags: ['attack'] }, async () => {
    const from = await source({ kind: 'anything' });
    const stored = await send(from, { headers: {}, body: '{"x":1}' });
    const key = other.keys.advertiser;
    for (const path of [`/v1/sources/${from.id}`, `/v1/postback-calls/${stored.body.call_id}`]) {
      expect((await api.call('GET', path, { key })).status).toBe(404);
    }
    const theirs = await source({ kind: 'anything' }, other);
    expect((await act(`/v1/sources/${theirs.id}/try`, { call_id: stored.body.call_id }, key)).status).toBe(
      404,
    );
    for (const path of [
      `/v1/sources/${from.id}/replay`,
      `/v1/sources/${from.id}/try`,
      `/v1/sources/${from.id}/rotate-secret`,
      `/v1/postback-calls/${stored.body.call_id}/replay`,
    ]) {
      expect([404, 422]).toContain((await act(path, {}, key)).status);
    }
    expect((await get(`/v1/postback-calls?source_id=${from.id}`, key)).data).toEqual([]);
    expect(
      (await act(`/v1/sources`, { kind: 'anything', program_id: `prg_${shop.programId}` }, key)).status,
    ).toBe(403);
  });

  test('an address is not guessed, is stored encrypted, and is in no log', { tags: ['attack'] }, async () => {
    const from = await source({ kind: 'anything' });
    const address = from.path.slice('/in/'.length);
    expect(address).toMatch(/^[\w-]{22}$/);
    await send(from, { headers: {}, body: '{"order_id":"A-1","amount":"1"}' });
    expect((await api.call('POST', `/in/${address.slice(0, -1)}`, { raw: '{}' })).status).toBe(404);
    const rows =
      await api.ledger`select to_jsonb(s)::text as row from sources s union all select to_jsonb(a)::text from audit_log a`;
    expect(JSON.stringify(rows)).not.toContain(address);
    expect(api.logLines.join('\n')).not.toContain(address);
  });

  test('a change on top of one that was not seen is refused; a call in between is none', async () => {
    const from = await source({ kind: 'keitaro' });
    const path = `/v1/sources/${from.id}`;
    const etag = async () =>
      (await api.call('GET', path, { key: shop.keys.advertiser })).headers.get('etag') ?? '';
    const rename = async (name: string, seen: string) =>
      await api.call('PATCH', path, {
        key: shop.keys.advertiser,
        json: { name },
        headers: { 'if-match': seen },
      });
    const seen = await etag();
    await api.call('GET', `${from.path}?subid=c1&tid=E-1&status=lead&payout=1&currency=EUR`);
    const renamed = await rename('one', seen);
    expect([renamed.status, renamed.headers.get('etag')]).toEqual([200, await etag()]);
    expect((await rename('two', seen)).status).toBe(412);
  });

  test('a disabled source stores, a removed one takes nothing; both are in the audit log', async () => {
    const from = await source({ kind: 'anything' });
    const key = shop.keys.operator;
    await api.call('PATCH', `/v1/sources/${from.id}`, { key, json: { status: 'disabled' } });
    const body = '{"order_id":"D-1","amount":"1"}';
    expect((await send(from, { headers: {}, body })).body).toMatchObject({
      status: 'stored',
      code: 'wrong_state',
    });
    await api.call('PATCH', `/v1/sources/${from.id}`, { key, json: { status: 'active' } });
    expect((await act(`/v1/sources/${from.id}/replay`)).body).toMatchObject({ accepted: 1 });
    expect((await api.call('DELETE', `/v1/sources/${from.id}`, { key })).status).toBe(204);
    await expect.poll(async () => (await send(from, { headers: {}, body })).status).toBe(404);
    const { data } = (await get('/v1/audit-log?limit=1000', key)) as { data: Row[] };
    const isOf = ({ subject, before }: Row) => subject === from.id || (before as Row | null)?.id === from.id;
    const actions = data.filter(isOf).map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(['source.create', 'source.update', 'source.delete']));
  });
});

test('bytes that PostgreSQL cannot store, and bodies of a mebibyte', { tags: ['attack'] }, async () => {
  const from = await source({ kind: 'anything' });
  const bodies = [
    JSON.stringify({ order_id: 'a\u0000b', amount: '1', 'x\u0000': '\udaf9' }),
    '{"order_id":"\\udaf9","amount":"1"}',
    '\u0000\u0000',
    `{"a":${'['.repeat(10_000)}${']'.repeat(10_000)}}`.padEnd(1_048_576, ' '),
    '{"__proto__":{"order_id":"p"},"constructor":1}',
  ];
  for (const body of bodies)
    expect((await send(from, { headers: { 'content-type': 'application/json' }, body })).status).toBe(202);
  const latin = await api.call('POST', from.path, {
    raw: Buffer.from([0xff, 0xfe, 0x00]),
    headers: { 'content-type': 'image/png' },
  });
  expect(latin).toMatchObject({ status: 202, body: { detail: 'body is not valid UTF-8' } });
  expect((await send(from, { headers: {}, body: 'x'.repeat(1_048_577) })).status).toBe(413);
  expect(await callsOf(from)).toHaveLength(bodies.length + 1);
});

test('a thousand calls at once to one source are a thousand orders', async () => {
  const from = await source({ kind: 'keitaro' });
  const statuses = await Promise.all(
    Array.from(
      { length: 1_000 },
      async (_, i) => (await api.call('GET', `${from.path}?subid=c${i}&payout=1`)).body.status,
    ),
  );
  expect(new Set(statuses)).toEqual(new Set(['accepted']));
  expect(await get(`/v1/sources/${from.id}`)).toMatchObject({ orders_24h: 1_000, last_refusal: null });
});

test('so many unproven calls of a source are stored and no more; they are forgotten early, unless one was proven', {
  tags: ['attack'],
}, async () => {
  const [many, large, proven] = [
    await source({ kind: 'shopify', secret: 'shh' }),
    await source({ kind: 'shopify', secret: 'shh' }),
    await source({ kind: 'shopify', secret: 'shh' }),
  ];
  const numberOf = ({ id }: TestSource) => Number(id.split('_')[1]);
  const store = async (of: TestSource, calls: number, bytes: number) =>
    await api.ledger`
      insert into postback_calls (request_id, via, program_id, source_id, params, outcome, status, code, request, received_at)
      select 'stored', 'source', ${shop.programId}, ${numberOf(of)}, '{}', 'rejected', 202, 'signature_required',
        convert_to(repeat('x', ${bytes}), 'UTF8'), now() - interval '20 days'
      from generate_series(1, ${calls})`;
  await store(many, 5_000, 1);
  await store(large, 1, 64 * 1024 * 1024);
  await store(proven, 5_000, 1);
  await api.ledger`
    insert into postback_calls (request_id, via, program_id, source_id, params, outcome, status, code, replay_of)
    select 'replay', 'replay', program_id, source_id, '{}', 'rejected', 202, 'not_found', id
    from postback_calls where source_id = ${numberOf(proven)}`;
  const forged = shopifyCall('orders/paid', shopifyOrder('7900'), 'made up');
  for (const from of [many, large]) expect([401, 429]).toContain((await send(from, forged)).status);
  expect((await send(proven, forged)).status).toBe(202);
  expect((await send(many, shopifyCall('orders/paid', shopifyOrder('7900'), 'shh'))).status).toBe(200);
  const before = new Date(Date.now() - 14 * 24 * 3_600_000);
  await forgetUnproven(api.ledger, { before, limit: 10_000 });
  expect((await send(many, forged)).status).toBe(202);
  const left = await api.ledger<{ sourceId: number }[]>`
    select source_id from postback_calls where request_id = 'stored' group by source_id`;
  expect(left.map(({ sourceId }) => sourceId)).toEqual([numberOf(proven)]);
});
