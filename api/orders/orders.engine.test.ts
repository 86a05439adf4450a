import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import { fingerprint } from '../../core/clicks/fingerprint.ts';
import { listConversions } from '../../ledger/conversions/conversions.ts';
import {
  type Answer,
  startTestApi,
  TEST_CLICK_KEY,
  type Tenant,
  type TestApi,
} from '../../test/support/api.ts';

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

const order = (orderId: string) => ({ order_id: orderId, amount: '12.34', currency: 'EUR' });

function report(json: unknown): Promise<Answer> {
  return api.call('POST', '/v1/conversions', { key, json });
}

async function storedOrders(): Promise<string[]> {
  const { rows } = await listConversions(api.ledger, { limit: 1_000, programId: shop.programId });
  return rows.map((row) => row.orderId);
}

async function stored(orderId: string) {
  const { rows } = await listConversions(api.ledger, { limit: 1_000, programId: shop.programId });
  return rows.filter((row) => row.orderId === orderId);
}

describe('the time of an order', () => {
  const MINUTE_MS = 60_000;
  const clickIds = createClickIdCodec([TEST_CLICK_KEY]);
  const iso = (ms: number): string => new Date(ms).toISOString();

  test('may be 5 minutes before its click and ahead of the API; what lies further is refused by name, and logged', async () => {
    const now = Date.now();
    const clickId = clickIds.encode({ ts: now, node: 1, seq: 1 });
    const cases: [string, number, string | undefined, number, RegExp][] = [
      ['to-the-minute', now - 4 * MINUTE_MS, clickId, 202, /^$/],
      ['before-click', now - 6 * MINUTE_MS, clickId, 422, new RegExp(iso(now))],
      ['no-click-known', now - 6 * MINUTE_MS, 'forged', 202, /^$/],
      ['ahead', now + 4 * MINUTE_MS, clickId, 202, /^$/],
      ['far-ahead', now + 7 * MINUTE_MS, undefined, 422, /in the future; it is \d{4}-/],
    ];
    for (const [orderId, ms, click_id, status, message] of cases) {
      const answer = await report({ ...order(orderId), occurred_at: iso(ms), click_id });
      expect([orderId, answer.status]).toEqual([orderId, status]);
      expect(await stored(orderId)).toHaveLength(status === 202 ? 1 : 0);
      if (status !== 422) continue;
      expect(answer.body.errors).toMatchObject([
        { field: 'occurred_at', message: expect.stringMatching(message) },
      ]);
      const calls = await api.call('GET', `/v1/postback-calls?order_id=${orderId}`, { key });
      expect(calls.body.data).toMatchObject([{ outcome: 'rejected', status: 422 }]);
    }
    const inBatch = await api.call('POST', '/v1/conversions/batch', {
      key,
      json: {
        conversions: [
          { ...order('batch-bad'), occurred_at: iso(now - 6 * MINUTE_MS), click_id: clickId },
          order('batch-good'),
        ],
      },
    });
    expect(inBatch.body).toMatchObject({ accepted: 1, rejected: 1 });
    const byPostback = `/postback?key=${key}&order_id=pb&amount=1&currency=EUR&occurred_at=${iso(now + 7 * MINUTE_MS)}`;
    expect((await api.call('GET', byPostback)).status).toBe(422);
  });
});

