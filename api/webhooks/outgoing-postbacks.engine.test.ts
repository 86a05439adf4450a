import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createNetworkMatcher } from '../../core/ip.ts';
import { POSTBACK_MACROS } from '../../core/links/postback-macros.ts';
import { createLogger } from '../../core/service/log.ts';
import { DAY_MS } from '../../core/time.ts';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { vestDue } from '../../ledger/books/commissions.ts';
import { claimDeliveries } from '../../ledger/integrations/webhook-queue.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { type Receiver, startReceiver } from '../../test/support/servers/receiver.ts';
import { fanOut, startDeliveries } from './webhook-worker.ts';

let api: TestApi;
let tenant: Tenant;
let tenants = 0;
let receiver: Receiver;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => {
  await api?.stop();
});
beforeEach(async () => {
  tenant = await api.tenant(`postbacks ${++tenants}`);
  receiver = await startReceiver();
});
afterEach(async () => {
  await receiver.stop();
});

const EVERY_MACRO = POSTBACK_MACROS.map((name) => `${name}={${name}}`).join('&');

async function subscribe(json: object = {}, key = tenant.keys.affiliate) {
  const url = `${receiver.url}?token=t1&${EVERY_MACRO}`;
  const call = { key, json: { kind: 'outgoing_postback', url, ...json } };
  const { status, body } = await api.call('POST', '/v1/webhooks', call);
  expect([status, body.errors]).toEqual([201, undefined]);
  return { id: (body.webhook as { id: string }).id, secret: String(body.secret), webhook: body.webhook };
}

async function refusal(json: object, key = tenant.keys.affiliate): Promise<string> {
  const call = { key, json: { kind: 'outgoing_postback', ...json } };
  const { status, body } = await api.call('POST', '/v1/webhooks', call);
  expect(status).toBe(422);
  return String(body.detail);
}

/** Everything that is due now, once. */
async function work(): Promise<number> {
  while ((await fanOut(api)) > 0);
  const log = createLogger({ name: 'test', level: 'silent' });
  const allowed = createNetworkMatcher(['127.0.0.1']);
  const { ledger, secretBox, telemetry } = api;
  const options = { ledger, secretBox, telemetry, log, allowed, retryWaitsS: [0, 0] };
  const deliveries = startDeliveries(options);
  const claimed = await deliveries.claim();
  await deliveries.ended();
  return claimed;
}

function order(orderId: string, options: Partial<Parameters<typeof decideConversion>[1]> = {}) {
  const { affiliateId } = tenant;
  return decideConversion(api.ledger, { tenant, orderId, affiliateId, outcome: 'attributed', ...options });
}

async function change(conversion: bigint, action: 'cancel' | 'restore'): Promise<void> {
  const call = { key: tenant.keys.operator, json: { note: 'as the shop says' } };
  const { status, body } = await api.call('POST', `/v1/conversions/cnv_${conversion}/${action}`, call);
  expect([status, body.detail]).toEqual([200, undefined]);
}

/** The parameters of each call, in their order. */
function calls(): Record<string, string>[] {
  return receiver.received.map(({ url, body }) =>
    Object.fromEntries(new URLSearchParams(body === '' ? url?.split('?')[1] : body)),
  );
}

async function deliveries(id: string): Promise<Record<string, unknown>[]> {
  const { body } = await api.call('GET', `/v1/webhooks/${id}/deliveries`, { key: tenant.keys.affiliate });
  return body.data as Record<string, unknown>[];
}

