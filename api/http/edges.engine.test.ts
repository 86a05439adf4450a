import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { brotliCompressSync, constants, deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiCall, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import {
  type Document,
  idPrefix,
  type Operation,
  readDocument,
  sampleOf,
} from '../../test/support/openapi.ts';
import { signedIn } from '../../test/support/users.ts';

/** What other people's HTTP clients send and read, beside what the routes are about. */

let api: TestApi;
let shop: Tenant;
let document: Document;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  document = readDocument((await api.call('GET', '/openapi.json')).body);
});
afterAll(async () => {
  await api?.stop();
});

interface Raw {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly bytes: Buffer;
}

/** Sends what `fetch` would change: it inflates answers, and encodes URLs. */
function send(
  method: string,
  path: string,
  { headers = {}, body }: { headers?: Record<string, string>; body?: Buffer } = {},
): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const length = body && { 'content-length': body.length };
    const request = httpRequest(`${api.url}${path}`, { method, headers: { ...headers, ...length } });
    request.on('error', reject).on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
      response.on('end', () => {
        const { statusCode: status = 0, headers: received } = response;
        resolve({ status, headers: received, bytes: Buffer.concat(chunks) });
      });
    });
    request.end(body);
  });
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

/** The path of an operation with ids of nothing in it. */
function pathOf({ path, parameters }: Operation): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const schema = parameters.find((one) => one.in === 'path' && one.name === name)?.schema ?? {};
    const [first] = (schema.enum as string[] | undefined) ?? [];
    return first ?? `${idPrefix(schema) ?? 'x'}_999999`;
  });
}

function keyOf({ roles }: Operation): string {
  return roles.includes('operator') ? shop.keys.operator : shop.keys[(roles[0] ?? 'operator') as 'operator'];
}

/** A body that the operation takes: of a body at fault the query is not looked at. */
function bodyOf({ body, bodyType }: Operation): ApiCall {
  const sample = sampleOf(body ?? {}, document);
  if (bodyType === 'application/json') return { json: sample };
  const headers = { 'content-type': 'text/csv' };
  return body === undefined ? {} : { raw: String(sample), headers };
}

describe('parameters of the query', () => {
  /** They are called by URLs of others' making, or are links that people follow. */
  const LENIENT = [
    'postback',
    'postbackForm',
    'pixel',
    'testPostback',
    'downloadReport',
    'getHealth',
    'getReadiness',
    'getMetrics',
  ];

  test('that no operation knows are refused by name', async () => {
    const lenient: string[] = [];
    const taken: string[] = [];
    for (const operation of document.operations) {
      const { status, body } = await api.call(operation.method, `${pathOf(operation)}?nope=1`, {
        key: keyOf(operation),
        ...bodyOf(operation),
      });
      if (LENIENT.includes(operation.operationId)) lenient.push(operation.operationId);
      else {
        const fields = ((body.errors ?? []) as { field: string }[]).map(({ field }) => field);
        if (status !== 422 || !fields.includes('nope'))
          taken.push(`${operation.operationId} ${status} ${fields}`);
      }
    }
    expect([lenient.toSorted(), taken]).toEqual([LENIENT.toSorted(), []]);
  });

  const numbers = ['abc', '1e2', '0x10', '-1', '+1', '1.0', ' 1', '', '0', '100000', '١', '9'.repeat(400)];

  test.each(numbers)('limit=%s is no number of rows', async (limit) => {
    const { status, body } = await api.call('GET', `/v1/links?limit=${encodeURIComponent(limit)}`, {
      key: shop.keys.operator,
    });
    expect([status, body.field]).toEqual([422, 'limit']);
  });

  test('numbers and booleans of the document are read as such in every operation, and nothing else is', async () => {
    const taken: string[] = [];
    let tried = 0;
    for (const operation of document.operations) {
      for (const { name, in: place, schema } of operation.parameters) {
        if (place !== 'query' || !['integer', 'boolean'].includes(String(schema.type))) continue;
        tried++;
        for (const wrong of ['maybe', '1e1', `${1 + Number(schema.maximum ?? 0)}x`]) {
          const { body } = await api.call(operation.method, `${pathOf(operation)}?${name}=${wrong}`, {
            key: keyOf(operation),
            ...bodyOf(operation),
          });
          const fields = ((body.errors ?? []) as { field: string }[]).map(({ field }) => field);
          if (!fields.includes(name)) taken.push(`${operation.operationId} ${name}=${wrong}`);
        }
        if (schema.type === 'integer')
          expect([name, typeof schema.minimum, typeof schema.maximum]).toEqual([name, 'number', 'number']);
      }
    }
    expect([tried > 30, taken]).toEqual([true, []]);
  });

  test('that come more than once are refused where one is expected', async () => {
    const twice = await api.call('GET', '/v1/links?limit=1&limit=2', { key: shop.keys.operator });
    expect([twice.status, twice.body.field]).toEqual([422, 'limit']);
    const id = await api.call('GET', '/v1/links?program_id=prg_1&program_id=prg_2', {
      key: shop.keys.operator,
    });
    expect([id.status, id.body.field]).toEqual([422, 'program_id']);
  });

  test('in their thousands cost what they weigh', async () => {
    const form = Array.from({ length: 30_000 }, () => 'a').join('&');
    const startedAt = performance.now();
    const { status } = await api.call('POST', '/postback', { key: shop.keys.advertiser, form });
    expect(status).toBe(422);
    // With a copy of the list for each of them it took many times that.
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    const long = await send('GET', `/v1/links?${form.slice(0, 10_000)}`, {
      headers: bearer(shop.keys.operator),
    });
    expect(long.status).toBe(422);
  });
});

