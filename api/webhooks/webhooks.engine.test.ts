import { AggregationTemporality, InMemoryMetricExporter } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter } from '@opentelemetry/sdk-trace-base';
import { Registry } from 'prom-client';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig } from '../../core/config/config.ts';
import { createNetworkMatcher } from '../../core/ip.ts';
import { createLogger } from '../../core/service/log.ts';
import { startOpenTelemetry } from '../../core/telemetry/open-telemetry.ts';
import { DAY_MS } from '../../core/time.ts';
import { eraseCustomer, findCustomer } from '../../ledger/audit/erase.ts';
import { createWebhookEndpoint } from '../../ledger/integrations/webhook-endpoints.ts';
import {
  addTestEvent,
  forgetWebhookEvents,
  MAX_KEPT_EVENTS,
} from '../../ledger/integrations/webhook-queue.ts';
import { connectOwner, inTransaction } from '../../ledger/postgres/db.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';
import { type Receiver, startReceiver } from '../../test/support/servers/receiver.ts';
import { newSigningSecret } from '../auth/signed-calls.ts';
import { isCallable, send, urlFault } from './webhook-target.ts';
import { fanOut, startDeliveries, startWebhookWorker, type WebhookWorkerOptions } from './webhook-worker.ts';

const LOOPBACK = createNetworkMatcher(['127.0.0.1']);

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
  tenant = await api.tenant(`webhooks ${++tenants}`);
  receiver = await startReceiver();
});
afterEach(async () => {
  await receiver.stop();
});

async function subscribe(key: string, json: object = {}): Promise<{ id: string; secret: string }> {
  const call = { key, json: { url: receiver.url, ...json } };
  const { status, body } = await api.call('POST', '/v1/webhooks', call);
  expect(status).toBe(201);
  return { id: (body.webhook as { id: string }).id, secret: String(body.secret) };
}

function workerOptions(retryWaitsS: readonly number[] = [0, 0]) {
  const log = createLogger({ name: 'test', level: 'silent' });
  return {
    ledger: api.ledger,
    secretBox: api.secretBox,
    telemetry: api.telemetry,
    log,
    allowed: LOOPBACK,
    retryWaitsS,
  };
}

/** Everything that is due now, once. */
async function work(changes: Partial<WebhookWorkerOptions> = {}): Promise<number> {
  await fanOut(api);
  const deliveries = startDeliveries({ ...workerOptions(), ...changes });
  const claimed = await deliveries.claim();
  await deliveries.ended();
  return claimed;
}

function order(orderId: string, affiliateId = tenant.affiliateId): Promise<bigint> {
  return decideConversion(api.ledger, { tenant, orderId, affiliateId, outcome: 'attributed' });
}

async function deliveries(id: string, key: string): Promise<Record<string, unknown>[]> {
  const { body } = await api.call('GET', `/v1/webhooks/${id}/deliveries`, { key });
  return body.data as Record<string, unknown>[];
}

