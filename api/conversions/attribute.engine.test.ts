import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditLedger } from '../../ledger/audit/audit.ts';
import {
  type ConversionReason,
  findConversionByOrder,
  recordConversion,
} from '../../ledger/conversions/conversions.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { updateAffiliate } from '../../ledger/programs/affiliates.ts';
import { createCampaign } from '../../ledger/programs/campaigns.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { recordDecision } from '../../test/support/ledger.ts';

let api: TestApi;
let shop: Tenant;
let key: string;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  key = shop.keys.operator;
});
afterAll(async () => await api?.stop());

/** An order of 100.00 that was left without an affiliate; its path. */
async function unattributed(orderId: string, reason: ConversionReason = 'no_click'): Promise<string> {
  const { conversion } = await recordConversion(api.ledger, {
    programId: shop.programId,
    orderId,
    amountMinor: 10_000n,
    currency: 'EUR',
    source: 'api',
  });
  await inTransaction(api.ledger, (tx) =>
    recordDecision(tx, {
      conversionId: conversion.id,
      outcome: 'unattributed',
      reason,
      evidence: { test: true },
      termsId: null,
      now: new Date(),
    }),
  );
  return `/v1/conversions/cnv_${conversion.id}`;
}

const attribute = (path: string, json: object, as = key) =>
  api.call('POST', `${path}/attribute`, { key: as, json: { note: 'by mail', ...json } });

const first = () => ({ affiliate_id: `aff_${shop.affiliateId}` });

describe('an order without an affiliate', () => {
  test('is credited to a link, as the audit log, the explanation and the books say', async () => {
    const path = await unattributed('link');
    const answer = await attribute(path, { link_code: shop.linkCode });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      state: 'attributed',
      reason: null,
      affiliate_id: `aff_${shop.affiliateId}`,
      campaign_id: `cmp_${shop.campaignId}`,
      link_id: `lnk_${shop.linkId}`,
    });
    const { id } = answer.body;
    const commissions = await api.call('GET', `/v1/commissions?conversion_id=${id}`, { key });
    expect(commissions.body.data).toMatchObject([
      { affiliate_id: `aff_${shop.affiliateId}`, amount: { amount: '10.00' }, state: 'pending' },
    ]);
    const log = await api.call('GET', `/v1/audit-log?subject=${id}`, { key });
    expect(log.body.data).toMatchObject([
      {
        action: 'conversion.attribute',
        before: { state: 'unattributed', reason: 'no_click' },
        after: { note: 'by mail', link_id: `lnk_${shop.linkId}` },
      },
    ]);
    const explanation = await api.call('GET', `${path}/explanation`, { key });
    expect(explanation.text).toContain('A person credited it: key:');
    expect(explanation.text).toContain('credited: by mail');
    expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
  });

  test('had a reason that finance does not read in the audit log either', async () => {
    const answer = await attribute(await unattributed('several', 'several_affiliates'), first());
    for (const [role, reason] of [
      ['fraud', 'several_affiliates'],
      ['finance', 'no_click'],
    ] as const) {
      const log = await api.call('GET', `/v1/audit-log?subject=${answer.body.id}`, { key: shop.keys[role] });
      expect(log.body.data).toMatchObject([{ before: { state: 'unattributed', reason } }]);
    }
  });

  test('is credited to an affiliate, and repeating that changes nothing', async () => {
    const path = await unattributed('affiliate');
    const answer = await attribute(path, first());
    expect([answer.status, answer.body.link_id]).toEqual([200, null]);
    const again = await attribute(path, { ...first(), note: 'once more' });
    expect([again.status, again.body]).toEqual([200, answer.body]);
    const log = await api.call('GET', `/v1/audit-log?subject=${answer.body.id}`, { key });
    expect(log.body.data).toHaveLength(1);
    const other = await attribute(path, { affiliate_id: `aff_${shop.otherAffiliateId}` });
    expect([other.status, other.body.code]).toEqual([409, 'wrong_state']);
  });

  test('of before its credit was cancelled or reported as pending', async () => {
    const path = await unattributed('life');
    const shopKey = shop.keys.advertiser;
    await api.call('POST', '/v1/refunds', {
      key: shopKey,
      json: { order_id: 'life', refund_ref: 'r', amount: '40.00', currency: 'EUR' },
    });
    await api.call('POST', `${path}/cancel`, { key: shopKey, json: {} });
    expect((await attribute(path, first())).body).toMatchObject({ affiliate_id: `aff_${shop.affiliateId}` });
    const left = async () => {
      const { body } = await api.call('GET', `/v1/commissions?conversion_id=${path.split('/').at(-1)}`, {
        key,
      });
      const rows = body.data as { amount: { amount: string }; reversed: { amount: string } }[];
      return rows.reduce((sum, row) => sum + Number(row.amount.amount) - Number(row.reversed.amount), 0);
    };
    expect(await left()).toBe(0);
    await api.call('POST', `${path}/restore`, { key: shopKey, json: {} });
    expect(await left()).toBe(6);
    const change = { amount: '200.00', currency: 'EUR' };
    expect((await api.call('POST', `${path}/change`, { key: shopKey, json: change })).status).toBe(200);
    expect(await left()).toBe(16);
    expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
  });
});