describe('a URL in UTF-8 that is not encoded', () => {
  /** As bytes on the wire. */
  function sendBytes(target: Buffer | string, { method = 'GET', rest = '\r\n' } = {}): Promise<string> {
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(api.url);
      const socket = connect(Number(port), hostname, () => {
        socket.write(Buffer.concat([Buffer.from(`${method} `), Buffer.from(target)]));
        socket.write(` HTTP/1.1\r\nHost: api\r\nConnection: close\r\n${rest}`);
      });
      let answer = '';
      socket.setEncoding('utf8').on('data', (part) => {
        answer += part;
      });
      socket.on('close', () => resolve(answer)).on('error', reject);
    });
  }
  const call = (order: Buffer) =>
    sendBytes(
      Buffer.concat([
        Buffer.from(`/postback?key=${shop.keys.advertiser}&amount=1&currency=EUR&order_id=`),
        order,
      ]),
    );

  test('is read, and the order has the name that the shop wrote', async () => {
    expect(await call(Buffer.from('Größe-漢字-👟'))).toMatch(/^HTTP\/1\.1 200 /);
    const { body } = await api.call(
      'GET',
      `/v1/conversions?order_id=${encodeURIComponent('Größe-漢字-👟')}`,
      {
        key: shop.keys.operator,
      },
    );
    expect(body.data).toHaveLength(1);
  });

  test('is read at the address of a source as well', async () => {
    const made = await api.call('POST', '/v1/sources', {
      key: shop.keys.advertiser,
      json: { kind: 'keitaro', name: 'tracker' },
    });
    const { pathname } = new URL((made.body.source as { url: string }).url);
    const order = 'tid=Größe-2&status=sale&payout=1.00&currency=EUR';
    expect(await sendBytes(Buffer.from(`${pathname}?${order}`))).toMatch(/^HTTP\/1\.1 20\d /);
    const { body } = await api.call('GET', `/v1/conversions?order_id=${encodeURIComponent('Größe-2')}`, {
      key: shop.keys.operator,
    });
    expect(body.data).toHaveLength(1);
  });

  describe('of a POST', () => {
    const post = (name: string, body: string, length = Buffer.byteLength(body)) =>
      sendBytes(`/postback?key=${shop.keys.advertiser}&currency=EUR&order_id=Größe-${name}`, {
        method: 'POST',
        rest: `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${length}\r\n\r\n${body}`,
      });
    const find = async (name: string) =>
      (
        await api.call('GET', `/v1/conversions?order_id=${encodeURIComponent(`Größe-${name}`)}`, {
          key: shop.keys.operator,
        })
      ).body.data as Record<string, unknown>[];

    test.each([
      ['with a body', 'body', 'amount=2.00'],
      ['with a body of many packets', 'long', `amount=2.00&note=${'x'.repeat(50_000)}`],
    ])('is read %s', async (_, name, body) => {
      expect(await post(name, body)).toMatch(/^HTTP\/1\.1 200 /);
      expect(await find(name)).toMatchObject([{ amount: { amount: '2.00', currency: 'EUR' } }]);
    });

    test('is refused when more comes than it says, and the answer says what to do', async () => {
      expect(await post('more', 'amount=2.00', 5)).toMatch(/^HTTP\/1\.1 400 [\s\S]*percent-encode/);
      expect(await find('more')).toEqual([]);
    });

    test('is in the log of calls when it is refused', async () => {
      expect(await post('refused', 'amount=much')).toMatch(/^HTTP\/1\.1 422 /);
      const { body } = await api.call('GET', '/v1/postback-calls?outcome=rejected&limit=1', {
        key: shop.keys.operator,
      });
      expect(body.data).toMatchObject([
        { status: 422, via: 'postback', params: { order_id: 'Größe-refused' } },
      ]);
    });
  });

  test('is refused when its bytes are not UTF-8, and stands in the log of calls', async () => {
    expect(await call(Buffer.from('Gr\xf6\xdfe', 'latin1'))).toMatch(/^HTTP\/1\.1 422 [\s\S]*order_id/);
    const { body } = await api.call('GET', '/v1/postback-calls?outcome=rejected&limit=1', {
      key: shop.keys.operator,
    });
    expect(body.data).toMatchObject([{ outcome: 'rejected', status: 422, via: 'postback' }]);
  });
});