describe('a delivery', () => {
  test('is verified by the reference library, and tells what happened', async () => {
    const { secret } = await subscribe(tenant.keys.advertiser);
    const id = await order('w-1');
    await work();
    const messages = receiver.received.map(({ headers, body }) => {
      expect(headers['content-type']).toBe('application/json');
      return new Webhook(secret).verify(body, headers as Record<string, string>) as Record<string, unknown>;
    });
    expect(messages.map(({ type }) => type).sort()).toEqual(['conversion.changed', 'conversion.created']);
    for (const { data, timestamp } of messages) {
      expect(data).toMatchObject({ id: `cnv_${id}`, order_id: 'w-1' });
      expect(Number.isNaN(Date.parse(String(timestamp)))).toBe(false);
    }
    const [{ headers, body } = { headers: {}, body: '' }] = receiver.received;
    const forged = body.replace('w-1', 'w-2');
    expect(() => new Webhook(secret).verify(forged, headers as Record<string, string>)).toThrow();
    expect(await work()).toBe(0);
  });

  test('about an order tells the program, and no affiliate, its trace and the request that reported it', async () => {
    const partner = await startReceiver();
    const spans = new InMemorySpanExporter();
    const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const telemetry = startOpenTelemetry({
      config: loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }),
      service: 'api',
      metrics: new Registry(),
      log: createLogger({ name: 'test', level: 'silent' }),
      exporters: { traces: spans, metrics },
    });
    try {
      await subscribe(tenant.keys.advertiser);
      await subscribe(tenant.keys.affiliate, { url: partner.url });
      const reported = await api.call('POST', '/v1/conversions', {
        key: tenant.keys.advertiser,
        json: { order_id: 'traced', amount: '100.00', currency: 'EUR', customer_id: 'customer-7' },
        headers: { 'x-request-id': 'shop-request' },
      });
      expect(reported.status).toBe(202);
      const { traceId } = telemetry.ids.order(await order('traced'));
      await work({ telemetry });
      const received = ({ received }: Receiver, name: string) => received.map(({ headers }) => headers[name]);
      const sent = received(receiver, 'traceparent');
      for (const span of sent) expect(span).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
      expect([sent.length, new Set(sent).size]).toEqual([2, 2]);
      expect(new Set(received(receiver, 'x-request-id'))).toEqual(new Set(['shop-request']));
      // A partner does not get to know what a shop calls its requests.
      const ofPartner = [...received(partner, 'traceparent'), ...received(partner, 'x-request-id')];
      expect([ofPartner.length > 0, new Set(ofPartner)]).toEqual([true, new Set([undefined])]);
      // Where no spans are sent, none is named: its flag would switch the tracing of the receiver off.
      await order('untraced');
      await work();
      expect(new Set(received(receiver, 'traceparent').slice(sent.length))).toEqual(new Set([undefined]));
    } finally {
      await telemetry.stop();
      await partner.stop();
    }
  });

  test('to an affiliate is of its own things, without what it may not see', async () => {
    await subscribe(tenant.keys.affiliate);
    await order('of-other', tenant.otherAffiliateId);
    await decideConversion(api.ledger, {
      tenant,
      orderId: 'mine',
      affiliateId: tenant.affiliateId,
      outcome: 'review',
    });
    await work();
    const text = receiver.received.map(({ body }) => body).join();
    expect(text).toMatch(/"order_id":"mine".*"reason":"unusual_traffic"/);
    expect(text).not.toMatch(/of-other|threshold|customer-7|instant_conversion/);
  });

  test('is of the events that were asked for: affiliates and payouts too', async () => {
    const { operator, finance } = tenant.keys;
    await subscribe(operator, { events: ['affiliate.status_changed', 'payout.changed', 'conversion.paid'] });
    const conversion = await order('paid');
    await api.call('POST', `/v1/conversions/cnv_${conversion}/confirm`, { key: operator });
    const run = await api.runPayouts(finance);
    const payouts = run.body.payouts as { id: string }[];
    for (const { id } of payouts) await api.call('POST', `/v1/payouts/${id}/mark-paid`, { key: finance });
    const path = `/v1/affiliates/aff_${tenant.otherAffiliateId}`;
    await api.call('PATCH', path, { key: operator, json: { status: 'suspended' } });
    while ((await work()) > 0);
    const types = receiver.received.map(({ body }) => JSON.parse(body).type as string);
    expect(new Set(types)).toEqual(
      new Set(['affiliate.status_changed', 'payout.changed', 'conversion.paid']),
    );
  });

  test('that fails is tried again under the same id, given up in the end, and replayed', async () => {
    const key = tenant.keys.operator;
    const { id } = await subscribe(key, { events: ['conversion.created'] });
    receiver.answering((response) => response.writeHead(500).end('down'));
    await order('retried');
    for (const state of ['pending', 'pending', 'dead']) {
      expect(await work()).toBe(1);
      const [delivery] = await deliveries(id, key);
      expect(delivery).toMatchObject({ state, last_status: 500, last_error: 'answered 500' });
    }
    expect(await work()).toBe(0);
    const ids = receiver.received.map(({ headers }) => headers['webhook-id']);
    expect([ids.length, new Set(ids).size]).toEqual([3, 1]);
    expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1);
    receiver.answering((response) => response.writeHead(200).end('fine'));
    const replayed = await api.call('POST', `/v1/webhooks/${id}/replay-dead`, { key });
    expect([replayed.status, replayed.body.replayed]).toEqual([202, 1]);
    await work();
    const [delivery] = await deliveries(id, key);
    expect(delivery?.state).toBe('delivered');
    const full = await api.call('GET', `/v1/webhook-deliveries/${delivery?.id}`, { key });
    expect((full.body.log as { status: number; response: string }[]).map(({ status }) => status)).toEqual([
      500, 500, 500, 200,
    ]);
    expect((await api.call('GET', `/v1/webhooks/${id}`, { key })).body.failing_since).toBeNull();
    expect((await api.call('POST', `/v1/webhook-deliveries/${delivery?.id}/replay`, { key })).status).toBe(
      202,
    );
    expect(await work()).toBe(1);
  });

  test('waits longer after each failure', async () => {
    const key = tenant.keys.operator;
    const { id } = await subscribe(key, { events: ['conversion.created'] });
    receiver.answering((response) => response.writeHead(503).end());
    await order('later');
    await work({ retryWaitsS: [1_000, 2_000] });
    const [delivery] = await deliveries(id, key);
    const waitMs = Date.parse(String(delivery?.next_attempt_at)) - Date.now();
    expect(waitMs).toBeGreaterThan(790_000);
    expect(waitMs).toBeLessThan(1_210_000);
    expect(await work()).toBe(0);
  });

  test('to a healthy endpoint waits for none of 50 that hang', { tags: ['attack'] }, async () => {
    const slow = await startReceiver();
    slow.answering(() => undefined);
    const { programId, affiliateId } = tenant;
    for (let i = 0; i < 50; i++) {
      // The API refuses an affiliate so many.
      const endpoint = await createWebhookEndpoint(api.ledger, {
        programId,
        affiliateId,
        role: 'affiliate',
        url: slow.url,
        events: [],
        secret: newSigningSecret(api.secretBox).encrypted,
        userId: null,
        madeBy: null,
      });
      for (let test = 0; test < 6; test++) await addTestEvent(api.ledger, endpoint);
    }
    await subscribe(tenant.keys.operator, { events: ['conversion.created'] });
    for (let i = 0; i < 30; i++) await order(`healthy-${i}`, tenant.otherAffiliateId);
    while ((await fanOut(api)) > 0);
    const startedAt = performance.now();
    const worker = startWebhookWorker(workerOptions());
    try {
      await waitFor(() => receiver.received.length === 30, { deadlineMs: 10_000, what: '30 deliveries' });
      expect(performance.now() - startedAt).toBeLessThan(2_000);
      expect(slow.received.length).toBeGreaterThanOrEqual(50);
    } finally {
      await slow.stop();
      await worker.stop();
    }
  });

  test('of a later event of one object has a higher sequence, in whatever order they arrive', async () => {
    await subscribe(tenant.keys.operator, { events: ['conversion.created', 'conversion.changed'] });
    const id = await order('sequenced');
    await api.call('POST', `/v1/conversions/cnv_${id}/confirm`, { key: tenant.keys.operator });
    while ((await work()) > 0);
    const messages = receiver.received.map(
      ({ body }) => JSON.parse(body) as { type: string; sequence: number },
    );
    const ordered = messages.toSorted((a, b) => a.sequence - b.sequence).map(({ type }) => type);
    expect(ordered[0]).toBe('conversion.created');
    expect(new Set(ordered.slice(1))).toEqual(new Set(['conversion.changed']));
    expect(new Set(messages.map(({ sequence }) => sequence)).size).toBe(messages.length);
  });

  test('shows the order as it was at the event, for the eyes of its receiver', async () => {
    await subscribe(tenant.keys.operator);
    const id = await order('as-it-was');
    const cancel = { key: tenant.keys.operator, json: { note: 'as the shop says' } };
    expect((await api.call('POST', `/v1/conversions/cnv_${id}/cancel`, cancel)).status).toBe(200);
    await work();
    const bodies = receiver.received
      .map(({ body }) => JSON.parse(body))
      .toSorted((a, b) => a.sequence - b.sequence)
      .map(({ type, data }) => ({ type, ...data }));
    expect(bodies).toMatchObject([
      {
        type: 'conversion.created',
        state: 'received',
        status: 'pending',
        affiliate_id: null,
        decided_at: null,
        refunded: { amount: '0.00' },
        evidence: null,
        customer_id: 'customer-7',
      },
      {
        type: 'conversion.changed',
        state: 'attributed',
        cancelled_at: null,
        refunded: { amount: '0.00' },
        evidence: { secret: 'threshold' },
      },
      { type: 'conversion.changed', state: 'refunded', refunded: { amount: '100.00' } },
    ]);
    const [{ kept }] = await api.ledger<[{ kept: number }]>`
      select count(conversion)::integer as kept from webhook_events where program_id = ${tenant.programId}`;
    expect(kept).toBe(0);
  });

  test('is made by one of two workers', async () => {
    await subscribe(tenant.keys.operator, { events: ['conversion.created'] });
    for (let i = 0; i < 8; i++) await order(`two-${i}`);
    await Promise.all([work(), work(), work()]);
    while ((await work()) > 0);
    expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size).toBe(8);
    expect(receiver.received).toHaveLength(8);
  });
});

