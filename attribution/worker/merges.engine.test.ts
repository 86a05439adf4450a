import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMonths, DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { listCommissions } from '../../ledger/books/commissions.ts';
import { mergeAffiliates } from '../../ledger/payouts/merges.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, type TestParties } from '../../test/support/ledger.ts';
import { replay } from '../tools/replay.ts';

let fixture: AttributionFixture;
beforeAll(async () => {
  fixture = await startAttributionFixture();
  await fixture.completeTo(Date.now());
});
afterAll(async () => await fixture?.close());

test('later orders of the clicks and the customers of an affiliate that was merged are its successor’s', async () => {
  const parties = await createParties(fixture.ledger, { recurringMonths: 12, levelRatesBps: [] });
  const { programId, chain } = parties;
  const [old, last, kept] = chain;
  await setTerms(fixture.ledger, { programId, affiliateId: kept, rateBps: 100, recurringMonths: 12 });
  const now = Date.now();
  const ts = now + 1;
  const [first, second, third] = await fixture.addClicks([{ ts }, { ts }, { ts }], parties);
  await fixture.completeTo(now + 60_000);
  const order = async (click: typeof first, customerId?: string) => {
    const clickId = click && fixture.clickIds.encode(click);
    const orderId = await fixture.order(
      { occurredAt: new Date(now + 50_000), ...(clickId && { clickId }), ...(customerId && { customerId }) },
      parties,
    );
    // Not ahead of the merges.
    await fixture.decideAll(new Date());
    return await fixture.find(orderId, parties);
  };
  const before = await order(first, 'cus_1');
  expect(before).toMatchObject({ state: 'attributed', affiliateId: old });
  await inTransaction(fixture.ledger, (tx) =>
    mergeAffiliates(tx, {
      programId,
      affiliateId: old,
      intoAffiliateId: kept,
      note: 'one person',
      actor: 'test',
    }),
  );
  const clicked = await order(second);
  const renewed = await order(undefined, 'cus_1');
  for (const { id, state, affiliateId } of [clicked, renewed]) {
    expect({ state, affiliateId }).toEqual({ state: 'attributed', affiliateId: kept });
    const { rows } = await listCommissions(fixture.ledger, { conversionId: id, limit: 9 });
    expect(rows.map((row) => row.affiliateId)).toEqual([kept]);
  }
  expect(renewed.recurringOf).toBe(before.id);
  expect(await fixture.find(before.orderId, parties)).toMatchObject({ affiliateId: old });
  // The successor has one, too.
  await inTransaction(fixture.ledger, (tx) =>
    mergeAffiliates(tx, { programId, affiliateId: kept, intoAffiliateId: last, note: 'one', actor: 'test' }),
  );
  const clickedLater = await order(third);
  expect(clickedLater).toMatchObject({ state: 'attributed', affiliateId: last });
  // What was decided is decided again by who stood there then, and by their terms.
  const range = { from: addMonths(new Date(), -1), to: new Date(Date.now() + DAY_MS + HOUR_MS) };
  expect((await replay({ ...fixture, ...range, programId })).differences).toEqual([]);
  expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

describe('a merge while an order is decided', () => {
  /** An order of a click of level 1, which can be merged into its parent. */
  async function clickedOrder() {
    const parties = await createParties(fixture.ledger, { levelRatesBps: [] });
    const { programId, chain } = parties;
    // By the commission it is seen to whom it is credited.
    await setTerms(fixture.ledger, { programId, affiliateId: chain[1], rateBps: 100 });
    const ts = Date.now() + 1;
    const [click] = await fixture.addClicks([{ ts }], parties);
    if (!click) throw new Error('a click was added');
    await fixture.completeTo(ts + MINUTE_MS);
    const clickId = fixture.clickIds.encode(click);
    const orderId = await fixture.order({ clickId, occurredAt: new Date(ts + 50_000) }, parties);
    await fixture.ledger`
      update conversions set next_attempt_at = now() - interval '1 minute' where order_id = ${orderId}`;
    const merge = (work?: () => Promise<void>) =>
      inTransaction(fixture.ledger, async (tx) => {
        const into = {
          programId,
          affiliateId: chain[0],
          intoAffiliateId: chain[1],
          note: 'one',
          actor: 'test',
        };
        await mergeAffiliates(tx, into);
        await work?.();
      });
    return { parties, orderId, merge };
  }

  /** Decided again they are credited as they were. */
  async function expectTheSameAgain({ programId }: TestParties): Promise<void> {
    const range = { from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + DAY_MS) };
    expect(await replay({ ...fixture, ...range, programId })).toMatchObject({
      conversions: 1,
      skipped: 0,
      differences: [],
    });
    expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
  }

  test('that is committed after the batch began, and before it looks: the successor is credited', async () => {
    const { parties, orderId, merge } = await clickedOrder();
    const now = new Date();
    const completeToMs = async () => {
      await merge();
      return await fixture.clicks.completeToMs();
    };
    await fixture.worker({ ...fixture.clicks, completeToMs }).runBatch(now);
    const order = await fixture.find(orderId, parties);
    expect(order).toMatchObject({ state: 'attributed', affiliateId: parties.chain[1] });
    // The time of the decision itself, by which the merge has been.
    expect(order.decidedAt?.getTime()).toBeGreaterThanOrEqual(now.getTime());
    await expectTheSameAgain(parties);
  });

  test('that began before the batch, and is committed after it: the old one is credited', async () => {
    const { parties, orderId, merge } = await clickedOrder();
    await merge(async () => void (await fixture.worker().runBatch(new Date())));
    const order = await fixture.find(orderId, parties);
    expect(order).toMatchObject({ state: 'attributed', affiliateId: parties.chain[0] });
    const [{ mergedAt }] = await fixture.ledger<[{ mergedAt: Date }]>`
      select merged_at from affiliates where id = ${parties.chain[0]}`;
    expect(mergedAt <= (order.decidedAt ?? new Date(0))).toBe(true);
    await expectTheSameAgain(parties);
  });

  test('that is committed while the batch looks: it is decided again, and not refused because its affiliate was merged', async () => {
    const { parties, orderId, merge } = await clickedOrder();
    let merged: Promise<void> | undefined;
    const lookUp: typeof fixture.clicks.lookUp = async (identities) => {
      merged ??= merge();
      await merged;
      return await fixture.clicks.lookUp(identities);
    };
    const worker = fixture.worker({ ...fixture.clicks, lookUp });
    await worker.runBatch(new Date());
    expect(await fixture.find(orderId, parties)).toMatchObject({ state: 'awaiting_click', reason: null });
    await worker.runBatch(new Date(Date.now() + MINUTE_MS));
    const order = await fixture.find(orderId, parties);
    expect(order).toMatchObject({ state: 'attributed', affiliateId: parties.chain[1] });
    await expectTheSameAgain(parties);
  });
});
