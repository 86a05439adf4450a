import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createParties,
  creditOrder,
  decisionFor,
  freshLedger,
  recordDecision,
  type TestLedger,
  type TestParties,
} from '../../test/support/ledger.ts';
import { auditLedger } from '../audit/audit.ts';
import { affiliateBalance } from '../audit/counts.ts';
import { getConversion, recordConversion } from '../conversions/conversions.ts';
import { recordRefund } from '../decisions/refunds.ts';
import { approveConversion, confirmConversion, rejectConversion } from '../decisions/reviews.ts';
import { type Database, inTransaction } from '../postgres/db.ts';
import { updateAffiliate } from '../programs/affiliates.ts';
import { type NewTerms, setTerms } from '../programs/terms.ts';
import { listCommissions, vestDue } from './commissions.ts';

let db: TestLedger;
let ledger: Database;
beforeAll(async () => {
  db = await freshLedger({ max: 8 });
  ledger = db.ledger;
});
afterAll(async () => await db.close());

async function commissionsOf(conversionId: bigint) {
  const { rows } = await listCommissions(ledger, { conversionId, limit: 10 });
  return rows
    .toSorted((a, b) => a.level - b.level)
    .map(({ level, affiliateId, amountMinor, reversedMinor, state }) => ({
      level,
      affiliateId,
      amountMinor,
      reversedMinor,
      state,
    }));
}

async function refund(programId: number, orderId: string, refundRef: string, amountMinor: bigint) {
  return await inTransaction(ledger, (tx) =>
    recordRefund(tx, { programId, orderId, refundRef, amountMinor, actor: 'test' }),
  );
}

async function expectBooksToHold() {
  const off = (await auditLedger(ledger)).filter(({ ok }) => !ok);
  expect(off).toEqual([]);
}

describe('an attributed order', () => {
  const cases: { name: string; terms: Partial<NewTerms>; orderMinor: bigint; earned: bigint[] }[] = [
    { name: 'percent', terms: { rateBps: 1_000 }, orderMinor: 10_005n, earned: [1_000n, 300n, 100n] },
    {
      name: 'fixed',
      terms: { commissionType: 'fixed', fixedMinor: 750n },
      orderMinor: 9_999n,
      earned: [750n, 300n, 100n],
    },
    {
      name: 'hybrid',
      terms: { commissionType: 'hybrid', rateBps: 250, fixedMinor: 100n, levelRatesBps: [50] },
      orderMinor: 12_345n,
      earned: [409n, 62n],
    },
    {
      name: 'fixed above the order',
      terms: { commissionType: 'fixed', fixedMinor: 750n },
      orderMinor: 500n,
      earned: [750n, 15n, 5n],
    },
    {
      name: 'fixed above the order and cut to it',
      terms: { commissionType: 'fixed', fixedMinor: 750n, fixedWithinOrder: true },
      orderMinor: 500n,
      earned: [500n],
    },
  ];
  test.each(cases)('earns to the unit: $name', async ({ terms, orderMinor, earned }) => {
    const parties = await createParties(ledger, terms);
    const id = await creditOrder(ledger, parties, { amountMinor: orderMinor });
    expect(await commissionsOf(id)).toEqual(
      earned.map((amountMinor, i) => ({
        level: i + 1,
        affiliateId: parties.chain[i],
        amountMinor,
        reversedMinor: 0n,
        state: 'pending',
      })),
    );
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({ pendingMinor: earned[0] });
    await expectBooksToHold();
  });

  test('skips a parent that is not active; the levels above it keep their rates', async () => {
    const parties = await createParties(ledger);
    const [affiliate, parent, grandparent] = parties.chain;
    await updateAffiliate(ledger, { actor: 'test', id: parent, changes: { status: 'suspended' } });
    const id = await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const commissions = await commissionsOf(id);
    expect(
      commissions.map(({ level, affiliateId, amountMinor }) => [level, affiliateId, amountMinor]),
    ).toEqual([
      [1, affiliate, 1_000n],
      [3, grandparent, 100n],
    ]);
  });

  test('is decided once, also by 20 workers at once', async () => {
    const parties = await createParties(ledger);
    const { conversion } = await recordConversion(ledger, {
      programId: parties.programId,
      orderId: 'race',
      amountMinor: 10_000n,
      currency: 'EUR',
      source: 'api',
    });
    const decision = decisionFor(parties, conversion.id, { outcome: 'attributed', reason: null });
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () => inTransaction(ledger, (tx) => recordDecision(tx, decision))),
    );
    expect(outcomes.filter(({ outcome }) => outcome === 'recorded')).toHaveLength(1);
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({ pendingMinor: 1_000n });
  });

  test('becomes available when its hold ends, and not before', async () => {
    const parties = await createParties(ledger, { holdDays: 30 });
    const id = await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const day = 86_400_000;
    await vestDue(ledger, { now: new Date(Date.now() + 29 * day), limit: 10 });
    expect((await getConversion(ledger, id))?.status).toBe('pending');
    await vestDue(ledger, { now: new Date(Date.now() + 31 * day), limit: 1 });
    expect((await getConversion(ledger, id))?.status).toBe('confirmed');
    expect(await affiliateBalance(ledger, parties.chain[1])).toMatchObject({
      pendingMinor: 0n,
      availableMinor: 300n,
    });
  });

  test('is confirmed before the hold ends by the operator, once', async () => {
    const parties = await createParties(ledger, { holdDays: 30 });
    const conversionId = await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const confirm = () =>
      inTransaction(ledger, (tx) => confirmConversion(tx, { conversionId, actor: 'test', now: new Date() }));
    expect(await Promise.all([confirm(), confirm()])).toEqual([
      { outcome: 'done', state: 'attributed' },
      { outcome: 'done', state: 'attributed' },
    ]);
    expect((await getConversion(ledger, conversionId))?.status).toBe('confirmed');
    await expectBooksToHold();
  });
});