describe('a compressed body', () => {
  const order = (order_id: string) =>
    Buffer.from(JSON.stringify({ order_id, amount: '1.00', currency: 'EUR' }));
  const post = (body: Buffer, encoding: string) =>
    send('POST', '/v1/conversions', {
      body,
      headers: {
        ...bearer(shop.keys.advertiser),
        'content-type': 'application/json',
        'content-encoding': encoding,
      },
    });

  test.each([
    ['gzip', gzipSync],
    ['GZip', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['identity', (body: Buffer) => body],
    // What shops write there by mistake.
    ['UTF-8', (body: Buffer) => body],
    ['', (body: Buffer) => body],
  ])('in %s is read', async (encoding, encode) => {
    const { status } = await post(encode(order(`encoded-${encoding}`)), encoding);
    expect(status).toBe(202);
  });

  test('is no body: a report in the URL is read whatever the header says', async () => {
    for (const encoding of ['gzip', 'aws-chunked', 'UTF-8']) {
      const query = new URLSearchParams({ order_id: `none-${encoding}`, amount: '1', currency: 'EUR' });
      const { status } = await send('GET', `/postback?key=${shop.keys.advertiser}&${query}`, {
        headers: { 'content-encoding': encoding },
      });
      expect([encoding, status]).toEqual([encoding, 200]);
    }
  });

  test('of another kind, or of several, is 415 and says which are read', async () => {
    for (const encoding of ['compress', 'gzip, gzip', 'zstd', 'constructor']) {
      const { status, headers } = await post(gzipSync(order('x')), encoding);
      expect([encoding, status, headers['accept-encoding']]).toEqual([
        encoding,
        415,
        'gzip, x-gzip, deflate, br',
      ]);
    }
  });

  test('that is damaged or cut is 400', async () => {
    const whole = gzipSync(order('damaged'));
    for (const body of [whole.subarray(0, -9), Buffer.from('plain')]) {
      expect((await post(body, 'gzip')).status).toBe(400);
    }
  });

  test('that unpacks to more than its route takes is 413, however small it is', {
    tags: ['attack'],
  }, async () => {
    const flood = Buffer.alloc(60_000_000, 0x20);
    const bombs = [
      gzipSync(flood, { level: 9 }),
      brotliCompressSync(flood, { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } }),
    ];
    expect(bombs.map(({ length }) => length < 65_536)).toEqual([true, true]);
    const before = process.memoryUsage().rss;
    for (const [i, bomb] of bombs.entries()) {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => post(bomb, i === 0 ? 'gzip' : 'br')),
      );
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([413]));
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(400_000_000);
  });
});

