import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SecretBox } from '../../core/secret-box.ts';
import {
  createParties,
  creditOrder,
  freshLedger,
  givePayoutMethod,
  TEST_SECRET_BOX,
  type TestLedger,
  type TestParties,
} from '../../test/support/ledger.ts';
import { auditLedger } from '../audit/audit.ts';
import { affiliateBalance } from '../audit/counts.ts';
import { vestDue } from '../books/commissions.ts';
import { recordRefund } from '../decisions/refunds.ts';
import { readMail } from '../integrations/mails.ts';
import { type Database, inTransaction } from '../postgres/db.ts';
import { updateAffiliate } from '../programs/affiliates.ts';
import { buildPayouts, previewRun } from './build.ts';
import { readDestination } from './destinations.ts';
import type { LeftOut } from './left-out.ts';
import { allowDestination, type PayoutMethod, setPayoutMethod } from './methods.ts';
import { recordNotice } from './notices.ts';
import { failPayout, listPayoutItems, listPayouts, markPayoutPaid, returnPayout } from './payouts.ts';
import { answerAll, type PaymentBatch, type PayoutProvider, type ProviderLimits } from './provider.ts';
import { BANK_LIMITS, createBankCsvProvider } from './providers/bank-csv.ts';
import { runPayouts } from './run.ts';

let db: TestLedger;
let ledger: Database;
beforeAll(async () => {
  db = await freshLedger({ max: 16 });
  ledger = db.ledger;
});
afterAll(async () => await db.close());

/** Accepts everything and remembers what it was asked to pay, by key. */
function createRecordingProvider() {
  const batches: PaymentBatch[] = [];
  const provider: PayoutProvider = {
    name: 'recording',
    limits: BANK_LIMITS,
    async submit(batch) {
      batches.push(batch);
      return answerAll(batch, { outcome: 'accepted' });
    },
  };
  return { provider, batches, orders: () => batches.flatMap(({ orders }) => orders) };
}

const soon = () => new Date(Date.now() + 1_000);

async function run(parties: TestParties, provider: PayoutProvider, secretBox?: SecretBox) {
  const { programId } = parties;
  return await runPayouts(ledger, { actor: 'test', now: soon(), provider, programId, secretBox });
}

async function markPaid(payoutId: bigint) {
  return await inTransaction(ledger, (tx) =>
    markPayoutPaid(tx, { payoutId, now: new Date(), actor: 'test' }),
  );
}

async function refundOrder(parties: TestParties, orderId: string, amountMinor: bigint) {
  await inTransaction(ledger, (tx) =>
    recordRefund(tx, { programId: parties.programId, orderId, refundRef: 'r', amountMinor, actor: 'test' }),
  );
}

async function expectBooksToHold() {
  const off = (await auditLedger(ledger)).filter(({ ok }) => !ok);
  expect(off).toEqual([]);
}

