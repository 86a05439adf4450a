import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';

/** What means the same is the same by every way in, and what no reader sees is refused by name. */

let api: TestApi;
let shop: Tenant;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  key = shop.keys.advertiser;
  await api.call('PUT', `/v1/programs/prg_${shop.programId}/postback-settings`, {
    key: shop.keys.operator,
    json: { allow_pixel: true },
  });
});
afterAll(async () => await api?.stop());

async function importFile(
  kind: string,
  raw: string | Buffer,
  dryRun = false,
): Promise<{ status: number; body: Answer['body']; result?: Record<string, unknown> }> {
  const started = await api.call(
    'POST',
    `/v1/imports?kind=${kind}&program_id=prg_${shop.programId}&dry_run=${dryRun}`,
    { key: shop.keys.operator, raw, headers: { 'content-type': 'text/csv' } },
  );
  if (started.status !== 202) return started;
  const job = await waitFor(
    async () => {
      const { body } = await api.call('GET', `/v1/jobs/${started.body.id}`, { key: shop.keys.operator });
      return body.state === 'running' ? undefined : body;
    },
    { deadlineMs: 10_000, what: 'the result of the import' },
  );
  return { ...started, result: job.result as Record<string, unknown> };
}

type Report = Record<string, string>;

const WAYS: readonly [string, (report: Report) => Promise<{ status: number; field: unknown }>][] = [
  ['api', async (json) => answerOf(await api.call('POST', '/v1/conversions', { key, json }))],
  [
    'batch',
    async (report) => {
      const { body } = await api.call('POST', '/v1/conversions/batch', {
        key,
        json: { conversions: [report] },
      });
      const [item] = body.items as { status: string; problem: { field?: string } | null }[];
      return { status: item?.status === 'rejected' ? 422 : 200, field: item?.problem?.field };
    },
  ],
  [
    'postback',
    async (report) =>
      answerOf(await api.call('GET', `/postback?${new URLSearchParams({ key, ...report }).toString()}`)),
  ],
  [
    'form',
    async (report) =>
      answerOf(await api.call('POST', '/postback', { key, form: new URLSearchParams(report).toString() })),
  ],
  [
    'import',
    async (report) => {
      const csv = `${Object.keys(report).join(',')}\n${Object.values(report)
        .map((cell) => `"${cell}"`)
        .join(',')}\n`;
      const { result } = await importFile('conversions', csv);
      const [refused] = (result?.refused_rows ?? []) as { field: string; message: string }[];
      const isKnown = refused?.message.includes('is recorded already');
      return { status: refused && !isKnown ? 422 : 200, field: refused?.field };
    },
  ],
];

function answerOf({ status, body }: Answer): { status: number; field: unknown } {
  return { status: status === 202 ? 200 : status, field: body.field };
}

async function orders(part: string): Promise<unknown[]> {
  const { programId } = shop;
  return [
    ...(await api.ledger`
      select order_id, customer_id, amount_minor::text as amount from conversions
      where program_id = ${programId} and order_id like ${`%${part}%`} order by id`),
  ];
}

