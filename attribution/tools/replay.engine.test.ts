import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseIp } from '../../core/ip.ts';
import type { JsonValue } from '../../core/postgres/sql.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { listCommissions } from '../../ledger/books/commissions.ts';
import { approveConversion, confirmConversion, rejectConversion } from '../../ledger/decisions/reviews.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { getTerms } from '../../ledger/programs/terms.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, type TestParties } from '../../test/support/ledger.ts';
import { parseEvidence } from '../decide/evidence.ts';
import { explainConversion } from './explain.ts';
import { replay } from './replay.ts';

/** What happens to an order after its decision does not change what the decision is recomputed from. */

let fixture: AttributionFixture;
beforeAll(async () => {
  fixture = await startAttributionFixture();
});
afterAll(async () => await fixture?.close());

const ip = (text: string) => parseIp(text) ?? Buffer.alloc(16);

async function replayed({ programId }: TestParties) {
  const range = { from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + DAY_MS) };
  return await replay({ ...fixture, ...range, programId });
}

/** An order without a click id whose fingerprint leads to a click of so many seconds before. */
async function matchedOrder(parties: TestParties, { seconds }: { seconds: number }) {
  const ts = Date.now() - seconds * 1_000;
  await fixture.addClicks([{ ip: ip('203.0.113.90'), fingerprint: 4_242n, ts }], parties);
  await fixture.completeTo(Date.now());
  const occurredAt = new Date(Date.now() - 1_000);
  const customer = { ip: '203.0.113.91', fingerprint: 4_242n, occurredAt };
  const orderId = await fixture.order(customer, parties);
  await fixture.decideAll();
  return await fixture.find(orderId, parties);
}

/** As an earlier version would have written it. */
async function rewriteEvidence(conversionId: bigint, evidence: object): Promise<void> {
  await fixture.books.owner.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`update conversions set evidence = ${tx.json(evidence as JsonValue)} where id = ${conversionId}`;
  });
}

const REVIEWERS = { approve: approveConversion, reject: rejectConversion } as const;

async function end(how: keyof typeof REVIEWERS, conversionId: bigint): Promise<void> {
  await inTransaction(fixture.ledger, async (tx) => {
    const request = { conversionId, reviewer: 'ann', note: how };
    expect(await REVIEWERS[how](tx, request)).toMatchObject({ outcome: 'done' });
  });
}

test.each([
  ['reject', 300],
  ['approve', 300],
  // Two reasons for the review: the match names it, and the order came too soon.
  ['reject', 5],
  ['approve', 5],
] as const)(
  'an order in review by its fingerprint that reviewers %s, %i s after the click',
  async (how, seconds) => {
    const parties = await createParties(fixture.ledger);
    const conversion = await matchedOrder(parties, { seconds });
    expect(conversion).toMatchObject({ state: 'review', reason: 'fingerprint_match' });
    await end(how, conversion.id);
    // The settings of today are not those of the decision.
    await updateProgram(fixture.ledger, { id: parties.programId, changes: { fingerprintMatch: 'credit' } });
    if (how === 'approve') {
      await inTransaction(fixture.ledger, (tx) =>
        confirmConversion(tx, { conversionId: conversion.id, actor: 'ann', now: new Date() }),
      );
    }
    expect(await replayed(parties)).toMatchObject({ conversions: 1, skipped: 0, differences: [] });

    // As versions before wrote it: what was decided follows from the rules and the settings of that time.
    const { decided, ...earlier } = parseEvidence(conversion.evidence) ?? {};
    expect(decided).toEqual({ outcome: 'review', reason: 'fingerprint_match' });
    await rewriteEvidence(conversion.id, { ...earlier, rulesVersion: 4 });
    expect(await replayed(parties)).toMatchObject({ conversions: 1, skipped: 0, differences: [] });
  },
);

/** An order by a click of its own, under a fixed commission of 5.00. */
async function fixedOrder(parties: TestParties, amountMinor: bigint) {
  const [click] = await fixture.addClicks([{ ip: ip('203.0.113.92') }], parties);
  await fixture.completeTo(Date.now());
  const clickId = click && fixture.clickIds.encode(click);
  const conversion = await fixture.find(await fixture.order({ clickId, amountMinor }, parties), parties);
  await fixture.decideAll();
  const { rows } = await listCommissions(fixture.ledger, { conversionId: conversion.id, limit: 9 });
  const decided = await fixture.find(conversion.orderId, parties);
  const terms = await getTerms(fixture.ledger, [parties.termsId]);
  const lines = explainConversion({ conversion: decided, commissions: rows, terms: terms[0] });
  return { ...decided, earned: rows.map((row) => row.amountMinor), text: lines.join('\n') };
}

const FIXED = { commissionType: 'fixed', fixedMinor: 500n, levelRatesBps: [] } as const;

test('a fixed commission on a lead of 0.00 is the fixed commission, as its explanation says', async () => {
  const parties = await createParties(fixture.ledger, FIXED);
  const lead = await fixedOrder(parties, 0n);
  expect(lead).toMatchObject({ state: 'attributed', earned: [500n] });
  expect(lead.text).toContain('Its fixed commission of 5.00 EUR is earned whatever the amount of the order;');
  expect(await replayed(parties)).toMatchObject({ conversions: 1, differences: [] });
  expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('terms may cut it to the order, and until rules version 5 all did', async () => {
  const parties = await createParties(fixture.ledger, { ...FIXED, fixedWithinOrder: true });
  const lead = await fixedOrder(parties, 0n);
  expect(lead).toMatchObject({ state: 'attributed', earned: [] });
  expect(lead.text).toContain('The commission of level 1 would be 5.00 EUR, and was cut to 0.00 EUR.');
  const small = await fixedOrder(parties, 300n);
  expect(small).toMatchObject({ state: 'attributed', earned: [300n] });
  expect(await replayed(parties)).toMatchObject({ conversions: 2, differences: [] });
  // As of a version before, whose terms said nothing of it.
  await fixture.books.owner.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`update terms set fixed_within_order = false where id = ${parties.termsId}`;
  });
  expect((await replayed(parties)).differences).toHaveLength(2);
  for (const { id, evidence } of [lead, small]) {
    await rewriteEvidence(id, { ...(evidence as object), rulesVersion: 4 });
  }
  expect(await replayed(parties)).toMatchObject({ conversions: 2, differences: [] });
});
