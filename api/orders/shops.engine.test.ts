import { randomUUID } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import { listConversions } from '../../ledger/conversions/conversions.ts';
import {
  type Answer,
  startTestApi,
  TEST_CLICK_KEY,
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

type Line = Record<string, unknown>;

async function calls(query = '', as = key): Promise<Line[]> {
  const { body } = await api.call('GET', `/v1/postback-calls?limit=1000&${query}`, { key: as });
  return body.data as Line[];
}

async function settings(tenant: Tenant, json: object): Promise<Answer> {
  const path = `/v1/programs/prg_${tenant.programId}/postback-settings`;
  return await api.call('PUT', path, { key: tenant.keys.operator, json });
}

describe('a batch', () => {
  const order = (id: string, more: object = {}) => ({ order_id: id, amount: '5', currency: 'EUR', ...more });

  test('is answered item by item, and repeating it changes nothing', async () => {
    const conversions = [
      order('b-1'),
      order('b-2', { amount: 5 }),
      order('b-1'),
      order('b-3', { currency: 'USD' }),
      order('b-1', { amount: '6' }),
      order('b-4', { unknown: 1 }),
      order('b-5', { program_id: 'prg_999' }),
      order('b-6'),
    ];
    const first = await api.call('POST', '/v1/conversions/batch', { key, json: { conversions } });
    expect(first.status).toBe(200);
    expect(first.body).toMatchObject({ accepted: 2, duplicate: 1, rejected: 5 });
    const items = first.body.items as Line[];
    expect(items.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(items.map(({ status }) => status)).toEqual([
      'accepted',
      'rejected',
      'duplicate',
      'rejected',
      'rejected',
      'rejected',
      'rejected',
      'accepted',
    ]);
    expect(items.map(({ problem }) => (problem as Line | null)?.code)).toEqual([
      undefined,
      'invalid_input',
      undefined,
      'invalid_input',
      'conflict',
      'invalid_input',
      'invalid_input',
      undefined,
    ]);
    expect(items[1]).toMatchObject({ problem: { field: 'amount' } });
    const again = await api.call('POST', '/v1/conversions/batch', { key, json: { conversions } });
    expect(again.body).toMatchObject({ accepted: 0, duplicate: 3, rejected: 5 });
    const logged = await calls('via=batch');
    expect(logged.filter(({ outcome }) => outcome === 'rejected')).toHaveLength(10);
    expect(logged).toHaveLength(16);
  });

  test.each(['a\u0000b', '\udaf9', 'x\u0000'.repeat(60)])(
    'with an item whose member has the name %j records the others',
    { tags: ['attack'] },
    async (name) => {
      const good = order(`named-${name.length}-${name.codePointAt(0)}`);
      const json = { conversions: [good, { ...order('unnamed'), [name]: 1 }] };
      const answer = await api.call('POST', '/v1/conversions/batch', { key, json });
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ accepted: 1, rejected: 1 });
    },
  );

  test('takes a thousand orders, and no more', async () => {
    const conversions = Array.from({ length: 1_001 }, (_, i) => order(`k-${i}`));
    const call = (json: object) => api.call('POST', '/v1/conversions/batch', { key, json });
    expect((await call({ conversions })).status).toBe(422);
    expect((await call({ conversions: conversions.slice(1) })).body).toMatchObject({ accepted: 1_000 });
    expect((await call({ conversions: [] })).status).toBe(422);
  });

  test('ten batches with the same orders in other orders at once count each once', async () => {
    const conversions = Array.from({ length: 200 }, (_, i) => order(`r-${i}`));
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => {
        const turned = i % 2 === 0 ? conversions : conversions.toReversed();
        return api.call('POST', '/v1/conversions/batch', { key, json: { conversions: turned } });
      }),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    const sum = (name: string) => answers.reduce((total, { body }) => total + Number(body[name]), 0);
    expect([sum('accepted'), sum('duplicate'), sum('rejected')]).toEqual([200, 1_800, 0]);
  });
});

