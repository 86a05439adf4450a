import { afterAll, beforeAll, expect, test } from 'vitest';
import { findConversionByOrder } from '../../ledger/conversions/conversions.ts';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';

/** Coupon codes come in at every way by which shops report orders. */

let api: TestApi;
let shop: Tenant;
let key: string;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  key = shop.keys.advertiser;
});
afterAll(async () => await api?.stop());

const order = (orderId: string, more: object = {}) => ({
  order_id: orderId,
  amount: '10.00',
  currency: 'EUR',
  ...more,
});

async function couponsOf(orderId: string): Promise<readonly string[] | undefined> {
  const { programId } = shop;
  return (await findConversionByOrder(api.ledger, { programId, orderId }))?.coupons;
}

test('as JSON: one, several, a list of shops, each once and in any spelling', async () => {
  const cases: [string, object, string[]][] = [
    ['none', {}, []],
    ['one', { coupon: ' Ann10 ' }, ['Ann10']],
    ['list', { coupon: ['Ann10', 'WELCOME'] }, ['Ann10', 'WELCOME']],
    ['commas', { coupons: 'Ann10, WELCOME,' }, ['Ann10', 'WELCOME']],
    ['both', { coupon: 'Ann10', coupons: ['ann10', 'x'] }, ['Ann10', 'x']],
    ['unicode', { coupon: 'Cafe\u0301' }, ['Caf\u00e9']],
    ['empty', { coupon: '', coupons: [''] }, []],
  ];
  for (const [orderId, fields, coupons] of cases) {
    const answer = await api.call('POST', '/v1/conversions', { key, json: order(orderId, fields) });
    expect([orderId, answer.status, await couponsOf(orderId)]).toEqual([orderId, 202, coupons]);
    expect((answer.body.conversion as { coupons: string[] }).coupons).toEqual(coupons);
  }
});

test('a repeated report is the same order, and another code is a conflict', async () => {
  const report = (coupon: string | undefined) =>
    api.call('POST', '/v1/conversions', { key, json: order('again', { coupon }) });
  expect((await report('A')).status).toBe(202);
  expect((await report('A')).body.status).toBe('duplicate');
  const other = await report('B');
  expect([other.status, other.body.differing]).toEqual([409, ['coupon']]);
  expect((await report(undefined)).body.differing).toEqual(['coupon']);
});

test('what is not seen, and what no customer has, is refused by name', async () => {
  const bad = [{ coupon: 'A\u200bB' }, { coupons: ['x'.repeat(201)] }, { coupon: 7 }, { coupons: [7] }];
  const many = { coupons: Array.from({ length: 21 }, (_, i) => `c${i}`) };
  for (const fields of [...bad, many, { coupon: many.coupons.join() }]) {
    const answer = await api.call('POST', '/v1/conversions', { key, json: order('bad', fields) });
    const field = Object.keys(fields)[0] ?? '';
    expect([answer.status, answer.body.errors]).toMatchObject([
      422,
      [{ field: expect.stringMatching(new RegExp(`^${field}`)) }],
    ]);
  }
  expect(await couponsOf('bad')).toBeUndefined();
});

test('by batch, postback under our name and the shop’s own, pixel and CSV', async () => {
  const operator = shop.keys.operator;
  await api.call('PUT', `/v1/programs/prg_${shop.programId}/postback-settings`, {
    key: operator,
    json: { parameters: { discount_codes: 'coupons' }, pixel: true },
  });
  const json = { conversions: [order('batch', { coupon: 'B1' })] };
  expect((await api.call('POST', '/v1/conversions/batch', { key, json })).body).toMatchObject({
    accepted: 1,
  });
  const query = (id: string, more: string) => `order_id=${id}&amount=10&currency=EUR&${more}`;
  const postback = await api.call('GET', `/postback?key=${key}&${query('get', 'coupon=B2,B3')}`);
  expect([postback.status, postback.body.ignored]).toEqual([200, undefined]);
  await api.call('POST', '/postback', { key, form: query('form', 'coupon=B4&coupon=B5') });
  // The settings are read once a second.
  await waitFor(
    async () => {
      const mapped = await api.call('GET', `/postback?key=${key}&${query('mapped', 'discount_codes=B6')}`);
      return mapped.body.ignored === undefined ? true : undefined;
    },
    { deadlineMs: 20_000, what: 'the new name' },
  );
  const pixel = await api.call(
    'GET',
    `/pixel?program_id=prg_${shop.programId}&${query('pixel', 'coupon=B7')}`,
  );
  expect(pixel.headers.get('afflux-status')).toBe('accepted');
  const started = await api.call('POST', '/v1/imports?kind=conversions&dry_run=false', {
    key: operator,
    raw: 'order_id,amount,currency,coupon\ncsv,10,EUR,"B8,B9"\n',
    headers: { 'content-type': 'text/csv' },
  });
  await waitFor(
    async () => {
      const { body } = await api.call('GET', `/v1/jobs/${started.body.id}`, { key: operator });
      return body.state === 'running' ? undefined : true;
    },
    { deadlineMs: 20_000, what: 'the import' },
  );
  const codes = await Promise.all(['batch', 'get', 'form', 'pixel', 'csv'].map(couponsOf));
  expect(codes).toEqual([['B1'], ['B2', 'B3'], ['B4', 'B5'], ['B7'], ['B8', 'B9']]);
});

test('an affiliate does not see which codes of others an order named', async () => {
  const { body } = await api.call('POST', '/v1/conversions', {
    key,
    json: order('seen', { coupon: 'OTHERS' }),
  });
  const { id } = body.conversion as { id: string };
  const asShop = await api.call('GET', `/v1/conversions/${id}`, { key });
  expect(asShop.body.coupons).toEqual(['OTHERS']);
  expect((await api.call('GET', `/v1/conversions/${id}`, { key: shop.keys.affiliate })).text).not.toContain(
    'OTHERS',
  );
});