describe('a payout run', () => {
  test('pays every level what it earned, to the unit, once', async () => {
    const parties = await createParties(ledger);
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    await creditOrder(ledger, parties, { amountMinor: 2_345n });
    const { provider, orders } = createRecordingProvider();
    const first = await run(parties, provider);
    expect(first).toMatchObject({ vested: 6, built: 3, submitted: 3, failed: 0, unknown: 0 });
    expect(new Map(orders().map((order) => [order.affiliateId, order.amountMinor]))).toEqual(
      // 2,345 × 10 % is 234.5, half to even 234.
      new Map(parties.chain.map((id, i) => [id, [1_234n, 370n, 123n][i]])),
    );
    expect(await run(parties, provider)).toMatchObject({ vested: 0, built: 0, submitted: 0 });
    for (const { id } of first.payouts) expect(await markPaid(id)).toMatchObject({ outcome: 'done' });
    expect(await run(parties, provider)).toMatchObject({ built: 0 });
    expect(orders()).toHaveLength(3);
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({
      availableMinor: 0n,
      inTransitMinor: 0n,
      paidMinor: 1_234n,
    });
    await expectBooksToHold();
  });

  test('pays once when 12 run at the same time', async () => {
    const parties = await createParties(ledger);
    for (let i = 0; i < 5; i++) await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const { provider, orders } = createRecordingProvider();
    const runs = await Promise.all(Array.from({ length: 12 }, () => run(parties, provider)));
    expect(runs.reduce((sum, { vested }) => sum + vested, 0)).toBe(15);
    // A run that skipped what another was vesting leaves the rest to the next one.
    await run(parties, provider);
    const paid = orders().reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
    const { rows } = await listPayouts(ledger, { programId: parties.programId, limit: 100 });
    expect(new Set(orders().map(({ providerKey }) => providerKey)).size).toBe(orders().length);
    expect(rows.reduce((sum, { amountMinor }) => sum + amountMinor, 0n)).toBe(paid);
    for (const { id } of rows) await markPaid(id);
    await run(parties, provider);
    const { rows: all } = await listPayouts(ledger, { programId: parties.programId, limit: 100 });
    expect(all.reduce((sum, { amountMinor }) => sum + amountMinor, 0n)).toBe(5n * 1_400n);
    await expectBooksToHold();
  });

  test('leaves out who is below the minimum or not active', async () => {
    const parties = await createParties(ledger, { payoutMinMinor: 300n });
    const [affiliate, parent] = parties.chain;
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    await updateAffiliate(ledger, { actor: 'test', id: affiliate, changes: { status: 'suspended' } });
    const { provider, orders } = createRecordingProvider();
    await run(parties, provider);
    expect(orders().map(({ affiliateId, amountMinor }) => [affiliateId, amountMinor])).toEqual([
      [parent, 300n],
    ]);
    await updateAffiliate(ledger, { actor: 'test', id: affiliate, changes: { status: 'active' } });
    await run(parties, provider);
    expect(orders().map(({ affiliateId }) => affiliateId)).toEqual([parent, affiliate]);
  });

  test('hands over again, under the same keys, what a dead run left behind', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] });
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const { provider, batches } = createRecordingProvider();
    const dying: PayoutProvider = {
      name: 'recording',
      limits: BANK_LIMITS,
      submit: () => new Promise(() => {}),
    };
    void run(parties, dying);
    await expect
      .poll(
        async () => (await listPayouts(ledger, { programId: parties.programId, limit: 1 })).rows[0]?.state,
      )
      .toBe('submitting');
    const [before] = (await listPayouts(ledger, { programId: parties.programId, limit: 1 })).rows;
    expect(await run(parties, provider)).toMatchObject({ built: 0, submitted: 0 });
    await db.owner`update payout_batches set claimed_until = now() where program_id = ${parties.programId}`;
    expect(await run(parties, provider)).toMatchObject({ built: 0, submitted: 1 });
    expect(batches.flatMap(({ orders }) => orders.map(({ providerKey }) => providerKey))).toEqual([
      before?.providerKey,
    ]);
    await expectBooksToHold();
  });

  test('marks as unknown what the provider did not answer for, and pays nothing again', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] });
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const silent: PayoutProvider = {
      name: 'recording',
      limits: BANK_LIMITS,
      submit: () => Promise.reject(new Error('socket hang up')),
    };
    const first = await run(parties, silent);
    expect(first).toMatchObject({ built: 1, submitted: 0, unknown: 1 });
    const { provider, orders } = createRecordingProvider();
    await run(parties, provider);
    expect(orders()).toEqual([]);
    const payoutId = first.payouts[0]?.id ?? 0n;
    expect(await markPaid(payoutId)).toMatchObject({ outcome: 'done', payout: { state: 'paid' } });
    expect(await markPaid(payoutId)).toEqual({ outcome: 'wrong_state', state: 'paid' });
    await expectBooksToHold();
  });

  test('gives the money back when the provider refuses', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] });
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const refusing: PayoutProvider = {
      name: 'recording',
      limits: BANK_LIMITS,
      submit: async (batch) => answerAll(batch, { outcome: 'refused', reason: 'account closed' }),
    };
    expect(await run(parties, refusing)).toMatchObject({ built: 1, failed: 1 });
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({
      availableMinor: 1_000n,
      inTransitMinor: 0n,
    });
    const { provider, orders } = createRecordingProvider();
    await givePayoutMethod(ledger, parties.chain[0]);
    await run(parties, provider);
    expect(orders().map(({ amountMinor }) => amountMinor)).toEqual([1_000n]);
    await expectBooksToHold();
  });
});

