import { constants, inflateSync } from 'node:zlib';
import { getDocument } from 'pdfjs-dist/legacy/build/pdf.mjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addMonths } from '../../core/time.ts';
import { adjustBalance } from '../../ledger/books/balance-adjustments.ts';
import { issueStatements } from '../../ledger/books/statement-documents.ts';
import { recordRefund } from '../../ledger/decisions/refunds.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { setTaxData, setTaxRules } from '../../ledger/programs/tax-data.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';

/** Monthly statements as documents. */

let api: TestApi;
let tenant: Tenant;
/** The present month is closed by then. */
const NEXT_MONTH = new Date(`${addMonths(new Date(), 1).toISOString().slice(0, 7)}-03T00:00:00Z`);
const MONTH = new Date().toISOString().slice(0, 7);

beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.tenant('statements');
  const { ledger } = api;
  const { programId, affiliateId, otherAffiliateId: recruit } = tenant;
  await ledger`update affiliates set parent_id = ${affiliateId} where id = ${recruit}`;
  await setTerms(ledger, { programId, holdDays: 0, payoutMinMinor: 0n });
  const of = (country: string, name: string, vatId: string | null) => ({
    name,
    address: ['Hauptstraße 1', '10115 Berlin'],
    country,
    vatId,
    usForm: null,
  });
  const set = (id: number | null, data: ReturnType<typeof of>) =>
    setTaxData(ledger, { programId, affiliateId: id, data, actor: 'test' });
  await set(null, of('DE', 'Größer & Söhne GmbH', 'DE136695976'));
  await setTaxRules(ledger, {
    programId,
    rules: { requiredForPayout: true, vat: 'self_billing', vatRate: '19' },
  });
  await set(affiliateId, of('DE', 'Ελένη Юлия Ünal', 'DE136695976'));
  await set(recruit, of('AT', 'Recruit AG', 'ATU13585627'));
  const decide = (orderId: string, id: number) =>
    decideConversion(ledger, { tenant, orderId, affiliateId: id, outcome: 'attributed' });
  await decide('order-1001', affiliateId);
  await decide('order-1002', affiliateId);
  await decide('=cmd()', affiliateId);
  await decide('of the recruit', recruit);
  await api.runPayouts(tenant.keys.operator);
  const refund = { programId, orderId: 'order-1002', refundRef: 'r', amountMinor: 5_000n, actor: 'test' };
  await inTransaction(ledger, (tx) => recordRefund(tx, refund));
  for (let order = 0; order < 60; order++) await decide(`bulk-${order}`, recruit);
});
afterAll(async () => await api?.stop());

const get = (path: string, key = tenant.keys.affiliate) => api.call('GET', path, { key });
const list = async (key = tenant.keys.operator, query = '') =>
  (await get(`/v1/statement-documents${query}`, key)).body.data as Record<string, unknown>[];