describe('a conversion in review', () => {
  const held = { amountMinor: 10_000n, outcome: 'review', reason: 'instant_conversion' } as const;

  test('never becomes available by waiting; approval lets it', async () => {
    const parties = await createParties(ledger);
    const conversionId = await creditOrder(ledger, parties, held);
    const later = new Date(Date.now() + 400 * 86_400_000);
    await vestDue(ledger, { now: later, limit: 100 });
    expect((await commissionsOf(conversionId)).map(({ state }) => state)).toEqual(['held', 'held', 'held']);
    const request = { conversionId, reviewer: 'ann', note: 'called the customer' };
    const approve = () => inTransaction(ledger, (tx) => approveConversion(tx, request));
    expect(await approve()).toEqual({ outcome: 'done', state: 'attributed' });
    expect(await approve()).toEqual({ outcome: 'wrong_state', state: 'attributed' });
    await vestDue(ledger, { now: later, limit: 100 });
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({ availableMinor: 1_000n });
    await expectBooksToHold();
  });

  test('earns at the tier that was reached before it, and counts for the next order once it is approved', async () => {
    const tiers = [
      { fromMinor: 10_000n, rateBps: 2_000 },
      { fromMinor: 20_000n, rateBps: 3_000 },
    ];
    const parties = await createParties(ledger, { levelRatesBps: [], tiers, tierMode: 'whole' });
    const order = { amountMinor: 10_000n };
    const first = await creditOrder(ledger, parties, order);
    const reviewed = await creditOrder(ledger, parties, { ...order, ...held });
    const meanwhile = await creditOrder(ledger, parties, { ...order, amountMinor: 100n });
    await inTransaction(ledger, (tx) =>
      approveConversion(tx, { conversionId: reviewed, reviewer: 'ann', note: 'a regular' }),
    );
    const after = await creditOrder(ledger, parties, order);
    const earned = [];
    for (const id of [first, reviewed, meanwhile, after])
      earned.push((await commissionsOf(id))[0]?.amountMinor);
    expect(earned).toEqual([1_000n, 2_000n, 20n, 3_000n]);
    await expectBooksToHold();
  });

  test('counts in the volume of its month whatever its terms, refunded or not, and in no other month', async () => {
    const plain = await createParties(ledger, { levelRatesBps: [] });
    const { programId, campaignId, chain } = plain;
    const earnedBy = async (parties: TestParties, amountMinor: bigint, orderId?: string) => {
      const id = await creditOrder(ledger, parties, { amountMinor, ...(orderId && { orderId }) });
      return (await commissionsOf(id))[0]?.amountMinor;
    };
    await earnedBy(plain, 50_000n, 'big');
    const tiers = [{ fromMinor: 10_000n, rateBps: 2_000 }];
    const terms = { programId, tiers, tierMode: 'whole' as const, levelRatesBps: [] };
    const { id: termsId } = await setTerms(ledger, terms);
    const tiered = { ...plain, termsId };
    expect(await earnedBy(tiered, 1_000n)).toBe(200n);
    await refund(programId, 'big', 'all', 50_000n);
    expect(await earnedBy(tiered, 1_000n)).toBe(200n);
    // By the old click, under terms without tiers in a campaign of their own: the volume is of the affiliate.
    const { id: otherTerms } = await setTerms(ledger, { programId, campaignId, levelRatesBps: [] });
    await earnedBy({ ...plain, termsId: otherTerms }, 500n);
    const volumes = await ledger`
      select to_char(month, 'YYYY-MM') as month, volume_minor from affiliate_volumes where affiliate_id = ${chain[0]}`;
    expect([...volumes]).toEqual([{ month: new Date().toISOString().slice(0, 7), volumeMinor: 52_500n }]);
    await expectBooksToHold();
  });

  test('gives everything back when rejected, and says who rejected it and why', async () => {
    const parties = await createParties(ledger);
    const conversionId = await creditOrder(ledger, parties, held);
    await inTransaction(ledger, (tx) =>
      rejectConversion(tx, { conversionId, reviewer: 'ann', note: 'a stolen card' }),
    );
    expect(await getConversion(ledger, conversionId)).toMatchObject({
      state: 'rejected',
      status: 'rejected',
      reason: 'rejected_by_reviewer',
    });
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({ pendingMinor: 0n });
    const log = await ledger`
      select actor, action, after from audit_log where subject = ${`cnv_${conversionId}`}`;
    expect(log).toEqual([
      { actor: 'ann', action: 'conversion.reject', after: { state: 'rejected', note: 'a stolen card' } },
    ]);
    await expectBooksToHold();
  });

  test('keeps what was refunded meanwhile out of the approval', async () => {
    const parties = await createParties(ledger);
    const conversionId = await creditOrder(ledger, parties, { ...held, orderId: 'review-refund' });
    await refund(parties.programId, 'review-refund', 'r1', 2_500n);
    expect((await getConversion(ledger, conversionId))?.state).toBe('review');
    const approved = await inTransaction(ledger, (tx) =>
      approveConversion(tx, { conversionId, reviewer: 'ann', note: 'fine' }),
    );
    expect(approved).toEqual({ outcome: 'done', state: 'partially_refunded' });
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({ pendingMinor: 750n });
    await expectBooksToHold();
  });
});

