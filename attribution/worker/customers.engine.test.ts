import { afterAll, beforeAll, expect, test } from 'vitest';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { listCommissions } from '../../ledger/books/commissions.ts';
import { recordReport } from '../../ledger/decisions/order-reports.ts';
import { recordRefund } from '../../ledger/decisions/refunds.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { getTerms, setTerms } from '../../ledger/programs/terms.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, type TestParties } from '../../test/support/ledger.ts';
import { parseEvidence } from '../decide/evidence.ts';
import { explainConversion } from '../tools/explain.ts';
import { replay } from '../tools/replay.ts';

/** Who bought, and what an order is of and contains: what each earns, why, and that it is decided the same again. */

let fixture: AttributionFixture;
beforeAll(async () => {
  fixture = await startAttributionFixture();
  await fixture.completeTo(Date.now());
});
afterAll(async () => await fixture?.close());

async function expectTheSameAgain({ programId }: TestParties): Promise<void> {
  const range = { from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + DAY_MS) };
  expect((await replay({ ...fixture, ...range, programId })).differences).toEqual([]);
  expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

/** An order of 100.00 by a click of its own, decided. */
async function clicked(parties: TestParties, given: Parameters<AttributionFixture['order']>[0] = {}) {
  const [click] = await fixture.addClicks([{}], parties);
  return await decided(parties, { clickId: click && fixture.clickIds.encode(click), ...given });
}

async function decided(parties: TestParties, given: Parameters<AttributionFixture['order']>[0]) {
  const orderId = await fixture.order(given, parties);
  await fixture.decideAll();
  const [row] = await fixture.ledger<{ id: bigint }[]>`
    select id from conversions where program_id = ${parties.programId} order by id desc limit 1`;
  const [terms] = await getTerms(fixture.ledger, [parties.termsId]);
  const conversion = await fixture.find(orderId, parties, given.eventName);
  expect(conversion.id).toBe(row?.id);
  const { rows } = await listCommissions(fixture.ledger, { conversionId: conversion.id, limit: 9 });
  const [used = terms] =
    conversion.termsId === null ? [] : await getTerms(fixture.ledger, [conversion.termsId]);
  return {
    conversion,
    evidence: parseEvidence(conversion.evidence),
    earned: rows.toSorted((a, b) => a.level - b.level).map(({ amountMinor }) => amountMinor),
    lines: explainConversion({ conversion, commissions: rows, terms: used }),
  };
}

const rates = { new: { rateBps: 3_000 }, returning: { rateBps: 500 }, renewal: { rateBps: 2_000 } };

test('new and returning customers have rates of their own, by the shop or by the books', async () => {
  const parties = await createParties(fixture.ledger, { customerRates: rates, levelRatesBps: [] });
  const reported = await clicked(parties, { customerId: 'a', customerStatus: 'returning' });
  expect(reported.earned).toEqual([500n]);
  expect(reported.lines).toContain('The customer has bought before: the shop has reported it so.');
  expect(reported.lines).toContain('For returning customers these terms pay 5 %.');
  const first = await clicked(parties, { customerId: 'b' });
  expect(first.earned).toEqual([3_000n]);
  expect(first.evidence?.customer).toEqual({ kind: 'new', by: 'books', earlierOrder: null });
  const second = await clicked(parties, { customerId: 'b' });
  expect(second.earned).toEqual([500n]);
  expect(second.evidence?.customer).toEqual({
    kind: 'returning',
    by: 'books',
    earlierOrder: String(first.conversion.id),
  });
  // By the e-mail address alone, and not by one that is of another id.
  const email = 'e'.repeat(64);
  expect((await clicked(parties, { customerEmailHash: email })).earned).toEqual([3_000n]);
  expect((await clicked(parties, { customerEmailHash: email })).earned).toEqual([500n]);
  // It is not known who bought.
  const unknown = await clicked(parties);
  expect(unknown).toMatchObject({ earned: [1_000n], conversion: { customerKind: null } });
  await expectTheSameAgain(parties);
});

test('an order that came by no link makes the next one that of a returning customer, unless it was cancelled', async () => {
  const parties = await createParties(fixture.ledger, {
    customerRates: { returning: { rateBps: 0 } },
    levelRatesBps: [300],
  });
  const { programId } = parties;
  await decided(parties, { orderId: 'direct', customerId: 'direct' });
  const refused = await clicked(parties, { customerId: 'direct' });
  expect(refused).toMatchObject({
    conversion: { state: 'rejected', reason: 'customer_not_eligible', status: 'rejected' },
    earned: [],
  });
  const event = { kind: 'cancelled' } as const;
  await inTransaction(fixture.ledger, (tx) =>
    recordReport(tx, { programId, orderId: 'direct', order: undefined, event, actor: 'test' }),
  );
  const { id } = refused.conversion;
  await inTransaction(fixture.ledger, (tx) =>
    recordReport(tx, {
      programId,
      orderId: refused.conversion.orderId,
      order: undefined,
      event,
      actor: 'test',
    }),
  );
  expect((await clicked(parties, { customerId: 'direct' })).earned).toEqual([1_000n, 300n]);
  // What was decided by the books of then stays.
  expect((await fixture.find(refused.conversion.orderId, parties)).id).toBe(id);
  await expectTheSameAgain(parties);
});