describe('an order counts once', () => {
  test('50 postbacks of one order at once make one conversion and agree on it', async () => {
    const path = `/postback?key=${key}&order_id=storm&amount=10.00&currency=EUR`;
    const answers = await Promise.all(Array.from({ length: 50 }, () => api.call('GET', path)));
    expect(answers.map((answer) => answer.status)).toEqual(Array(50).fill(200));
    expect(new Set(answers.map((answer) => answer.body.conversion_id)).size).toBe(1);
    expect(answers.filter((answer) => answer.body.status === 'accepted')).toHaveLength(1);
    expect(answers.filter((answer) => answer.body.status === 'duplicate')).toHaveLength(49);
    expect(await stored('storm')).toHaveLength(1);
  });

  test('50 differing reports of one order at once make one conversion and 49 conflicts', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => report({ ...order('race'), amount: `${i + 1}.00` })),
    );
    expect(answers.filter((answer) => answer.status === 202)).toHaveLength(1);
    expect(answers.filter((answer) => answer.status === 409)).toHaveLength(49);
    expect(await stored('race')).toHaveLength(1);
  });

  test('the same order again is a duplicate; with another payload a conflict that shows both', async () => {
    const first = await report(order('again'));
    expect(first.status).toBe(202);
    expect(first.body).toMatchObject({
      status: 'accepted',
      conversion: { order_id: 'again', amount: { amount: '12.34', currency: 'EUR' }, status: 'pending' },
    });
    const second = await report(order('again'));
    expect(second.status).toBe(200);
    expect(second.body).toMatchObject({ status: 'duplicate' });
    const other = await report({ ...order('again'), amount: '12.35' });
    expect(other.status).toBe(409);
    expect(other.body).toMatchObject({
      code: 'conflict',
      differing: ['amount'],
      recorded: { amount: { amount: '12.34', currency: 'EUR' } },
      reported: { amount: { amount: '12.35', currency: 'EUR' } },
    });
    expect((await stored('again')).map((row) => row.amountMinor)).toEqual([1234n]);
  });

  test('an order reported by postback and by API is one', async () => {
    await api.call('POST', '/postback', { key, form: 'order_id=both&amount=12.34&currency=EUR' });
    const answer = await report(order('both'));
    expect(answer.body.status).toBe('duplicate');
  });

  test('two programs may use one order id', async () => {
    const other = await api.tenant('other shop');
    await report(order('shared'));
    const answer = await api.call('POST', '/v1/conversions', {
      key: other.keys.advertiser,
      json: order('shared'),
    });
    expect(answer.status).toBe(202);
  });
});

describe('what is recorded', () => {
  test('the e-mail address as a hash alone, the headers as the fingerprint the collector makes', async () => {
    const answer = await report({
      ...order('customer'),
      customer_email: '  Jane@Example.COM ',
      ip: '2001:DB8:0:0:0:0:0:1',
      user_agent: 'Mozilla/5.0 (X11)',
      accept_language: 'de-DE,de;q=0.9',
      occurred_at: '2026-11-20T12:00:00+02:00',
    });
    expect(answer.status).toBe(202);
    expect(answer.text).not.toMatch(/jane/i);
    const [row] = await stored('customer');
    expect(row).toMatchObject({
      // printf 'jane@example.com' | sha256sum
      customerEmailHash: '8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d',
      ip: '2001:db8::1',
      fingerprint: fingerprint('Mozilla/5.0 (X11)', 'de-DE,de;q=0.9'),
      occurredAt: new Date('2026-11-20T10:00:00Z'),
    });
  });

  test('no fingerprint when one of its two headers is not known', async () => {
    await report({ ...order('half'), user_agent: 'Mozilla/5.0' });
    expect((await stored('half'))[0]?.fingerprint).toBeNull();
  });

  test('a forged or malformed click id: the order is not lost for it', async () => {
    for (const [i, clickId] of ['nope', 'A'.repeat(22), `${'A'.repeat(199)}!`].entries()) {
      const answer = await report({ ...order(`forged-${i}`), click_id: clickId });
      expect(answer.status).toBe(202);
      expect((await stored(`forged-${i}`))[0]?.clickId).toBe(clickId);
    }
  });

  test('empty fields say nothing', async () => {
    const answer = await report({ ...order('empty'), click_id: '', customer_id: null, occurred_at: '' });
    expect(answer.status).toBe(202);
    expect((await stored('empty'))[0]).toMatchObject({ clickId: null, customerId: null });
  });

  test('a postback tells which parameters it did not know', async () => {
    const path = `/postback?key=${key}&order_id=extra&amount=1&currency=EUR&clickid=abc&sub1=`;
    const answer = await api.call('GET', path);
    expect(answer.body).toMatchObject({ status: 'accepted', ignored: ['clickid'] });
  });

  test('a postback in JSON, with the key in it', async () => {
    const answer = await api.call('POST', '/postback', { json: { ...order('json'), key } });
    expect(answer.body.status).toBe('accepted');
  });

  test('an operator of every program names the program', async () => {
    const json = order('named');
    const missing = await api.call('POST', '/v1/conversions', { key: api.operatorKey, json });
    expect([missing.status, missing.body.field]).toEqual([422, 'program_id']);
    const named = { ...json, program_id: `prg_${shop.programId}` };
    const answer = await api.call('POST', '/v1/conversions', { key: api.operatorKey, json: named });
    expect(answer.status).toBe(202);
  });
});

