import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { findConversionByOrder } from '../../ledger/conversions/conversions.ts';
import {
  type Answer,
  decideConversion,
  startTestApi,
  type Tenant,
  type TestApi,
} from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';

/** What an order is of and contains, and who bought, by each way in. */

let api: TestApi;
let shop: Tenant;
let key: string;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('content');
  key = shop.keys.advertiser;
  const changed = await api.call('PATCH', `/v1/programs/prg_${shop.programId}`, {
    key: shop.keys.operator,
    json: { events: ['sale', 'lead', 'app_install', 'approved'], commission_base: 'net_of_tax' },
  });
  expect(changed).toMatchObject({
    status: 200,
    body: { events: ['sale', 'lead', 'app_install', 'approved'], commission_base: 'net_of_tax' },
  });
});
afterAll(async () => await api?.stop());

const found = (orderId: string, eventName?: string) =>
  findConversionByOrder(api.ledger, { programId: shop.programId, orderId, eventName });
const order = (orderId: string, more: Record<string, string> = {}) => ({
  order_id: orderId,
  amount: '100.00',
  currency: 'EUR',
  ...more,
});

const WAYS: readonly [string, (report: Record<string, string>) => Promise<Answer>][] = [
  ['postback', (report) => api.call('GET', `/postback?key=${key}&${new URLSearchParams(report)}`)],
  ['api', (report) => api.call('POST', '/v1/conversions', { key, json: report })],
  ['batch', batch],
  ['import', importRow],
];

async function batch(report: Record<string, string>): Promise<Answer> {
  const answer = await api.call('POST', '/v1/conversions/batch', { key, json: { conversions: [report] } });
  const [item] = answer.body.items as Record<string, unknown>[];
  const problem = item?.problem as Record<string, unknown> | null;
  return {
    ...answer,
    status: problem === null ? 200 : Number(problem?.status),
    body: { ...item, ...problem },
  };
}

async function importRow(report: Record<string, string>): Promise<Answer> {
  const quoted = Object.values(report).map((cell) => `"${cell.replaceAll('"', '""')}"`);
  const started = await api.call(
    'POST',
    `/v1/imports?kind=conversions&program_id=prg_${shop.programId}&dry_run=false`,
    {
      key: shop.keys.operator,
      raw: `${Object.keys(report).join(',')}\n${quoted.join(',')}\n`,
      headers: { 'content-type': 'text/csv' },
    },
  );
  const job = await waitFor(
    async () => {
      const { body } = await api.call('GET', `/v1/jobs/${started.body.id}`, { key: shop.keys.operator });
      return body.result === null ? undefined : body;
    },
    { deadlineMs: 10_000, what: 'the result of the import' },
  );
  const { refused_rows: refused } = job.result as { refused_rows: Record<string, unknown>[] };
  return { ...started, status: refused.length === 0 ? 200 : 422, body: { ...job, ...refused[0] } };
}

const taken = (status: number) => expect([200, 202]).toContain(status);

