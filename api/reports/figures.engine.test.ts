import { afterAll, beforeAll, expect, test } from 'vitest';
import { DAY_MS } from '../../core/time.ts';
import { allBoards } from '../../dashboards/grafana/boards/index.ts';
import { adjustBalance } from '../../ledger/books/balance-adjustments.ts';
import { recordConversion } from '../../ledger/conversions/conversions.ts';
import { approveForShop } from '../../ledger/decisions/order-changes.ts';
import { recordRefund } from '../../ledger/decisions/refunds.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { createLink } from '../../ledger/programs/links.ts';
import { listTerms, setTerms } from '../../ledger/programs/terms.ts';
import { mirrorBatch } from '../../scheduler/mirror.ts';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { type Answer, createAsker, type Target } from '../../test/support/grafana/answers.ts';
import { recordDecision } from '../../test/support/ledger.ts';
import { clickRecord, encodeClicks } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL } from '../../warehouse/loader/inserter.ts';

/** One set of orders, and what every place says of it: the figures of docs/glossary.md mean the same everywhere. */

let api: TestApi;
let tenant: Tenant;
let awaiting: bigint;
const VALID_CLICKS = 8;
const eur = (amount: string) => ({ amount, currency: 'EUR' });

beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.tenant('figures');
  const { ledger, warehouse } = api;
  const { programId, campaignId, affiliateId: recruiter, otherAffiliateId: recruit } = tenant;
  await ledger`update affiliates set parent_id = ${recruiter} where id = ${recruit}`;
  await setTerms(ledger, { programId, holdDays: 0, payoutMinMinor: 0n });

  // Paid out, then refunded wholly: debt.
  await order('paid', recruiter);
  await api.runPayouts(tenant.keys.operator);
  const { body } = await api.call('GET', '/v1/payouts', { key: tenant.keys.operator });
  for (const { id } of body.data as { id: string }[]) {
    await api.call('POST', `/v1/payouts/${id}/mark-paid`, { key: tenant.keys.operator });
  }
  await refund('paid', 10_000n);
  await order('credited', recruiter);
  await order('part', recruiter);
  await refund('part', 4_000n);
  await order('in review', recruiter, 'review');
  await order('rejected', recruiter, 'rejected');
  awaiting = await order('awaits the shop', recruiter, 'attributed', true);
  await order('of the recruit', recruit);
  await order('of the recruit, in review', recruit, 'review');
  await order('of the recruit, refunded', recruit);
  await refund('of the recruit, refunded', 10_000n);

  const clicks = Array.from({ length: VALID_CLICKS }, (_, seq) =>
    clickRecord({
      seq,
      flags: 0,
      ts: Date.now() - 1_000,
      program_id: programId,
      campaign_id: campaignId,
      affiliate_id: seq < 5 ? recruiter : recruit,
    }),
  );
  await warehouse.insertBytes({ sql: INSERT_CLICKS_SQL, data: [encodeClicks(clicks)], settings: {} });
  while ((await mirrorBatch({ ledger, warehouse })) > 0);
});
afterAll(async () => await api?.stop());

/** An order of 100.00: 10 % for the affiliate, 3 % for its recruiter. */
async function order(
  orderId: string,
  affiliateId: number,
  outcome: 'attributed' | 'review' | 'rejected' = 'attributed',
  awaitsShop = false,
): Promise<bigint> {
  const { ledger } = api;
  const { programId, campaignId } = tenant;
  const link = await createLink(ledger, { campaignId, affiliateId, landingUrl: 'https://shop.example/o' });
  const terms = (await listTerms(ledger, { programId })).find(({ validTo }) => validTo === null);
  const reported = { programId, orderId, amountMinor: 10_000n, currency: 'EUR', awaitsShop };
  const { conversion } = await recordConversion(ledger, { ...reported, source: 'api' });
  await inTransaction(ledger, (tx) =>
    recordDecision(tx, {
      conversionId: conversion.id,
      outcome,
      reason: outcome === 'attributed' ? null : 'instant_conversion',
      evidence: {},
      termsId: terms?.id ?? null,
      now: new Date(),
      click: { ts: Date.now(), node: 1, seq: 1, ip: '192.0.2.1', linkId: link.id, campaignId, affiliateId },
    }),
  );
  return conversion.id;
}

