import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectOwner } from '../../ledger/postgres/db.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { startTestNats, type TestNats, waitFor } from '../../test/support/engines.ts';
import { waitingForLocks } from '../../test/support/ledger.ts';
import { type Operation, readDocument } from '../../test/support/openapi.ts';
import { fanOut } from '../webhooks/webhook-worker.ts';

/** Every list that has an export, as the document names them: a new one is walked as well. */

let api: TestApi;
let nats: TestNats;
let tenant: Tenant;
let lists: { url: string; list: Operation }[];

type Row = Readonly<Record<string, unknown>> & { readonly id: string };

/** As startTestApi allows. */
const CONCURRENT_EXPORTS = 4;

/** Equal names, so that the identity has to decide between rows. */
const NAMES = ['Bea', 'anna', 'Bea', 'Čapek 100 %'];

beforeAll(async () => {
  nats = await startTestNats();
  api = await startTestApi(async (url) => url, {}, nats.url);
  tenant = await api.tenant('mine');
  const { operator, advertiser, finance } = tenant.keys;
  const post = async (path: string, json: object) => {
    const answer = await api.call('POST', path, { key: operator, json });
    expect([path, answer.status < 300, answer.text]).toEqual([path, true, answer.text]);
    return answer.body as Record<string, unknown>;
  };
  const webhook = await post('/v1/webhooks', { url: 'https://example.com/' });
  for (const [i, name] of NAMES.entries()) {
    const affiliate = await post('/v1/affiliates', { name, email: `a${i}@example.com`, ref_code: `ref${i}` });
    const affiliate_id = String(affiliate.id);
    const campaign_id = `cmp_${tenant.campaignId}`;
    await post('/v1/campaigns', { name, landing_url: 'https://shop.example/' });
    await post('/v1/links', { campaign_id, affiliate_id, landing_url: `https://shop.example/${i % 2}` });
    await post('/v1/coupons', { campaign_id, affiliate_id, code: `CODE${i}` });
    await post('/v1/cases', { title: name });
    await post('/v1/users', { email: `u${i}@example.com`, name, role: 'finance' });
    await post('/v1/api-keys', { name, role: 'advertiser' });
    await post('/v1/terms', { affiliate_id, rate_bps: 500 + (i % 2), commission_type: 'percent' });
    await decideConversion(api.ledger, {
      tenant,
      orderId: `order-${i}`,
      affiliateId: i % 2 === 0 ? tenant.affiliateId : tenant.otherAffiliateId,
      outcome: 'attributed',
    });
    await api.call('GET', `/postback?key=${advertiser}&order_id=late-${i}&amount=1&currency=EUR`);
    await api.call('POST', '/v1/imports?kind=coupons', {
      key: operator,
      raw: 'code,affiliate\n',
      headers: { 'content-type': 'text/csv' },
    });
  }
  await fanOut(api);
  const rows = await api.ledger<{ id: bigint }[]>`select id from conversions where state = 'attributed'`;
  for (const { id } of rows) await api.call('POST', `/v1/conversions/cnv_${id}/confirm`, { key: operator });
  await api.runPayouts(finance);
  const { operations } = readDocument((await api.call('GET', '/openapi.json')).body);
  lists = operations
    .filter(({ path }) => operations.some((other) => other.path === `${path}.csv`))
    .map((list) => ({ url: list.path.replace('{id}', String((webhook.webhook as Row).id)), list }));
});
afterAll(async () => {
  await api?.stop();
  await nats?.stop();
});

/** A key that reads the list: of every program, where it is not of one. */
function keyFor({ path }: Operation): string {
  return path === '/v1/dead-letters' ? api.operatorKey : tenant.keys.operator;
}

function sortsOf({ parameters }: Operation): string[] {
  return (parameters.find(({ name }) => name === 'sort')?.schema.enum ?? []) as string[];
}

async function readAll(url: string, key: string, query: string, limit: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page = await api.call('GET', `${url}?${query}&limit=${limit}${cursor && `&cursor=${cursor}`}`, {
      key,
    });
    expect([url, query, page.status, page.text.slice(0, 300)]).toEqual([url, query, 200, expect.any(String)]);
    rows.push(...(page.body.data as Row[]));
    cursor = page.body.next_cursor as string | null;
  }
  return rows;
}

test('lists: pages of one row are the whole list, in every sort and its reverse', async () => {
  expect(lists.length).toBeGreaterThanOrEqual(14);
  for (const { url, list } of lists) {
    const key = keyFor(list);
    const whole = await readAll(url, key, '', 1_000);
    for (const sort of sortsOf(list)) {
      const sorted = await readAll(url, key, `sort=${sort}`, 1_000);
      const single = await readAll(url, key, `sort=${sort}`, 1);
      expect([url, sort, single.map(({ id }) => id)]).toEqual([url, sort, sorted.map(({ id }) => id)]);
      expect(new Set(single.map(({ id }) => id))).toEqual(new Set(whole.map(({ id }) => id)));
      const other = sort.startsWith('-') ? sort.slice(1) : `-${sort}`;
      const reverse = await readAll(url, key, `sort=${other}`, 2);
      expect([url, sort, reverse.map(({ id }) => id).reverse()]).toEqual([
        url,
        sort,
        sorted.map(({ id }) => id),
      ]);
    }
  }
});