describe.each(WAYS)('by %s', (way, report) => {
  const id = (name: string) => `${way}-${name}`;

  test('an event of the program is the event, another word of event is a status, and the rest is refused', async () => {
    taken((await report(order(id('e'), { event: 'App Install' }))).status);
    expect(await found(id('e'))).toBeUndefined();
    expect(await found(id('e'), 'app_install')).toMatchObject({
      eventName: 'app_install',
      cancelledAt: null,
    });
    // The same order id once more, as another event.
    taken((await report(order(id('e'), { event_name: 'lead' }))).status);
    taken((await report(order(id('e'), { event: 'sale' }))).status);
    expect(
      new Set(await Promise.all([found(id('e')), found(id('e'), 'lead'), found(id('e'), 'app_install')]))
        .size,
    ).toBe(3);
    // A status that is an event here: event names the event, status the status.
    taken((await report(order(id('a'), { event: 'approved', status: 'pending' }))).status);
    expect(await found(id('a'), 'approved')).toMatchObject({ awaitsShop: true });
    // A known status.
    taken((await report(order(id('e'), { event: 'cancelled' }))).status);
    expect((await found(id('e')))?.cancelledAt).not.toBeNull();
    expect((await found(id('e'), 'lead'))?.cancelledAt).toBeNull();
    for (const [field, value] of [
      ['event', 'install'],
      ['event_name', 'install'],
    ] as const) {
      const refused = await report(order(id(`wrong-${field}`), { [field]: value }));
      expect([refused.status, refused.body.field]).toEqual([422, field]);
    }
    const both = await report(order(id('both'), { event: 'lead', event_name: 'sale' }));
    expect([both.status, both.body.field]).toEqual([422, 'event']);
  });

  test('what happens to an order names its event', async () => {
    const [ofSale, ofLead] = await Promise.all(
      (['sale', 'lead'] as const).map((eventName) =>
        decideConversion(api.ledger, {
          tenant: shop,
          orderId: id('two'),
          eventName,
          affiliateId: shop.affiliateId,
          outcome: 'attributed',
        }),
      ),
    );
    const left = async (conversionId: bigint | undefined) =>
      (
        await api.ledger<{ left: bigint }[]>`
          select sum(amount_minor - reversed_minor)::bigint as left from commissions
          where conversion_id = ${conversionId ?? 0n} and level = 1`
      )[0]?.left;
    taken((await report({ order_id: id('two'), event_name: 'lead', status: 'refunded' })).status);
    expect([await left(ofSale), await left(ofLead)]).toEqual([1_000n, 0n]);
    taken((await report({ order_id: id('two'), status: 'cancelled' })).status);
    taken((await report({ order_id: id('two'), event: 'lead', status: 'restored' })).status);
    expect([await left(ofSale), await left(ofLead)]).toEqual([0n, 1_000n]);
  });

  test('items come as JSON in one field, add up to the order, and are kept', async () => {
    const items = [
      { sku: 'A-1', quantity: 2, amount: '59.50', tax: '9.50', discount: '5.00' },
      { brand: 'Acme', category: 'shoes', amount: '40.50', shipping: '4.90' },
    ];
    taken((await report(order(id('items'), { items: JSON.stringify(items) }))).status);
    expect((await found(id('items')))?.items).toMatchObject([
      { sku: 'A-1', brand: null, quantity: 2, amountMinor: 5_950n, taxMinor: 950n, discountMinor: 500n },
      { sku: null, brand: 'Acme', category: 'shoes', quantity: 1, amountMinor: 4_050n, shippingMinor: 490n },
    ]);
    const again = await report(order(id('items'), { items: JSON.stringify(items) }));
    // An import tells of the order that it is there already.
    expect(again.status).toBe(way === 'import' ? 422 : 200);
    for (const [field, wrong] of [
      ['items', [{ amount: '99.99' }]],
      ['items.0.amount', [{ amount: '100.00', tax: '60.00', shipping: '40.01' }]],
      ['items.0.tax', [{ amount: '100.00', tax: '1.005' }]],
    ] as const) {
      const refused = await report(order(id('wrong'), { items: JSON.stringify(wrong) }));
      expect([refused.status, refused.body.field]).toEqual([422, field]);
    }
    expect(await found(id('wrong'))).toBeUndefined();
  });

  test('the customer is new or returning, in the usual words', async () => {
    for (const [word, status] of [
      ['New', 'new'],
      ['existing', 'returning'],
    ] as const) {
      taken((await report(order(id(word), { customer_status: word }))).status);
      expect(await found(id(word))).toMatchObject({ customerStatus: status });
    }
    const refused = await report(order(id('vip'), { customer_status: 'vip' }));
    expect([refused.status, refused.body.field]).toEqual([422, 'customer_status']);
  });
});

test('items are an array in JSON, and are shown', async () => {
  const items = [
    { sku: 'A-1', amount: '99.00', tax: '19.00' },
    { amount: '1.00', gift_card: true },
  ];
  const { status, body } = await api.call('POST', '/v1/conversions', {
    key,
    json: { ...order('json'), items },
  });
  expect(status).toBe(202);
  expect(body.conversion).toMatchObject({
    event_name: 'sale',
    items: [
      {
        sku: 'A-1',
        amount: { amount: '99.00', currency: 'EUR' },
        tax: { amount: '19.00' },
        gift_card: false,
        booked: '99.00',
      },
      { amount: { amount: '1.00' }, gift_card: true },
    ],
  });
  const changed = [{ ...items[0], tax: '18.00' }, items[1]];
  const conflict = await api.call('POST', '/v1/conversions', {
    key,
    json: { ...order('json'), items: changed },
  });
  expect(conflict).toMatchObject({ status: 409, body: { differing: ['items'] } });
  const unknown = [{ ...items[0], colour: 'red' }, items[1]];
  const refused = await api.call('POST', '/v1/conversions', {
    key,
    json: { ...order('json-2'), items: unknown },
  });
  expect(refused.status).toBe(422);
});

