import { afterAll, beforeAll, expect, test } from 'vitest';
import { addMonths, HOUR_MS } from '../../core/time.ts';
import { createParties, freshLedger, type TestLedger, type TestParties } from '../../test/support/ledger.ts';
import { inTransaction } from '../postgres/db.ts';
import { createProgram } from './programs.ts';
import { listTerms, setTerms, termsInForce, withdrawTerms } from './terms.ts';

let db: TestLedger;
beforeAll(async () => {
  db = await freshLedger({ max: 4 });
});
afterAll(async () => await db?.close());

const inHours = (hours: number) => new Date(Date.now() + hours * HOUR_MS);

async function inForce({ programId, campaignId, chain }: TestParties, at: Date) {
  const [terms] = await termsInForce(db.ledger, [{ programId, campaignId, affiliateId: chain[0], at }]);
  return terms?.id;
}

const withdraw = async (id: number) =>
  await inTransaction(db.ledger, (tx) => withdrawTerms(tx, { id, now: new Date() }));

test('terms that are not in force yet are withdrawn, and those before them go on', async () => {
  const parties = await createParties(db.ledger);
  const { programId, termsId } = parties;
  const second = await setTerms(db.ledger, { programId, from: inHours(1) });
  const third = await setTerms(db.ledger, { programId, from: inHours(2) });
  const inForceBy = async () =>
    await Promise.all([0.5, 1.5, 2.5].map((hours) => inForce(parties, inHours(hours))));
  expect(await inForceBy()).toEqual([termsId, second.id, third.id]);
  expect(await withdraw(second.id)).toEqual({ withdrawn: true });
  expect(await withdraw(second.id)).toEqual({ withdrawn: false });
  expect(await inForceBy()).toEqual([termsId, termsId, third.id]);
  expect(await withdraw(third.id)).toEqual({ withdrawn: true });
  expect(await inForceBy()).toEqual([termsId, termsId, termsId]);
  expect((await listTerms(db.ledger, { programId })).map(({ id }) => id)).toEqual([termsId]);
  await expect(withdraw(termsId)).rejects.toMatchObject({ code: 'wrong_state' });
  // The scope is free again, also at once.
  const next = await setTerms(db.ledger, { programId });
  expect(await inForce(parties, inHours(1))).toBe(next.id);
  await expect(withdraw(next.id)).rejects.toMatchObject({ code: 'wrong_state' });
});

test('no terms begin more than a year ahead', async () => {
  const { programId } = await createParties(db.ledger);
  const begin = (from: Date) => setTerms(db.ledger, { programId, from });
  await expect(begin(new Date('2099-01-01'))).rejects.toMatchObject({
    field: 'from',
    reason: 'must be within a year',
  });
  await expect(begin(new Date(addMonths(new Date(), 12).getTime() + HOUR_MS))).rejects.toMatchObject({
    field: 'from',
  });
  expect((await begin(new Date(addMonths(new Date(), 12).getTime() - HOUR_MS))).validTo).toBeNull();
});

test('narrower terms take what they do not name from the wider ones, and say from which', async () => {
  const wide = { holdDays: 14, payoutMinMinor: 5_000n, levelRatesBps: [700], rateBps: 500 };
  const parties = await createParties(db.ledger, { ...wide, payoutSchedule: 'monthly' });
  const { programId, campaignId, chain, termsId } = parties;
  const affiliateId = chain[0];
  const own = await setTerms(db.ledger, { programId, affiliateId, rateBps: 2_000 });
  expect(own).toMatchObject({ ...wide, payoutSchedule: 'monthly', rateBps: 2_000 });
  expect(own.origins).toMatchObject({ holdDays: termsId, payoutMinMinor: termsId, levelRatesBps: termsId });
  // Of the program, where it was a default: these terms are where it can be read.
  expect(own.origins).toMatchObject({ cookieDays: termsId });
  expect(own.origins).not.toHaveProperty('rateBps');
  await setTerms(db.ledger, { programId, campaignId, holdDays: 60, recurringMonths: 6 });
  const within = await setTerms(db.ledger, { programId, campaignId, affiliateId, cookieDays: 7 });
  // The most specific of the wider ones counts, as for orders: the affiliate before the campaign.
  expect(within).toMatchObject({ rateBps: 2_000, holdDays: 14, recurringMonths: 0, cookieDays: 7 });
  expect(within.origins).toMatchObject({ rateBps: own.id, holdDays: termsId });
  // A later change of the wider ones does not reach what was promised.
  await setTerms(db.ledger, { programId, holdDays: 1 });
  const [still] = await termsInForce(db.ledger, [{ programId, campaignId, affiliateId, at: inHours(1) }]);
  expect(still).toMatchObject({ id: within.id, holdDays: 14 });
});