test('a sort by name ignores case, and the identity decides between equal names', async () => {
  const rows = await readAll('/v1/campaigns', tenant.keys.operator, 'sort=name', 2);
  const names = rows.map(({ name }) => name).filter((name) => NAMES.includes(String(name)));
  expect(names).toEqual(['anna', 'Bea', 'Bea', 'Čapek 100 %']);
});

test('a row that changes between two pages of its sort comes neither twice nor never', async () => {
  const { operator } = tenant.keys;
  const first = await api.call('GET', '/v1/campaigns?sort=name&limit=2', { key: operator });
  const [, last] = first.body.data as Row[];
  const { headers } = await api.call('GET', `/v1/campaigns/${last?.id}`, { key: operator });
  const name = String(last?.name);
  const rename = async (to: string, etag: string) =>
    await api.call('PATCH', `/v1/campaigns/${last?.id}`, {
      key: operator,
      json: { name: to },
      headers: { 'if-match': etag },
    });
  const renamed = await rename('zzz', headers.get('etag') ?? '');
  expect(renamed.status).toBe(200);
  const second = await api.call(
    'GET',
    `/v1/campaigns?sort=name&limit=1&cursor=${String(first.body.next_cursor)}`,
    { key: operator },
  );
  const [next] = second.body.data as Row[];
  expect(String(next?.name).toLowerCase() >= name.toLowerCase()).toBe(true);
  expect(next?.id).not.toBe(last?.id);
  await rename(name, renamed.headers.get('etag') ?? '');
});

test('a cursor of another sort, a made-up one and an unknown sort are refused by name', async () => {
  const key = tenant.keys.operator;
  const { body } = await api.call('GET', '/v1/links?sort=code&limit=1', { key });
  const cursor = String(body.next_cursor);
  const changed = Buffer.from(cursor, 'base64url');
  changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1);
  const forged = (text: string) => Buffer.from(text).toString('base64url');
  const refused = [
    `sort=-code&cursor=${cursor}`,
    `cursor=${cursor}`,
    `sort=code&cursor=${changed.toString('base64url')}`,
    `sort=code&cursor=${forged('lnk_1')}`,
    `sort=code&cursor=${forged('lnk_1 code a')}`,
    `cursor=${forged('cmp_1')}`,
  ];
  for (const query of refused) {
    const answer = await api.call('GET', `/v1/links?${query}`, { key });
    expect([query, answer.status, answer.body.field]).toEqual([query, 422, 'cursor']);
  }
  expect((await api.call('GET', '/v1/links?sort=secret', { key })).body.field).toBe('sort');
});

test('names that an advertiser may not see are in no order and no cursor of it', async () => {
  const { advertiser, operator } = tenant.keys;
  const walked: string[] = [];
  for (const { url, list } of lists) {
    for (const sort of sortsOf(list).filter((name) => /^-?affiliate$/.test(name))) {
      const sorted = await api.call('GET', `${url}?sort=${sort}&limit=1`, { key: operator });
      expect([url, sorted.status]).toEqual([url, 200]);
      const cursor = sorted.body.next_cursor;
      if (typeof cursor === 'string') {
        const text = Buffer.from(cursor, 'base64url').toString('latin1');
        expect(text).not.toContain('affiliate');
        walked.push(url);
      }
      for (const path of [url, `${url}.csv`]) {
        const refused = await api.call('GET', `${path}?sort=${sort}`, { key: advertiser });
        expect([path, refused.status, refused.body.code]).toEqual([path, 403, 'forbidden']);
      }
    }
  }
  expect(walked).toContain('/v1/conversions');
});

test('search: whole ids with blanks around them, parts of names in any case, signs of patterns as they are', async () => {
  const key = tenant.keys.operator;
  const found = async (url: string, search: string) =>
    await readAll(url, key, `search=${encodeURIComponent(search)}`, 100);
  const [order] = await found('/v1/conversions', ' order-1 ');
  expect(order?.order_id).toBe('order-1');
  expect((await found('/v1/conversions', String(order?.id))).map(({ id }) => id)).toEqual([order?.id]);
  expect(await found('/v1/conversions', 'order')).toEqual([]);
  expect((await found('/v1/commissions', 'order-1')).length).toBeGreaterThan(0);
  expect((await found('/v1/affiliates', 'BEA')).map(({ name }) => name)).toEqual(['Bea', 'Bea']);
  expect((await found('/v1/affiliates', '100 %')).map(({ name }) => name)).toEqual(['Čapek 100 %']);
  expect(await found('/v1/affiliates', '%%')).toEqual([]);
  expect(await found('/v1/links', '_')).toEqual([]);
  expect(await found('/v1/postback-calls', 'late-2')).toHaveLength(1);
});