async function refund(orderId: string, amountMinor: bigint): Promise<void> {
  const { programId } = tenant;
  await inTransaction(api.ledger, (tx) =>
    recordRefund(tx, { programId, orderId, refundRef: orderId, amountMinor, actor: 'test' }),
  );
}

const get = async (path: string) => (await api.call('GET', path, { key: tenant.keys.operator })).body;
const range = () =>
  `from=${new Date(Date.now() - DAY_MS).toISOString()}&to=${new Date(Date.now() + 60_000).toISOString()}`;
const minor = (money: unknown) => Math.round(Number((money as { amount: string }).amount) * 100);

/** What the panel with this title shows for the program, and the affiliate if one is chosen, in this range. */
async function answerOf(title: string, type: string, affiliate?: string): Promise<Answer> {
  const panels = allBoards()
    .flatMap((board) => board.panels ?? [])
    .flatMap((one) => ('panels' in one ? one.panels : [one]));
  const found = panels.find((one) => one.title === title && one.type === type);
  const [target] = (found && 'targets' in found ? found.targets : []) as unknown as Target[];
  const values = {
    program: String(tenant.programId),
    campaign: undefined,
    affiliate,
    country: undefined,
    device: undefined,
  };
  const now = Date.now();
  const situation = { fromMs: now - DAY_MS, toMs: now + 60_000, intervalS: 3_600, values };
  if (!target) throw new Error(`${title} is a panel with a query`);
  return await createAsker(api.stores).ask(target, situation);
}

/** The figure of a panel of the campaigns' board; amounts in units of their currency. */
async function panel(title: string): Promise<number> {
  const { rows } = await answerOf(title, 'stat');
  return Number(rows.at(-1)?.at(-1));
}

async function figures() {
  const { affiliateId: recruiter, otherAffiliateId: recruit } = tenant;
  const metrics = [
    'conversions',
    'conversions_attributed',
    'conversions_open',
    'conversion_rate',
    'revenue_minor',
    'commission_minor',
    'epc_minor',
    'own_commission_minor',
    'own_epc_minor',
  ];
  const query = `${range()}&metrics=valid_clicks,${metrics.join(',')}`;
  const report = await get(`/v1/reports?${query}&group_by=affiliate&totals=true`);
  const rows = report.rows as Record<string, number>[];
  const rowOf = (id: number) => rows.find((row) => String(row.affiliate_id) === `aff_${id}`) ?? {};
  const tree = (await get(`/v1/affiliates/aff_${recruiter}/tree`)).data as { id: string; earned: unknown }[];
  const earnedOf = (id: number) => minor(tree.find((member) => member.id === `aff_${id}`)?.earned);
  return {
    totals: report.totals as Record<string, number>,
    own: rowOf(recruiter),
    recruit: rowOf(recruit),
    earned: earnedOf(recruiter),
    earnedByRecruit: earnedOf(recruit),
    earnings: await get(`/v1/affiliates/aff_${recruiter}/earnings?${range()}`),
    subAffiliates: (await get(`/v1/affiliates/aff_${recruiter}/sub-affiliates`)).data as Record<
      string,
      unknown
    >[],
  };
}