test('a rate is not inherited by fixed commissions, nor an amount by percentages', async () => {
  const tiers = [{ fromMinor: 1_000n, rateBps: 1_500 }];
  const { programId, campaignId, chain, termsId } = await createParties(db.ledger, { rateBps: 1_200, tiers });
  const fixed = await setTerms(db.ledger, {
    programId,
    campaignId,
    commissionType: 'fixed',
    fixedMinor: 250n,
  });
  expect(fixed).toMatchObject({ rateBps: 0, tiers: [], origins: { rateBps: 'default', holdDays: termsId } });
  const percent = { programId, campaignId, affiliateId: chain[0], commissionType: 'percent' } as const;
  expect(await setTerms(db.ledger, percent)).toMatchObject({ rateBps: 1_200, fixedMinor: 0n, tiers });
});

test('rates have four decimals of a percent, in every place of terms, and are read as they were written', async () => {
  const rates = {
    rateBps: 712.5,
    tiers: [{ fromMinor: 1_000n, rateBps: 1_234.56 }],
    levelRatesBps: [312.05, 1.25, 0.01],
    customerRates: { new: { rateBps: 2_999.99 }, renewal: { rateBps: 0.29 } },
    itemRates: [{ by: 'sku' as const, name: 'a', rateBps: 1_987.65 }],
  };
  const { programId, campaignId, chain, termsId } = await createParties(db.ledger, rates);
  const [listed] = await listTerms(db.ledger, { programId });
  expect(listed).toMatchObject({ id: termsId, ...rates });
  const narrower = await setTerms(db.ledger, { programId, affiliateId: chain[0], holdDays: 1 });
  expect(narrower).toMatchObject(rates);
  const [asked] = await termsInForce(db.ledger, [
    { programId, campaignId, affiliateId: chain[0], at: inHours(1) },
  ]);
  expect(asked).toEqual(narrower);
  const [stored] = await db.ledger<{ rateBps: string; levelRatesBps: string[] }[]>`
    select rate_bps, level_rates_bps from terms where id = ${termsId}`;
  expect(stored).toEqual({ rateBps: '712.5', levelRatesBps: ['312.05', '1.25', '0.01'] });
});

test.each([
  ['rate_bps', { rateBps: 712.555 }],
  ['rate_bps', { rateBps: Number.NaN }],
  ['rate_bps', { rateBps: 10_000.01 }],
  ['level_rates_bps', { levelRatesBps: [100, 0.001] }],
  ['level_rates_bps', { rateBps: 9_900, levelRatesBps: [100.01] }],
  ['tiers', { tiers: [{ fromMinor: 1n, rateBps: 1.234 }] }],
  ['customer_rates', { customerRates: { new: { rateBps: 1.001 } } }],
  ['customer_rates', { itemRates: [{ by: 'sku' as const, name: 'a', rateBps: 1.001 }] }],
])('the database refuses what is no such rate: %s (%#)', async (field, rates) => {
  const { programId } = await createParties(db.ledger);
  await expect(setTerms(db.ledger, { programId, ...rates })).rejects.toMatchObject({ field });
  expect(await listTerms(db.ledger, { programId })).toHaveLength(1);
});

test('a program without a minimum of its own pays any amount, in every currency', async () => {
  for (const currency of ['EUR', 'JPY', 'KWD']) {
    const { id: programId } = await createProgram(db.ledger, { name: 'Shop', currency });
    const terms = await setTerms(db.ledger, { programId });
    expect(terms).toMatchObject({ payoutMinMinor: 0n, origins: { payoutMinMinor: 'default' } });
  }
});
