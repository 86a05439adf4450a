import { afterAll, beforeAll, expect, test } from 'vitest';
import { addMonths, DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { listCommissions } from '../../ledger/books/commissions.ts';
import { recordDecisions } from '../../ledger/decisions/decisions.ts';
import { recordRefund } from '../../ledger/decisions/refunds.ts';
import { mergeAffiliates } from '../../ledger/payouts/merges.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { updateAffiliate } from '../../ledger/programs/affiliates.ts';
import { type Coupon, createCoupon, updateCoupon, withdrawCoupon } from '../../ledger/programs/coupons.ts';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { getTerms, type NewTerms, setTerms } from '../../ledger/programs/terms.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, type TestParties } from '../../test/support/ledger.ts';
import { decideByHand } from '../decide/by-hand.ts';
import { parseEvidence } from '../decide/evidence.ts';
import { explainConversion } from '../tools/explain.ts';
import { explainLaterCoupons } from '../tools/later-coupons.ts';
import { replay } from '../tools/replay.ts';
import { gatherCustomers } from './customers.ts';

/** Orders that coupons credit, and orders that a person credits: neither hangs on a click. */

let fixture: AttributionFixture;
beforeAll(async () => {
  fixture = await startAttributionFixture();
  await fixture.completeTo(Date.now());
});
afterAll(async () => await fixture?.close());

interface World {
  readonly parties: TestParties;
  /** Of level 1 and, another affiliate's, of its parent. */
  readonly own: Coupon;
  readonly other: Coupon;
}

async function couponWorld(terms: Partial<NewTerms> = {}): Promise<World> {
  const parties = await createParties(fixture.ledger, { levelRatesBps: [300], ...terms });
  const { programId, chain } = parties;
  const make = (affiliateId: number, code: string) =>
    createCoupon(fixture.ledger, { programId, affiliateId, code });
  return { parties, own: await make(chain[0], 'ANN10'), other: await make(chain[1], 'BEN10') };
}

type Given = Parameters<AttributionFixture['order']>[0];

async function decided({ parties }: Pick<World, 'parties'>, given: Given) {
  const orderId = await fixture.order(given, parties);
  await fixture.decideAll();
  return await fixture.find(orderId, parties, given.eventName);
}

async function clickOf({ parties }: World): Promise<string> {
  const [click] = await fixture.addClicks([{}], parties);
  if (!click) throw new Error('a click was added');
  return fixture.clickIds.encode(click);
}

async function earned(conversionId: bigint) {
  const { rows } = await listCommissions(fixture.ledger, { conversionId, limit: 9 });
  return rows
    .toSorted((a, b) => a.level - b.level)
    .map(({ affiliateId, amountMinor, termsId }) => ({ affiliateId, amountMinor, termsId }));
}

/** A decision is what it was, whatever was changed since, and the books are right. */
async function expectTheSameAgain({ parties: { programId } }: Pick<World, 'parties'>): Promise<void> {
  const range = { from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + DAY_MS) };
  const again = await replay({ ...fixture, ...range, programId });
  expect(again).toMatchObject({ differences: [], skipped: 0 });
  expect(again.conversions).toBeGreaterThan(0);
  expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

async function explained(world: Pick<World, 'parties'>, orderId: string): Promise<string> {
  const conversion = await fixture.find(orderId, world.parties);
  const { rows: commissions } = await listCommissions(fixture.ledger, {
    conversionId: conversion.id,
    limit: 9,
  });
  const [terms] = conversion.termsId === null ? [] : await getTerms(fixture.ledger, [conversion.termsId]);
  const later = await explainLaterCoupons(fixture.ledger, conversion);
  return [...explainConversion({ conversion, commissions, terms }), ...later].join('\n');
}

test('a code credits its affiliate and the levels above without a click, in whatever case it comes', async () => {
  const world = await couponWorld();
  const { parties, own } = world;
  const order = await decided(world, { coupons: ['Welcome', 'ann10'] });
  expect(order).toMatchObject({
    state: 'attributed',
    coupons: ['Welcome', 'ann10'],
    couponId: own.id,
    affiliateId: parties.chain[0],
    campaignId: parties.campaignId,
    linkId: null,
    clickNode: null,
    clickIp: null,
  });
  const { termsId, chain } = parties;
  expect(await earned(order.id)).toEqual([
    { affiliateId: chain[0], amountMinor: 1_000n, termsId },
    { affiliateId: chain[1], amountMinor: 300n, termsId },
  ]);
  const text = await explained(world, order.orderId);
  expect(text).toContain('The shop reported a coupon code of the affiliate.');
  expect(text).toContain(
    `Coupon code "ann10" (cpn_${own.id} of affiliate aff_${chain[0]}): it credits the order.`,
  );
  expect(text).toContain('Coupon code "Welcome": it was of no affiliate of the program.');
  expect(text).toContain('were in force at the order');
  await expectTheSameAgain(world);
});

test('a code that credits nothing is recorded with a reason that names it', async () => {
  const world = await couponWorld();
  const { programId, chain } = world.parties;
  await createCoupon(fixture.ledger, {
    programId,
    affiliateId: chain[0],
    code: 'OLD',
    validUntil: new Date(Date.now() - HOUR_MS),
  });
  const unknown = await decided(world, { coupons: ['FOREIGN'] });
  expect(unknown).toMatchObject({ state: 'unattributed', reason: 'unknown_coupon', couponId: null });
  expect(await explained(world, unknown.orderId)).toContain('Coupon code "FOREIGN": it was of no affiliate');
  const old = await decided(world, { coupons: ['old'] });
  expect(old).toMatchObject({ state: 'unattributed', reason: 'coupon_not_valid' });
  expect(await explained(world, old.orderId)).toContain('it was not valid when the order occurred');
  // By the time of the order, not of its report.
  const before = await decided(world, { coupons: ['old'], occurredAt: new Date(Date.now() - 2 * HOUR_MS) });
  expect(before).toMatchObject({ state: 'attributed', affiliateId: chain[0] });
  expect(await decided(world, { coupons: ['ann10', 'ben10'] })).toMatchObject({
    reason: 'several_affiliates',
  });
  expect(await decided(world, {})).toMatchObject({ reason: 'no_click' });
  await expectTheSameAgain(world);
});

test('between a click of one affiliate and a code of another the program decides', async () => {
  const world = await couponWorld();
  const { parties, other } = world;
  const { programId, chain, linkId } = parties;
  const byCoupon = await decided(world, { clickId: await clickOf(world), coupons: ['BEN10'] });
  expect(byCoupon).toMatchObject({
    couponId: other.id,
    affiliateId: chain[1],
    linkId: null,
    clickNode: null,
  });
  const text = await explained(world, byCoupon.orderId);
  expect(text).toContain('did not win: the coupon of another affiliate counts in this program');
  const agreeing = await decided(world, { clickId: await clickOf(world), coupons: ['ANN10'] });
  expect(agreeing).toMatchObject({ couponId: null, affiliateId: chain[0], linkId });
  await updateProgram(fixture.ledger, { id: programId, changes: { couponEvidence: 'click_wins' } });
  const byClick = await decided(world, { clickId: await clickOf(world), coupons: ['BEN10'] });
  expect(byClick).toMatchObject({ couponId: null, affiliateId: chain[0], linkId });
  expect(await explained(world, byClick.orderId)).toContain('does not count beside what credits the order');
  // The decision of before the change is made again by the setting of that time.
  await expectTheSameAgain(world);
});

test('what happens to a code later changes no decision, also where it is given to another affiliate', async () => {
  const world = await couponWorld();
  const { parties, own, other } = world;
  const { programId, chain, campaignId } = parties;
  const before = await decided(world, { coupons: ['ANN10'] });
  const unknown = await decided(world, { coupons: ['LATER'] });
  await createCoupon(fixture.ledger, { programId, affiliateId: chain[0], code: 'later' });
  await withdrawCoupon(fixture.ledger, { id: own.id, now: new Date() });
  const again = await createCoupon(fixture.ledger, { programId, affiliateId: chain[2], code: 'Ann10' });
  await updateCoupon(fixture.ledger, {
    id: other.id,
    changes: { validUntil: new Date(Date.now() - DAY_MS) },
  });
  await setTerms(fixture.ledger, { programId, campaignId, rateBps: 5_000 });
  const after = await decided(world, { coupons: ['ANN10'] });
  expect(after).toMatchObject({ couponId: again.id, affiliateId: chain[2] });
  expect(await earned(after.id)).toMatchObject([{ affiliateId: chain[2], amountMinor: 5_000n }]);
  // Reported late, it is of the time of the order.
  const late = await decided(world, { coupons: ['ANN10'], occurredAt: new Date(Date.now() - HOUR_MS) });
  expect(late).toMatchObject({ couponId: own.id, affiliateId: chain[0] });
  expect(await fixture.find(before.orderId, parties)).toMatchObject({ couponId: own.id });
  expect(await fixture.find(unknown.orderId, parties)).toMatchObject({ reason: 'unknown_coupon' });
  await updateAffiliate(fixture.ledger, { id: chain[2], changes: { status: 'terminated' }, actor: 'test' });
  expect(await decided(world, { coupons: ['ANN10'] })).toMatchObject({
    state: 'unattributed',
    reason: 'affiliate_not_active',
  });
  await expectTheSameAgain(world);
});

test('a code that is given to an affiliate after its order was decided changes nothing, and its explanation says so', async () => {
  const world = await couponWorld();
  const { parties } = world;
  const { programId, chain } = parties;
  const early = new Date(Date.now() - 2 * HOUR_MS);
  const unknown = await decided(world, { coupons: ['spring', 'OTHER'] });
  const tooEarly = await decided(world, { coupons: ['spring'], occurredAt: early });
  expect(await explained(world, unknown.orderId)).not.toContain('Since the decision');
  const validFrom = new Date(Date.now() - HOUR_MS);
  const made = { programId, affiliateId: chain[0], code: 'SPRING', validFrom };
  const { id } = await createCoupon(fixture.ledger, made);
  await fixture.decideAll(new Date(Date.now() + DAY_MS));
  expect(await fixture.find(unknown.orderId, parties)).toEqual(unknown);
  const hint = `Since the decision coupon code "spring" is cpn_${id} of affiliate aff_${chain[0]}, and valid for the time of the order. That changes no decision: credit the order by hand (POST /v1/conversions/cnv_${unknown.id}/attribute) if it is theirs.`;
  const text = await explained(world, unknown.orderId);
  expect(text).toContain('Coupon code "spring": it was of no affiliate of the program.');
  expect(text).toContain(hint);
  expect(text).not.toContain('Since the decision coupon code "OTHER"');
  expect(await explained(world, tooEarly.orderId)).not.toContain('Since the decision');
  await updateCoupon(fixture.ledger, { id, changes: { validFrom: null } });
  expect(await explained(world, tooEarly.orderId)).toContain('Since the decision coupon code "spring"');
  await expectTheSameAgain(world);
  await creditByHand(world, unknown.orderId);
  expect(await explained(world, unknown.orderId)).not.toContain('Since the decision');
  await expectTheSameAgain(world);
});

test('an order whose click is missing is reopened by its click alone, not by a code that is made meanwhile', async () => {
  const world = await couponWorld();
  const { parties } = world;
  const { programId, chain } = parties;
  const ts = Date.now() - HOUR_MS;
  const node = 50_000;
  const clickId = fixture.clickIds.encode({ ts, node, seq: 0 });
  const order = await decided(world, { clickId, coupons: ['MISSING'] });
  expect(order).toMatchObject({ state: 'unattributed', reason: 'click_not_found' });
  await createCoupon(fixture.ledger, { programId, affiliateId: chain[1], code: 'MISSING' });
  await fixture.decideAll(new Date(Date.now() + 2 * HOUR_MS));
  expect(await fixture.find(order.orderId, parties)).toMatchObject({
    state: 'unattributed',
    reason: 'click_not_found',
  });
  expect(await explained(world, order.orderId)).toContain('Since the decision coupon code "MISSING"');
  await expectTheSameAgain(world);
  await fixture.addClicks([{ ts, node }], parties);
  await fixture.decideAll(new Date(Date.now() + 4 * HOUR_MS));
  expect(await fixture.find(order.orderId, parties)).toMatchObject({
    state: 'attributed',
    affiliateId: chain[0],
    couponId: null,
  });
  await expectTheSameAgain(world);
});

test('later orders of a customer hang on the order that a code credited, for the months of its terms', async () => {
  const world = await couponWorld({ recurringMonths: 3 });
  const { parties } = world;
  const { chain } = parties;
  const start = addMonths(new Date(Date.now() - HOUR_MS), -4);
  const customer = { customerId: 'cus' };
  const first = await decided(world, { ...customer, coupons: ['ANN10'], occurredAt: start });
  expect(first).toMatchObject({ affiliateId: chain[0], recurringOf: null });
  const credited = {
    state: 'attributed',
    affiliateId: chain[0],
    recurringOf: first.id,
    couponId: null,
    linkId: null,
  };
  expect(await decided(world, { ...customer, occurredAt: addMonths(start, 1) })).toMatchObject(credited);
  // Shops report the code of a discount with every payment.
  const again = { ...customer, coupons: ['ANN10'] };
  expect(await decided(world, { ...again, occurredAt: addMonths(start, 2) })).toMatchObject(credited);
  const over = await decided(world, { ...again, occurredAt: addMonths(start, 3) });
  expect(over).toMatchObject({ state: 'unattributed', reason: 'subscription_ended' });
  expect(await explained(world, over.orderId)).toContain('are over');
  const back = await decided(world, { ...customer, coupons: ['BEN10'] });
  expect(back).toMatchObject({ affiliateId: chain[1], recurringOf: null });
  await expectTheSameAgain(world);
});

test('an affiliate that uses its own code, or a code that has leaked, is seen', async () => {
  const world = await couponWorld();
  const { programId } = world.parties;
  await updateProgram(fixture.ledger, {
    id: programId,
    changes: { fraudRules: { coupon_without_click: 2 } },
  });
  await fixture.ledger`update affiliates set customer_ref = 'cus-ann' where id = ${world.parties.chain[0]}`;
  expect(await decided(world, { coupons: ['ANN10'], customerId: 'CUS-ANN' })).toMatchObject({
    state: 'rejected',
    reason: 'self_referral',
  });
  const orders = await Promise.all(
    Array.from({ length: 4 }, () => fixture.order({ coupons: ['BEN10'] }, world.parties)),
  );
  await fixture.decideAll();
  const states = await Promise.all(orders.map(async (id) => (await fixture.find(id, world.parties)).state));
  expect(states.toSorted()).toEqual(['attributed', 'attributed', 'review', 'review']);
  expect(await decided(world, { coupons: ['BEN10'] })).toMatchObject({
    state: 'review',
    reason: 'coupon_without_click',
  });
  const withClick = await decided(world, { clickId: await clickOf(world), coupons: ['ANN10'] });
  expect(withClick).toMatchObject({ state: 'attributed' });
  await expectTheSameAgain(world);
});

async function creditByHand({ parties }: World, orderId: string): Promise<void> {
  const { programId, campaignId, chain, linkId, termsId } = parties;
  const conversion = await fixture.find(orderId, parties);
  const [terms] = await getTerms(fixture.ledger, [termsId]);
  if (!terms) throw new Error('terms are there');
  const target = { affiliateId: chain[0], campaignId, linkId, terms };
  const buying = { conversion, winner: { source: 'manual' as const, terms } };
  const customer = (await gatherCustomers(fixture.ledger, [buying])).get(buying);
  if (!customer) throw new Error('an order has a customer');
  const decision = decideByHand({
    conversion,
    target,
    customer,
    creditedBy: 'user:7',
    note: 'named in a mail',
    programRulesVersion: 1,
    now: new Date(),
  });
  const [recorded] = await inTransaction(fixture.ledger, (tx) => recordDecisions(tx, [decision]));
  expect([programId, recorded?.outcome]).toEqual([programId, 'recorded']);
}

test('an order that a person credits earns on all levels, is explained, and is recomputed the same', async () => {
  const world = await couponWorld({ recurringMonths: 12 });
  const { parties } = world;
  const { programId, chain, linkId } = parties;
  const customer = { customerId: 'cus' };
  const order = await decided(world, {
    coupons: ['TYPO'],
    ...customer,
    occurredAt: new Date(Date.now() - 5 * MINUTE_MS),
  });
  expect(order.reason).toBe('unknown_coupon');
  const refund = { programId, orderId: order.orderId, refundRef: 'r', amountMinor: 4_000n, actor: 'test' };
  await inTransaction(fixture.ledger, (tx) => recordRefund(tx, refund));
  await creditByHand(world, order.orderId);
  const credited = await fixture.find(order.orderId, parties);
  expect(credited).toMatchObject({
    state: 'partially_refunded',
    affiliateId: chain[0],
    linkId,
    clickNode: null,
  });
  const { rows } = await listCommissions(fixture.ledger, { conversionId: order.id, limit: 9 });
  expect(rows.map(({ amountMinor, reversedMinor }) => amountMinor - reversedMinor).toSorted()).toEqual([
    180n,
    600n,
  ]);
  expect(parseEvidence(credited.evidence)?.manual).toMatchObject({
    creditedBy: 'user:7',
    reasonBefore: 'unknown_coupon',
  });
  const text = await explained(world, order.orderId);
  expect(text).toContain('A person credited it: user:7');
  expect(text).toContain('“named in a mail”');
  expect(text).toContain('(unknown_coupon)');
  expect(text).toContain('Coupon code "TYPO"');
  // Its customer renews for the same affiliate.
  expect(await decided(world, customer)).toMatchObject({
    affiliateId: chain[0],
    recurringOf: order.id,
    linkId,
  });
  await setTerms(fixture.ledger, { programId, rateBps: 2_000 });
  await expectTheSameAgain(world);
});

test('an order whose click is still missing stays as a person decided when the click comes', async () => {
  const world = await couponWorld();
  const clickId = fixture.clickIds.encode({ ts: Date.now() - HOUR_MS, node: 60_000, seq: 1 });
  const order = await decided(world, { clickId });
  expect(order).toMatchObject({ state: 'unattributed', reason: 'click_not_found' });
  await creditByHand(world, order.orderId);
  await fixture.decideAll(new Date(Date.now() + 2 * HOUR_MS));
  expect(await fixture.find(order.orderId, world.parties)).toMatchObject({
    state: 'attributed',
    affiliateId: world.parties.chain[0],
    clickNode: null,
  });
  await expectTheSameAgain(world);
});

test('an order by a coupon or a person comes under the terms of its event, by who bought', async () => {
  const rates = { new: { rateBps: 3_000 }, returning: { rateBps: 500 } };
  const world = await couponWorld({ rateBps: 1_000, levelRatesBps: [], customerRates: rates });
  const { programId } = world.parties;
  await updateProgram(fixture.ledger, { id: programId, changes: { events: ['sale', 'lead'] } });
  const lead = await setTerms(fixture.ledger, {
    programId,
    eventName: 'lead',
    commissionType: 'fixed',
    fixedMinor: 500n,
  });
  const amounts = async (id: bigint) => (await earned(id)).map(({ amountMinor }) => amountMinor);
  const asLead = await decided(world, {
    coupons: ['ANN10'],
    eventName: 'lead',
    orderId: 'x',
    amountMinor: 0n,
  });
  expect(asLead.termsId).toBe(lead.id);
  expect(await amounts(asLead.id)).toEqual([500n]);
  const first = await decided(world, { coupons: ['ANN10'], customerId: 'c' });
  expect(await amounts(first.id)).toEqual([3_000n]);
  const second = await decided(world, { customerId: 'c' });
  expect(second.state).toBe('unattributed');
  await creditByHand(world, second.orderId);
  expect(await amounts(second.id)).toEqual([500n]);
  const reported = await decided(world, { customerId: 'd', customerStatus: 'new' });
  await creditByHand(world, reported.orderId);
  expect(await amounts(reported.id)).toEqual([3_000n]);
  await expectTheSameAgain(world);
});

test('codes of an affiliate that was merged credit its successor, who has them from then on', async () => {
  const world = await couponWorld({ levelRatesBps: [] });
  const { programId, chain } = world.parties;
  const [old, , kept] = chain;
  const ended = await createCoupon(fixture.ledger, { programId, affiliateId: old, code: 'OLD' });
  await withdrawCoupon(fixture.ledger, { id: ended.id, now: new Date() });
  const before = await decided(world, { coupons: ['ANN10'] });
  await inTransaction(fixture.ledger, (tx) =>
    mergeAffiliates(tx, { programId, affiliateId: old, intoAffiliateId: kept, note: 'one', actor: 'test' }),
  );
  const owners = await fixture.ledger<{ code: string; affiliateId: number }[]>`
    select code, affiliate_id from coupons where program_id = ${programId} order by code`;
  expect(owners.map(({ code, affiliateId }) => [code, affiliateId])).toEqual([
    ['ANN10', kept],
    ['BEN10', chain[1]],
    ['OLD', old],
  ]);
  expect(await decided(world, { coupons: ['ann10'] })).toMatchObject({ affiliateId: kept });
  // Reported late: the code was valid then.
  const late = { coupons: ['OLD'], occurredAt: new Date(Date.now() - 5 * MINUTE_MS) };
  expect(await decided(world, late)).toMatchObject({ state: 'attributed', affiliateId: kept });
  expect(await fixture.find(before.orderId, world.parties)).toMatchObject({ affiliateId: old });
  await expectTheSameAgain(world);
});
