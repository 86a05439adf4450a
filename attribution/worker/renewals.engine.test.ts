import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseIp } from '../../core/ip.ts';
import { addMonths, DAY_MS, HOUR_MS } from '../../core/time.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { affiliateBalance } from '../../ledger/audit/counts.ts';
import { listCommissions, vestDue } from '../../ledger/books/commissions.ts';
import { findFirstOrders } from '../../ledger/conversions/decision-facts.ts';
import { recordRefund } from '../../ledger/decisions/refunds.ts';
import { buildPayouts } from '../../ledger/payouts/build.ts';
import { BANK_LIMITS } from '../../ledger/payouts/providers/bank-csv.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, recordDecision, type TestParties } from '../../test/support/ledger.ts';
import { parseEvidence } from '../decide/evidence.ts';
import { replay } from '../tools/replay.ts';

/** Later orders of a subscription hang on the books: on the customer's first order, whatever became of its click. */

let fixture: AttributionFixture;
beforeAll(async () => {
  fixture = await startAttributionFixture();
  await fixture.completeTo(Date.now());
});
afterAll(async () => await fixture?.close());

const ip = (text: string) => parseIp(text) ?? Buffer.alloc(16);
const EMAIL = 'a'.repeat(64);

async function subscribers(): Promise<TestParties> {
  return await createParties(fixture.ledger, { recurringMonths: 12, levelRatesBps: [] });
}

async function expectTheSameAgain({ programId }: TestParties): Promise<void> {
  const range = { from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + DAY_MS) };
  expect((await replay({ ...fixture, ...range, programId })).differences).toEqual([]);
  expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

type Given = Parameters<AttributionFixture['order']>[0];

/** An order of before, as an import books it. */
async function importOrder(
  parties: TestParties,
  { paidOutside = false, ...given }: Given & { paidOutside?: boolean },
) {
  const orderId = await fixture.order({ source: 'import', ...given }, parties);
  const { id: conversionId, occurredAt } = await fixture.find(orderId, parties);
  const { linkId, campaignId, chain, termsId } = parties;
  await inTransaction(fixture.ledger, (tx) =>
    recordDecision(tx, {
      conversionId,
      outcome: 'attributed',
      reason: null,
      evidence: { schema: 'import', creditedBy: 'test', linkId, paidOutside },
      click: {
        ts: occurredAt.getTime(),
        node: null,
        seq: null,
        ip: null,
        linkId,
        campaignId,
        affiliateId: chain[0],
      },
      termsId,
      paidOutside,
      now: new Date(),
    }),
  );
  return await fixture.find(orderId, parties);
}

async function decidedOrder(parties: TestParties, given: Given) {
  const orderId = await fixture.order(given, parties);
  await fixture.decideAll();
  return await fixture.find(orderId, parties);
}

/** An hour ago as seen from a time in between: orders of the future are refused. */
const monthsAgo = (months: number) => addMonths(new Date(Date.now() - HOUR_MS), -months);

test('an imported customer renews for the same affiliate, by the terms of the import', async () => {
  const parties = await subscribers();
  const stranger = await decidedOrder(parties, { customerId: 'cus_1' });
  expect(stranger).toMatchObject({ state: 'unattributed', reason: 'no_click' });
  const first = await importOrder(parties, { customerId: 'cus_1', occurredAt: monthsAgo(2) });
  const renewal = await decidedOrder(parties, { customerId: 'cus_1' });
  expect(renewal).toMatchObject({
    state: 'attributed',
    recurringOf: first.id,
    affiliateId: parties.chain[0],
    linkId: parties.linkId,
    clickNode: null,
  });
  expect(parseEvidence(renewal.evidence)).toMatchObject({
    source: 'recurring',
    firstOrder: String(first.id),
    candidates: [{ identity: `import:${first.occurredAt.getTime()}`, ip: null, flags: null, lost: null }],
  });
  const { rows } = await listCommissions(fixture.ledger, { conversionId: renewal.id, limit: 9 });
  expect(rows).toMatchObject([{ amountMinor: 1_000n, termsId: parties.termsId, state: 'pending' }]);
  // Also the order before the import, which found no first order.
  await expectTheSameAgain(parties);
});

test('a click that has expired in the warehouse ends no subscription', async () => {
  const parties = await subscribers();
  const [click] = await fixture.addClicks([{ ip: ip('198.51.100.99') }], parties);
  const clickId = click && fixture.clickIds.encode(click);
  const first = await decidedOrder(parties, { clickId, customerId: 'cus_2' });
  await fixture.warehouse.command(
    `ALTER TABLE clicks DELETE WHERE program_id = ${parties.programId} SETTINGS mutations_sync = 2`,
  );
  const renewal = await decidedOrder(parties, { customerId: 'cus_2' });
  expect(renewal).toMatchObject({ state: 'attributed', recurringOf: first.id, clickNode: click?.node });
});

