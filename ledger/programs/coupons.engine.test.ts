import { afterAll, beforeAll, expect, test } from 'vitest';
import { HOUR_MS } from '../../core/time.ts';
import { createParties, freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { createCampaign, updateCampaign } from './campaigns.ts';
import { createCoupon, findCoupons, listCoupons, updateCoupon, withdrawCoupon } from './coupons.ts';

let db: TestLedger;
beforeAll(async () => {
  db = await freshLedger({ max: 4 });
});
afterAll(async () => await db?.close());

const inHours = (hours: number) => new Date(Date.now() + hours * HOUR_MS);

async function found(programId: number, code: string, at = new Date()) {
  const [coupon] = await findCoupons(db.ledger, [{ programId, code, at }]);
  return coupon;
}

test('a code is one code in any case, with blanks around it and in any form of Unicode', async () => {
  const { programId, chain, campaignId } = await createParties(db.ledger);
  const made = await createCoupon(db.ledger, { programId, affiliateId: chain[0], code: ' Café-10 ' });
  expect(made).toMatchObject({ code: 'Café-10', campaignId, validFrom: null, validUntil: null });
  for (const code of ['café-10', 'CAFÉ-10', '\tCafe\u0301-10 ']) {
    expect(await found(programId, code)).toMatchObject({ id: made.id, isValid: true });
    await expect(
      createCoupon(db.ledger, { programId, affiliateId: chain[1], code, validFrom: null }),
    ).rejects.toMatchObject({ field: 'code', reason: expect.stringContaining('belongs to an affiliate') });
  }
  expect(await found(programId, 'cafe-10')).toBeUndefined();
  expect((await listCoupons(db.ledger, { programId, code: 'CAFÉ-10', limit: 9 })).rows).toHaveLength(1);
  // In another program it is another code.
  const other = await createParties(db.ledger);
  const there = await createCoupon(db.ledger, {
    programId: other.programId,
    affiliateId: other.chain[0],
    code: 'café-10',
  });
  expect(await found(programId, 'café-10')).toMatchObject({ id: made.id });
  expect(await found(other.programId, 'café-10')).toMatchObject({ id: there.id });
});

test('what looks like another code, or cannot be typed, is none', async () => {
  const { programId, chain } = await createParties(db.ledger);
  const affiliateId = chain[0];
  for (const code of ['', ' ', 'SAVE\u200b', 'a\nb', 'A,B', 'x'.repeat(65)]) {
    await expect(createCoupon(db.ledger, { programId, affiliateId, code })).rejects.toMatchObject({
      field: 'code',
    });
  }
  const foreign = await createParties(db.ledger);
  await expect(
    createCoupon(db.ledger, { programId, affiliateId: foreign.chain[0], code: 'A' }),
  ).rejects.toMatchObject({ field: 'affiliate_id' });
  await expect(
    createCoupon(db.ledger, { programId, affiliateId, campaignId: foreign.campaignId, code: 'A' }),
  ).rejects.toMatchObject({ field: 'campaign_id' });
});

test('a program of several campaigns has to name one', async () => {
  const { programId, chain, campaignId } = await createParties(db.ledger);
  const second = await createCampaign(db.ledger, { programId, name: 'Second' });
  const coupon = { programId, affiliateId: chain[0] };
  await expect(createCoupon(db.ledger, { ...coupon, code: 'A' })).rejects.toMatchObject({
    field: 'campaign_id',
    reason: expect.stringContaining('several'),
  });
  expect(await createCoupon(db.ledger, { ...coupon, code: 'A', campaignId: second.id })).toMatchObject({
    campaignId: second.id,
  });
  await updateCampaign(db.ledger, { id: second.id, changes: { status: 'ended' } });
  expect(await createCoupon(db.ledger, { ...coupon, code: 'B' })).toMatchObject({ campaignId });
});

test('a code is of one affiliate at any moment, and of another one afterwards', async () => {
  const { programId, chain } = await createParties(db.ledger);
  const first = await createCoupon(db.ledger, { programId, affiliateId: chain[0], code: 'TURN' });
  const again = { programId, affiliateId: chain[1], code: 'turn' };
  await expect(createCoupon(db.ledger, again)).rejects.toMatchObject({ field: 'code' });
  const before = new Date();
  const withdrawn = await withdrawCoupon(db.ledger, { id: first.id, now: new Date() });
  expect(withdrawn?.withdrawnAt).toBeInstanceOf(Date);
  expect(await withdrawCoupon(db.ledger, { id: first.id, now: inHours(1) })).toEqual(withdrawn);
  await expect(
    updateCoupon(db.ledger, { id: first.id, changes: { validUntil: inHours(1) } }),
  ).rejects.toMatchObject({ code: 'wrong_state' });
  // Unless a time is named it begins now: orders of before are still those of the first.
  const second = await createCoupon(db.ledger, again);
  expect(second.validFrom).toBeInstanceOf(Date);
  expect(await found(programId, 'Turn')).toMatchObject({ id: second.id, isValid: true });
  expect(await found(programId, 'Turn', new Date(before.getTime() - 1))).toMatchObject({
    id: first.id,
    isValid: true,
    validUntil: withdrawn?.withdrawnAt,
  });
  await expect(
    updateCoupon(db.ledger, { id: second.id, changes: { validFrom: null } }),
  ).rejects.toMatchObject({ field: 'code' });
});

test('validity has a beginning inside and an end outside, and one that never began can be withdrawn', async () => {
  const { programId, chain } = await createParties(db.ledger);
  const coupon = { programId, affiliateId: chain[0], code: 'SPAN' };
  await expect(
    createCoupon(db.ledger, { ...coupon, validFrom: inHours(2), validUntil: inHours(1) }),
  ).rejects.toMatchObject({ field: 'valid_until' });
  const [from, until] = [inHours(1), inHours(2)];
  const { id } = await createCoupon(db.ledger, { ...coupon, validFrom: from, validUntil: until });
  const isValid = async (at: Date) => (await found(programId, 'SPAN', at))?.isValid;
  expect(
    await Promise.all(
      [new Date(from.getTime() - 1), from, new Date(until.getTime() - 1), until].map(isValid),
    ),
  ).toEqual([false, true, true, false]);
  await withdrawCoupon(db.ledger, { id, now: new Date() });
  expect(await isValid(from)).toBe(false);
  const next = await createCoupon(db.ledger, { ...coupon, affiliateId: chain[2], validFrom: from });
  expect(await found(programId, 'SPAN', from)).toMatchObject({ id: next.id, affiliateId: chain[2] });
});
