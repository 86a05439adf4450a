import { afterAll, beforeAll, expect, test } from 'vitest';
import { addMonths, DAY_MS, HOUR_MS } from '../../core/time.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { listCommissions } from '../../ledger/books/commissions.ts';
import { mergeAffiliates } from '../../ledger/payouts/merges.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
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