describe('refunds', () => {
  test('in parts take back exactly what one refund takes back, at every level', async () => {
    const parties = await createParties(ledger, { rateBps: 1_234, levelRatesBps: [333, 77] });
    const conversionId = await creditOrder(ledger, parties, { amountMinor: 9_997n, orderId: 'parts' });
    const parts = [1n, 3_333n, 3_333n, 3_330n];
    for (const [i, part] of parts.entries()) await refund(parties.programId, 'parts', `r${i}`, part);
    for (const { amountMinor, reversedMinor, state } of await commissionsOf(conversionId)) {
      expect({ reversedMinor, state }).toEqual({ reversedMinor: amountMinor, state: 'reversed' });
    }
    expect(await getConversion(ledger, conversionId)).toMatchObject({
      state: 'refunded',
      status: 'rejected',
    });
    await expectBooksToHold();
  });

  test('follow the cumulative formula while something is left', async () => {
    const parties = await createParties(ledger, { rateBps: 1_000, levelRatesBps: [] });
    const conversionId = await creditOrder(ledger, parties, { amountMinor: 999n, orderId: 'formula' });
    const reversed: bigint[] = [];
    for (const ref of ['a', 'b', 'c']) {
      await refund(parties.programId, 'formula', ref, 5n);
      reversed.push((await commissionsOf(conversionId))[0]?.reversedMinor ?? -1n);
    }
    // 100 earned: 100 × 5 ÷ 999 = 0.50, × 10 = 1.00, × 15 = 1.50; half to even would differ only at exact halves.
    expect(reversed).toEqual([1n, 1n, 2n]);
  });

  test('count once by their reference', async () => {
    const parties = await createParties(ledger);
    const conversionId = await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'once' });
    const outcomes = await Promise.all(
      Array.from({ length: 12 }, () => refund(parties.programId, 'once', 'r1', 1_000n)),
    );
    expect(outcomes.map(({ outcome }) => outcome).toSorted()).toEqual([
      ...Array<string>(11).fill('duplicate'),
      'recorded',
    ]);
    expect(await refund(parties.programId, 'once', 'r1', 999n)).toMatchObject({ outcome: 'conflict' });
    expect((await getConversion(ledger, conversionId))?.refundedMinor).toBe(1_000n);
  });

  test('are refused beyond what is left of the order', async () => {
    const parties = await createParties(ledger);
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'too much' });
    await refund(parties.programId, 'too much', 'r1', 9_000n);
    await expect(refund(parties.programId, 'too much', 'r2', 1_001n)).rejects.toMatchObject({
      field: 'amount',
      message: 'amount: must not exceed what is left of the order, 10.00',
    });
    await expect(refund(parties.programId, 'too much', 'r2', 0n)).rejects.toMatchObject({ field: 'amount' });
    expect(await refund(parties.programId, 'unheard of', 'r1', 1n)).toEqual({ outcome: 'not_found' });
  });

  test('that come before the decision are taken back with it', async () => {
    const parties = await createParties(ledger);
    const { conversion } = await recordConversion(ledger, {
      programId: parties.programId,
      orderId: 'early',
      amountMinor: 10_000n,
      currency: 'EUR',
      source: 'api',
    });
    await refund(parties.programId, 'early', 'r1', 4_000n);
    const decision = decisionFor(parties, conversion.id, { outcome: 'attributed', reason: null });
    await inTransaction(ledger, (tx) => recordDecision(tx, decision));
    expect((await getConversion(ledger, conversion.id))?.state).toBe('partially_refunded');
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({ pendingMinor: 600n });
    await expectBooksToHold();
  });
});