test('a customer is known by the e-mail address alone, unless two ids say otherwise', async () => {
  const parties = await subscribers();
  const first = await importOrder(parties, { customerEmailHash: EMAIL, occurredAt: monthsAgo(1) });
  const credited = { state: 'attributed', recurringOf: first.id };
  expect(await decidedOrder(parties, { customerEmailHash: EMAIL })).toMatchObject(credited);
  expect(await decidedOrder(parties, { customerEmailHash: EMAIL, customerId: 'new id' })).toMatchObject(
    credited,
  );
  expect(await decidedOrder(parties, { customerEmailHash: 'b'.repeat(64) })).toMatchObject({
    state: 'unattributed',
  });
  const other = await subscribers();
  await importOrder(other, { customerEmailHash: EMAIL, customerId: 'one', occurredAt: monthsAgo(1) });
  const two = { customerEmailHash: EMAIL, customerId: 'two' };
  expect(await decidedOrder(other, two)).toMatchObject({ state: 'unattributed', reason: 'no_click' });
  await expectTheSameAgain(parties);
  await expectTheSameAgain(other);
});

test('twelve months are twelve payments', async () => {
  const parties = await subscribers();
  const start = monthsAgo(14);
  const first = await importOrder(parties, { customerId: 'cus_3', occurredAt: start });
  for (const months of [1, 11]) {
    const renewal = { customerId: 'cus_3', occurredAt: addMonths(start, months) };
    expect(await decidedOrder(parties, renewal)).toMatchObject({ recurringOf: first.id });
  }
  const thirteenth = { customerId: 'cus_3', occurredAt: addMonths(start, 12) };
  expect(await decidedOrder(parties, thirteenth)).toMatchObject({ state: 'unattributed' });
  await expectTheSameAgain(parties);
});

test('what was paid before is booked as paid, never paid again, and owed back when it is refunded', async () => {
  const parties = await subscribers();
  const { programId, chain } = parties;
  const paid = await importOrder(parties, {
    customerId: 'cus_4',
    occurredAt: monthsAgo(1),
    paidOutside: true,
  });
  await importOrder(parties, { customerId: 'cus_5', occurredAt: monthsAgo(1) });
  expect((await fixture.find(paid.orderId, parties)).status).toBe('paid');
  await vestDue(fixture.ledger, { now: new Date(Date.now() + DAY_MS), limit: 10, programId });
  await buildPayouts(fixture.ledger, {
    actor: 'test',
    now: new Date(),
    provider: { name: 'test', limits: BANK_LIMITS },
    programId,
  });
  const payouts = await fixture.ledger`select amount_minor from payouts where program_id = ${programId}`;
  expect([...payouts]).toEqual([{ amountMinor: 1_000n }]);
  const renewal = await decidedOrder(parties, { customerId: 'cus_4' });
  expect(renewal).toMatchObject({ state: 'attributed', recurringOf: paid.id });
  const refund = { programId, orderId: paid.orderId, refundRef: 'all', amountMinor: 10_000n, actor: 'test' };
  await inTransaction(fixture.ledger, (tx) => recordRefund(tx, refund));
  expect(await affiliateBalance(fixture.ledger, chain[0])).toMatchObject({
    paidMinor: 1_000n,
    debtMinor: -1_000n,
  });
  await expectTheSameAgain(parties);
});

test('of two orders of one time the one that was reported first is the first, whichever is decided first', async () => {
  const parties = await subscribers();
  const at = { customerId: 'cus_tie', occurredAt: new Date(Date.now() - HOUR_MS) };
  const orders = [at, at, at].map(async (given) => await fixture.order(given, parties));
  const [before, credited, after] = await Promise.all(
    orders.map(async (orderId) => await fixture.find(await orderId, parties)),
  ).then((found) => found.toSorted((a, b) => Number(a.id - b.id)));
  if (!before || !credited || !after) throw new Error('three orders were reported');
  const [click] = await fixture.addClicks([{ ts: at.occurredAt.getTime() - DAY_MS }], parties);
  if (!click) throw new Error('a click was added');
  await inTransaction(fixture.ledger, (tx) =>
    recordDecision(tx, {
      conversionId: credited.id,
      outcome: 'attributed',
      reason: null,
      evidence: { test: true },
      click: {
        ts: click.ts,
        node: click.node,
        seq: click.seq,
        ip: null,
        linkId: parties.linkId,
        campaignId: parties.campaignId,
        affiliateId: parties.chain[0],
      },
      termsId: parties.termsId,
      now: new Date(),
    }),
  );
  const questions = [before, after].map((conversion) => ({ ...conversion, conversionId: conversion.id }));
  const [none, first] = await findFirstOrders(fixture.ledger, questions);
  expect([none, first?.conversionId]).toEqual([undefined, credited.id]);
});