describe('signed calls', () => {
  async function signingKey(): Promise<{ id: string; secret: string }> {
    const json = { role: 'advertiser', name: 'signs', signing: true };
    const { body } = await api.call('POST', '/v1/api-keys', { key: shop.keys.operator, json });
    return { id: (body.api_key as { id: string }).id, secret: String(body.signing_secret) };
  }

  function headersFor(
    signer: { id: string; secret: string },
    body: string,
    { at = new Date(), id = randomUUID() }: { at?: Date; id?: string } = {},
  ) {
    return {
      'afflux-key': signer.id,
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      // The reference library: what it signs is what we take.
      'webhook-signature': new Webhook(signer.secret).sign(id, at, body),
    };
  }

  test('need no key, are good once, and say what is wrong with them', async () => {
    const signer = await signingKey();
    const body = JSON.stringify({ order_id: 'signed', amount: '1', currency: 'EUR' });
    const send = (headers: Record<string, string>, raw = body) =>
      api.call('POST', '/v1/conversions', {
        raw,
        headers: { 'content-type': 'application/json', ...headers },
      });
    const headers = headersFor(signer, body);
    expect((await send(headers)).status).toBe(202);
    const replayed = await send(headers);
    expect([replayed.status, replayed.body.code]).toEqual([409, 'replayed']);
    const id = String(headers['webhook-id']);
    const retry = await send(headersFor(signer, body, { id, at: new Date(Date.now() + 2_000) }));
    expect([retry.status, retry.body.status]).toEqual([200, 'duplicate']);
    const wrong: [Record<string, string>, string?][] = [
      [headersFor(signer, body), body.replace('"1"', '"9"')],
      [headersFor(signer, body, { at: new Date(Date.now() - 301_000) })],
      [headersFor(signer, body, { at: new Date(Date.now() + 305_000) })],
      [{ ...headersFor(signer, body), 'webhook-timestamp': 'now' }],
      [{ ...headersFor(signer, body), 'webhook-id': 'another' }],
      [{ ...headersFor(signer, body), 'afflux-key': 'key_2000000000' }],
      [{ ...headersFor(signer, body), 'webhook-signature': 'v1,' }],
    ];
    for (const [bad, raw] of wrong) {
      expect((await send(bad, raw)).status).toBe(401);
    }
  });

  test('without a body sign the query string', async () => {
    const signer = await signingKey();
    const query = 'order_id=signed-get&amount=1&currency=EUR';
    const headers = headersFor(signer, query);
    expect((await api.call('GET', `/postback?${query}`, { headers })).body.status).toBe('accepted');
    const other = headersFor(signer, query);
    expect((await api.call('GET', `/postback?${query}9`, { headers: other })).status).toBe(401);
  });

  test('are for the routes of shops only', async () => {
    const signer = await signingKey();
    const headers = headersFor(signer, '');
    expect((await api.call('GET', '/v1/me', { headers })).status).toBe(401);
  });
});

