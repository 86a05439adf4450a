import { describe, expect, test } from 'vitest';
import {
  requestOf,
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
import { kindOf, type SourceKindName } from './kinds/index.ts';
import { type MappingInput, readMapping } from './mapping.ts';
import { type Reading, readCall } from './read-call.ts';
import { type SentRequest, valuesOf } from './sent-request.ts';

const EUR = { currency: 'EUR' };

async function read(kind: SourceKindName, request: SentRequest): Promise<Reading> {
  return readCall(kindOf(kind).mapping, await valuesOf(request), EUR);
}

const get = (query: string): SentRequest => ({ method: 'GET', query, headers: {}, body: Buffer.alloc(0) });
const paramsOf = ({ reports }: Reading) => reports.map(({ params }) => params);
const faultsOf = ({ reports, faults }: Reading) => [...faults, ...reports.flatMap((one) => one.faults)];

async function custom(
  mapping: MappingInput,
  body: string,
  contentType = 'application/json',
): Promise<Reading> {
  const request = requestOf({ headers: { 'content-type': contentType }, body });
  return readCall(readMapping(mapping), await valuesOf(request), EUR);
}

describe('Shopify', () => {
  test('an order with its items, discounts, click id and 64-bit ids', async () => {
    const order = shopifyOrder('450789469', { note_attributes: [{ name: 'click_id', value: 'abc' }] });
    const reading = await read('shopify', requestOf(shopifyCall('orders/paid', order, 's')));
    expect(faultsOf(reading)).toEqual([]);
    expect(reading.notes).toEqual([]);
    expect(paramsOf(reading)).toEqual([
      expect.objectContaining({
        status: 'approved',
        order_id: '450789469',
        amount: '41.00',
        currency: 'EUR',
        click_id: 'abc',
        coupon: ['SUMMER'],
        customer_id: '115310627314723950',
        items: [
          expect.objectContaining({
            sku: 'SHIRT',
            quantity: 2,
            amount: '36.00',
            discount: '4.00',
            tax: '6.00',
            gift_card: false,
          }),
          expect.objectContaining({ sku: 'shipping', amount: '5.00', shipping: '5.00' }),
        ],
      }),
    ]);
  });

  test('the click id of the landing page; taxes beside the prices', async () => {
    const order = shopifyOrder('1', {
      landing_site: '/sale?x=1&click_id=xyz',
      taxes_included: false,
      total_price: '47.00',
    });
    const reading = await read('shopify', requestOf(shopifyCall('orders/paid', order, 's')));
    expect(paramsOf(reading)[0]).toMatchObject({
      click_id: 'xyz',
      items: [{ amount: '42.00' }, { amount: '5.00' }],
    });
  });

  test('items that do not come to the amount are left out, and the order stays', async () => {
    const order = shopifyOrder('1', { total_price: '50.00' });
    const reading = await read('shopify', requestOf(shopifyCall('orders/paid', order, 's')));
    expect(reading.reports[0]?.report?.order).toMatchObject({ amountMinor: 5_000n, items: undefined });
    expect(reading.notes).toEqual([expect.stringContaining('items are left out')]);
  });

  test('refunds come to their successful transactions, and one of nothing is ignored', async () => {
    const refund = await read(
      'shopify',
      requestOf(shopifyCall('refunds/create', shopifyRefund('7', 99, '10.50'), 's')),
    );
    expect(refund.reports[0]?.report).toMatchObject({
      orderId: '7',
      event: { kind: 'refunded', refundRef: '99', amount: { amountMinor: 1_050n, currency: 'EUR' } },
    });
    const restock = { ...shopifyRefund('7', 98, '0'), transactions: [] };
    const nothing = await read('shopify', requestOf(shopifyCall('refunds/create', restock, 's')));
    expect(nothing).toMatchObject({ reports: [], ignored: 'no money was given back' });
  });

  describe('a refund in the customer’s currency', () => {
    const refund = async (dollars: string, more: object) => {
      const transactions = [
        { id: 1, kind: 'refund', status: 'success', amount: dollars, currency: 'USD' },
        { id: 2, kind: 'refund', status: 'failure', amount: '1.00', currency: 'USD' },
      ];
      const event = {
        ...shopifyRefund('7', 99, ''),
        total_duties_set: shopifyMoney('0.00', '0.00'),
        transactions,
        ...more,
      };
      const [one] = (await read('shopify', requestOf(shopifyCall('refunds/create', event, 's')))).reports;
      const { amount } = (one?.report?.event ?? {}) as {
        amount?: { amountMinor: bigint; roundingMinor: bigint };
      };
      return amount ?? one?.faults;
    };
    const line = (euros: string, dollars: string) => ({ subtotal_set: shopifyMoney(euros, dollars) });

    test.each([
      ['of lines', '45.10', { refund_line_items: [line('41.00', '45.10')] }, 4_100n],
      [
        'with taxes in the prices or beside them',
        '22.00',
        { refund_line_items: [{ ...line('20.00', '22.00'), total_tax_set: shopifyMoney('3.00', '3.30') }] },
        2_000n,
      ],
      ['of less than its lines', '10.00', { refund_line_items: [line('20.00', '22.00')] }, 909n],
      [
        'of shipping alone',
        '5.50',
        { refund_shipping_lines: [{ subtotal_amount_set: shopifyMoney('5.00', '5.50') }] },
        500n,
      ],
      [
        'of no line',
        '11.00',
        { order_adjustments: [{ amount_set: shopifyMoney('-10.00', '-11.00') }] },
        1_000n,
      ],
      [
        'of lines of nothing',
        '11.00',
        {
          refund_line_items: [line('0.00', '0.00')],
          order_adjustments: [{ amount_set: shopifyMoney('-10.00', '-11.00') }],
        },
        1_000n,
      ],
    ])('%s is what it is in the shop’s', async (_, dollars, more, amountMinor) => {
      expect(await refund(dollars, more)).toMatchObject({ amountMinor, currency: 'EUR' });
    });

    test('may be more than the order by what the rounding of its addends makes', async () => {
      const [subtotal, tax, shipping] = [
        shopifyMoney('58.07', '50.25'),
        shopifyMoney('4.65', '4.02'),
        shopifyMoney('6.00', '5.19'),
      ];
      const lines = {
        refund_line_items: [{ subtotal_set: subtotal, total_tax_set: tax }],
        refund_shipping_lines: [{ subtotal_amount_set: shipping }],
      };
      // Three addends in euros, and in dollars three and the transaction: half a cent each, and of the result.
      expect(await refund('59.88', lines)).toMatchObject({ amountMinor: 6_921n, roundingMinor: 5n });
      const [same] = (
        await read('shopify', requestOf(shopifyCall('refunds/create', shopifyRefund('7', 99, '9.00'), 's')))
      ).reports;
      expect(same?.report?.event).toMatchObject({ amount: { amountMinor: 900n } });
      expect(same?.report?.event).not.toHaveProperty('amount.roundingMinor');
    });

    test('is refused where nothing says what it is in the shop’s', async () => {
      expect(await refund('11.00', {})).toEqual([
        { field: 'amount', message: 'is in USD, and the call does not say what that is in EUR' },
      ]);
    });
  });

  test('tests and foreign topics are ignored', async () => {
    const tests = [
      shopifyCall('orders/paid', shopifyOrder('1', { test: true }), 's'),
      shopifyCall('products/update', { id: 1 }, 's'),
    ];
    for (const one of tests) expect((await read('shopify', requestOf(one))).ignored).toBeTypeOf('string');
  });
});

describe('WooCommerce', () => {
  const order = async (more: object) =>
    await read('woocommerce', requestOf(woocommerceCall('order.updated', woocommerceOrder(727, more), 's')));

  test('an order of a guest, at the time of UTC', async () => {
    const meta_data = [{ id: 1, key: '_afflux_click_id', value: 'abc' }];
    const reading = await order({ meta_data, date_created_gmt: '2026-03-01T08:00:00' });
    expect(faultsOf(reading)).toEqual([]);
    expect(paramsOf(reading)[0]).toMatchObject({
      order_id: '727',
      click_id: 'abc',
      occurred_at: '2026-03-01T08:00:00.000Z',
      items: [
        { sku: '93', amount: '24.00', tax: '4.00' },
        { amount: '5.35', shipping: '4.46' },
      ],
    });
    expect(paramsOf(reading)[0]).not.toHaveProperty('customer_id');
  });

  test('the landing page of its own attribution', async () => {
    const meta_data = [
      { id: 1, key: '_wc_order_attribution_session_entry', value: 'https://shop.example/?click_id=abc' },
    ];
    expect(paramsOf(await order({ meta_data }))[0]).toMatchObject({ click_id: 'abc' });
  });

  test('a renewal has no click, whatever was copied to it from the first order', async () => {
    const copied = [
      { id: 1, key: '_afflux_click_id', value: 'abc' },
      { id: 2, key: '_wc_order_attribution_session_entry', value: 'https://shop.example/?click_id=abc' },
    ];
    const renewal = { id: 3, key: '_subscription_renewal', value: 51 };
    for (const status of ['processing', 'completed', 'on-hold', 'cancelled', 'failed', 'refunded']) {
      const [first, later] = await Promise.all(
        [copied, [...copied, renewal]].map((meta_data) => order({ status, customer_id: 26, meta_data })),
      );
      const sent = [first, later].map((one) => one && paramsOf(one));
      expect(sent[0]?.[0]).toMatchObject({ order_id: '727', customer_id: '26', click_id: 'abc' });
      const { click_id: _, ...same } = sent[0]?.[0] ?? {};
      expect(sent[1]?.[0]).toEqual(same);
      expect(later?.reports.length).toBe(first?.reports.length);
      expect(later?.reports[0]?.snapshot).toBe(first?.reports[0]?.snapshot);
    }
  });

  test('each refund of a list is a report of its own', async () => {
    const refunds = [
      { id: 1, reason: '', total: '-5.00' },
      { id: 2, reason: '', total: '-0.00' },
      { id: 3, reason: '', total: '-1.10' },
    ];
    const reading = await order({ status: 'completed', refunds });
    expect(reading.reports.map(({ report }) => report?.event)).toEqual([
      { kind: 'approved' },
      { kind: 'refunded', refundRef: '1', amount: { amountMinor: 500n, currency: 'EUR' } },
      { kind: 'refunded', refundRef: '3', amount: { amountMinor: 110n, currency: 'EUR' } },
    ]);
  });

  test('its statuses', async () => {
    const statuses = ['pending', 'on-hold', 'processing', 'cancelled', 'failed', 'trash', 'my-own'];
    const readings = await Promise.all(statuses.map((status) => order({ status })));
    expect(readings.map((one) => one.ignored !== undefined || (paramsOf(one)[0]?.status ?? null))).toEqual([
      true,
      'pending',
      'approved',
      'cancelled',
      'rejected',
      true,
      null,
    ]);
    expect(readings.at(-1)?.faults).toEqual([
      { field: 'mapping', message: 'has no rule that takes this call' },
    ]);
  });

  test('its ping is ignored', async () => {
    const ping = { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'webhook_id=5' };
    expect(await read('woocommerce', requestOf(ping))).toMatchObject({
      ignored: 'it is the ping of a new webhook',
    });
  });
});

describe('Stripe', () => {
  const event = async (type: string, object: object, previous?: object) =>
    await read('stripe', requestOf(stripeCall(stripeEvent(type, object, previous), 's')));

  test('a session', async () => {
    const session = stripeSession('1', {
      client_reference_id: 'abc',
      discounts: [{ coupon: null, promotion_code: 'promo_1' }],
    });
    const reading = await event('checkout.session.completed', session);
    expect(faultsOf(reading)).toEqual([]);
    expect(paramsOf(reading)[0]).toMatchObject({
      status: 'approved',
      order_id: 'pi_1',
      amount: '29.35',
      currency: 'EUR',
      click_id: 'abc',
      coupon: ['promo_1'],
      customer_id: 'cus_1',
      items: [{ amount: '29.35', tax: '4.00', shipping: '5.00' }],
    });
  });

  test('ids by which what is given back names an order', async () => {
    const session = stripeSession('1', { invoice: 'in_1', payment_intent: null });
    const names = async (type: string, object: object) => (await event(type, object)).names;
    expect(await names('checkout.session.completed', session)).toEqual([
      { orderId: 'in_1', otherIds: ['cs_1'] },
    ]);
    const payment = (more: object) => ({
      id: 'inpay_1',
      object: 'invoice_payment',
      invoice: 'in_1',
      ...more,
    });
    const named = [{ orderId: 'in_1', otherIds: ['pi_1'] }];
    expect(
      await names(
        'invoice_payment.paid',
        payment({ payment: { type: 'payment_intent', payment_intent: 'pi_1' } }),
      ),
    ).toEqual(named);
    expect(await names('invoice_payment.paid', payment({ charge: null, payment_intent: 'pi_1' }))).toEqual(
      named,
    );
    expect(await names('invoice_payment.paid', payment({}))).toEqual([]);
    expect(await names('customer.subscription.deleted', { id: 'sub_1', payment_intent: 'pi_1' })).toEqual([]);
  });

  test('whole, thousandth and hundredth units, as Stripe counts them', async () => {
    const cases = [
      ['jpy', 500, '500'],
      ['kwd', 5000, '5.000'],
      ['isk', 550, undefined],
      ['isk', 50000, '500'],
      ['mga', 50, '50.00'],
    ] as const;
    for (const [currency, amount_total, amount] of cases) {
      const session = stripeSession('1', { currency, amount_total, total_details: {} });
      const [params] = paramsOf(await event('checkout.session.completed', session));
      expect(params?.amount, `${currency} ${amount_total}`).toBe(amount);
    }
  });

  test('refunds in several parts, by what was refunded in all', async () => {
    const charge = (amount_refunded: number) => ({
      id: 'ch_1',
      object: 'charge',
      payment_intent: 'pi_1',
      invoice: null,
      currency: 'eur',
      amount: 2935,
      amount_refunded,
    });
    const reports = [
      await event('charge.refunded', charge(1_000), { amount_refunded: 0 }),
      await event('charge.refunded', charge(2_935), { amount_refunded: 1_000 }),
    ].map(({ reports: [one] }) => one?.report);
    expect(reports).toMatchObject([
      { orderId: 'pi_1', event: { refundRef: 'ch_1:1000', amount: { amountMinor: 1_000n } } },
      { orderId: 'pi_1', event: { refundRef: 'ch_1:2935', amount: { amountMinor: 1_935n } } },
    ]);
  });

  test('disputes, subscriptions and what is ignored', async () => {
    const dispute = (status: string) => ({
      id: 'du_1',
      object: 'dispute',
      payment_intent: 'pi_1',
      amount: 2935,
      currency: 'eur',
      status,
    });
    const invoice = (billing_reason: string) => ({
      id: 'in_2',
      object: 'invoice',
      billing_reason,
      amount_paid: 900,
      currency: 'eur',
      customer: 'cus_1',
    });
    const events = await Promise.all([
      event('charge.dispute.created', dispute('needs_response')),
      event('charge.dispute.created', dispute('warning_needs_response')),
      event('charge.dispute.closed', dispute('won')),
      event('charge.dispute.closed', dispute('lost')),
      event('invoice.paid', invoice('subscription_cycle')),
      event('invoice.paid', invoice('subscription_create')),
      event('customer.subscription.deleted', { id: 'sub_1' }),
      event('checkout.session.completed', stripeSession('1', { payment_status: 'unpaid' })),
      read(
        'stripe',
        requestOf(
          stripeCall({ ...stripeEvent('invoice.paid', invoice('subscription_cycle')), livemode: false }, 's'),
        ),
      ),
    ]);
    expect(events.map((one) => paramsOf(one)[0]?.status ?? 'ignored')).toEqual([
      'charged_back',
      'ignored',
      'restored',
      'charged_back',
      'approved',
      'ignored',
      'ignored',
      'pending',
      'ignored',
    ]);
    expect(events.flatMap(faultsOf)).toEqual([]);
  });
});

test.each<[SourceKindName, string, object]>([
  [
    'keitaro',
    'subid=abc&status=sale&payout=10&currency=eur&tid=K1',
    { status: 'approved', click_id: 'abc', order_id: 'K1', amount: '10.00', currency: 'EUR' },
  ],
  ['keitaro', 'subid=abc&status=lead&payout=0', { status: 'pending', order_id: 'abc', amount: '0.00' }],
  ['keitaro', 'subid=abc&status=rejected&tid=K1', { status: 'rejected', order_id: 'K1' }],
  [
    'voluum',
    'cid=abc&payout=12.3456&txid=V1&et=purchase',
    { order_id: 'V1', amount: '12.35', event_name: 'sale' },
  ],
  [
    'binom',
    'cnv_id=abc&payout=3&cnv_currency=usd&cnv_status=hold',
    { status: 'pending', currency: 'USD', order_id: 'abc' },
  ],
  [
    'redtrack',
    'clickid=abc&sum=12,50&type=Purchase',
    { amount: '12.50', event_name: 'sale', status: 'approved' },
  ],
  [
    'everflow',
    'nid=9&transaction_id=abc&amount=5&order_id=E1&coupon_code=ANN',
    { order_id: 'E1', coupon: ['ANN'] },
  ],
  ['tune', 'offer_id=2&transaction_id=abc&amount=5&adv_sub=T1', { order_id: 'T1', click_id: 'abc' }],
  ['hasoffers', 'transaction_id=abc&amount=5', { order_id: 'abc', click_id: 'abc' }],
  [
    'redtrack',
    'clickid=abc&sum=5&rdtk_event_id=R1&ref_id=xyz',
    { order_id: 'R1', click_id: 'abc', amount: '5.00' },
  ],
  ['tune', 'transaction_id=abc&amount=5&adv_unique1=T2&promo_code=ANN', { order_id: 'T2', coupon: ['ANN'] }],
  [
    'cake',
    'a=1&t=C2&r=abc&f=pb&e=2&ecc=FF25^SHOES50OFF&ecv=CA32X7&eccu=usd&ect=72.80',
    { order_id: 'C2', amount: '72.80', currency: 'USD', coupon: ['FF25', 'SHOES50OFF', 'CA32X7'] },
  ],
  ['cake', 'o=1&e=2&f=pb&r=abc&t=C1&p=5.5', { order_id: 'C1', click_id: 'abc', amount: '5.50' }],
  ['anything', 'order_id=1&amount=1&status=cancelled', { status: 'cancelled', order_id: '1' }],
])('%s reads %s', async (kind, query, params) => {
  const reading = await read(kind, get(query));
  expect(faultsOf(reading)).toEqual([]);
  expect(paramsOf(reading)[0]).toMatchObject(params);
});

test('a status that a tracker does not know is refused by name', async () => {
  const reading = await read('keitaro', get('subid=a&status=purple&payout=1'));
  expect(reading.faults).toEqual([
    { field: 'mapping.rules.0.does', message: 'does not know the status "purple"' },
  ]);
});

describe('anything', () => {
  const flat = (fields: MappingInput['fields']): MappingInput => ({ fields, rules: [{ does: 'approved' }] });

  test('multipart, forms without a type, Unix times, zones and decimal commas', async () => {
    const mapping = flat({
      order_id: 'o',
      amount: { from: 'a', decimal: ',' },
      occurred_at: { from: 't', zone: 'Europe/Vienna' },
    });
    const boundary = 'x1';
    const parts = Object.entries({ o: '1', a: '1.234,50', t: '2026-07-01 10:00' });
    const body = `${parts.map(([name, value]) => `--${boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`).join('')}--${boundary}--\r\n`;
    const multipart = await custom(mapping, body, `multipart/form-data; boundary=${boundary}`);
    expect(paramsOf(multipart)[0]).toMatchObject({
      order_id: '1',
      amount: '1234.50',
      occurred_at: '2026-07-01T08:00:00.000Z',
    });
    const form = await custom(mapping, 'o=1&a=5&t=1767225600', '');
    expect(paramsOf(form)[0]).toMatchObject({ amount: '5.00', occurred_at: '2026-01-01T00:00:00.000Z' });
    expect(
      paramsOf(await custom(mapping, '{"o":1,"a":"5","t":1767225600123}', 'text/plain'))[0],
    ).toMatchObject({ occurred_at: '2026-01-01T00:00:00.123Z' });
  });

  test('a decimal comma makes no other amount of a number with a point', async () => {
    const mapping = flat({ order_id: 'o', amount: { from: 'a', decimal: ',' }, occurred_at: 't' });
    const read = async (amount: string) => await custom(mapping, `{"o":1,"a":${amount}}`, 'application/json');
    expect((await read('5.5')).reports[0]?.faults).toEqual([
      { field: 'amount', message: '"5.5" is not a number' },
    ]);
    expect((await read('"12.34"')).reports[0]?.faults).toHaveLength(1);
    expect(paramsOf(await read('"1.234.567,8"'))[0]).toMatchObject({ amount: '1234567.80' });
  });

  test('every digit of a number stays', async () => {
    const mapping = flat({ order_id: 'id', amount: 'a' });
    const reading = await custom(mapping, '{"id": 820982911946154508, "a": 0.1e2, "s": "1\\"2"}');
    expect(paramsOf(reading)[0]).toMatchObject({ order_id: '820982911946154508', amount: '10.00' });
  });

  test('a mapping that is wrong is refused by its field', () => {
    const wrong = (mapping: unknown) => () => readMapping(mapping);
    expect(wrong({ rules: [{ does: 'sold' }] })).toThrow(/mapping\.rules\.0\.does/);
    expect(wrong({ rules: [{ does: 'approved', fields: { amount: 'a[' } }] })).toThrow(
      /mapping\.rules\.0\.fields\.amount\.from\.0.*is no path/,
    );
    expect(wrong({ rules: [{ does: 'approved', fields: { total: 'a' } }] })).toThrow(
      /mapping\.rules\.0\.fields/,
    );
    expect(wrong({ rules: [] })).toThrow(/mapping\.rules/);
    expect(wrong('x')).toThrow(/mapping/);
  });

  test.each(['__proto__', 'constructor', 'toString', '__proto__.polluted', 'constructor.prototype'])(
    'the name %s finds what was sent and nothing else',
    { tags: ['attack'] },
    async (name) => {
      const mapping = {
        fields: { order_id: [name, 'id'], amount: 'a' },
        rules: [{ does: 'approved' as const }],
      };
      const reading = await custom(mapping, '{"__proto__":{"polluted":{}},"id":"1","a":"1"}');
      expect(paramsOf(reading)[0]?.order_id).toBe('1');
    },
  );

  test('deep, broken and endless bodies are refused at once', { tags: ['attack'] }, async () => {
    const mapping = flat({ order_id: 'id', amount: 'a' });
    const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`.padEnd(1_048_576, ' ');
    const bodies = [
      deep,
      '['.repeat(1_048_576),
      `{"a":${'{"a":'.repeat(9_999)}1${'}'.repeat(10_000)}`,
      '{"a":1,"a":2}',
      '{',
    ];
    const started = performance.now();
    for (const body of bodies) {
      await expect(custom(mapping, body), body.slice(0, 20)).rejects.toMatchObject({ field: 'body' });
    }
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  test('paths that look at everything many times end', { tags: ['attack'] }, async () => {
    const all = '[*]'.repeat(8);
    const paths = Array.from({ length: 9 }, (_, i) => `a${all}[x=${i}].y`);
    const mapping = flat({ order_id: paths, customer_id: paths, coupon: paths, amount: 'b' });
    const nested = (depth: number): unknown =>
      depth === 0 ? '1' : Array.from({ length: 4 }, () => nested(depth - 1));
    const started = performance.now();
    const reading = await custom(mapping, JSON.stringify({ a: nested(8) }));
    expect(faultsOf(reading)).toEqual([
      { field: 'mapping', message: expect.stringContaining('looks at more than') },
    ]);
    expect(performance.now() - started).toBeLessThan(3_000);
  });
});
