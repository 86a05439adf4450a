import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { SOURCE_KINDS } from './kinds/index.ts';

/** What the portal connects a shop with: kinds, their examples and the snippets. */

let api: TestApi;
let shop: Tenant;
beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
});
afterAll(async () => {
  await api?.stop();
});

interface Kind {
  readonly kind: string;
  readonly secret: string;
  readonly mapping: object;
  readonly example: object;
}

const key = () => shop.keys.advertiser;
const kinds = async () =>
  (await api.call('GET', '/v1/source-kinds', { key: key() })).body.data as readonly Kind[];

test('each kind has an example that its source reads whole, by its own mapping and by the same as a mapping of the source', async () => {
  const all = await kinds();
  expect(all.map(({ kind }) => kind)).toEqual(SOURCE_KINDS);
  for (const { kind, mapping, example } of all) {
    const made = await api.call('POST', '/v1/sources', { key: key(), json: { kind } });
    const { id } = made.body.source as { id: string };
    for (const given of [undefined, mapping]) {
      const json = { request: example, ...(given && { mapping: given }) };
      const tried = await api.call('POST', `/v1/sources/${id}/try`, { key: key(), json });
      expect([kind, tried.status, tried.body], tried.text).toEqual([
        kind,
        200,
        {
          reports: [
            {
              params: expect.objectContaining({ click_id: 'an-example-of-click-id', currency: 'EUR' }),
              faults: [],
            },
          ],
          // Of Stripe also the payment, beside the order that it is of.
          names: expect.any(Array),
          ignored: null,
          faults: [],
          notes: [],
        },
      ]);
    }
  }
  expect(await api.ledger`select from conversions where program_id = ${shop.programId}`).toEqual([]);
  expect(await api.ledger`select from postback_calls where program_id = ${shop.programId}`).toEqual([]);
});

test('the snippets name this collector, and no other host than those of their documentation', async () => {
  const { data } = (await api.call('GET', '/v1/snippets', { key: key() })).body as {
    data: { name: string; file: string; text: string }[];
  };
  expect(data.map(({ name }) => name)).toEqual([
    'page',
    'tag_manager',
    'shopify_theme',
    'shopify_pixel',
    'woocommerce',
  ]);
  for (const { name, text } of data) {
    const hosts = [...text.matchAll(/https?:\/\/[^/'"\s]+/g)].map(([host]) => host);
    expect([name, hosts]).toEqual([
      name,
      { shopify_pixel: [], woocommerce: ['https://opensource.org'] }[name] ?? ['https://go.example'],
    ]);
  }
});

test('kinds and snippets are for operators and advertisers', async () => {
  for (const path of ['/v1/source-kinds', '/v1/snippets']) {
    for (const [role, status] of [
      ['operator', 200],
      ['advertiser', 200],
      ['finance', 403],
      ['fraud', 403],
      ['affiliate', 403],
    ] as const)
      expect([path, role, (await api.call('GET', path, { key: shop.keys[role] })).status]).toEqual([
        path,
        role,
        status,
      ]);
    expect((await api.call('GET', path)).status).toBe(401);
  }
});