test('the API, reports and Grafana agree on what was earned, credited and turned over', async () => {
  const { totals, own, recruit, earned, earnedByRecruit, earnings, subAffiliates } = await figures();
  // 10.00 + 6.00 of its own, 3.00 of its recruit.
  expect(earnings).toMatchObject({
    total: eur('19.00'),
    days: [{ conversions_attributed: 3, earned: eur('19.00'), from_recruits: eur('3.00') }],
  });
  expect([earned, earnedByRecruit]).toEqual([1_900, 1_000]);
  expect(subAffiliates).toMatchObject([{ conversions_attributed: 1, earned: eur('3.00') }]);
  expect(own).toMatchObject({
    own_commission_minor: 1_600,
    conversions_attributed: 2,
    revenue_minor: 16_000,
  });
  expect(recruit).toMatchObject({
    own_commission_minor: 1_000,
    conversions_attributed: 1,
    revenue_minor: 10_000,
  });
  // What all earned is the commission of all levels; its own and its recruits' part are the earnings.
  expect(totals).toMatchObject({
    conversions: 9,
    conversions_attributed: 3,
    conversions_open: 1,
    valid_clicks: VALID_CLICKS,
    revenue_minor: 26_000,
    commission_minor: earned + earnedByRecruit,
    conversion_rate: 3 / VALID_CLICKS,
    epc_minor: 2_900 / VALID_CLICKS,
  });
  expect(own.own_epc_minor).toBe(1_600 / 5);
  expect({
    valid: await panel('Valid clicks'),
    credited: await panel('Credited conversions'),
    rate: await panel('Conversion rate'),
    revenue: await panel('Revenue'),
    commission: await panel('Commission'),
    epc: await panel('EPC'),
  }).toEqual({
    valid: totals.valid_clicks,
    credited: totals.conversions_attributed,
    rate: totals.conversion_rate,
    revenue: (totals.revenue_minor ?? 0) / 100,
    commission: (totals.commission_minor ?? 0) / 100,
    epc: (totals.epc_minor ?? 0) / 100,
  });
});

test('a balance has the same places in the API, the statement and Grafana: debt is below zero, and they add up', async () => {
  const { programId, affiliateId } = tenant;
  const bonus = { kind: 'bonus', programId, affiliateId, currency: 'EUR', amountMinor: 200n } as const;
  await inTransaction(api.ledger, (tx) => adjustBalance(tx, { ...bonus, note: 'Bonus', actor: 'test' }));
  const balance = await get(`/v1/affiliates/aff_${affiliateId}/balance`);
  const { closing } = await get(`/v1/affiliates/aff_${affiliateId}/statement?${range()}`);
  expect(balance).toMatchObject({ debt: eur('-10.00'), paid: eur('10.00'), adjustments: eur('2.00') });
  const { affiliate_id: _, ...places } = balance;
  expect(closing).toEqual(places);
  const titles = ['Pending', 'Available', 'In transit', 'Paid', 'Debt', 'Adjustments'];
  const ofApi = Object.fromEntries(
    titles.map((title) => [title, minor(places[title.toLowerCase().replace(' ', '_')]) / 100]),
  );
  const now = await answerOf('Money now', 'stat', String(affiliateId));
  expect(Object.fromEntries(now.rows.map(([, place, amount]) => [place, amount]))).toEqual(
    Object.fromEntries(titles.map((title) => [`${title} EUR`, ofApi[title]])),
  );
  const { columns, rows } = await answerOf('Balances by affiliate', 'table', String(affiliateId));
  const of = (name: string) => rows[0]?.[columns.findIndex((column) => column.name === name)];
  expect(Object.fromEntries(titles.map((name) => [name, of(name)]))).toEqual(ofApi);
});

test('a rate and an amount per click are null where there are no clicks', async () => {
  const from = new Date(Date.now() - 9 * DAY_MS).toISOString();
  const to = new Date(Date.now() - 8 * DAY_MS).toISOString();
  const { rows } = await get(
    `/v1/reports?from=${from}&to=${to}&metrics=conversion_rate,epc_minor,own_epc_minor`,
  );
  expect(rows).toEqual([{ conversion_rate: null, epc_minor: null, own_epc_minor: null }]);
});

test('an order is credited and earned once its shop approves it, in every place', async () => {
  const { ledger, warehouse } = api;
  await inTransaction(ledger, (tx) =>
    approveForShop(tx, { conversionId: awaiting, author: { actor: 'test' } }),
  );
  while ((await mirrorBatch({ ledger, warehouse })) > 0);
  const { totals, own, earned, earnings } = await figures();
  expect([earned, earnings.total]).toEqual([2_900, eur('29.00')]);
  expect(own).toMatchObject({
    own_commission_minor: 2_600,
    conversions_attributed: 3,
    revenue_minor: 26_000,
  });
  expect(totals).toMatchObject({ conversions_open: 0, commission_minor: 3_900 });
});