describe('settings of a program', () => {
  test('map the names of other trackers, and say so in the test of a call', async () => {
    const tenant = await api.tenant('mapped');
    const parameters = { txid: 'order_id', sum: 'amount', cur: 'currency', mail: 'customer_email' };
    expect((await settings(tenant, { parameters })).status).toBe(200);
    const query = `key=${tenant.keys.advertiser}&txid=m-1&sum=7.50&cur=EUR&mail=Jane@Example.com&extra=1`;
    const explained = await api.call('GET', `/v1/postbacks/test?${query}`);
    expect(explained.body).toMatchObject({ would: 'accept', would_credit: false });
    expect(explained.text).toMatch(/txid is read as order_id.*extra is ignored/);
    const answer = await api.call('GET', `/postback?${query}`);
    expect(answer.body).toMatchObject({
      status: 'accepted',
      conversion_status: 'pending',
      ignored: ['extra'],
    });
    const status = await api.call('GET', String(answer.body.status_url), { key: tenant.keys.advertiser });
    expect(status.body).toMatchObject({ order_id: 'm-1', amount: { amount: '7.50' } });
    const [line] = await calls('', tenant.keys.advertiser);
    expect(line?.params).toMatchObject({ txid: 'm-1', mail: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) });
    expect(JSON.stringify(line)).not.toMatch(/example\.com|afx_/i);
  });

  describe('say how values are written', () => {
    const parameters = {
      nr: { field: 'order_id' },
      summe: { field: 'amount', decimal: ',' },
      cents: { field: 'amount', units: 'minor' },
      at: { field: 'occurred_at' },
      day: { field: 'occurred_at', zone: 'Europe/Vienna' },
      state: { field: 'status', words: { '7': 'cancelled' } },
      cur: 'currency',
    };
    let tenant: Tenant;
    beforeAll(async () => {
      tenant = await api.tenant('written otherwise');
      expect((await settings(tenant, { parameters })).body).toMatchObject({ parameters });
    });

    const hour = Math.floor(Date.now() / 3_600_000) * 3_600;
    test.each<[string, object, object]>([
      ['a decimal comma', { nr: 'f-1', summe: '1.234,50', cur: 'EUR' }, { amount: { amount: '1234.50' } }],
      ['cents as a JSON number', { nr: 12, cents: 2990, cur: 'eur' }, { amount: { amount: '29.90' } }],
      ['cents of a currency that has none', { nr: 'f-3', cents: '2990' }, { amount: { amount: '29.90' } }],
      [
        'Unix seconds',
        { nr: 'f-4', summe: 5.5, cur: 'EUR', at: hour },
        { occurred_at: new Date(hour * 1_000).toISOString(), amount: { amount: '5.50' } },
      ],
      [
        'Unix milliseconds as text',
        { nr: 'f-5', summe: '5', cur: 'EUR', at: `${hour * 1_000}` },
        { occurred_at: new Date(hour * 1_000).toISOString() },
      ],
      [
        'a time without a zone',
        { nr: 'f-6', summe: '5', cur: 'EUR', day: '2026-01-02 03:04' },
        { occurred_at: '2026-01-02T02:04:00.000Z' },
      ],
      [
        'a word of its own',
        { nr: 'f-7', summe: '5', cur: 'EUR', state: '7' },
        { cancelled_at: expect.any(String) },
      ],
      [
        'our name first',
        { nr: 'f-8', amount: '3.00', summe: 'x', cur: 'EUR' },
        { amount: { amount: '3.00' } },
      ],
      [
        'empty parameters, which say nothing',
        { nr: 'f-9', summe: '5', amount: null, currency: ' ', cur: 'EUR', Status: '', status: 'cancelled' },
        { amount: { amount: '5.00' }, cancelled_at: expect.any(String) },
      ],
    ])('%s', async (_, json, expected) => {
      const call = { key: tenant.keys.advertiser, json: { currency: 'EUR', ...json } };
      const { status, body } = await api.call('POST', '/postback', call);
      expect([status, body.detail]).toEqual([200, undefined]);
      const found = await api.call('GET', String(body.status_url), { key: tenant.keys.advertiser });
      expect(found.body).toMatchObject(expected);
    });

    test.each<[object, RegExp]>([
      [{ nr: 'g-1', summe: '12,345' }, /^amount: EUR has 2 decimal digits/],
      [{ nr: 'g-2', cents: '12.5' }, /^amount: EUR has 2 decimal digits/],
      [{ nr: 'g-3', summe: 'much' }, /^amount: "much" is not a number/],
      [{ nr: 'g-4', summe: '12.34' }, /^amount: "12.34" is not a number/],
      [{ nr: 'g-5', summe: '1', at: 'now' }, /^occurred_at: "now" is no time/],
      [{ nr: 'g-6', summe: '5,00', cur: '' }, /^currency: is required/],
    ])('%j is refused, logged and explained', async (json, detail) => {
      const query = new URLSearchParams(json as Record<string, string>);
      const own = tenant.keys.advertiser;
      const call = { key: own, json: { cur: 'EUR', ...json } };
      const { status, body } = await api.call('POST', '/postback', call);
      expect([status, body.detail]).toEqual([422, expect.stringMatching(detail)]);
      const [line] = await calls('', own);
      expect(line).toMatchObject({ outcome: 'rejected', detail: expect.stringMatching(detail) });
      const replay = await api.call('POST', `/v1/postback-calls/${line?.id}/replay`, { key: own });
      expect(replay.status).toBe(422);
      const explained = await api.call('GET', `/v1/postbacks/test?cur=EUR&${query}`, { key: own });
      expect(explained.body).toMatchObject({ would: 'reject' });
    });
  });

  test('take no JSON number that is not exact for an id', async () => {
    const tenant = await api.tenant('inexact');
    await settings(tenant, { parameters: { nr: { field: 'order_id' } } });
    const call = { key: tenant.keys.advertiser, json: { nr: 2 ** 60, amount: '1', currency: 'EUR' } };
    const { status, body } = await api.call('POST', '/postback', call);
    expect([status, body.detail]).toEqual([422, expect.stringMatching(/^order_id: is a JSON number/)]);
  });

  test('an order with an address header that is none is taken: nothing unparsed reaches an inet column', async () => {
    const tenant = await api.tenant('forwarded');
    await settings(tenant, { pixel: true });
    const spellings: [string, string | null][] = [
      ['203.0.113.7', '203.0.113.7'],
      ['203.0.113.7:4711', '203.0.113.7'],
      ['2a02:8388::7', '2a02:8388::7'],
      ['[2a02:8388::7]', '2a02:8388::7'],
      ['[2a02:8388::7]:443', '2a02:8388::7'],
      ['"203.0.113.7"', '203.0.113.7'],
      ['fe80::1%eth0', 'fe80::1'],
      ['::ffff:203.0.113.7', '203.0.113.7'],
      ['1.2.3.4, 203.0.113.7', '203.0.113.7'],
      ['203.0.113.7, , 127.0.0.1', '203.0.113.7'],
      ['203.0.113.7, 127.0.0.1,', '203.0.113.7'],
      ['unknown', null],
      ['_hidden', null],
      ['999.1.1.1', null],
      ['203.0.113.7, unknown', null],
      ['', '127.0.0.1'],
    ];
    for (const [i, [spelling, address]] of spellings.entries()) {
      const headers = { 'x-forwarded-for': spelling };
      const order = (way: string) => `order_id=${way}-${i}&amount=1&currency=EUR`;
      const key = tenant.keys.advertiser;
      const answers = [
        await api.call('GET', `/postback?key=${key}&${order('get')}`, { headers }),
        await api.call('POST', '/postback', { key, form: order('post'), headers }),
        await api.call('POST', '/v1/conversions', {
          key,
          json: { order_id: `json-${i}`, amount: '1.00', currency: 'EUR' },
          headers,
        }),
        await api.call('GET', `/pixel?program_id=prg_${tenant.programId}&${order('pixel')}`, { headers }),
      ];
      expect([spelling, ...answers.map(({ status }) => status)]).toEqual([spelling, 200, 200, 202, 200]);
      const stored = await api.ledger<{ orderId: string; ip: string | null }[]>`
        select c.order_id, l.ip from conversions c join postback_calls l on l.conversion_id = c.id
        where c.program_id = ${tenant.programId} and c.order_id like ${`%-${i}`}`;
      expect([spelling, stored.length, ...new Set(stored.map(({ ip }) => ip))]).toEqual([
        spelling,
        4,
        address,
      ]);
    }
    const pixels = await api.ledger<{ ip: string | null }[]>`
      select ip from conversions where program_id = ${tenant.programId} and source = 'pixel' order by id`;
    expect(pixels.map(({ ip }) => ip)).toEqual(spellings.map(([, address]) => address));
    const bad = await api.call(
      'GET',
      `/postback?key=${tenant.keys.advertiser}&order_id=bad&amount=1&currency=EUR&ip=unknown`,
    );
    expect([bad.status, bad.text]).toEqual([422, expect.stringContaining('"ip"')]);
  });

  test('let calls in from listed networks only, or signed ones only', async () => {
    const tenant = await api.tenant('fenced');
    const set = await settings(tenant, { allowed_ips: ['192.0.2.1/24', '2001:db8::/32'] });
    expect(set.body.allowed_ips).toEqual(['192.0.2.0/24', '2001:db8::/32']);
    const call = (from: string, order: string) =>
      api.call('GET', `/postback?key=${tenant.keys.advertiser}&order_id=${order}&amount=1&currency=EUR`, {
        headers: { 'x-forwarded-for': from },
      });
    expect((await call('192.0.2.77', 'f-1')).status).toBe(200);
    expect((await call('2001:db8::1', 'f-2')).status).toBe(200);
    for (const from of ['192.0.3.1', '2001:db9::1', '::ffff:192.0.3.1']) {
      const refused = await call(from, 'f-3');
      expect([from, refused.status, refused.body.code]).toEqual([from, 403, 'ip_not_allowed']);
    }
    await settings(tenant, { require_signature: true });
    const unsigned = await waitFor(
      async () => {
        const answer = await call('192.0.3.1', 'f-4');
        return answer.body.code === 'ip_not_allowed' ? undefined : answer;
      },
      { deadlineMs: 5_000, what: 'the settings to be in force' },
    );
    expect([unsigned.status, unsigned.body.code]).toEqual([403, 'signature_required']);
  });

  test.each([
    [{ allowed_ips: ['192.0.2.0/33'] }, 'allowed_ips.0'],
    [{ allowed_ips: ['example.com'] }, 'allowed_ips.0'],
    [{ parameters: { a: 'key' } }, 'parameters.a'],
    [{ parameters: { a: { field: 'key' } } }, 'parameters.a'],
    [{ parameters: { a: { field: 'amount', decimals: ',' } } }, 'parameters.a.decimals'],
    [{ parameters: { a: { field: 'occurred_at', zone: 'Mars' } } }, 'parameters.a.zone'],
    [{ pixels: true }, 'pixels'],
  ])('%j is refused at %s', async (json, field) => {
    const answer = await settings(shop, json);
    expect([answer.status, answer.body.field]).toEqual([422, field]);
  });

  test('belong to the program', async () => {
    const other = await api.tenant('other');
    const path = `/v1/programs/prg_${shop.programId}/postback-settings`;
    expect((await api.call('GET', path, { key: other.keys.advertiser })).status).toBe(404);
    expect((await api.call('PUT', path, { key: other.keys.operator, json: { pixel: true } })).status).toBe(
      404,
    );
  });
});

