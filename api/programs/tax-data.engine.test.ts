import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { setTerms } from '../../ledger/programs/terms.ts';
import { parseVatId } from '../../ledger/programs/vat-ids.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';

let api: TestApi;
let tenant: Tenant;
beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.tenant('tax');
});
afterAll(async () => await api?.stop());

const DATA = {
  name: 'Ann GmbH',
  address: ['Hauptstraße 1', '10115 Berlin'],
  country: 'DE',
  vat_id: 'de 136 695 976',
};
const put = (path: string, json: unknown, key = tenant.keys.affiliate) =>
  api.call('PUT', path, { key, json });
const own = () => `/v1/affiliates/aff_${tenant.affiliateId}/tax-data`;
const ofProgram = () => `/v1/programs/prg_${tenant.programId}/tax-data`;

describe('a VAT number', () => {
  test.each([
    ['AT', 'ATU13585627'],
    ['BE', 'BE0428759497'],
    ['BG', 'BG175074752'],
    ['CY', 'CY10259033P'],
    ['CZ', 'CZ25123891'],
    ['DE', 'DE136695976'],
    ['DK', 'DK13585628'],
    ['EE', 'EE100931558'],
    ['ES', 'ESB58378431'],
    ['FI', 'FI20774740'],
    ['FR', 'FR40303265045'],
    ['GR', 'EL094259216'],
    ['HR', 'HR33392005961'],
    ['HU', 'HU12892312'],
    ['IE', 'IE6433435F'],
    ['IT', 'IT00743110157'],
    ['LT', 'LT119511515'],
    ['LU', 'LU15027442'],
    ['LV', 'LV40003521600'],
    ['MT', 'MT11679112'],
    ['NL', 'NL004495445B01'],
    ['PL', 'PL8567346215'],
    ['PT', 'PT501964843'],
    ['RO', 'RO18547290'],
    ['SE', 'SE556188840401'],
    ['SI', 'SI50223054'],
    ['SK', 'SK2022749619'],
  ])('of %s is checked by its digits, with and without its prefix', (country, vatId) => {
    expect(parseVatId(vatId, country)).toBe(vatId);
    expect(parseVatId(vatId.slice(2), country)).toBe(vatId);
    // The first digit counts in every country's check.
    const at = vatId.search(/\d/);
    const wrong = vatId.slice(0, at) + ((Number(vatId[at]) + 1) % 10) + vatId.slice(at + 1);
    expect(() => parseVatId(wrong, country)).toThrow(/^vat_id: /);
  });
  test('of another country is text', () => {
    expect(parseVatId('gb 999-999.973', 'GB')).toBe('GB999999973');
    expect(() => parseVatId('!', 'US')).toThrow(/^vat_id: /);
  });
});

describe('tax data', () => {
  test('are set by an affiliate for itself, and by the program’s people', async () => {
    const set = await put(own(), DATA);
    expect(set).toMatchObject({
      status: 200,
      body: { required: false, tax_data: { vat_id: 'DE136695976', us_form: null } },
    });
    const foreign = `/v1/affiliates/aff_${tenant.otherAffiliateId}/tax-data`;
    expect((await put(foreign, DATA)).status).toBe(404);
    expect(
      (await put(foreign, { ...DATA, vat_id: null, us_form: 'w8ben' }, tenant.keys.finance)).body,
    ).toMatchObject({
      tax_data: { vat_id: null, us_form: 'w8ben' },
    });
    expect((await put(own(), DATA, tenant.keys.fraud)).status).toBe(403);
    const stale = await api.call('PUT', own(), {
      key: tenant.keys.affiliate,
      json: DATA,
      headers: { 'if-match': '"other"' },
    });
    expect(stale.status).toBe(412);
    const { body } = await api.call('GET', `/v1/audit-log?subject=aff_${tenant.affiliateId}`, {
      key: tenant.keys.operator,
    });
    expect(body.data).toMatchObject([
      { action: 'tax_data.set', after: { country: 'DE', has_vat_id: true, us_form: null } },
    ]);
    expect(JSON.stringify(body)).not.toContain('Ann GmbH');
  });

  test.each([
    [{ country: 'ZZ' }, 'country'],
    [{ country: 'UK' }, 'country'],
    [{ country: 'EU' }, 'country'],
    [{ country: 'de' }, 'country'],
    [{ vat_id: 'DE136695977' }, 'vat_id'],
    [{ address: [] }, 'address'],
    [{ address: ['a', 'b', 'c', 'd', 'e', 'f'] }, 'address'],
    [{ name: '' }, 'name'],
    [{ us_form: 'w2' }, 'us_form'],
  ])('refuse %j', async (changes, field) => {
    const { status, body } = await put(own(), { ...DATA, ...changes });
    expect([status, body.field]).toEqual([422, field]);
  });

  test('are a program’s own, with its rules', async () => {
    const set = (rules: object, key = tenant.keys.operator) =>
      put(ofProgram(), { tax_data: DATA, rules }, key);
    expect((await set({ vat: 'self_billing' })).body.field).toBe('vat_rate');
    expect((await set({ vat: 'self_billing', vat_rate: '19.12345' })).body.field).toBe('vat_rate');
    expect((await set({ vat: 'none', vat_rate: '19' })).body.field).toBe('vat_rate');
    expect((await set({}, tenant.keys.finance)).status).toBe(403);
    expect(
      (await set({ vat: 'self_billing', vat_rate: '8.875', required_for_payout: true })).body,
    ).toMatchObject({
      rules: { required_for_payout: true, vat: 'self_billing', vat_rate: '8.8750' },
    });
  });

  test('are required before a payout where the program says so', async () => {
    const { ledger } = api;
    const other = await api.tenant('required');
    const { programId, affiliateId, keys } = other;
    await setTerms(ledger, { programId, holdDays: 0, payoutMinMinor: 0n });
    await decideConversion(ledger, { tenant: other, orderId: 'o', affiliateId, outcome: 'attributed' });
    const rules = { required_for_payout: true };
    await put(`/v1/programs/prg_${programId}/tax-data`, { tax_data: DATA, rules }, keys.operator);
    const { body: run } = await api.runPayouts(keys.operator);
    expect(run).toMatchObject({
      built: 0,
      left_out: [{ affiliate_id: `aff_${affiliateId}`, reason: 'no_tax_data' }],
    });
    const method = await api.call('GET', `/v1/affiliates/aff_${affiliateId}/payout-method`, {
      key: keys.affiliate,
    });
    expect(method.body.blocked).toBe('no_tax_data');
    await put(`/v1/affiliates/aff_${affiliateId}/tax-data`, DATA, keys.affiliate);
    expect((await api.runPayouts(keys.operator)).body).toMatchObject({ built: 1, left_out: [] });
  });
});