async function pdfOf(id: unknown, key = tenant.keys.operator): Promise<{ bytes: Buffer; pages: string[] }> {
  const response = await fetch(`${api.url}/v1/statement-documents/${id}?format=pdf`, {
    headers: { authorization: `Bearer ${key}` },
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const document = await getDocument({ data: new Uint8Array(bytes), useSystemFonts: false, verbosity: 0 })
    .promise;
  const pages: string[] = [];
  for (let page = 1; page <= document.numPages; page++) {
    const { items } = await (await document.getPage(page)).getTextContent();
    pages.push(
      items
        .map((item) => ('str' in item ? item.str : ''))
        .join(' ')
        .replaceAll(/\s+/g, ' '),
    );
  }
  return { bytes, pages };
}

test('a month that is not closed has none; a closed one gets one each, numbered, once, also at the same time', async () => {
  expect(await issueStatements(api.ledger, { now: new Date() })).toEqual({ issued: 0 });
  const runs = await Promise.all([1, 2, 3].map(() => issueStatements(api.ledger, { now: NEXT_MONTH })));
  expect(runs.reduce((sum, { issued }) => sum + issued, 0)).toBe(2);
  expect(await issueStatements(api.ledger, { now: NEXT_MONTH })).toEqual({ issued: 0 });
  expect((await list()).map(({ number, month }) => [number, month])).toEqual([
    [2, MONTH],
    [1, MONTH],
  ]);
});

test('has both parties, what became payable, and the tax of the program’s rule', async () => {
  const [second, first] = await list();
  // 10.00 three times and 3.00 of the recruit, less half of one.
  expect(first).toMatchObject({
    affiliate_id: `aff_${tenant.affiliateId}`,
    issuer: { name: 'Größer & Söhne GmbH', country: 'DE', vat_id: 'DE136695976' },
    recipient: { name: 'Ελένη Юлия Ünal', address: ['Hauptstraße 1', '10115 Berlin'] },
    payable: { amount: '28.00', currency: 'EUR' },
    vat: 'domestic',
    vat_rate: '19.0000',
    // 28.00 × 19 ÷ 119.
    vat_amount: { amount: '4.47', currency: 'EUR' },
  });
  expect(second).toMatchObject({ vat: 'reverse_charge', vat_rate: null, vat_amount: { amount: '0.00' } });
});

test('is a PDF that reads the same for ever: parties, order ids beside commissions, both balances', async () => {
  const [second, first] = await list();
  const { bytes, pages } = await pdfOf(first?.id);
  const text = pages.join(' ');
  for (const part of [
    'Self-billing invoice',
    'No. 1',
    'Größer & Söhne GmbH',
    'Ελένη Юлия Ünal',
    'VAT number DE136695976',
    'order-1001',
    'order-1002',
    'Opening balance',
    'Closing balance',
    '28.00 EUR',
    '4.47 EUR',
  ]) {
    expect(text).toContain(part);
  }
  // An order of a recruit has the conversion's id: the shop's order is the recruit's business.
  expect(text).not.toContain('of the recruit');
  const { ledger } = api;
  const { programId, affiliateId } = tenant;
  const moved = { name: 'Moved', address: ['x'], country: 'FR', vatId: null, usForm: null };
  await setTaxData(ledger, { programId, affiliateId, data: moved, actor: 'test' });
  await setTaxRules(ledger, { programId, rules: { requiredForPayout: false, vat: 'none', vatRate: null } });
  expect((await pdfOf(first?.id)).bytes.equals(bytes)).toBe(true);
  const long = await pdfOf(second?.id);
  expect(long.pages.length).toBeGreaterThan(1);
  expect(long.pages.at(-1)).toContain('Closing balance');
  expect(long.pages.every((page, i) => page.includes(`page ${i + 1}`) && page.includes('In transit'))).toBe(
    true,
  );
  expect(long.pages.join(' ')).toContain('Reverse charge');
});

test('is a CSV that adds up, with order ids, safe in a spreadsheet', async () => {
  const [, first] = await list();
  const { text, headers } = await get(`/v1/statement-documents/${first?.id}?format=csv`);
  expect(headers.get('content-disposition')).toContain(`statement-${MONTH}-1.csv`);
  const rows = text
    .trimEnd()
    .split('\r\n')
    .map((line) => line.split(','));
  const [names = [], ...lines] = rows;
  const column = (name: string) => lines.map((line) => line[names.indexOf(name)] ?? '');
  expect(new Set(column('affiliate_vat_id'))).toEqual(new Set(['"DE136695976"']));
  expect(column('order_id')).toContain('"order-1001"');
  expect(column('order_id')).toContain(`"'=cmd()"`);
  for (const place of ['pending', 'available', 'in_transit', 'paid', 'debt', 'adjustments']) {
    const cents = column(place).map((amount) => Math.round(Number(amount) * 100));
    const closing = cents.pop();
    expect(cents.reduce((sum, amount) => sum + amount, 0)).toBe(closing);
  }
  expect([column('payable').at(-1), column('vat').at(-1)]).toEqual(['28.00', '4.47']);
});

test('adds up with adjustments and debt, and bills nothing that was paid outside', async () => {
  const { ledger } = api;
  const other = await api.tenant('adjusted');
  const { programId, affiliateId } = other;
  await setTerms(ledger, { programId, holdDays: 0, payoutMinMinor: 0n, levelRatesBps: [] });
  const common = { programId, affiliateId, currency: 'EUR', kind: 'bonus', actor: 'test' } as const;
  const give = (amountMinor: bigint, note: string) =>
    inTransaction(ledger, (tx) => adjustBalance(tx, { ...common, amountMinor, note }));
  const decide = (orderId: string, paidOutside = false) =>
    decideConversion(ledger, { tenant: other, orderId, affiliateId, outcome: 'attributed', paidOutside });
  await decide('order-1');
  await decide('order-2');
  await decide('of the past', true);
  await give(500n, 'Spring bonus');
  await api.runPayouts(other.keys.operator);
  const { body } = await get('/v1/payouts', other.keys.operator);
  const [{ id }] = body.data as [{ id: string }];
  await api.call('POST', `/v1/payouts/${id}/mark-paid`, { key: other.keys.operator });
  const refund = { programId, orderId: 'order-2', refundRef: 'r', amountMinor: 5_000n, actor: 'test' };
  await inTransaction(ledger, (tx) => recordRefund(tx, refund));
  await give(300n, 'Summer bonus');
  await issueStatements(ledger, { now: NEXT_MONTH });
  const [document] = await list(other.keys.operator);
  expect(document).toMatchObject({ payable: { amount: '23.00' } });
  const { pages } = await pdfOf(document?.id, other.keys.operator);
  const text = pages.join(' ');
  // 0.00 at first, 23.00 more, 25.00 paid: 5.00 is owed, and 3.00 of a bonus is there.
  expect(text.match(/-?[\d.]+ EUR/g)).toEqual(['0.00 EUR', '23.00 EUR', '-25.00 EUR', '-2.00 EUR']);
  expect(text).toMatch(/Bonus\s+Spring bonus[\s–]+5\.00/);
  expect(text).toMatch(/Closing balance\s+–\s+–\s+–\s+35\.00\s+-5\.00\s+3\.00/);
});

test('shows other scripts in Latin letters, and keeps them behind what is shown and in JSON and CSV', async () => {
  const { ledger } = api;
  const shop = await api.tenant('scripts');
  const { programId, affiliateId } = shop;
  await setTerms(ledger, { programId, holdDays: 0, levelRatesBps: [] });
  const name = '王小明 محمد 😀';
  const address = ['רחוב הרצל 1', 'กรุงเทพ'];
  const data = { name, address, country: 'IL', vatId: null, usForm: null };
  await setTaxData(ledger, { programId, affiliateId, data, actor: 'test' });
  await decideConversion(ledger, { tenant: shop, orderId: '注文-1', affiliateId, outcome: 'attributed' });
  await issueStatements(ledger, { now: NEXT_MONTH });
  const [document] = await list(shop.keys.operator);
  expect(document).toMatchObject({ recipient: { name, address } });
  const { bytes, pages } = await pdfOf(document?.id, shop.keys.operator);
  const text = pages.join(' ');
  for (const part of [
    'WangXiaoMing mhmd :grinning:',
    'rhvv hrtsl 1',
    'krungethph',
    'ZhuWen-1',
    'shown in Latin letters',
  ]) {
    expect(text).toContain(part);
  }
  for (const original of [name, ...address, '注文-1']) expect(actualTexts(bytes)).toContain(original);
  const { text: csv } = await get(`/v1/statement-documents/${document?.id}?format=csv`, shop.keys.operator);
  expect(csv).toContain(name);
  expect(csv).toContain('注文-1');
  const [, first] = await list();
  expect((await pdfOf(first?.id)).pages.join(' ')).not.toContain('Latin letters');
});

/** The texts that lie behind what a PDF shows. */
function actualTexts(pdf: Buffer): string[] {
  const texts: string[] = [];
  for (let at = pdf.indexOf('stream\n'); at >= 0; at = pdf.indexOf('stream\n', at + 1)) {
    const page = inflated(pdf.subarray(at + 'stream\n'.length));
    for (const [, escaped = ''] of page.matchAll(/\/ActualText \(((?:[^\\)]|\\.)*)\)/gs)) {
      const utf16 = Buffer.from(
        escaped.replaceAll(/\\(.)/gs, (_, one: string) => ESCAPES[one] ?? one),
        'latin1',
      );
      texts.push(utf16.subarray(2).swap16().toString('utf16le'));
    }
  }
  return texts;
}
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f' };

function inflated(stream: Buffer): string {
  try {
    return inflateSync(stream, { finishFlush: constants.Z_SYNC_FLUSH }).toString('latin1');
  } catch {
    return '';
  }
}

test('is its affiliate’s and the program’s people’s own', async () => {
  const [second, first] = await list();
  expect((await list(tenant.keys.affiliate)).map(({ id }) => id)).toEqual([first?.id]);
  expect((await get(`/v1/statement-documents/${second?.id}?format=pdf`)).status).toBe(404);
  const other = await api.tenant('foreign');
  expect((await get(`/v1/statement-documents/${first?.id}`, other.keys.operator)).status).toBe(404);
  expect((await get(`/v1/statement-documents/${first?.id}`, tenant.keys.advertiser)).status).toBe(403);
  expect(await list(tenant.keys.operator, '?month=2020-01')).toEqual([]);
});