describe('who cannot be paid is left out, with the reason', () => {
  const reasons = ({ leftOut }: { leftOut: readonly LeftOut[] }) => leftOut.map(({ reason }) => reason);

  async function payee() {
    const parties = await createParties(ledger, { levelRatesBps: [] });
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const [affiliateId] = parties.chain;
    const { provider, orders } = createRecordingProvider();
    const options = { provider, programId: parties.programId };
    const destination = () => readDestination(ledger, { affiliateId, provider, now: soon() });
    const preview = () => previewRun(ledger, { ...options, now: soon() });
    return {
      parties,
      affiliateId,
      provider,
      orders,
      preview,
      destination,
      run: () => run(parties, provider),
    };
  }

  test('without a payout method, and with one of another kind', async () => {
    const { affiliateId, run, preview, destination, orders } = await payee();
    await db.owner`delete from payout_methods where affiliate_id = ${affiliateId}`;
    expect(await destination()).toMatchObject({ blocked: 'no_payout_method' });
    expect(reasons(await preview())).toEqual(['no_payout_method']);
    const first = await run();
    expect([first.built, reasons(first)]).toEqual([0, ['no_payout_method']]);
    await givePayoutMethod(ledger, affiliateId, { kind: 'paypal', email: 'ann@example.com' });
    expect(reasons(await preview())).toEqual(['method_does_not_fit_provider']);
    expect(reasons(await run())).toEqual(['method_does_not_fit_provider']);
    await givePayoutMethod(ledger, affiliateId);
    expect(await destination()).toMatchObject({ blocked: null });
    expect(reasons(await run())).toEqual([]);
    expect(orders()).toHaveLength(1);
    await expectBooksToHold();
  });

  test.each(['refused by the provider', 'returned by a notice'])(
    'after a payment was %s: until the account changes, and its owner hears of it once',
    async (how) => {
      const { parties, affiliateId, run, preview, destination, orders } = await payee();
      const secretBox = TEST_SECRET_BOX;
      const mailsBefore = await mailsTo('affiliate@example.com');
      const { programId } = parties;
      const now = soon();
      if (how === 'refused by the provider') {
        const refusing: PayoutProvider = {
          name: 'recording',
          limits: BANK_LIMITS,
          submit: async (batch) =>
            answerAll(batch, { outcome: 'refused', reason: 'No such account: sk_live_1' }),
        };
        await runPayouts(ledger, { now, provider: refusing, programId, secretBox, actor: 'test' });
      } else {
        const [payout] = (await run()).payouts;
        const notice = { provider: 'recording', status: 'returned', now, secretBox } as const;
        const providerKey = payout?.providerKey ?? '';
        expect(await recordNotice(ledger, { ...notice, providerKey })).toBe('recorded');
      }
      expect(await destination()).toMatchObject({ blocked: 'method_refused', refusedAt: now });
      const [payout] = (await listPayouts(ledger, { programId, limit: 1 })).rows;
      expect(payout?.failure).not.toContain('sk_live');
      expect(reasons(await preview())).toEqual(['method_refused']);
      const paidBefore = orders().length;
      for (let i = 0; i < 2; i++) expect(reasons(await run())).toEqual(['method_refused']);
      expect(orders()).toHaveLength(paidBefore);
      expect((await mailsTo('affiliate@example.com')) - mailsBefore).toBe(1);
      // The same account again is no change, another one is.
      const [method] = await ledger<[PayoutMethod]>`
        select affiliate_id, kind, details, account_hash, hint, changed_by from payout_methods
        where affiliate_id = ${affiliateId}`;
      await setPayoutMethod(ledger, method);
      expect(await destination()).toMatchObject({ blocked: 'method_refused' });
      expect(await inTransaction(ledger, (tx) => allowDestination(tx, affiliateId))).toBe(true);
      expect(await destination()).toMatchObject({ blocked: null });
      await db.owner`update payout_methods set refused_at = now() where affiliate_id = ${affiliateId}`;
      await givePayoutMethod(ledger, affiliateId);
      expect(await run()).toMatchObject({ built: 1, submitted: 1 });
      await expectBooksToHold();
    },
  );

  test('a payout that waits is canceled when its account is refused meanwhile', async () => {
    const { parties, affiliateId, provider, orders, run } = await payee();
    const { programId } = parties;
    await buildPayouts(ledger, { provider, programId, now: soon(), actor: 'test' });
    await db.owner`update payout_methods set refused_at = now() where affiliate_id = ${affiliateId}`;
    expect(await run()).toMatchObject({ built: 0, submitted: 0 });
    const { rows } = await listPayouts(ledger, { programId, limit: 1 });
    expect(rows).toMatchObject([
      { state: 'canceled', failure: 'a payment to the payout method was refused' },
    ]);
    expect(orders()).toEqual([]);
    await expectBooksToHold();
  });

  async function mailsTo(address: string): Promise<number> {
    const mails = await ledger<{ encrypted: Buffer }[]>`select encrypted from mails`;
    return mails.filter((mail) => readMail(TEST_SECRET_BOX, mail).to === address).length;
  }
});