test('what is credited already, in review or rejected stays as it is', async () => {
  for (const outcome of ['attributed', 'review'] as const) {
    const id = await decideConversion(api.ledger, {
      tenant: shop,
      orderId: outcome,
      affiliateId: shop.affiliateId,
      outcome,
    });
    const answer = await attribute(`/v1/conversions/cnv_${id}`, first());
    expect([outcome, answer.status, answer.body.code]).toEqual([outcome, 409, 'wrong_state']);
  }
});

test('an order that is not decided yet can be credited, and is not decided again', async () => {
  const { conversion } = await recordConversion(api.ledger, {
    programId: shop.programId,
    orderId: 'early',
    amountMinor: 500n,
    currency: 'EUR',
    source: 'api',
  });
  expect((await attribute(`/v1/conversions/cnv_${conversion.id}`, first())).body.state).toBe('attributed');
  const stored = await findConversionByOrder(api.ledger, { programId: shop.programId, orderId: 'early' });
  expect(stored).toMatchObject({ state: 'attributed', linkId: null });
});

test('to whom is asked for clearly', async () => {
  const path = await unattributed('unclear');
  const foreign = await api.tenant('foreign');
  const terminated = shop.otherAffiliateId;
  await updateAffiliate(api.ledger, { id: terminated, changes: { status: 'terminated' }, actor: 'test' });
  const cases: [object, string][] = [
    [{}, 'link_code'],
    [{ ...first(), link_code: shop.linkCode }, 'affiliate_id'],
    [{ link_code: shop.linkCode, campaign_id: `cmp_${shop.campaignId}` }, 'campaign_id'],
    [{ link_code: foreign.linkCode }, 'link_code'],
    [{ link_code: 'none' }, 'link_code'],
    [{ affiliate_id: `aff_${foreign.affiliateId}` }, 'affiliate_id'],
    [{ affiliate_id: `aff_${terminated}` }, 'affiliate_id'],
    [{ ...first(), campaign_id: `cmp_${foreign.campaignId}` }, 'campaign_id'],
    [{ ...first(), note: '' }, 'note'],
  ];
  for (const [json, field] of cases) {
    const answer = await attribute(path, json);
    expect([json, answer.status, answer.body.errors]).toMatchObject([json, 422, [{ field }]]);
  }
  for (const as of [shop.keys.affiliate, shop.keys.advertiser, shop.keys.finance, shop.keys.fraud]) {
    expect((await attribute(path, first(), as)).status).toBe(403);
  }
  expect((await attribute(path, first(), foreign.keys.operator)).status).toBe(404);
});

test('in a program of several campaigns one is named, and its terms count', async () => {
  const path = await unattributed('campaigns');
  const { programId } = shop;
  const { id: campaignId } = await createCampaign(api.ledger, { programId, name: 'Second' });
  const answer = await attribute(path, first());
  expect([answer.status, answer.body.errors]).toMatchObject([422, [{ field: 'campaign_id' }]]);
  await setTerms(api.ledger, { programId, campaignId, rateBps: 2_500 });
  // Terms of after the order do not count.
  const named = await attribute(path, { ...first(), campaign_id: `cmp_${campaignId}` });
  expect(named.body.campaign_id).toBe(`cmp_${campaignId}`);
  const commissions = await api.call('GET', `/v1/commissions?conversion_id=${named.body.id}`, { key });
  expect(commissions.body.data).toMatchObject([{ amount: { amount: '10.00' } }]);
});

test('an order of a customer for whom the terms credit nothing is refused', async () => {
  const { programId, campaignId } = shop;
  await setTerms(api.ledger, { programId, campaignId, customerRates: { returning: { rateBps: 0 } } });
  const report = async (orderId: string, customerStatus: 'new' | 'returning') => {
    const order = { programId, orderId, customerStatus, amountMinor: 10_000n, currency: 'EUR' };
    const { conversion } = await recordConversion(api.ledger, { ...order, source: 'api' });
    return `/v1/conversions/cnv_${conversion.id}`;
  };
  const named = { ...first(), campaign_id: `cmp_${campaignId}` };
  const refused = await attribute(await report('returning', 'returning'), named);
  expect([refused.status, refused.body.errors]).toMatchObject([422, [{ field: 'id' }]]);
  expect((await attribute(await report('new', 'new'), named)).body.state).toBe('attributed');
});
