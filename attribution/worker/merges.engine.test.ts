import { afterAll, beforeAll, expect, test } from 'vitest';
import { addMonths, DAY_MS, HOUR_MS } from '../../core/time.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { listCommissions } from '../../ledger/books/commissions.ts';
import { mergeAffiliates } from '../../ledger/payouts/merges.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties } from '../../test/support/ledger.ts';
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
  const [old, , kept] = chain;
  const [first, second] = await fixture.addClicks([{}, {}], parties);
  const order = async (click: typeof first, customerId?: string) => {
    const clickId = click && fixture.clickIds.encode(click);
    const orderId = await fixture.order(
      { ...(clickId && { clickId }), ...(customerId && { customerId }) },
      parties,
    );
    await fixture.decideAll();
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
  // What was decided before the merge is decided again as it was then, and what came after as now.
  const range = { from: addMonths(new Date(), -1), to: new Date(Date.now() + DAY_MS + HOUR_MS) };
  expect((await replay({ ...fixture, ...range, programId })).differences).toEqual([]);
  expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});