describe('one affiliate is paid now', () => {
  test('below its minimum and after its termination, and no other', async () => {
    const parties = await createParties(ledger, { payoutMinMinor: 100_000n });
    const { programId, chain } = parties;
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    await updateAffiliate(ledger, { actor: 'test', id: chain[0], changes: { status: 'terminated' } });
    const { provider, orders } = createRecordingProvider();
    expect(await run(parties, provider)).toMatchObject({ built: 0 });
    const asOf = soon();
    const only = { programId, affiliateId: chain[0] };
    const { hash, payouts } = await previewRun(ledger, { ...only, provider, now: asOf });
    expect(payouts).toMatchObject([{ affiliateId: chain[0], amountMinor: 1_000n }]);
    const options = { now: soon(), provider, actor: 'test' };
    // A preview of one affiliate is none of all.
    await expect(
      runPayouts(ledger, { ...options, preview: { programId, asOf, hash } }),
    ).rejects.toMatchObject({ code: 'preview_changed' });
    expect(await runPayouts(ledger, { ...options, preview: { ...only, asOf, hash } })).toMatchObject({
      built: 1,
      submitted: 1,
      leftOut: [],
    });
    expect(orders().map(({ affiliateId }) => affiliateId)).toEqual([chain[0]]);
    await updateAffiliate(ledger, { actor: 'test', id: chain[1], changes: { status: 'suspended' } });
    const suspended = await previewRun(ledger, { programId, affiliateId: chain[1], provider, now: soon() });
    expect(suspended).toMatchObject({ payouts: [], leftOut: [{ reason: 'not_active' }] });
    await expectBooksToHold();
  });
});