test('a range of time is half-open, and filters and search go together', async () => {
  const key = tenant.keys.operator;
  const all = await readAll('/v1/links', key, '', 100);
  const at = String(all[2]?.created_at);
  const before = await readAll('/v1/links', key, `to=${at}`, 100);
  const since = await readAll('/v1/links', key, `from=${at}`, 100);
  expect([...before, ...since].length).toBe(all.length);
  expect(since[0]?.id).toBe(all[2]?.id);
  expect(await readAll('/v1/links', key, 'status=paused&search=shop', 100)).toEqual([]);
});

/** Cells of CSV as it is written here: quotes are doubled within cells. */
function cellsOf(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, bare]) =>
    quoted === undefined ? (bare ?? '') : quoted.replaceAll('""', '"'),
  );
}

test('an export has every row of the list in its order, with names, currencies and times of UTC', async () => {
  for (const { url, list } of lists) {
    const key = keyFor(list);
    const [sort] = sortsOf(list).slice(-1);
    const query = sort ? `sort=${sort}` : '';
    const csv = await api.call('GET', `${url}.csv?${query}`, { key });
    expect([url, csv.status, csv.headers.get('content-type')]).toEqual([url, 200, 'text/csv; charset=utf-8']);
    const [header = '', ...lines] = csv.text.trimEnd().split('\r\n');
    const rows = await readAll(url, key, query, 1_000);
    expect([url, lines.map((line) => cellsOf(line)[0])]).toEqual([url, rows.map(({ id }) => id)]);
    const columns = header.split(',');
    for (const line of lines) expect([url, cellsOf(line).length]).toEqual([url, columns.length]);
  }
  const { text } = await api.call('GET', '/v1/conversions.csv', { key: tenant.keys.operator });
  const [header = '', line = ''] = text.split('\r\n');
  const row = Object.fromEntries(header.split(',').map((name, i) => [name, cellsOf(line)[i]]));
  expect(row).toMatchObject({
    amount_currency: 'EUR',
    affiliate_name: expect.any(String),
    received_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
  });
});

test('an advertiser, who does not see affiliates, has no names of them in an export', async () => {
  const { text } = await api.call('GET', '/v1/conversions.csv', { key: tenant.keys.advertiser });
  expect(text.split('\r\n')[0]).not.toContain('affiliate_name');
});

test('exports of one party at a time are as many as its reports', async () => {
  const owner = await connectOwner({ url: api.stores.books.url, name: 'test-owner' });
  // A party of its own: an answer that was read may be under way for a moment longer.
  const { operator: key } = (await api.tenant('exports')).keys;
  const read = () => api.call('GET', '/v1/campaigns.csv', { key });
  try {
    const allowed = await owner.begin(async (tx) => {
      await tx`lock table campaigns in access exclusive mode`;
      const begun = Array.from({ length: CONCURRENT_EXPORTS }, read);
      await waitFor(async () => (await waitingForLocks(tx, 'campaigns')) === CONCURRENT_EXPORTS, {
        deadlineMs: 5_000,
        what: 'all exports to be under way',
      });
      const refused = await read();
      expect([refused.status, refused.body.code]).toEqual([429, 'rate_limited']);
      return begun;
    });
    for (const answer of await Promise.all(allowed)) expect(answer.status).toBe(200);
    await waitFor(async () => (await read()).status === 200, { deadlineMs: 5_000, what: 'the next export' });
  } finally {
    await owner.end();
  }
});

test.each(['amount', '-amount'])(
  'an export by %s has every row once, also one that moves meanwhile',
  async (sort) => {
    const { programId, keys } = await api.tenant(`snapshot by ${sort}`);
    const owner = await connectOwner({ url: api.stores.books.url, name: 'test-owner' });
    try {
      await owner`
      insert into conversions (program_id, currency, order_id, amount_minor, payload_hash, source, occurred_at)
      select ${programId}, 'EUR', 'row-' || n, n, sha256(n::text::bytea), 'api', now() from generate_series(1, 2500) as n`;
      const direction = sort === 'amount' ? owner`asc` : owner`desc`;
      const rows = await owner<{ id: bigint }[]>`
      select id from conversions where program_id = ${programId} order by amount_minor ${direction}`;
      const { answer } = await owner.begin(async (tx) => {
        // These are read behind each page.
        await tx`lock table partner_reasons in access exclusive mode`;
        const begun = api.call('GET', `/v1/conversions.csv?sort=${sort}`, { key: keys.operator });
        await waitFor(async () => (await waitingForLocks(tx, 'partner_reasons')) === 1, {
          deadlineMs: 5_000,
          what: 'the first page to be read',
        });
        await api.ledger`
        update conversions set amount_minor = 1000000 where program_id = ${programId} and order_id = 'row-1'`;
        return { answer: begun };
      });
      const { text } = await answer;
      const ids = text
        .trimEnd()
        .split('\r\n')
        .slice(1)
        .map((line) => cellsOf(line)[0]);
      expect(ids).toEqual(rows.map(({ id }) => `cnv_${id}`));
    } finally {
      await owner.end();
    }
  },
);
