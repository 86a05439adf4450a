import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { metricsToken } from '../../core/service/metrics-access.ts';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';
import { readDocument, sampleOf } from '../../test/support/openapi.ts';
import { PROBLEMS } from './problems.ts';

let api: TestApi;
let shop: Tenant;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
});
afterAll(async () => {
  await api?.stop();
});

/** Sends bytes as they are and returns everything that comes back. */
function sendRaw(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    let answer = '';
    socket.setEncoding('utf8').on('data', (part) => {
      answer += part;
    });
    socket.on('close', () => resolve(answer)).on('error', reject);
  });
}

describe('requests that are not understood', () => {
  const json = { 'content-type': 'application/json' };

  test.each([
    ['JSON that does not parse', '{"order_id":', json, 400, 'malformed_body'],
    ['invalid UTF-8', Buffer.from('{"order_id":"\xff"}', 'latin1'), json, 400, 'malformed_body'],
    ['a prototype', '{"__proto__":{"x":1}}', json, 400, 'malformed_body'],
    ['deep JSON', '['.repeat(30_000), json, 400, 'malformed_body'],
    [
      'deep JSON that is whole',
      `{"order_id":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
      json,
      400,
      'malformed_body',
    ],
    [
      'a member twice',
      '{"order_id":"1","amount":"1","amount":"9","currency":"EUR"}',
      json,
      400,
      'malformed_body',
    ],
    ['no body', '', json, 422, 'invalid_input'],
    ['a list', '[]', json, 422, 'invalid_input'],
    ['a body over the limit', `{"order_id":"${'x'.repeat(65_536)}"}`, json, 413, 'body_too_large'],
    ['another content type', 'a=1', { 'content-type': 'text/plain' }, 415, 'unsupported_media_type'],
    ['a form', 'a=1', { 'content-type': 'application/x-www-form-urlencoded' }, 415, 'unsupported_media_type'],
  ])('%s', async (_name, raw, headers, status, code) => {
    const answer = await api.call('POST', '/v1/conversions', { key: shop.keys.advertiser, raw, headers });
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(answer.body).toMatchObject({
      type: `urn:problem-type:afflux:${code}`,
      status,
      title: expect.any(String),
      detail: expect.any(String),
      request_id: answer.headers.get('x-request-id'),
    });
  });

  test('unknown members, for every operation that takes JSON', async () => {
    const document = readDocument((await api.call('GET', '/openapi.json')).body);
    const taking = document.operations.filter(
      ({ body, bodyType }) => body && bodyType === 'application/json',
    );
    const taken: string[] = [];
    for (const operation of taking) {
      const path = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => {
        const parameter = operation.parameters.find((one) => one.in === 'path' && one.name === name);
        return String(sampleOf(parameter?.schema ?? {}, document));
      });
      const right = sampleOf(operation.body ?? {}, document) as object;
      // What would be worth having: another program, more rights, money from nowhere.
      const json = { ...right, is_admin: true, balance_minor: 1_000_000 };
      const key = operation.roles.includes('operator')
        ? api.operatorKey
        : shop.keys[operation.roles[0] as 'affiliate'];
      const { status, body } = await api.call(operation.method, path, { ...(key && { key }), json });
      const fields = ((body.errors ?? []) as { field: string }[]).map(({ field }) => field);
      const isRefused = status === 422 && fields.includes('is_admin') && fields.includes('balance_minor');
      if (!isRefused) taken.push(`${operation.method} ${operation.path} ${status} ${fields}`);
    }
    expect(taking.length).toBeGreaterThan(30);
    // Trackers add parameters of their own: they are listed in the answer and ignored.
    expect(taken.filter((line) => !line.includes('/postback '))).toEqual([]);
  });

  test.each([
    ['code', 'раypal'],
    ['code', 'ab\u200b'],
    ['code', 'ａｂｃ'],
    ['code', '../a'],
    ['code', 'a\u0301'],
    ['ref_code', 'аdmin'],
    ['ref_code', 'a b'],
    ['name', 'gro\u202ess'],
    ['name', 'a\u2066b'],
  ])('a %s of letters that look like others, or turn what is around them: %j', async (field, value) => {
    const path = field === 'code' ? '/v1/links' : '/v1/affiliates';
    const link = {
      campaign_id: `cmp_${shop.campaignId}`,
      affiliate_id: `aff_${shop.affiliateId}`,
      landing_url: 'https://shop.example/',
    };
    const affiliate = { ref_code: 'slug', name: 'Ann', email: 'ann@example.com' };
    const json = { ...(field === 'code' ? link : affiliate), [field]: value };
    const { status, body } = await api.call('POST', path, { key: shop.keys.operator, json });
    expect([status, body.field]).toEqual([422, field]);
  });

  test('an unknown path is 404; a wrong method is 405 and says which are right', async () => {
    const unknown = await api.call('GET', '/v1/nothing', { key: api.operatorKey });
    expect([unknown.status, unknown.body.code]).toEqual([404, 'route_not_found']);
    const wrong = await api.call('DELETE', '/v1/programs/prg_1', { key: api.operatorKey });
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET, HEAD, PATCH']);
    const damaged = await api.call('GET', '/v1/programs/%ff', { key: api.operatorKey });
    expect([damaged.status, damaged.body.code]).toEqual([400, 'malformed_request']);
  });

  test('a HEAD request to the postback records nothing', async () => {
    const path = `/postback?key=${shop.keys.advertiser}&order_id=head&amount=1&currency=EUR`;
    expect((await api.call('HEAD', path)).status).toBe(405);
    expect((await api.call('GET', path)).body.status).toBe('accepted');
  });

  test.each([
    'prg_0',
    'prg_01',
    '1',
    'cmp_1',
    'prg_-1',
    'prg_2147483648',
    'prg_1e3',
    'prg_１',
    'x'.repeat(90),
  ])('%s is no id of a program', async (id) => {
    const answer = await api.call('GET', `/v1/programs/${encodeURIComponent(id)}`, { key: api.operatorKey });
    expect([answer.status, answer.body.field]).toEqual([422, 'id']);
  });

  test('bytes that are not HTTP, and headers that are too large', async () => {
    expect(await sendRaw('NONSENSE\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 [\s\S]*"code":"malformed_request"/);
    const large = await sendRaw(`GET /postback?order_id=${'x'.repeat(65_536)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(large).toMatch(/^HTTP\/1\.1 431 [\s\S]*"code":"headers_too_large"/);
    expect((await api.call('GET', '/healthz')).status).toBe(200);
  });
});

describe('answers', () => {
  test('carry security headers and name no server', async () => {
    for (const path of ['/v1/me', '/healthz', '/nothing', '/openapi.json']) {
      const { headers } = await api.call('GET', path);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'/);
      expect(headers.get('server')).toBeNull();
      expect(headers.get('x-powered-by')).toBeNull();
    }
  });

  test('keep the id and the trace of their caller, in the answer, the log and the log of calls', async () => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const { advertiser } = shop.keys;
    const json = { order_id: 'traced', amount: '10.00', currency: 'EUR' };
    const headers = { 'x-request-id': 'shop-7', traceparent: `00-${traceId}-00f067aa0ba902b7-00` };
    const answer = await api.call('POST', '/v1/conversions', { key: advertiser, json, headers });
    expect(answer.headers.get('x-request-id')).toBe('shop-7');
    expect(answer.headers.get('traceresponse')).toMatch(
      new RegExp(`^00-${traceId}-(?!00f067aa0ba902b7)[0-9a-f]{16}-00$`),
    );
    const refused = await api.call('POST', '/v1/conversions', { key: advertiser, json: {}, headers });
    expect([refused.status, refused.body.request_id]).toEqual([422, 'shop-7']);
    const lines = await waitFor(
      () => {
        const found = api.logLines.filter((line) => line.includes('"request_id":"shop-7"'));
        return found.length >= 2 && found.map((line) => JSON.parse(line) as Record<string, unknown>);
      },
      { deadlineMs: 5_000, what: 'the lines of both requests' },
    );
    for (const line of lines) expect(line).toMatchObject({ trace_id: traceId, route: '/v1/conversions' });
    const calls = await api.ledger<{ status: number }[]>`
      select status from postback_calls where request_id = 'shop-7' order by id`;
    expect(calls.map(({ status }) => status)).toEqual([202, 422]);
  });

  test.each(['a b', 'x'.repeat(101), 'first, second', '\u00e9'])(
    'with an id that cannot be taken (%j) get another one',
    async (id) => {
      const head = `GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: ${id}\r\ntraceparent: 00-${id}-01\r\n`;
      const answer = await sendRaw(`${head}Connection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 200 /);
      expect(answer).toMatch(/^x-request-id: [0-9a-f]{8}-[0-9a-f-]{27}\r$/im);
      expect(answer).not.toMatch(/^traceresponse:/im);
    },
  );

  test('are logged without keys, query strings, customers and ids', async () => {
    const { advertiser } = shop.keys;
    const secrets = [advertiser, 'order-in-log', 'jane@example.com', 'click-in-log'];
    const query = `key=${advertiser}&order_id=order-in-log&amount=1&currency=EUR&click_id=click-in-log`;
    const { headers } = await api.call('GET', `/postback?${query}&customer_email=jane@example.com`);
    await api.call('GET', `/postback?${query}&amount=2`);
    await api.call('POST', '/v1/conversions', { key: advertiser, json: { order_id: 'order-in-log' } });
    const id = headers.get('x-request-id') ?? '';
    const line = await waitFor(() => api.logLines.find((text) => text.includes(id)), {
      deadlineMs: 5_000,
      what: 'the line of the request',
    });
    expect(JSON.parse(line)).toMatchObject({
      route: '/postback',
      method: 'GET',
      status: 200,
      request_id: id,
    });
    const log = api.logLines.join('');
    for (const secret of secrets) expect(log.includes(secret)).toBe(false);
  });

  test('a network in between cannot lead a browser back to http, nor a page to another base or form target', {
    tags: ['attack'],
  }, async () => {
    for (const path of ['/v1/me', '/docs', '/portal/', '/healthz']) {
      const { headers } = await api.call('GET', path);
      expect([path, headers.get('strict-transport-security')]).toEqual([path, 'max-age=31536000']);
      expect(headers.get('content-security-policy')).toMatch(
        /base-uri 'none';.*form-action '(none|self)'|form-action 'self'; base-uri 'none'/,
      );
    }
  });

  test('a stranger, a key and a wrong token read no metrics', { tags: ['attack'] }, async () => {
    for (const key of [undefined, api.operatorKey, 'x', metricsToken(createSecretBox([randomBytes(32)]))]) {
      const answer = await api.call('GET', '/metrics', key === undefined ? {} : { key });
      expect([answer.status, answer.text.includes('afflux_api')]).toEqual([401, false]);
    }
    expect((await api.call('GET', '/healthz')).status).toBe(200);
  });

  test('are counted by route, status and problem', async () => {
    await api.call('GET', '/v1/me');
    const token = metricsToken(api.secretBox);
    const { text } = await api.call('GET', '/metrics', { key: token });
    expect(text).toMatch(
      /afflux_api_request_duration_seconds_count\{method="GET",route="\/v1\/me",status="401"\} [1-9]/,
    );
    expect(text).toMatch(/afflux_api_problems_total\{code="unauthorized"\} [1-9]/);
    expect(text).toMatch(/afflux_api_problems_total\{code="internal"\} 0/);
  });
});

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly security?: readonly object[];
  readonly 'x-roles'?: readonly string[];
  readonly parameters?: readonly { name: string; in: string }[];
  readonly responses: Readonly<Record<string, { description: string; content?: Record<string, object> }>>;
}

describe('the OpenAPI document', () => {
  test('describes every route, each once, with the problems it answers', async () => {
    const { body } = await api.call('GET', '/openapi.json');
    expect(body.openapi).toBe('3.1.0');
    const paths = body.paths as Record<string, Record<string, Operation>>;
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    );
    expect(operations.map(({ path, method }) => `${method} ${path}`)).toMatchSnapshot();
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, operation } of operations) {
      expect(operation.summary).toBeTruthy();
      const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
      const statuses = Object.keys(operation.responses).map(Number);
      expect(statuses.filter((status) => status < 300)).not.toHaveLength(0);
      const closed = operation.security?.length !== 0;
      expect(closed).toBe((operation['x-roles'] ?? []).length > 0);
      if (closed) expect(statuses).toContain(401);
      for (const [status, { content }] of Object.entries(operation.responses)) {
        if (Number(status) < 400 || path === '/readyz') continue;
        expect(Object.keys(content ?? {})).toEqual(['application/problem+json']);
        expect(Object.values(PROBLEMS).map((problem) => problem.status)).toContain(Number(status));
      }
    }
  });

  test('has every route that the pages name', async () => {
    const { body } = await api.call('GET', '/openapi.json');
    const paths = body.paths as Record<string, Record<string, Operation>>;
    const pages = readdirSync(fromProject('docs')).filter((name) => name.endsWith('.md'));
    const named = pages.flatMap((name) => {
      const text = readFileSync(fromProject(`docs/${name}`), 'utf8');
      const routes = text.matchAll(/`(GET|POST|PUT|PATCH|DELETE) (\/v1\/[\w{}/-]+)/g);
      return [...routes].map(([, method = '', path = '']) => ({ name, method: method.toLowerCase(), path }));
    });
    expect(named.length).toBeGreaterThan(20);
    const wrong = named.filter(({ method, path }) => !paths[path]?.[method]);
    expect(wrong).toEqual([]);
  });

  test('resolves in itself and names nothing that is not used', async () => {
    const { text, body } = await api.call('GET', '/openapi.json');
    const { schemas } = body.components as { schemas: Record<string, unknown> };
    const used = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map((match) => match[1]);
    expect([...new Set(used)].sort()).toEqual(Object.keys(schemas).sort());
  });

  test('asks for amounts as text and ids with their prefix', async () => {
    const { body } = await api.call('GET', '/openapi.json');
    const paths = body.paths as Record<string, Record<string, unknown>>;
    expect(paths['/v1/conversions']?.post).toMatchObject({
      requestBody: {
        content: {
          'application/json': {
            schema: {
              required: ['order_id'],
              additionalProperties: false,
              properties: { amount: { type: 'string' }, program_id: { pattern: '^prg_[1-9][0-9]*$' } },
            },
          },
        },
      },
    });
  });
});

test('a stop lets the request under way finish, and waits for no connection kept alive', async () => {
  const own = await startTestApi();
  const tenant = await own.tenant('shop');
  const body = JSON.stringify({ order_id: 'last', amount: '1', currency: 'EUR' });
  const agent = new Agent({ keepAlive: true });
  const answered = new Promise<number | undefined>((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${tenant.keys.advertiser}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    };
    const request = httpRequest(`${own.url}/v1/conversions`, { method: 'POST', headers, agent });
    request.on('response', (response) => resolve(response.resume().statusCode)).on('error', reject);
    request.write(body.slice(0, 5), () => {
      // The server has the head of this request once it has answered one that was made later.
      void own.call('GET', '/healthz').then(() => {
        closed = own.app.close();
        request.end(body.slice(5));
      });
    });
  });
  let closed: Promise<void> | undefined;
  expect(await answered).toBe(202);
  const startedAt = Date.now();
  await closed;
  expect(Date.now() - startedAt).toBeLessThan(1_000);
  agent.destroy();
  await own.stop();
});