describe('amounts are what the provider takes', () => {
  const limitsOf = (limits: Partial<ProviderLimits>) => ({ ...BANK_LIMITS, ...limits });

  test('a three-decimal rest stays available and is taken up by the next payout, also after a return', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] }, 'KWD');
    const recording = createRecordingProvider();
    const provider = { ...recording.provider, limits: limitsOf({ digits: new Map([['KWD', 2]]) }) };
    const pay = async () => (await run(parties, provider)).payouts[0];
    const available = async () => (await affiliateBalance(ledger, parties.chain[0]))?.availableMinor;
    // 12.340 × 10 %, in fils 1,234.
    await creditOrder(ledger, parties, { amountMinor: 12_340n, currency: 'KWD' });
    const first = await pay();
    expect([first?.amountMinor, await available()]).toEqual([1_230n, 4n]);
    expect(
      (await listPayoutItems(ledger, first?.id ?? 0n)).map((item) => [item.kind, item.amountMinor]),
    ).toEqual([
      ['commission', 1_234n],
      ['rest', -4n],
    ]);
    await expectBooksToHold();
    await markPaid(first?.id ?? 0n);
    await expectBooksToHold();
    // 4 + 1,237 = 1,241: the rest grows to 1, so that 3 of it are taken up.
    await creditOrder(ledger, parties, { amountMinor: 12_370n, currency: 'KWD' });
    const second = await pay();
    expect([second?.amountMinor, await available()]).toEqual([1_240n, 1n]);
    await markPaid(second?.id ?? 0n);
    const returning = { now: new Date(), actor: 'test', failure: 'closed' };
    await inTransaction(ledger, (tx) => returnPayout(tx, { ...returning, payoutId: second?.id ?? 0n }));
    expect(await available()).toBe(1_241n);
    await expectBooksToHold();
    const third = await pay();
    expect([third?.amountMinor, await available()]).toEqual([1_240n, 1n]);
    await expectBooksToHold();
  });

  test('a rest that a later payout has paid is owed when the first one comes back and its order is refunded', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] }, 'KWD');
    const recording = createRecordingProvider();
    const provider = { ...recording.provider, limits: limitsOf({ digits: new Map([['KWD', 2]]) }) };
    const pay = async () => {
      const [payout] = (await run(parties, provider)).payouts;
      await markPaid(payout?.id ?? 0n);
      return payout;
    };
    await creditOrder(ledger, parties, { amountMinor: 12_340n, currency: 'KWD', orderId: 'refunded' });
    const first = await pay();
    await creditOrder(ledger, parties, { amountMinor: 12_360n, currency: 'KWD' });
    // 4 + 1,236 = 1,240: all of the rest.
    expect((await pay())?.amountMinor).toBe(1_240n);
    const returning = { payoutId: first?.id ?? 0n, now: new Date(), actor: 'test', failure: 'closed' };
    await inTransaction(ledger, (tx) => returnPayout(tx, returning));
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({ availableMinor: 1_230n });
    await expectBooksToHold();
    await refundOrder(parties, 'refunded', 12_340n);
    // Earned 1,236, paid 1,240.
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({
      availableMinor: 0n,
      paidMinor: 1_240n,
      debtMinor: -4n,
    });
    await expectBooksToHold();
    await creditOrder(ledger, parties, { amountMinor: 12_340n, currency: 'KWD' });
    expect((await pay())?.amountMinor).toBe(1_230n);
    await expectBooksToHold();
  });

  test('a balance below the smallest unit is left out as below the minimum', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] }, 'KWD');
    const { provider } = createRecordingProvider();
    const limits = limitsOf({ digits: new Map([['KWD', 2]]) });
    await creditOrder(ledger, parties, { amountMinor: 50n, currency: 'KWD' });
    expect(await run(parties, { ...provider, limits })).toMatchObject({
      built: 0,
      leftOut: [{ reason: 'below_minimum', availableMinor: 5n, payoutMinMinor: 10n }],
    });
  });

  test('a currency that it does not pay is left out', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] }, 'KWD');
    const { provider } = createRecordingProvider();
    await creditOrder(ledger, parties, { amountMinor: 10_000n, currency: 'KWD' });
    const limits = limitsOf({ digits: new Map([['EUR', 2]]) });
    expect(await run(parties, { ...provider, limits })).toMatchObject({
      built: 0,
      leftOut: [{ reason: 'currency_not_supported' }],
    });
  });

  test('the largest payment takes the oldest commissions, the next one the rest', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] });
    const recording = createRecordingProvider();
    const provider = { ...recording.provider, limits: limitsOf({ largest: new Map([['EUR', '25.00']]) }) };
    for (let i = 0; i < 3; i++) await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const [first] = (await run(parties, provider)).payouts;
    expect(first?.amountMinor).toBe(2_000n);
    await markPaid(first?.id ?? 0n);
    const [second] = (await run(parties, provider)).payouts;
    expect(second?.amountMinor).toBe(1_000n);
    await markPaid(second?.id ?? 0n);
    await creditOrder(ledger, parties, { amountMinor: 30_000n });
    expect(await run(parties, provider)).toMatchObject({
      built: 0,
      leftOut: [{ reason: 'above_maximum', availableMinor: 3_000n }],
    });
    await expectBooksToHold();
  });
});

describe('runs that overlap', () => {
  test('each pay all that is due or nothing, beside the vesting task, and tell what they built', async () => {
    const parties = await createParties(ledger, { payoutSchedule: 'weekly' });
    const { programId, chain } = parties;
    await creditOrder(ledger, parties, { amountMinor: 1_000n });
    await vestDue(ledger, { now: soon(), limit: 100, programId });
    for (let i = 0; i < 20; i++) await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const { provider, orders } = createRecordingProvider();
    const vesting = vestDue(ledger, { now: soon(), limit: 3, programId });
    const [results] = await Promise.all([
      Promise.all(Array.from({ length: 3 }, () => run(parties, provider))),
      vesting,
    ]);
    // 20 × 100.00 and 10.00, at 10, 3 and 1 %.
    expect(new Map(orders().map((order) => [order.affiliateId, order.amountMinor]))).toEqual(
      new Map(chain.map((id, i) => [id, [20_100n, 6_030n, 2_010n][i]])),
    );
    expect(orders()).toHaveLength(3);
    expect(results.map(({ built }) => built).toSorted()).toEqual([0, 0, 3]);
    for (const { built, submitted, payouts } of results) {
      expect([submitted, payouts.length]).toEqual([built, built]);
    }
    await expectBooksToHold();
  });

  test('a preview writes nothing, and shows what the end of the holds makes available', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] });
    const { programId, chain } = parties;
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    const { provider } = createRecordingProvider();
    const journals = async () =>
      await ledger`select id from journals where program_id = ${programId} order by id`;
    const before = [...(await journals())];
    expect(await previewRun(ledger, { now: soon(), provider, programId })).toMatchObject({
      payouts: [{ affiliateId: chain[0], amountMinor: 1_000n }],
    });
    expect([...(await journals())]).toEqual(before);
    expect(await affiliateBalance(ledger, chain[0])).toMatchObject({
      pendingMinor: 1_000n,
      availableMinor: 0n,
    });
  });
});