describe('bad input is a 4xx that names the field and changes nothing', () => {
  const long = 'x'.repeat(201);
  const cases: [string, Record<string, unknown>, string][] = [
    ['exponent', { amount: '1e3' }, 'amount'],
    ['negative', { amount: '-1' }, 'amount'],
    ['more digits than the currency has', { amount: '0.001' }, 'amount'],
    ['NaN', { amount: 'NaN' }, 'amount'],
    ['30 digits', { amount: '9'.repeat(30) }, 'amount'],
    ['64 KB of digits', { amount: '9'.repeat(60_000) }, 'amount'],
    ['a float', { amount: 12.34 }, 'amount'],
    ['thousands', { amount: '1,000.00' }, 'amount'],
    ['other digits', { amount: '１２' }, 'amount'],
    ['a space within', { amount: '1 2' }, 'amount'],
    ['no amount', { amount: undefined }, 'amount'],
    ['an amount of null', { amount: null }, 'amount'],
    ['an unknown currency', { currency: 'XXX' }, 'currency'],
    ['another currency than the program’s', { currency: 'USD' }, 'currency'],
    ['no order id', { order_id: '' }, 'order_id'],
    ['a long order id', { order_id: long }, 'order_id'],
    ['a newline', { order_id: 'a\r\nSet-Cookie: x=1' }, 'order_id'],
    ['a NUL', { order_id: 'a\u0000b' }, 'order_id'],
    ['half a surrogate pair', { order_id: 'a\ud800' }, 'order_id'],
    ['an order id that is a number', { order_id: 17 }, 'order_id'],
    ['an order id that is a list', { order_id: ['a', 'b'] }, 'order_id'],
    ['a long click id', { click_id: long }, 'click_id'],
    ['a control character in the click id', { click_id: 'a\u0007' }, 'click_id'],
    ['no address', { ip: '300.1.1.1' }, 'ip'],
    ['no e-mail address', { customer_email: 'jane' }, 'customer_email'],
    ['a local time', { occurred_at: '2026-11-20T12:00:00' }, 'occurred_at'],
    ['no such day', { occurred_at: '2026-02-30T12:00:00Z' }, 'occurred_at'],
    ['next year', { occurred_at: '2027-11-20T12:00:00Z' }, 'occurred_at'],
    ['the year 1', { occurred_at: '0001-01-01T00:00:00Z' }, 'occurred_at'],
    ['a huge user agent', { user_agent: 'x'.repeat(5_000) }, 'user_agent'],
    ['a misspelt member', { clickid: 'x' }, 'clickid'],
    ['somebody else’s program', { program_id: 'prg_999' }, ''],
    ['no program id', { program_id: '1' }, 'program_id'],
    ['a prototype', { constructor: { prototype: {} } }, ''],
  ];
  test.each(cases)('%s', async (name, fault, field) => {
    const before = await storedOrders();
    const answer = await report({ ...order(`bad ${name}`), ...fault });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(answer.body.field ?? '').toBe(field);
    expect(await storedOrders()).toEqual(before);
  });

  test.each([
    ['1e3', 'amount'],
    ['%00', 'amount'],
    ['1%0d%0aSet-Cookie:x', 'amount'],
    ['1&amount=2', 'amount'],
    ['1&order_id=%ff%fe', 'order_id'],
    ['1&click_id=%1b', 'click_id'],
  ])('postback with amount=%s', async (amount, field) => {
    const before = await storedOrders();
    const id = amount.includes('order_id') ? '' : '&order_id=bad';
    const answer = await api.call('GET', `/postback?key=${key}&currency=EUR&amount=${amount}${id}`);
    expect([answer.status, answer.body.field]).toEqual([422, field]);
    expect(await storedOrders()).toEqual(before);
  });

  test('whatever the JSON is, the answer is a 4xx problem', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (json) => {
        const answer = await report(json);
        expect([400, 422]).toContain(answer.status);
        expect(answer.body.request_id).toBe(answer.headers.get('x-request-id'));
      }),
      { numRuns: 60 },
    );
  });

  test('all fields at fault are named', async () => {
    const answer = await report({ order_id: '', amount: 1, currency: 'EURO', nope: 1 });
    const errors = answer.body.errors as { field: string }[];
    expect(errors.map((error) => error.field)).toEqual(['order_id', 'amount', 'currency', 'nope']);
  });
});