describe('an outgoing postback', () => {
  test('says what an order has come to, by GET, with a signature over its query', async () => {
    const { secret } = await subscribe();
    await order('o-1', { subs: ['tracker-7', '', '', '', 'é&x=1'] });
    expect(await work()).toBe(1);
    const [call] = receiver.received;
    expect(call?.method).toBe('GET');
    expect(calls()).toEqual([
      {
        token: 't1',
        click_id: '',
        sub1: 'tracker-7',
        sub2: '',
        sub3: '',
        sub4: '',
        sub5: 'é&x=1',
        amount: '100.00',
        commission: '10.00',
        currency: 'EUR',
        order_ref: 'o-1',
        event: 'sale',
        status: 'pending',
        time: expect.stringMatching(/^\d{10}$/),
      },
    ]);
    const query = call?.url?.split('?')[1] ?? '';
    const headers = call?.headers as Record<string, string>;
    // The library parses what it has verified as JSON: a query is none.
    expect(() => new Webhook(secret).verify(query, headers)).toThrow(SyntaxError);
    expect(() => new Webhook(secret).verify(query.replace('10.00', '99.00'), headers)).toThrow('signature');
  });

  test('by POST is a form', async () => {
    await subscribe({ method: 'POST' });
    await order('o-form');
    await work();
    const [call] = receiver.received;
    expect([call?.method, call?.url, call?.headers['content-type']]).toEqual([
      'POST',
      '/hook',
      'application/x-www-form-urlencoded',
    ]);
    expect(calls()).toMatchObject([{ token: 't1', order_ref: 'o-form', commission: '10.00' }]);
  });

  test('comes once for each change of what it says: held, approved, confirmed, refunded', async () => {
    await subscribe();
    const id = await order('life', { outcome: 'review' });
    await work();
    const key = tenant.keys.operator;
    const approved = await api.call('POST', `/v1/conversions/cnv_${id}/approve`, {
      key,
      json: { note: 'fine' },
    });
    expect([approved.status, approved.body.detail]).toEqual([200, undefined]);
    await work();
    const now = new Date(Date.now() + 400 * DAY_MS);
    expect(await vestDue(api.ledger, { now, limit: 10, programId: tenant.programId })).toEqual({ vested: 1 });
    await work();
    const refund = { conversion_id: `cnv_${id}`, refund_ref: 'r-1', amount: '40.00', currency: 'EUR' };
    await api.call('POST', '/v1/refunds', { key, json: refund });
    await work();
    await api.call('POST', '/v1/refunds', { key, json: refund });
    await api.call('POST', '/v1/refunds', { key, json: { ...refund, refund_ref: 'r-2', amount: '60.00' } });
    await work();
    expect(await work()).toBe(0);
    expect(calls().map(({ status, amount, commission }) => [status, amount, commission])).toEqual([
      ['pending', '100.00', '0.00'],
      ['pending', '100.00', '10.00'],
      ['confirmed', '100.00', '10.00'],
      ['confirmed', '60.00', '6.00'],
      ['rejected', '0.00', '0.00'],
    ]);
  });

  test('says confirmed again when the payout of a paid order comes back, and nothing when one fails', async () => {
    await subscribe();
    const { operator, finance } = tenant.keys;
    const conversion = await order('paid out');
    await api.call('POST', `/v1/conversions/cnv_${conversion}/confirm`, { key: operator });
    await work();
    const pay = async () => {
      const { body } = await api.runPayouts(finance);
      return (body.payouts as { id: string }[])[0]?.id;
    };
    const end = async (id: string | undefined, how: 'fail' | 'mark-paid' | 'return') => {
      const json = how === 'mark-paid' ? {} : { failure: 'no such account', account_refused: false };
      const { status, body } = await api.call('POST', `/v1/payouts/${id}/${how}`, { key: finance, json });
      expect([status, body.detail]).toEqual([200, undefined]);
      while ((await work()) > 0);
    };
    await end(await pay(), 'fail');
    const second = await pay();
    await end(second, 'mark-paid');
    await end(second, 'return');
    expect(calls().map(({ status }) => status)).toEqual(['confirmed', 'paid', 'confirmed']);
    const events = await api.ledger<{ n: number }[]>`
      select count(*)::integer as n from webhook_events
      where type = 'conversion.confirmed' and subject = ${`cnv_${conversion}`}`;
    expect(events).toEqual([{ n: 2 }]);
  });

  test('is of wanted statuses and events, and of the affiliate’s own orders', async () => {
    const key = tenant.keys.operator;
    await api.call('PATCH', `/v1/programs/prg_${tenant.programId}`, {
      key,
      json: { events: ['sale', 'lead'] },
    });
    const { id } = await subscribe({ statuses: ['rejected'], event_names: ['lead'] });
    await order('of-other', { affiliateId: tenant.otherAffiliateId });
    const leads = [await order('l-1', { eventName: 'lead' }), await order('s-1')];
    await work();
    expect(receiver.received).toEqual([]);
    for (const lead of leads) {
      await api.call('POST', `/v1/conversions/cnv_${lead}/cancel`, { key, json: {} });
    }
    await work();
    expect(calls()).toMatchObject([{ order_ref: 'l-1', event: 'lead', status: 'rejected' }]);
    expect(await refusal({ url: receiver.url, event_names: ['install'] })).toContain('event_names');
    const changed = { key: tenant.keys.affiliate, json: { statuses: [], event_names: [], method: 'POST' } };
    const { body } = await api.call('PATCH', `/v1/webhooks/${id}`, changed);
    expect(body).toMatchObject({ statuses: [], event_names: [], method: 'POST' });
  });

  test('that was not delivered gives way to a later one: a tracker goes by what came last', async () => {
    const { id } = await subscribe();
    receiver.answering((response) => response.writeHead(500).end());
    const conversion = await order('late');
    await work();
    const key = tenant.keys.operator;
    await api.call('POST', `/v1/conversions/cnv_${conversion}/cancel`, { key, json: {} });
    receiver.answering((response) => response.writeHead(200).end('ok'));
    await work();
    expect((await deliveries(id)).map(({ state }) => state)).toEqual(['delivered', 'superseded']);
    expect(calls().map(({ status }) => status)).toEqual(['pending', 'rejected']);
    const dead = await api.call('POST', `/v1/webhooks/${id}/replay-dead`, { key });
    expect(dead.body).toEqual({ replayed: 0 });
  });

  test('waits for the attempt of an earlier one that is under way, which would arrive behind it', async () => {
    const { id } = await subscribe();
    let arrive = (): void => undefined;
    receiver.answering((response) => {
      arrive = () => void response.writeHead(200).end();
    });
    const conversion = await order('under way');
    const first = work();
    await expect.poll(() => receiver.received.length, { timeout: 5_000 }).toBe(1);
    await api.call('POST', `/v1/conversions/cnv_${conversion}/cancel`, {
      key: tenant.keys.operator,
      json: {},
    });
    expect(await work()).toBe(0);
    // The attempt is none of a pending delivery any more, and a third status waits for it just so.
    await change(conversion, 'restore');
    expect(await work()).toBe(0);
    const [waiting] = await deliveries(id);
    const replay = `/v1/webhook-deliveries/${waiting?.id}/replay`;
    expect((await api.call('POST', replay, { key: tenant.keys.affiliate })).status).toBe(202);
    expect(await work()).toBe(0);
    const [latest, ...earlier] = await deliveries(id);
    expect([latest, ...earlier].map((delivery) => delivery?.state)).toEqual([
      'pending',
      'superseded',
      'superseded',
    ]);
    expect(Date.parse(String(latest?.next_attempt_at))).toBeGreaterThan(Date.now());
    arrive();
    await first;
    expect((await deliveries(id)).map(({ state }) => state)).toEqual(['pending', 'superseded', 'delivered']);
  });

  test('under way counts among those of its endpoint when another has taken its place', async () => {
    const { id } = await subscribe();
    receiver.answering(() => undefined);
    const conversions = [];
    for (let i = 0; i < 5; i++) conversions.push(await order(`busy-${i}`));
    const first = work();
    await expect.poll(() => receiver.received.length, { timeout: 5_000 }).toBe(5);
    for (const conversion of conversions) await change(conversion, 'cancel');
    await order('behind them');
    while ((await fanOut(api)) > 0);
    const limits = { healthy: 100, failing: 100, perEndpoint: 5 };
    const claimed = await claimDeliveries(api.ledger, limits);
    // What waits is none of the tests that follow.
    await api.call('PATCH', `/v1/webhooks/${id}`, {
      key: tenant.keys.affiliate,
      json: { status: 'disabled' },
    });
    receiver.closeConnections();
    await first;
    expect(claimed).toEqual([]);
  });

  test('of a status that is past is not sent when the present one is not wanted', async () => {
    const { id } = await subscribe({ statuses: ['pending'] });
    receiver.answering((response) => response.writeHead(500).end());
    const conversion = await order('gone');
    await work();
    receiver.answering((response) => response.writeHead(200).end());
    await change(conversion, 'cancel');
    expect(await work()).toBe(0);
    expect((await deliveries(id)).map(({ state }) => state)).toEqual(['superseded']);
    // The first attempt may have arrived anyway.
    await change(conversion, 'restore');
    await work();
    expect((await deliveries(id)).map(({ state }) => state)).toEqual(['delivered', 'superseded']);
    expect(calls().map(({ status }) => status)).toEqual(['pending', 'pending']);
  });

  test('of what an order came to while it was disabled comes once, when it is active again', async () => {
    const { id } = await subscribe();
    const set = (status: string) =>
      api.call('PATCH', `/v1/webhooks/${id}`, { key: tenant.keys.affiliate, json: { status } });
    await set('disabled');
    const conversion = await order('paused');
    expect(await work()).toBe(0);
    await change(conversion, 'cancel');
    expect(await work()).toBe(0);
    await set('active');
    await work();
    await work();
    expect(calls().map(({ order_ref, status }) => [order_ref, status])).toEqual([['paused', 'rejected']]);
  });

  test('is not repeated when a status that is not wanted came between', async () => {
    const { id } = await subscribe({ statuses: ['pending'] });
    const conversion = await order('back');
    await work();
    await change(conversion, 'cancel');
    await work();
    await change(conversion, 'restore');
    expect(await work()).toBe(0);
    expect((await deliveries(id)).map(({ state }) => state)).toEqual(['delivered']);
  });

  test('is not replayed over a later one, nor over a status that is not wanted', async () => {
    const { id } = await subscribe({ statuses: ['pending'] });
    const replay = async (delivery: Record<string, unknown> | undefined) => {
      const path = `/v1/webhook-deliveries/${delivery?.id}/replay`;
      const { status, body } = await api.call('POST', path, { key: tenant.keys.affiliate });
      return [status, body.code ?? body.replayed];
    };
    const conversion = await order('replayed');
    await work();
    const refund = {
      conversion_id: `cnv_${conversion}`,
      refund_ref: 'r-1',
      amount: '40.00',
      currency: 'EUR',
    };
    await api.call('POST', '/v1/refunds', { key: tenant.keys.operator, json: refund });
    await work();
    const [last, first] = await deliveries(id);
    expect(await replay(first)).toEqual([409, 'wrong_state']);
    expect(await replay(last)).toEqual([202, 1]);
    await change(conversion, 'cancel');
    await work();
    expect((await deliveries(id)).map(({ state }) => state)).toEqual(['superseded', 'delivered']);
    expect(await replay(last)).toEqual([409, 'wrong_state']);
    expect(calls().map(({ amount }) => amount)).toEqual(['100.00', '60.00']);
  });

  test('goes to a URL that was put right meanwhile, with what it says, and is in the log', async () => {
    const { id } = await subscribe({ url: `${receiver.url}?wrong={sub1}` });
    receiver.answering((response) => response.writeHead(404).end('no such path'));
    await order('mended', { subs: ['a b', '', '', '', ''] });
    await work();
    receiver.answering((response) => response.writeHead(200).end('ok'));
    const url = `${receiver.url}?right={sub1}`;
    await api.call('PATCH', `/v1/webhooks/${id}`, { key: tenant.keys.affiliate, json: { url } });
    await work();
    expect(receiver.received.map((call) => call.url)).toEqual(['/hook?wrong=a%20b', '/hook?right=a%20b']);
    const [delivery] = await deliveries(id);
    expect(delivery).toMatchObject({
      state: 'delivered',
      attempts: 2,
      last_status: 200,
      body: null,
      request: { method: 'GET', url: `${receiver.url}?right=a%20b`, body: '' },
    });
  });

  test('is tested with example values', async () => {
    const { id } = await subscribe();
    const key = tenant.keys.affiliate;
    for (let i = 0; i < 2; i++) {
      expect((await api.call('POST', `/v1/webhooks/${id}/test`, { key })).status).toBe(202);
    }
    expect(await work()).toBe(2);
    const [, first] = await deliveries(id);
    expect((await api.call('POST', `/v1/webhook-deliveries/${first?.id}/replay`, { key })).status).toBe(202);
    expect(await work()).toBe(1);
    expect(calls()[0]).toMatchObject({ sub1: 'example-sub1', order_ref: 'afflux-test', commission: '10.00' });
  });

  test('is made by the operator for the program, or for an affiliate that sees it then', async () => {
    const { operator, affiliate } = tenant.keys;
    await subscribe({ url: `${receiver.url}?program={order_ref}` }, operator);
    const affiliateId = `aff_${tenant.affiliateId}`;
    const { id } = await subscribe({ affiliate_id: affiliateId }, operator);
    expect((await api.call('GET', `/v1/webhooks/${id}`, { key: affiliate })).status).toBe(200);
    await order('of-other', { affiliateId: tenant.otherAffiliateId });
    await order('own');
    await work();
    expect(
      calls()
        .map(({ program, order_ref }) => program ?? order_ref)
        .toSorted(),
    ).toEqual(['of-other', 'own', 'own']);
  });
});