describe('a refund around a payout', () => {
  test('of a paid order becomes debt that the next payout nets', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] });
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'paid' });
    const { provider } = createRecordingProvider();
    const [first] = (await run(parties, provider)).payouts;
    await markPaid(first?.id ?? 0n);
    await refundOrder(parties, 'paid', 4_000n);
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({
      paidMinor: 1_000n,
      debtMinor: -400n,
    });
    await creditOrder(ledger, parties, { amountMinor: 3_000n });
    expect(await run(parties, provider)).toMatchObject({ built: 0 });
    await creditOrder(ledger, parties, { amountMinor: 5_000n });
    const [second] = (await run(parties, provider)).payouts;
    expect(second?.amountMinor).toBe(400n);
    expect(
      (await listPayoutItems(ledger, second?.id ?? 0n)).map(({ kind, amountMinor }) => [kind, amountMinor]),
    ).toEqual([
      ['commission', 300n],
      ['commission', 500n],
      ['debt', -400n],
    ]);
    await markPaid(second?.id ?? 0n);
    expect(await affiliateBalance(ledger, parties.chain[0])).toEqual({
      affiliateId: parties.chain[0],
      currency: 'EUR',
      pendingMinor: 0n,
      availableMinor: 0n,
      inTransitMinor: 0n,
      paidMinor: 1_400n,
      debtMinor: 0n,
      adjustmentsMinor: 0n,
    });
    await expectBooksToHold();
  });

  test('while the money is on its way becomes debt, also when the payout then fails', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] });
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'on its way' });
    const { provider, orders } = createRecordingProvider();
    const [payout] = (await run(parties, provider)).payouts;
    await refundOrder(parties, 'on its way', 2_500n);
    await expectBooksToHold();
    await inTransaction(ledger, (tx) =>
      failPayout(tx, {
        payoutId: payout?.id ?? 0n,
        now: new Date(),
        actor: 'test',
        failure: 'closed account',
      }),
    );
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({
      availableMinor: 1_000n,
      debtMinor: -250n,
    });
    await run(parties, provider);
    expect(orders().map(({ amountMinor }) => amountMinor)).toEqual([1_000n, 750n]);
    await expectBooksToHold();
  });
});

describe('the bank file', () => {
  test('is written once per batch, whole, with cells no spreadsheet runs', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'afflux-payouts-'));
    try {
      const parties = await createParties(ledger, { levelRatesBps: [] });
      await updateAffiliate(ledger, {
        actor: 'test',
        id: parties.chain[0],
        changes: { name: '=HYPERLINK("x")' },
      });
      await creditOrder(ledger, parties, { amountMinor: 10_005n });
      const provider = createBankCsvProvider({ folder });
      const [payout] = (await run(parties, provider, TEST_SECRET_BOX)).payouts;
      const files = await readdir(folder);
      expect(files).toHaveLength(1);
      expect(files[0]).toMatch(/^\d{4}-\d\d-\d\d-bat_[0-9a-f]{32}\.csv$/);
      expect(await readFile(join(folder, files[0] ?? ''), 'utf8')).toBe(
        '"payment_key","affiliate_id","name","email","holder","account","amount","currency"\r\n' +
          `"${payout?.providerKey}","aff_${parties.chain[0]}","'=HYPERLINK(""x"")","affiliate@example.com",` +
          '"Ann Example","DE89370400440532013000","10.00","EUR"\r\n',
      );
      await run(parties, provider);
      expect(await readdir(folder)).toEqual(files);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