describe.each(WAYS)('by %s', (way, report) => {
  test('an order id with blanks, or of composed letters, is that of the order', async () => {
    const name = `${way}-caf`;
    for (const orderId of [`${name}\u00e9`, `  ${name}\u00e9 `, `\u00a0${name}e\u0301`]) {
      const { status } = await report({
        order_id: orderId,
        amount: '10.00',
        currency: 'EUR',
        customer_id: ` c-${way} `,
      });
      expect(status).toBe(200);
    }
    expect(await orders(name)).toEqual([
      { orderId: `${name}\u00e9`, customerId: `c-${way}`, amount: '1000' },
    ]);
    const refund = await api.call('POST', '/v1/refunds', {
      key,
      json: { order_id: `${name}e\u0301 `, refund_ref: ` r-1 `, amount: '1.00', currency: 'EUR' },
    });
    expect(refund.status).toBe(201);
    const again = await api.call('POST', '/v1/refunds', {
      key,
      json: { order_id: ` ${name}\u00e9`, refund_ref: 'r-1', amount: '1.00', currency: 'EUR' },
    });
    expect([again.status, again.body.status]).toEqual([200, 'duplicate']);
    const found = await api.call('GET', `/v1/conversions?order_id=${encodeURIComponent(` ${name}é`)}`, {
      key: shop.keys.operator,
    });
    expect(found.body.data).toHaveLength(1);
  });

  test.each(['order_id', 'customer_id', 'click_id', 'customer_email', 'payment_account'])(
    'a hidden character in %s is refused by its name',
    async (field) => {
      const orderId = `${way}-hidden-${field}`;
      const given = { order_id: orderId, amount: '10.00', currency: 'EUR' };
      const value = field === 'customer_email' ? 'an\u200bn@example.com' : `${orderId}\u200b1`;
      expect(await report({ ...given, [field]: value })).toEqual({ status: 422, field });
      expect(await orders(orderId)).toEqual([]);
    },
  );

  test('amounts with more zeros, blanks and currencies in small letters are read', async () => {
    const name = `${way}-amount`;
    const given: [string, string][] = [
      ['120.0000', 'eur'],
      [' 50.50000 ', ' EUR '],
    ];
    for (const [i, [amount, currency]] of given.entries())
      expect(await report({ order_id: `${name}-${i}`, amount, currency })).toMatchObject({ status: 200 });
    expect(await orders(name)).toMatchObject([{ amount: '12000' }, { amount: '5050' }]);
    for (const [i, amount] of ['10.005', '1,000.00', '1e3', '+1.00'].entries())
      expect(await report({ order_id: `${name}-no-${i}`, amount, currency: 'EUR' })).toEqual({
        status: 422,
        field: 'amount',
      });
  });
});

test('a comma is no decimal sign in JSON', async () => {
  const json = { order_id: 'comma', amount: '10,00', currency: 'EUR' };
  expect((await api.call('POST', '/v1/conversions', { key, json })).body.field).toBe('amount');
});

describe('an import', () => {
  test('reads what European spreadsheets save', async () => {
    const csv = 'Order ID;Amount;Currency\r\neu-1;10,50;eur\r\neu-2;1,5;EUR\r\n';
    const utf16 = Buffer.from(`\ufeff${csv.replaceAll('eu-', 'u16-').replaceAll(';', '\t')}`, 'utf16le');
    for (const raw of [csv, utf16, Buffer.from(utf16).swap16()]) {
      const { status, result } = await importFile('conversions', raw, raw !== csv && raw !== utf16);
      expect([status, result?.taken ?? result]).toEqual([202, raw === csv || raw === utf16 ? 2 : 0]);
    }
    expect(await orders('eu-')).toMatchObject([{ amount: '1050' }, { amount: '150' }]);
    expect(await orders('u16-')).toMatchObject([{ amount: '1050' }, { amount: '150' }]);
  });

  test('says what is wrong with a whole file', async () => {
    const latin1 = await importFile(
      'affiliates',
      Buffer.from('ref_code,name,email\nz,Zoë,z@example.com\n', 'latin1'),
    );
    expect([latin1.status, latin1.body.detail]).toEqual([400, expect.stringContaining('Latin-1')]);
    const twice = await importFile('conversions', 'order_id,amount,amount,currency\nDH1,10.00,99.00,EUR\n');
    expect([twice.status, twice.body.detail]).toEqual([422, 'body: has the column amount twice']);
  });

  test('refuses a row alone, by its line, and a date without its zone', async () => {
    const { result } = await importFile(
      'conversions',
      'order_id,amount,currency,occurred_at\n\nl-1,1.00,EUR,\nl-2,1.00\nl-3,1.00,EUR,2026-11-01\n"l\n4",1.00,EUR,\n\nl-5,x,EUR,\n',
    );
    expect(result).toMatchObject({
      taken: 1,
      refused_rows: [
        { line: 4, field: 'row', message: 'has 2 cells, the header has 4' },
        { line: 5, field: 'occurred_at' },
        { line: 6, field: 'order_id' },
        { line: 9, field: 'amount' },
      ],
    });
  });

  test('takes a second affiliate of one address, and says so', async () => {
    const { result } = await importFile(
      'affiliates',
      'ref_code,name,email\none,One,same@example.com\ntwo,Two, SAME@example.com\n',
    );
    expect(result).toMatchObject({
      taken: 2,
      noticed_rows: [{ line: 3, field: 'email', message: expect.stringContaining('is the address of aff_') }],
    });
  });
});