describe('an outgoing postback is refused', { tags: ['attack'] }, () => {
  test.each([
    ['https://tracker.example/?x={sub6}', 'unknown macro {sub6}'],
    ['https://{sub1}.tracker.example/?x=1', 'must not have a macro in the host'],
    ['https://tracker.example/{sub1}', 'must have its macros behind a ?'],
    ['https://tracker.example/{sub1}?x={sub2}', 'must have its macros behind a ?'],
    ['https://user:pass@tracker.example/?x={sub1}', 'must not contain a user name or password'],
    ['https://tracker.example/?x={sub1}#frag', 'must not contain a fragment'],
    ['https://10.0.0.1/?x={sub1}', 'must lead to a public address'],
    ['https://[::ffff:10.0.0.1]/?x={sub1}', 'must lead to a public address'],
    ['http://tracker.example/?x={sub1}', 'must be https'],
    ['https://tracker.example:22/?x={sub1}', 'must have port'],
    ['https://tracker.example/?x={sub1', 'unbalanced'],
    ['https://tracker.example/?x={sub1}\r\nX-Evil: 1', 'control characters'],
  ])('to %s', async (url, reason) => {
    expect(await refusal({ url })).toContain(reason);
  });

  test('with settings of webhooks, for strangers, and for keys that may not read what it says', async () => {
    const url = 'https://tracker.example/?x={commission}';
    const { affiliate, operator, advertiser } = tenant.keys;
    expect(await refusal({ url, events: ['payout.changed'] })).toContain('events');
    expect(await refusal({ kind: 'webhook', url, method: 'GET' })).toContain('method');
    expect(await refusal({ url }, advertiser)).toContain('kind');
    const { ledger } = api;
    const stranger = (await api.tenant(`stranger ${tenants}`)).affiliateId;
    expect(await refusal({ url, affiliate_id: `aff_${stranger}` }, operator)).toContain('affiliate_id');
    const other = {
      key: affiliate,
      json: { kind: 'outgoing_postback', url, affiliate_id: `aff_${tenant.otherAffiliateId}` },
    };
    expect((await api.call('POST', '/v1/webhooks', other)).status).toBe(403);
    const { programId, affiliateId } = tenant;
    const scopes = ['webhooks:read', 'webhooks:write', 'conversions:read'];
    const { key } = await createApiKey(ledger, {
      role: 'affiliate',
      name: 'narrow',
      programId,
      affiliateId,
      scopes,
    });
    expect(await refusal({ url }, key)).toContain('money:read');
    await subscribe({ url: 'https://tracker.example/?x={status}' }, key);
  });

  test('no header, host or parameter by what a visitor writes into a link', async () => {
    await subscribe({ method: 'GET' });
    await subscribe({ method: 'POST' });
    const evil = `a\r\nX-Evil: 1&status=confirmed#?@evil.example/${'é'.repeat(1_000)}`;
    await order('evil', { subs: [evil, '{sub1}', '%7Bsub1%7D', '+', '𝄞'] });
    await work();
    expect(receiver.received).toHaveLength(2);
    for (const { headers } of receiver.received) expect(headers).not.toHaveProperty('x-evil');
    for (const call of calls()) {
      expect(call).toMatchObject({
        sub1: evil,
        sub2: '{sub1}',
        sub3: '%7Bsub1%7D',
        sub4: '+',
        sub5: '𝄞',
        status: 'pending',
      });
    }
  });

  test('no other affiliate waits for one whose tracker hangs', async () => {
    const slow = await startReceiver();
    slow.answering(() => undefined);
    const { programId } = tenant;
    const other = await createAffiliate(api.ledger, {
      programId,
      refCode: 'slow',
      name: 'slow',
      email: 'slow@example.com',
      status: 'active',
    });
    const { key } = await createApiKey(api.ledger, {
      role: 'affiliate',
      name: 'slow',
      programId,
      affiliateId: other.id,
    });
    await subscribe({ url: `${slow.url}?x={sub1}` }, key);
    await subscribe();
    for (let i = 0; i < 8; i++) await order(`slow-${i}`, { affiliateId: other.id });
    for (let i = 0; i < 3; i++) await order(`quick-${i}`);
    while ((await fanOut(api)) > 0);
    const log = createLogger({ name: 'test', level: 'silent' });
    const allowed = createNetworkMatcher(['127.0.0.1']);
    const under = startDeliveries({
      ledger: api.ledger,
      secretBox: api.secretBox,
      telemetry: api.telemetry,
      log,
      allowed,
    });
    try {
      await under.claim();
      await expect.poll(() => receiver.received.length, { timeout: 5_000 }).toBe(3);
      expect(slow.received.length).toBeLessThanOrEqual(5);
    } finally {
      await slow.stop();
      await under.ended();
    }
  });
});