describe('the pixel', () => {
  test('is always a picture, records only where it is allowed, and says so in a header and the log', async () => {
    const tenant = await api.tenant('pixel');
    const path = `/pixel?program_id=prg_${tenant.programId}&order_id=px&amount=3&currency=EUR`;
    const headers = { 'x-forwarded-for': '198.51.100.9', 'user-agent': 'browser', 'accept-language': 'de' };
    const off = await api.call('GET', path, { headers });
    expect([off.status, off.headers.get('content-type'), off.headers.get('afflux-status')]).toEqual([
      200,
      'image/gif',
      'rejected; code=forbidden',
    ]);
    await settings(tenant, { pixel: true });
    await waitFor(
      async () => (await api.call('GET', path, { headers })).headers.get('afflux-status') === 'duplicate',
      { deadlineMs: 5_000, what: 'the pixel to be allowed' },
    );
    const { rows } = await listConversions(api.ledger, { limit: 10, programId: tenant.programId });
    expect(rows).toMatchObject([
      { orderId: 'px', source: 'pixel', ip: '198.51.100.9', userAgent: 'browser' },
    ]);
    for (const bad of [
      '/pixel',
      `/pixel?program_id=prg_${tenant.programId}`,
      path.replace('amount=3', 'amount=1'),
    ]) {
      const answer = await api.call('GET', bad);
      expect([answer.status, answer.headers.get('afflux-status')?.slice(0, 8)]).toEqual([200, 'rejected']);
    }
    const codes = (await calls('via=pixel', tenant.keys.advertiser)).map(({ code }) => code);
    expect(new Set(codes)).toEqual(new Set(['conflict', 'invalid_input', 'forbidden', null]));
  });
});