test('orders are found by their event, and refunded by it', async () => {
  await decideConversion(api.ledger, {
    tenant: shop,
    orderId: 'ref',
    eventName: 'lead',
    affiliateId: shop.affiliateId,
    outcome: 'attributed',
  });
  const list = async (query: string) =>
    ((await api.call('GET', `/v1/conversions?order_id=ref&${query}`, { key })).body.data as unknown[]).length;
  expect([await list('event_name=lead'), await list('event_name=sale'), await list('')]).toEqual([1, 0, 1]);
  const refund = { order_id: 'ref', refund_ref: 'r', amount: '40.00', currency: 'EUR' };
  expect((await api.call('POST', '/v1/refunds', { key, json: refund })).status).toBe(404);
  const recorded = await api.call('POST', '/v1/refunds', { key, json: { ...refund, event_name: 'lead' } });
  expect(recorded).toMatchObject({ status: 201, body: { conversion: { event_name: 'lead' } } });
  const { body } = await api.call('GET', '/v1/refunds?order_id=ref', { key });
  expect(body.data).toMatchObject([{ event_name: 'lead', refund_ref: 'r' }]);
  expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('a refund names items: what they earned is taken back, and nothing of the others', async () => {
  const operator = shop.keys.operator;
  const program_id = `prg_${shop.programId}`;
  await api.call('POST', '/v1/terms', {
    key: operator,
    json: {
      program_id,
      event_name: 'app_install',
      item_rates: [{ sku: 'fee', rate_bps: 0 }],
      level_rates_bps: [],
    },
  });
  const plain = {
    brand: null,
    category: null,
    discountMinor: 0n,
    taxMinor: 0n,
    shippingMinor: 0n,
    giftCard: false,
  };
  const id = await decideConversion(api.ledger, {
    tenant: shop,
    orderId: 'by-item',
    eventName: 'app_install',
    affiliateId: shop.affiliateId,
    outcome: 'attributed',
    items: [
      { ...plain, sku: 'A', quantity: 3, amountMinor: 5_000n },
      { ...plain, sku: 'fee', quantity: 1, amountMinor: 1_000n },
      { ...plain, sku: 'B', quantity: 1, amountMinor: 2_000n },
      { ...plain, sku: 'B', quantity: 1, amountMinor: 2_000n },
    ],
  });
  const left = async () =>
    (
      await api.ledger<{ left: bigint }[]>`
        select sum(amount_minor - reversed_minor)::bigint as left from commissions where conversion_id = ${id}`
    )[0]?.left;
  const refund = (refund_ref: string, items: object[], more: object = {}) =>
    api.call('POST', '/v1/refunds', {
      key,
      json: { conversion_id: `cnv_${id}`, refund_ref, items, ...more },
    });
  expect(await left()).toBe(900n);
  const fee = await refund('fee', [{ sku: 'fee' }]);
  expect(fee).toMatchObject({
    status: 201,
    body: {
      refund: { amount: { amount: '10.00' }, items: [{ item: 2, quantity: 1, amount: { amount: '10.00' } }] },
    },
  });
  expect(await left()).toBe(900n);
  // The same reference with other items is another refund.
  expect((await refund('fee', [{ item: 2, quantity: 1 }])).status).toBe(200);
  for (const items of [[{ sku: 'A' }], [{ sku: 'fee' }, { sku: 'A' }], [{ sku: 'fee', quantity: 2 }]]) {
    expect([items, (await refund('fee', items)).status]).toEqual([items, 409]);
  }
  // One piece of three, and the other two: to the unit what the line comes to.
  expect((await refund('one', [{ sku: 'A', quantity: 1 }])).body.refund).toMatchObject({
    amount: { amount: '16.67' },
  });
  expect(await left()).toBe(733n);
  const amounts = await api.call('GET', `/v1/conversions/cnv_${id}/amounts`, { key });
  expect(amounts.body).toMatchObject({
    total: { amount: '100.00', currency: 'EUR' },
    refunded: { amount: '26.67' },
    left: { amount: '73.33' },
    items: [
      { item: 1, quantity: 2, amount: { amount: '33.33' } },
      { item: 2, quantity: 0, amount: { amount: '0.00' } },
      { item: 3, quantity: 1, amount: { amount: '20.00' } },
      { item: 4, quantity: 1, amount: { amount: '20.00' } },
    ],
  });
  const rest = await refund(
    'two',
    [
      { item: 1, quantity: 2 },
      { item: 3, amount: '5.00' },
    ],
    { currency: 'EUR' },
  );
  expect(rest.body.refund).toMatchObject({ amount: { amount: '38.33' } });
  expect(await left()).toBe(350n);
  const again = await refund('two', [{ item: 3, amount: '5.00' }, { item: 1 }], { currency: 'EUR' });
  expect(again).toMatchObject({ status: 200, body: { status: 'duplicate' } });
  for (const [items, more, field] of [
    [[{ sku: 'A' }], {}, 'items.0'],
    [[{ sku: 'B' }], {}, 'items.0.sku'],
    [[{ sku: 'C' }], {}, 'items.0.sku'],
    [[{ item: 5 }], {}, 'items.0.item'],
    [[{ item: 3, quantity: 2 }], {}, 'items.0.quantity'],
    [[{ item: 3, amount: '15.01' }], { currency: 'EUR' }, 'items.0.amount'],
    [[{ item: 3, amount: '15.00' }], {}, 'currency'],
    [[{ item: 3, amount: '15.00' }], { currency: 'USD' }, 'currency'],
    [[{ item: 3, amount: '15.00' }], { currency: 'EUR', amount: '14.00' }, 'amount'],
    [[{ item: 3, sku: 'B' }], {}, 'items.0.item'],
    [[{ item: 3 }, { item: 3 }], {}, 'items.1'],
  ] as const) {
    const refused = await refund('wrong', [...items], more);
    expect([items, refused.status, refused.body.field]).toEqual([items, 422, field]);
  }
  // Half of what is left of the order is half of what is left of the commission.
  await api.call('POST', '/v1/refunds', {
    key,
    json: { conversion_id: `cnv_${id}`, refund_ref: 'half', amount: '17.50', currency: 'EUR' },
  });
  expect(await left()).toBe(175n);
  await api.call('POST', `/v1/conversions/cnv_${id}/restore`, { key, json: { refund_ref: 'one' } });
  // 16.67 more are left of the order, of which 17.50 are gone beside the items.
  expect(await left()).toBe(517n - 175n);
  const byReport = {
    order_id: 'by-item',
    event_name: 'app_install',
    status: 'refunded',
    items: [{ amount: '1.00' }],
  };
  expect(await api.call('POST', '/v1/conversions', { key, json: byReport })).toMatchObject({
    status: 422,
    body: { field: 'items' },
  });
  expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('the test of a postback reads events as the postback does', async () => {
  const steps = async (query: string) => {
    const { body } = await api.call(
      'GET',
      `/v1/postbacks/test?key=${key}&order_id=t&amount=1.00&currency=EUR&${query}`,
    );
    return (body.steps as { step: string; ok: boolean; detail: string }[]).find(({ ok }) => !ok);
  };
  expect(await steps('event=lead')).toMatchObject({ step: 'click' });
  expect(await steps('event=install')).toMatchObject({ step: 'parameters' });
  expect(await steps('event_name=install')).toMatchObject({
    step: 'order',
    detail: 'event_name is no event of the program: sale, lead, app_install, approved are',
  });
});

test('names of events are checked, and none takes an order back', async () => {
  const set = (events: string[]) =>
    api.call('PATCH', `/v1/programs/prg_${shop.programId}`, { key: shop.keys.operator, json: { events } });
  for (const [events, field] of [
    [['lead'], 'events'],
    [['sale', 'Lead'], 'events'],
    [['sale', 'sale'], 'events'],
    [['sale', 'refunded'], 'events.1'],
    [['sale', 'cancel'], 'events.1'],
  ] as const) {
    const { status, body } = await set([...events]);
    expect([events, status, body.field]).toEqual([events, 422, field]);
  }
});

test('terms name events, kinds of customers and items', async () => {
  const operator = shop.keys.operator;
  const program_id = `prg_${shop.programId}`;
  const set = (json: Record<string, unknown>) =>
    api.call('POST', '/v1/terms', { key: operator, json: { program_id, ...json } });
  const rates = {
    customer_rates: { new: { rate_bps: 2_012.5 }, returning: { rate_bps: 0 }, renewal: { rate_bps: 1.25 } },
    item_rates: [
      { sku: 'A-1', rate_bps: 512.05 },
      { category: 'fees', rate_bps: 0 },
    ],
  };
  const lead = await set({ event_name: 'lead', ...rates });
  expect(lead).toMatchObject({ status: 201, body: { event_name: 'lead', ...rates } });
  const scope = `program_id=${program_id}&event_name=lead&affiliate_id=aff_${shop.affiliateId}`;
  const unnamed = async (more = '') =>
    (await api.call('GET', `/v1/terms/inherited?${scope}${more}`, { key: operator })).body;
  expect(await unnamed()).toMatchObject({
    ...rates,
    commission_type: 'percent',
    origins: { customer_rates: lead.body.id, item_rates: lead.body.id },
  });
  expect(await unnamed('&commission_type=fixed')).toMatchObject({
    customer_rates: {},
    rate_bps: 0,
    origins: { commission_type: 'named', customer_rates: 'default' },
  });
  const narrower = await set({
    event_name: 'lead',
    affiliate_id: `aff_${shop.affiliateId}`,
    rate_bps: 1_200,
  });
  expect(narrower.body).toMatchObject({
    ...rates,
    origins: { customer_rates: lead.body.id, item_rates: lead.body.id, rate_bps: 'named' },
  });
  const fixed = { commission_type: 'fixed', fixed: { amount: '5.00', currency: 'EUR' } };
  const leadFixed = await set({
    event_name: 'lead',
    ...fixed,
    customer_rates: { new: { fixed: { amount: '8.00', currency: 'EUR' } } },
  });
  expect(leadFixed.body).toMatchObject({
    customer_rates: { new: { fixed: { amount: '8.00', currency: 'EUR' } } },
    item_rates: [],
  });
  for (const [json, field] of [
    [{ event_name: 'install' }, 'event_name'],
    [{ customer_rates: { new: {} } }, 'customer_rates.new'],
    [{ customer_rates: { vip: { rate_bps: 1 } } }, 'customer_rates.vip'],
    [{ customer_rates: { new: { fixed: { amount: '1.00', currency: 'EUR' } } } }, 'customer_rates.new.fixed'],
    [{ ...fixed, customer_rates: { new: { rate_bps: 1 } } }, 'customer_rates.new.rate_bps'],
    [
      { ...fixed, customer_rates: { new: { fixed: { amount: '1.00', currency: 'USD' } } } },
      'customer_rates.new.fixed.currency',
    ],
    [{ ...fixed, item_rates: [{ sku: 'a', rate_bps: 100 }] }, 'item_rates.0.rate_bps'],
    [{ item_rates: [{ sku: 'a', brand: 'b', rate_bps: 100 }] }, 'item_rates.0'],
    [{ item_rates: [{ rate_bps: 100 }] }, 'item_rates.0'],
    [{ item_rates: [{ sku: 'a', rate_bps: 1.255 }] }, 'item_rates.0.rate_bps'],
    [{ customer_rates: { new: { rate_bps: 1.255 } } }, 'customer_rates.new.rate_bps'],
    [{ tiers: [{ from: { amount: '1', currency: 'EUR' }, rate_bps: 1.255 }] }, 'tiers.0.rate_bps'],
    [
      {
        item_rates: [
          { sku: 'a', rate_bps: 100 },
          { sku: 'a', rate_bps: 0 },
        ],
      },
      'item_rates.1.sku',
    ],
    [{ item_rates: [{ sku: 'a', rate_bps: 9_900 }], level_rates_bps: [200] }, 'level_rates_bps'],
  ] as const) {
    const { status, body } = await set(json);
    expect([json, status, body.field]).toEqual([json, 422, field]);
  }
});