describe('an endpoint', () => {
  test('that is gone, or has failed for three days, is disabled, and its owner is notified', async () => {
    const key = tenant.keys.affiliate;
    const { id } = await subscribe(key);
    receiver.answering((response) => response.writeHead(410).end());
    await api.call('POST', `/v1/webhooks/${id}/test`, { key });
    await work();
    const gone = await api.call('GET', `/v1/webhooks/${id}`, { key });
    expect(gone.body).toMatchObject({ status: 'disabled', disabled_reason: 'it answered 410 Gone' });
    expect((await api.mails()).at(-1)).toMatchObject({
      to: 'first@example.com',
      text: expect.stringContaining(id),
    });

    const enabled = await api.call('PATCH', `/v1/webhooks/${id}`, { key, json: { status: 'active' } });
    expect(enabled.body).toMatchObject({ status: 'active', disabled_reason: null, failing_since: null });
    receiver.answering((response) => response.writeHead(500).end());
    await work();
    expect((await api.call('GET', `/v1/webhooks/${id}`, { key })).body.status).toBe('active');
    await api.ledger`update webhook_endpoints set failing_since = now() - interval '73 hours'`;
    await work();
    const { body } = await api.call('GET', `/v1/webhooks/${id}`, { key });
    expect(body).toMatchObject({ status: 'disabled', disabled_reason: expect.stringMatching(/three days/) });
  });

  describe('that is disabled', () => {
    async function setStatus(id: string, status: 'active' | 'disabled'): Promise<Record<string, unknown>> {
      const call = { key: tenant.keys.advertiser, json: { status } };
      const { status: code, body } = await api.call('PATCH', `/v1/webhooks/${id}`, call);
      expect(code).toBe(200);
      return body;
    }
    async function waitingOf(id: string): Promise<number> {
      const [{ waiting }] = await api.ledger<[{ waiting: number }]>`
        select count(*)::integer as waiting from webhook_deliveries where endpoint_id = ${Number(id.slice(4))}`;
      return waiting;
    }
    const types = () => receiver.received.map(({ body }) => JSON.parse(body).type).sort();

    test('gets what it missed once, as it was then, when it is active again', async () => {
      const { id } = await subscribe(tenant.keys.advertiser);
      const disabled = await setStatus(id, 'disabled');
      const days = (Date.parse(String(disabled.keeps_until)) - Date.now()) / DAY_MS;
      expect(days).toBeGreaterThan(29.9);
      expect(days).toBeLessThan(30.1);
      await order('missed');
      expect(await work()).toBe(0);
      expect(await setStatus(id, 'active')).toMatchObject({ status: 'active', keeps_until: null });
      expect(await work()).toBe(2);
      expect(await work()).toBe(0);
      expect(types()).toEqual(['conversion.changed', 'conversion.created']);
    });

    test('misses for good what comes after its time, or when much waits', async () => {
      const { id } = await subscribe(tenant.keys.advertiser, { events: ['conversion.created'] });
      await setStatus(id, 'disabled');
      await order('kept');
      await fanOut(api);
      const endpoint = Number(id.slice(4));
      // A backlog of one short of the limit, of the one event there is.
      await api.ledger`
        insert into webhook_events (type, program_id, endpoint_id, subject, fanned_out)
        select 'webhook.test', ${tenant.programId}, ${endpoint}, ${id}, true from generate_series(2, ${MAX_KEPT_EVENTS - 1})`;
      await api.ledger`
        insert into webhook_deliveries (endpoint_id, event_id, body)
        select ${endpoint}, id, '{}' from webhook_events where endpoint_id = ${endpoint}`;
      await order('the last one');
      await fanOut(api);
      await order('one too many');
      await fanOut(api);
      const full = await api.call('GET', `/v1/webhooks/${id}`, { key: tenant.keys.advertiser });
      expect(Date.parse(String(full.body.keeps_until))).toBeLessThanOrEqual(Date.now());
      const [{ waiting }] = await api.ledger<[{ waiting: number }]>`
        select count(*)::integer as waiting from webhook_deliveries where endpoint_id = ${endpoint} and state = 'pending'`;
      expect(waiting).toBe(MAX_KEPT_EVENTS);
      await order('not listened to');
      const [{ events }] = await api.ledger<[{ events: number }]>`
        select count(*)::integer as events from webhook_events where program_id = ${tenant.programId} and not fanned_out`;
      expect(events).toBe(0);
    });

    test.each(['before', 'by'])('%s the termination of its affiliate keeps nothing', async (when) => {
      const key = tenant.keys.affiliate;
      const { id } = await subscribe(key);
      const reason = when === 'before' ? null : 'the affiliate was terminated';
      if (when === 'before') {
        await api.call('PATCH', `/v1/webhooks/${id}`, { key, json: { status: 'disabled' } });
        await order('kept');
        await fanOut(api);
        expect(await waitingOf(id)).toBe(1);
      }
      await api.ledger`update affiliates set status = 'terminated' where id = ${tenant.affiliateId}`;
      const { body } = await api.call('GET', `/v1/webhooks/${id}`, { key: tenant.keys.operator });
      expect(body).toMatchObject({ status: 'disabled', keeps_until: null, disabled_reason: reason });
      await forgetWebhookEvents(api.ledger, { limit: 100 });
      expect(await waitingOf(id)).toBe(0);
    });

    test('loses what waits for it, each after 30 days, once it is kept nothing any more', async () => {
      const { id } = await subscribe(tenant.keys.advertiser, { events: ['conversion.created'] });
      await setStatus(id, 'disabled');
      for (const one of ['old', 'young']) await order(one);
      await fanOut(api);
      const owner = await connectOwner({ url: api.stores.books.url, name: 'test' });
      await owner`
        update webhook_deliveries set created_at = now() - interval '31 days'
        where body like '%"order_id":"old"%' and endpoint_id = ${Number(id.slice(4))}`;
      await owner.end({ timeoutMs: 1_000 });
      await forgetWebhookEvents(api.ledger, { limit: 100 });
      expect(await waitingOf(id)).toBe(2);
      await api.ledger`update webhook_endpoints set keeps_until = now() where id = ${Number(id.slice(4))}`;
      await forgetWebhookEvents(api.ledger, { limit: 100 });
      expect(await waitingOf(id)).toBe(1);
    });

    test('is sent nothing of a customer who was erased meanwhile', async () => {
      const key = tenant.keys.operator;
      const { id } = await subscribe(key);
      await api.call('PATCH', `/v1/webhooks/${id}`, { key, json: { status: 'disabled' } });
      const about = { tenant, affiliateId: tenant.affiliateId, outcome: 'review' } as const;
      await decideConversion(api.ledger, { ...about, orderId: 'of the erased' });
      await fanOut(api);
      const bodies = async () =>
        await api.ledger<
          { body: string }[]
        >`select body from webhook_deliveries where endpoint_id = ${Number(id.slice(4))}`;
      expect(JSON.stringify(await bodies())).toMatch(/customer-7.*threshold/);
      const customer = await findCustomer(api.ledger, { programId: tenant.programId, named: 'customer-7' });
      await inTransaction(api.ledger, (tx) => eraseCustomer(tx, { customer, actor: 'test' }));
      await api.call('PATCH', `/v1/webhooks/${id}`, { key, json: { status: 'active' } });
      expect(await work()).toBe(2);
      const sent = receiver.received.map(({ body }) => JSON.parse(body));
      for (const { data } of sent) {
        const erased = {
          customer_id: null,
          customer_email_hash: null,
          ip: null,
          user_agent: null,
          evidence: null,
        };
        expect(data).toMatchObject({ order_id: 'of the erased', amount: { currency: 'EUR' }, ...erased });
      }
      expect(JSON.stringify(sent)).not.toMatch(/customer-7|threshold/);
    });

    test('takes no test', async () => {
      const key = tenant.keys.advertiser;
      const { id } = await subscribe(key);
      await setStatus(id, 'disabled');
      const { status, body } = await api.call('POST', `/v1/webhooks/${id}/test`, { key });
      expect([status, body.code]).toEqual([409, 'wrong_state']);
    });
  });

  test('has two secrets for a day after a rotation', async () => {
    const key = tenant.keys.operator;
    const { id, secret } = await subscribe(key);
    const rotated = await api.call('POST', `/v1/webhooks/${id}/rotate-secret`, { key });
    await api.call('POST', `/v1/webhooks/${id}/test`, { key });
    await work();
    const [message] = receiver.received;
    const headers = message?.headers as Record<string, string>;
    for (const one of [secret, String(rotated.body.secret)]) {
      expect(new Webhook(one).verify(message?.body ?? '', headers)).toMatchObject({ type: 'webhook.test' });
    }
  });

  test('belongs to who made it', { tags: ['attack'] }, async () => {
    const { id } = await subscribe(tenant.keys.affiliate);
    const foreign = await api.tenant('foreign');
    for (const key of [foreign.keys.operator, tenant.keys.advertiser, foreign.keys.affiliate]) {
      for (const [method, path] of [
        ['GET', `/v1/webhooks/${id}`],
        ['GET', `/v1/webhooks/${id}/deliveries`],
        ['DELETE', `/v1/webhooks/${id}`],
        ['POST', `/v1/webhooks/${id}/rotate-secret`],
        ['POST', `/v1/webhooks/${id}/test`],
      ] as const) {
        expect([path, (await api.call(method, path, { key })).status]).toEqual([path, 404]);
      }
    }
    expect((await api.call('DELETE', `/v1/webhooks/${id}`, { key: tenant.keys.operator })).status).toBe(204);
  });

  test.each([
    'http://example.com/',
    'https://10.0.0.1/',
    'https://[::1]/',
    'https://[::ffff:10.0.0.1]/',
    'https://169.254.169.254/latest',
    'https://0xa.1/',
    'https://[::127.0.0.1]/',
    'https://[::ffff:0:127.0.0.1]/',
    'https://example.com:22/',
    'https://example.com:6379/',
    'https://93.184.216.34:8123/',
    'https://167772161/',
    'ftp://example.com/',
    'https://user:pass@example.com/',
    'https://example.com/#x',
    'nonsense',
  ])('cannot lead to %s', { tags: ['attack'] }, async (url) => {
    const answer = await api.call('POST', '/v1/webhooks', { key: tenant.keys.operator, json: { url } });
    expect([url, answer.status, answer.body.field]).toEqual([url, 422, 'url']);
  });
});