describe('the log of calls', () => {
  test('holds the refused ones with their reason, those without a valid key for the operator only', async () => {
    const tenant = await api.tenant('logged');
    const own = tenant.keys.advertiser;
    await api.call('GET', `/postback?key=${own}&order_id=l-1&amount=1&currency=EUR`);
    await api.call('GET', `/postback?key=${own}&order_id=l-1&amount=2&currency=EUR`);
    await api.call('GET', `/postback?key=${own}&order_id=l-2&amount=x&currency=EUR`);
    await api.call('GET', `/postback?key=wrong&order_id=l-3&amount=1&currency=EUR`, {
      headers: { 'x-forwarded-for': '198.51.100.77' },
    });
    await api.call('POST', '/v1/conversions', {
      key: own,
      raw: '{',
      headers: { 'content-type': 'application/json' },
    });
    await api.call('POST', '/v1/refunds', {
      key: own,
      json: { order_id: 'l-1', refund_ref: 'r', amount: '1', currency: 'EUR' },
    });
    const lines = await calls('', own);
    expect(lines.map(({ via, outcome, code }) => [via, outcome, code])).toEqual([
      ['refund', 'accepted', null],
      ['api', 'rejected', 'malformed_body'],
      ['postback', 'rejected', 'invalid_input'],
      ['postback', 'rejected', 'conflict'],
      ['postback', 'accepted', null],
    ]);
    expect((await calls('outcome=rejected&code=conflict', own)).map(({ order_id }) => order_id)).toEqual([
      'l-1',
    ]);
    expect(await calls('order_id=l-3', own)).toEqual([]);
    const [anonymous] = await calls('order_id=l-3', api.operatorKey);
    expect(anonymous).toMatchObject({ code: 'unauthorized', program_id: null, status: 401 });
    const foreign = await api.call('GET', `/v1/postback-calls/${lines[0]?.id}`, { key });
    expect(foreign.status).toBe(404);
  });

  test('is replayed: a call that was refused for a setting is recorded once that is right', async () => {
    const tenant = await api.tenant('replayed');
    const own = tenant.keys.advertiser;
    await api.call('GET', `/postback?key=${own}&tx=p-1&amount=4&currency=EUR`);
    const [refused] = await calls('', own);
    expect(refused).toMatchObject({ outcome: 'rejected', code: 'invalid_input' });
    const replay = () => api.call('POST', `/v1/postback-calls/${refused?.id}/replay`, { key: own });
    expect((await replay()).status).toBe(422);
    expect((await calls('via=replay', own))[0]).toMatchObject({
      outcome: 'rejected',
      replay_of: refused?.id,
    });
    await settings(tenant, { parameters: { tx: 'order_id' } });
    const done = await waitFor(
      async () => {
        const answer = await replay();
        return answer.status === 200 ? answer : undefined;
      },
      { deadlineMs: 5_000, what: 'the settings to be in force' },
    );
    expect(done.body).toMatchObject({ status: 'accepted' });
    expect((await replay()).body).toMatchObject({
      status: 'duplicate',
      conversion_id: done.body.conversion_id,
    });
    const [line] = await calls('order_id=p-1&outcome=accepted', own);
    expect(line).toMatchObject({ via: 'replay', replay_of: refused?.id });
    const foreign = await api.call('POST', `/v1/postback-calls/${refused?.id}/replay`, { key });
    expect(foreign.status).toBe(404);
  });

  test('of the API is replayed as the API reads it, whatever parameters of URLs are called', async () => {
    const tenant = await api.tenant('replayed-api');
    const own = tenant.keys.advertiser;
    const json = { order_id: 'ra', amount: '1200', currency: 'EUR', event_name: 'lead' };
    expect((await api.call('POST', '/v1/conversions', { key: own, json })).status).toBe(422);
    const misspelt = { order_id: 'rm', amount: '3', currency: 'EUR', cuopon: 'TEN' };
    await api.call('POST', '/v1/conversions', { key: own, json: misspelt });
    await settings(tenant, { parameters: { amount: { field: 'amount', units: 'minor' } } });
    const program = `/v1/programs/prg_${tenant.programId}`;
    await api.call('PATCH', program, { key: api.operatorKey, json: { events: ['sale', 'lead'] } });
    const [refused] = await calls('order_id=ra', own);
    const replay = (id: unknown) => api.call('POST', `/v1/postback-calls/${id}/replay`, { key: own });
    const done = await waitFor(
      async () => {
        const answer = await replay(refused?.id);
        return answer.status === 200 ? answer : undefined;
      },
      { deadlineMs: 5_000, what: 'the event to be known' },
    );
    const amount = { amount: '1200.00', currency: 'EUR' };
    const order = await api.call('GET', `/v1/conversions/${done.body.conversion_id}`, { key: own });
    expect(order.body).toMatchObject({ amount });
    // Of the way of the first call, also where a replay is repeated.
    expect((await replay(done.body.call_id)).body.status).toBe('duplicate');
    const [unknown] = await calls('order_id=rm', own);
    expect((await replay(unknown?.id)).text).toContain('cuopon');
  });

  test('of a refund is replayed without taking back twice', async () => {
    const tenant = await api.tenant('refunded');
    const own = tenant.keys.advertiser;
    const json = { order_id: 'rf', refund_ref: 'r', amount: '1', currency: 'EUR' };
    expect((await api.call('POST', '/v1/refunds', { key: own, json })).status).toBe(404);
    await api.call('GET', `/postback?key=${own}&order_id=rf&amount=4&currency=EUR`);
    const [refused] = await calls('via=refund', own);
    const path = `/v1/postback-calls/${refused?.id}/replay`;
    expect((await api.call('POST', path, { key: own })).body.status).toBe('accepted');
    expect((await api.call('POST', path, { key: own })).body.status).toBe('duplicate');
  });
});

