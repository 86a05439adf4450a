import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createParties,
  creditOrder,
  freshLedger,
  type TestLedger,
  type TestParties,
} from '../../test/support/ledger.ts';
import { auditLedger } from '../audit/audit.ts';
import { affiliateBalance } from '../audit/counts.ts';
import { recordRefund } from '../decisions/refunds.ts';
import { type Database, inTransaction } from '../postgres/db.ts';
import { updateAffiliate } from '../programs/affiliates.ts';
import { failPayout, listPayoutItems, listPayouts, markPayoutPaid } from './payouts.ts';
import { answerAll, type PaymentBatch, type PayoutProvider } from './provider.ts';
import { createBankCsvProvider } from './providers/bank-csv.ts';
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
    async submit(batch) {
      batches.push(batch);
      return answerAll(batch, { outcome: 'accepted' });
    },
  };
  return { provider, batches, orders: () => batches.flatMap(({ orders }) => orders) };
}

const soon = () => new Date(Date.now() + 1_000);

async function run(parties: TestParties, provider: PayoutProvider) {
  return await runPayouts(ledger, { actor: 'test', now: soon(), provider, programId: parties.programId });
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
    const dying: PayoutProvider = { name: 'recording', submit: () => new Promise(() => {}) };
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
      submit: async (batch) => answerAll(batch, { outcome: 'refused', reason: 'account closed' }),
    };
    expect(await run(parties, refusing)).toMatchObject({ built: 1, failed: 1 });
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({
      availableMinor: 1_000n,
      inTransitMinor: 0n,
    });
    const { provider, orders } = createRecordingProvider();
    await run(parties, provider);
    expect(orders().map(({ amountMinor }) => amountMinor)).toEqual([1_000n]);
    await expectBooksToHold();
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
      debtMinor: 400n,
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
      debtMinor: 250n,
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
      const [payout] = (await run(parties, provider)).payouts;
      const files = await readdir(folder);
      expect(files).toHaveLength(1);
      expect(files[0]).toMatch(/^\d{4}-\d\d-\d\d-bat_[0-9a-f]{32}\.csv$/);
      expect(await readFile(join(folder, files[0] ?? ''), 'utf8')).toBe(
        '"payment_key","affiliate_id","name","email","account","amount","currency"\r\n' +
          `"${payout?.providerKey}","aff_${parties.chain[0]}","'=HYPERLINK(""x"")","affiliate@example.com","","10.00","EUR"\r\n`,
      );
      await run(parties, provider);
      expect(await readdir(folder)).toEqual(files);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