describe('an answer', () => {
  const gzip = { 'accept-encoding': 'gzip, deflate, br' };

  test('is compressed where that is worth it, and is the same', async () => {
    const plain = await send('GET', '/openapi.json');
    const packed = await send('GET', '/openapi.json', { headers: gzip });
    expect([packed.headers['content-encoding'], packed.headers.vary]).toEqual(['gzip', 'accept-encoding']);
    expect(packed.bytes.length * 4).toBeLessThan(plain.bytes.length);
    expect(gunzipSync(packed.bytes).equals(plain.bytes)).toBe(true);
    expect([plain.headers['content-encoding'], plain.headers.vary]).toEqual([undefined, 'accept-encoding']);
    const report = '/v1/reports?from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&format=arrow';
    const file = await send('GET', report, { headers: { ...gzip, ...bearer(shop.keys.operator) } });
    expect([file.status, file.headers['content-encoding']]).toEqual([200, 'gzip']);
    expect(gunzipSync(file.bytes).readInt32LE(0)).toBe(-1);
  });

  test.each(['gzip;q=0', 'identity, gzip;q=0.0', 'br', 'identity', '', '*;q=0, identity'])(
    'is not for Accept-Encoding: %s',
    async (accepted) => {
      const { headers } = await send('GET', '/openapi.json', { headers: { 'accept-encoding': accepted } });
      expect(headers['content-encoding']).toBeUndefined();
    },
  );

  test('that is short, or an event, or already packed, is sent as it is', async () => {
    const key = bearer(shop.keys.operator);
    for (const path of [
      '/v1/me',
      '/healthz',
      '/v1/reports?from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&format=parquet',
    ]) {
      const { status, headers } = await send('GET', path, { headers: { ...gzip, ...key } });
      expect([path, status, headers['content-encoding']]).toEqual([path, 200, undefined]);
    }
    const stream = await api.call('GET', '/v1/freshness/stream', { headers: { ...gzip, ...key } });
    expect([stream.status, stream.headers.get('content-encoding')]).toEqual([200, null]);
  });

  test('to the cookie of the portal is never compressed: its length would tell of what is secret in it', {
    tags: ['attack'],
  }, async () => {
    const { headers: session } = await signedIn(api, { role: 'operator', programId: shop.programId });
    for (let i = 0; i < 12; i++) {
      const json = {
        campaign_id: `cmp_${shop.campaignId}`,
        affiliate_id: `aff_${shop.affiliateId}`,
        landing_url: 'https://shop.example/',
      };
      await api.call('POST', '/v1/links', { key: shop.keys.operator, json });
    }
    const path = '/v1/links';
    const byKey = await send('GET', path, { headers: { ...gzip, ...bearer(shop.keys.operator) } });
    const byCookie = await send('GET', path, { headers: { ...gzip, ...session } });
    expect([byKey.status, byKey.headers['content-encoding']]).toEqual([200, 'gzip']);
    expect([byCookie.status, byCookie.headers['content-encoding']]).toEqual([200, undefined]);
    expect(gunzipSync(byKey.bytes).equals(byCookie.bytes)).toBe(true);
  });

  test('of GET is there for HEAD too, with the same status and no body', async () => {
    const noHead = new Set(['postback', 'pixel', 'streamFreshness']);
    const differing: string[] = [];
    for (const operation of document.operations.filter(({ method }) => method === 'GET')) {
      if (noHead.has(operation.operationId)) continue;
      const headers = bearer(keyOf(operation));
      const [get, head] = [
        await send('GET', pathOf(operation), { headers }),
        await send('HEAD', pathOf(operation), { headers }),
      ];
      if (get.status !== head.status || head.bytes.length > 0)
        differing.push(`${operation.path} ${get.status} ${head.status}`);
    }
    expect(differing).toEqual([]);
  });
});

describe('a method that a path does not have', () => {
  test('is 405, and Allow names those that the path has, for every path and method', async () => {
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY', 'PROPFIND'];
    const paths = new Set(document.operations.map(({ path }) => path));
    const wrong: string[] = [];
    for (const path of paths) {
      const operations = document.operations.filter((one) => one.path === path);
      const [first] = operations;
      const has = new Set(operations.map(({ method }) => method));
      if (has.has('GET') && !['/postback', '/pixel'].includes(path)) has.add('HEAD');
      const allow = [...has].sort().join(', ');
      for (const method of methods.filter((one) => !has.has(one))) {
        const { status, headers } = await send(method, first ? pathOf(first) : path, {
          headers: bearer(shop.keys.operator),
        });
        if (status !== 405 || headers.allow !== allow)
          wrong.push(`${method} ${path} ${status} ${headers.allow}; ${allow}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});