describe('the test of a call', () => {
  const explain = (query: string) =>
    api.call('GET', `/v1/postbacks/test?key=${key}&order_id=t-1&amount=1&currency=EUR${query}`);

  test('tells of a click that is none, and of one that is not counted', async () => {
    expect((await explain('&click_id=abc')).text).toMatch(/none of ours/);
    const clickId = createClickIdCodec([TEST_CLICK_KEY]).encode({ ts: Date.now(), node: 1, seq: 1 });
    expect((await explain(`&click_id=${clickId}`)).text).toMatch(/not counted yet/);
    expect((await explain('')).body).toMatchObject({ would: 'accept', would_credit: false });
    expect((await explain('&currency=USD')).body.would).toBe('reject');
  });

  test('knows coupons', async () => {
    const tenant = await api.tenant('coupons');
    for (const [code, affiliateId] of [
      ['ANN', tenant.affiliateId],
      ['BOB', tenant.otherAffiliateId],
    ]) {
      const json = { affiliate_id: `aff_${affiliateId}`, code };
      expect((await api.call('POST', '/v1/coupons', { key: tenant.keys.operator, json })).status).toBe(201);
    }
    const tell = async (coupon: string) => {
      const query = `key=${tenant.keys.advertiser}&order_id=c-1&amount=1&currency=EUR&coupon=${coupon}`;
      const { body } = await api.call('GET', `/v1/postbacks/test?${query}`);
      return [body.would_credit, (body.steps as { detail: string }[]).at(-1)?.detail];
    };
    const ann = `ann is a code of aff_${tenant.affiliateId}`;
    expect(await tell('ann')).toEqual([true, ann]);
    expect(await tell('ann,shop5')).toEqual([true, `${ann}; shop5 is no code of an affiliate`]);
    expect(await tell('shop5')).toEqual([false, 'shop5 is no code of an affiliate']);
    expect(await tell('ann,bob')).toEqual([false, expect.stringContaining('several affiliates credit none')]);
  });

  test('records nothing, and knows what is recorded', async () => {
    expect((await explain('')).body.would).toBe('accept');
    await api.call('GET', `/postback?key=${key}&order_id=t-1&amount=1&currency=EUR`);
    expect((await explain('')).body.would).toBe('repeat');
    const other = await api.call('GET', `/v1/postbacks/test?key=${key}&order_id=t-1&amount=2&currency=EUR`);
    expect(other.body.would).toBe('reject');
  });
});