describe('a target', { tags: ['attack'] }, () => {
  const nothing = createNetworkMatcher([]);
  const headers = {};

  test('is checked after its name was resolved, with every address of it', async () => {
    const resolving = (addresses: string[]) =>
      ((_name: string, _options: object, done: (error: null, all: object[]) => void) =>
        done(
          null,
          addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        )) as never;
    for (const addresses of [
      ['10.1.2.3'],
      ['93.184.216.34', '127.0.0.1'],
      ['::ffff:192.168.0.1'],
      ['fd00::1'],
      [],
    ]) {
      const answer = await send('https://rebound.example/', {
        body: '{}',
        headers,
        allowed: nothing,
        resolve: resolving(addresses),
      });
      expect(answer.status).toBeUndefined();
      // The same for each, so that it does not tell what a name resolves to inside.
      expect(answer.error).toBe('the host has no public address');
    }
    // The same name with an allowed address: the checked address is the one that is called.
    const port = new URL(receiver.url).port;
    const here = await send(`http://127.0.0.1:${port}/`, { body: '{}', headers, allowed: LOOPBACK });
    expect(here.status).toBe(204);
  });

  test('is not followed to another place, waited for, or read to the end', async () => {
    const ask = (timeoutMs = 2_000) =>
      send(receiver.url, { body: '{}', headers, allowed: LOOPBACK, timeoutMs });
    receiver.answering((response) => response.writeHead(302, { location: receiver.url }).end());
    expect(await ask()).toMatchObject({ status: 302, error: 'answered 302' });
    expect(receiver.received).toHaveLength(1);
    receiver.answering(() => undefined);
    expect((await ask(100)).error).toBe('no answer within 100 ms');
    receiver.answering((response) => response.writeHead(200).end('x'.repeat(10_000_000)));
    expect((await ask()).response).toHaveLength(1_000);
    receiver.answering((response) => void response.destroy());
    expect((await ask()).status).toBeUndefined();
  });

  test.each([
    ['8.8.8.8', true],
    ['2606:4700::1111', true],
    ['127.0.0.1', false],
    ['10.0.0.1', false],
    ['172.16.0.1', false],
    ['192.168.1.1', false],
    ['169.254.169.254', false],
    ['100.64.0.1', false],
    ['0.0.0.0', false],
    ['224.0.0.1', false],
    ['::1', false],
    ['::', false],
    ['fe80::1', false],
    ['fc00::1', false],
    ['::ffff:127.0.0.1', false],
    ['64:ff9b::a00:1', false],
    ['64:ff9b:1::a00:1', false],
    ['::127.0.0.1', false],
    ['::ffff:0:7f00:1', false],
    ['100::1', false],
    ['2001:db8::1', false],
    ['4000::1', false],
    ['5f00::1', false],
    ['2002:a00:1::', false],
    ['not an address', false],
  ])('%s may be called: %s', (address, callable) => {
    expect(isCallable(address, nothing)).toBe(callable);
    expect(isCallable('10.0.0.1', createNetworkMatcher(['10.0.0.0/8']))).toBe(true);
    expect(isCallable('::ffff:10.0.0.1', createNetworkMatcher(['10.0.0.0/8']))).toBe(true);
    expect(isCallable('10.0.0.1', createNetworkMatcher(['fd00::/8']))).toBe(false);
    expect(urlFault('https://example.com/hook', nothing)).toBeUndefined();
  });
});
