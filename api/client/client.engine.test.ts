import createClient from 'openapi-fetch';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { startTestNats, type TestNats } from '../../test/support/engines.ts';
import { type Operation, readDocument, sampleOf } from '../../test/support/openapi.ts';
import { generateClientTypes } from './generate.ts';
import type { paths } from './types.ts';

let api: TestApi;
let nats: TestNats;
let tenant: Tenant;

beforeAll(async () => {
  nats = await startTestNats();
  api = await startTestApi(async (url) => url, {}, nats.url);
  tenant = await api.tenant('client');
});
afterAll(async () => {
  await api?.stop();
  await nats?.stop();
});

function clientOf(key: string) {
  return createClient<paths>({ baseUrl: api.url, headers: { authorization: `Bearer ${key}` } });
}

test('the committed types are those of the document', async () => {
  const { body } = await api.call('GET', '/openapi.json');
  await expect(generateClientTypes(body)).toMatchFileSnapshot('types.ts');
});

test('a partner, a shop and an operator work through the generated client alone', async () => {
  const { keys, campaignId, affiliateId } = tenant;
  const [partner, shop, operator] = [
    clientOf(keys.affiliate),
    clientOf(keys.advertiser),
    clientOf(keys.operator),
  ];
  const link = await partner.POST('/v1/links', {
    params: { header: { 'idempotency-key': 'link-1' } },
    body: { campaign_id: `cmp_${campaignId}`, landing_url: 'https://shop.example/?c={click_id}' },
  });
  expect(link.data?.url).toMatch(/^https:\/\/go\.example\/c\//);
  const order = await shop.POST('/v1/conversions', {
    body: { order_id: 'c-1', amount: '12.34', currency: 'EUR' },
  });
  expect(order.data?.conversion.amount).toEqual({ amount: '12.34', currency: 'EUR' });
  const wrong = await shop.POST('/v1/conversions', {
    body: { order_id: 'c-1', amount: '1', currency: 'EUR' },
  });
  expect([wrong.data, wrong.error?.code, wrong.response.status]).toEqual([undefined, 'conflict', 409]);
  const path = { params: { path: { id: `aff_${affiliateId}` } } };
  const { data: before, response } = await operator.GET('/v1/affiliates/{id}', path);
  const changed = await operator.PATCH('/v1/affiliates/{id}', {
    params: { ...path.params, header: { 'if-match': response.headers.get('etag') ?? '' } },
    body: { name: 'Renamed' },
  });
  expect([before?.name, changed.data?.name]).toEqual(['client', 'Renamed']);
  const balance = await partner.GET('/v1/affiliates/{id}/balance', path);
  expect(balance.data?.available.amount).toBe('0.00');
  const report = await partner.GET('/v1/reports', {
    params: { query: { from: '2026-11-01T00:00:00Z', to: '2026-12-01T00:00:00Z', group_by: 'day' } },
  });
  expect(report.data?.rows).toEqual([]);
});

describe('examples', () => {
  /** Their order: what others need is made first, what ends things comes last. */
  function orderOf({ method, path }: Operation): number {
    if (method === 'DELETE' || /terminate|suspend|rotate/.test(path)) return 3;
    return path.includes('{') ? 2 : 1;
  }

  /** Statuses by which an example was understood, though there may be nothing to do it to. */
  const UNDERSTOOD = new Set([403, 404, 409]);

  test('of every operation that has a body are understood', async () => {
    const document = readDocument((await api.call('GET', '/openapi.json')).body);
    const posting = document.operations
      .filter(({ body, roles }) => body && roles.length > 0)
      .toSorted((a, b) => orderOf(a) - orderOf(b));
    expect(posting.length).toBeGreaterThan(25);
    const refused: string[] = [];
    for (const operation of posting) {
      const path = operation.path.replace(/\{(\w+)\}/g, (_whole, name) => {
        const parameter = operation.parameters.find((one) => one.name === name);
        return String(sampleOf(parameter?.schema ?? {}, document));
      });
      const sample = sampleOf(operation.body ?? {}, document);
      const isCsv = operation.bodyType === 'text/csv';
      const body = isCsv
        ? { raw: String(sample), headers: { 'content-type': 'text/csv' } }
        : { json: sample };
      const query = new URLSearchParams(
        operation.parameters
          .filter((parameter) => parameter.in === 'query' && parameter.required)
          .map(({ name, schema }): [string, string] => [name, String(sampleOf(schema, document))]),
      );
      const asOperator = operation.roles.includes('operator') && operation.tags[0] !== 'links';
      const key = asOperator ? tenant.keys.operator : tenant.keys[operation.roles.at(-1) as 'affiliate'];
      const answer = await api.call(operation.method, `${path}?${query}`, { key, ...body });
      if (answer.status < 300 || UNDERSTOOD.has(answer.status)) continue;
      refused.push(`${operation.method} ${path} ${JSON.stringify(sample)}: ${answer.text}`);
    }
    expect(refused).toEqual([]);
  });
});

test('the pages of the document are served from here, and let nothing else in', async () => {
  const page = await api.call('GET', '/docs');
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
  const sources = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? '');
  expect(sources).toEqual(['/docs/swagger-ui.css', '/docs/swagger-ui-bundle.js', '/docs/start.js']);
  for (const source of sources) {
    const { status, text } = await api.call('GET', source);
    expect([source, status, text.length > 100]).toEqual([source, 200, true]);
  }
  expect(page.headers.get('content-security-policy')).toMatch(/script-src 'self';/);
});