test('later orders of a subscription earn the rate of renewals, also where the customer is known by e-mail alone', async () => {
  const parties = await createParties(fixture.ledger, {
    customerRates: { ...rates, returning: { rateBps: 0 } },
    recurringMonths: 12,
    levelRatesBps: [300],
  });
  const email = 'f'.repeat(64);
  const first = await clicked(parties, { customerEmailHash: email });
  const renewal = await decided(parties, { customerEmailHash: email });
  expect(renewal.conversion).toMatchObject({ recurringOf: first.conversion.id, customerKind: 'renewal' });
  expect([first.earned, renewal.earned]).toEqual([
    [3_000n, 300n],
    [2_000n, 300n],
  ]);
  expect(renewal.lines).toContain('The order is a later one of its subscription.');
  expect(renewal.lines).toContain('For renewals these terms pay 20 %.');
  await expectTheSameAgain(parties);
});

test('each event has its terms, its subscriptions and its first order, and an order id counts once in each', async () => {
  const parties = await createParties(fixture.ledger, {
    rateBps: 1_000,
    levelRatesBps: [],
    recurringMonths: 12,
  });
  const { programId, chain } = parties;
  await updateProgram(fixture.ledger, { id: programId, changes: { events: ['sale', 'lead', 'install'] } });
  const lead = await setTerms(fixture.ledger, {
    programId,
    eventName: 'lead',
    commissionType: 'fixed',
    fixedMinor: 500n,
    customerRates: { returning: { fixedMinor: 0n } },
  });
  // Narrower, but for every event: the terms for leads win.
  const own = await setTerms(fixture.ledger, { programId, affiliateId: chain[0], rateBps: 2_000 });
  // Terms begin at a microsecond, a click is of a millisecond: one of the terms' own millisecond came before them.
  const ts = Number(own.validFrom) + 1;
  const [click] = await fixture.addClicks([{ ts }], parties);
  await fixture.completeTo(ts + 1);
  const visit = {
    clickId: click && fixture.clickIds.encode(click),
    orderId: '1',
    customerId: 'c',
    amountMinor: 0n,
  };
  const asLead = await decided(parties, { ...visit, eventName: 'lead' });
  expect(asLead).toMatchObject({ earned: [500n], conversion: { termsId: lead.id } });
  expect(asLead.lines[0]).toContain('order 1 (lead) of 0.00 EUR');
  const asSale = await decided(parties, { ...visit, amountMinor: 10_000n });
  expect(asSale).toMatchObject({ earned: [2_000n], conversion: { termsId: own.id, recurringOf: null } });
  const install = await decided(parties, { ...visit, amountMinor: 10_000n, eventName: 'install' });
  expect(install).toMatchObject({ earned: [2_000n], conversion: { termsId: own.id } });
  // Without a click: a sale continues the sale, a lead is no renewal of it and no first lead.
  expect((await decided(parties, { customerId: 'c' })).conversion).toMatchObject({
    recurringOf: asSale.conversion.id,
  });
  const secondLead = await clicked(parties, { customerId: 'c', eventName: 'lead', clickId: visit.clickId });
  expect(secondLead.conversion).toMatchObject({ reason: 'customer_not_eligible', customerKind: 'returning' });
  await expectTheSameAgain(parties);
});

test('items earn by their rates, and the explanation shows each of them', async () => {
  const parties = await createParties(fixture.ledger, {
    rateBps: 1_000,
    levelRatesBps: [500],
    itemRates: [
      { by: 'category', name: 'fees', rateBps: 0 },
      { by: 'sku', name: 'A-1', rateBps: 2_000 },
    ],
  });
  await updateProgram(fixture.ledger, { id: parties.programId, changes: { commissionBase: 'net_of_tax' } });
  const plain = { quantity: 1, brand: null, discountMinor: 0n, shippingMinor: 0n, giftCard: false };
  const items = [
    { ...plain, sku: 'A-1', category: null, amountMinor: 2_380n, taxMinor: 380n },
    { ...plain, sku: 'B', category: null, amountMinor: 5_950n, taxMinor: 950n },
    { ...plain, sku: 'F', category: 'fees', amountMinor: 670n, taxMinor: 0n },
    { ...plain, sku: 'G', category: null, amountMinor: 1_000n, taxMinor: 0n, giftCard: true },
  ];
  const order = await clicked(parties, { items });
  expect(order.earned).toEqual([900n, 350n]);
  expect(order.lines).toEqual(
    expect.arrayContaining([
      'Its items earn net of tax.',
      'Item 1 (A-1), 20.00 EUR: 20 % by its sku A-1, 4.00 EUR at level 1.',
      'Item 2 (B), 50.00 EUR: 10 % of the terms, 5.00 EUR at level 1.',
      'Item 3 (F, fees) is excluded by its category fees: it earns nothing.',
      'Item 4 (G) is a gift card: it earns nothing.',
    ]),
  );
  const { programId } = parties;
  const { orderId } = order.conversion;
  const raise = { kind: 'changed', total: { amountMinor: 12_000n, currency: 'EUR' } } as const;
  await inTransaction(fixture.ledger, (tx) =>
    recordReport(tx, { programId, orderId, order: undefined, event: raise, actor: 'test' }),
  );
  const refund = { programId, orderId, refundRef: 'r', items: [{ sku: 'A-1' }], actor: 'test' };
  await inTransaction(fixture.ledger, (tx) => recordRefund(tx, refund));
  // The setting of the program changes; what was decided does not.
  await updateProgram(fixture.ledger, { id: parties.programId, changes: { commissionBase: 'order_amount' } });
  expect((await clicked(parties, { items })).earned).toEqual([1_071n, 416n]);
  await expectTheSameAgain(parties);
});
