import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseIp } from '../../core/ip.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { approveConversion, confirmConversion, rejectConversion } from '../../ledger/decisions/reviews.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, type TestParties } from '../../test/support/ledger.ts';
import { parseEvidence } from '../decide/evidence.ts';
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
    const { owner } = fixture.books;
    await owner.begin(async (tx) => {
      await tx`set local session_replication_role = replica`;
      await tx`update conversions set evidence = ${tx.json({ ...earlier, rulesVersion: 4 })} where id = ${conversion.id}`;
    });
    expect(await replayed(parties)).toMatchObject({ conversions: 1, skipped: 0, differences: [] });
  },
);
