import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../../test/support/engines.ts';
import {
  createParties,
  creditOrder,
  freshLedger,
  givePayoutMethod,
  type TestLedger,
  type TestParties,
  waitingForLocks,
} from '../../test/support/ledger.ts';
import { auditLedger } from '../audit/audit.ts';
import { affiliateBalance } from '../audit/counts.ts';
import { adjustBalance } from '../books/balance-adjustments.ts';
import { vestDue } from '../books/commissions.ts';
import { writeOffDebt } from '../books/debt.ts';
import { recordRefund } from '../decisions/refunds.ts';
import { type Database, inTransaction } from '../postgres/db.ts';
import { updateAffiliate } from '../programs/affiliates.ts';
import { buildPayouts, previewRun } from './build.ts';
import { mergeAffiliates } from './merges.ts';
import { listPayouts, type Payout, returnPayout } from './payouts.ts';
import { answerAll, type PaymentBatch, type PaymentOrder, type PayoutProvider } from './provider.ts';
import { BANK_LIMITS } from './providers/bank-csv.ts';
import { runPayouts } from './run.ts';
import { reconcilePayouts, submitPayouts } from './submit.ts';

/** How payouts end otherwise than planned. */

let db: TestLedger;
let ledger: Database;
beforeAll(async () => {
  db = await freshLedger({ max: 24 });
  ledger = db.ledger;
});
afterAll(async () => await db.close());

const soon = () => new Date(Date.now() + 1_000);
const single = { levelRatesBps: [] };

/** A provider that pays what it receives, once a key, and can be asked; `gives` may spoil its answer. */
function createPayer(gives: (batch: PaymentBatch) => 'paid' | 'nothing' | 'no answer' = () => 'paid') {
  const paid = new Map<string, bigint>();
  const provider: PayoutProvider = {
    name: 'payer',
    limits: BANK_LIMITS,
    async submit(batch) {
      const gift = gives(batch);
      if (gift === 'nothing') throw new Error('connection refused');
      for (const { providerKey, amountMinor } of batch.orders) paid.set(providerKey, amountMinor);
      if (gift === 'no answer') throw new Error('socket hang up');
      return answerAll(batch, { outcome: 'paid' });
    },
    lookUp: async (orders: readonly PaymentOrder[]) =>
      new Map(
        orders.flatMap(({ providerKey }) =>
          paid.has(providerKey) ? [[providerKey, { outcome: 'paid' }]] : [],
        ),
      ),
  };
  return { provider, paid, total: () => [...paid.values()].reduce((sum, amount) => sum + amount, 0n) };
}

async function payoutsOf({ programId }: TestParties): Promise<Payout[]> {
  return (await listPayouts(ledger, { programId, limit: 100 })).rows.toSorted((a, b) => Number(a.id - b.id));
}

async function refund({ programId }: TestParties, orderId: string, amountMinor: bigint) {
  await inTransaction(ledger, (tx) =>
    recordRefund(tx, { programId, orderId, refundRef: 'r', amountMinor, actor: 'test' }),
  );
}

async function expectBooksToHold() {
  expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

/** The provider paid what the books say left in cash. */
async function expectCashToBe(parties: TestParties, totalMinor: bigint) {
  const [cash] = await ledger<{ minor: bigint }[]>`
    select -balance_minor as minor from accounts where program_id = ${parties.programId} and kind = 'cash_clearing'`;
  expect(cash?.minor).toBe(totalMinor);
}

describe('a payout that is not submitted yet', () => {
  test('is canceled by a refund of an order in it, and built again without it', async () => {
    const parties = await createParties(ledger, single);
    const { programId } = parties;
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'kept' });
    await creditOrder(ledger, parties, { amountMinor: 5_000n, orderId: 'refunded' });
    const { provider, total } = createPayer();
    await vestDue(ledger, { now: soon(), limit: 10, programId });
    expect(await previewRun(ledger, { now: soon(), provider, programId })).toMatchObject({
      payouts: [{ affiliateId: parties.chain[0], currency: 'EUR', amountMinor: 1_500n }],
    });
    expect(await payoutsOf(parties)).toEqual([]);
    expect(await buildPayouts(ledger, { actor: 'test', now: soon(), provider, programId })).toMatchObject({
      built: 1,
    });
    await refund(parties, 'refunded', 5_000n);
    expect((await payoutsOf(parties)).map(({ state }) => state)).toEqual(['canceled']);
    await expectBooksToHold();
    await runPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
    expect((await payoutsOf(parties)).map(({ state, amountMinor }) => [state, amountMinor])).toEqual([
      ['canceled', 1_500n],
      ['paid', 1_000n],
    ]);
    expect(total()).toBe(1_000n);
    await expectCashToBe(parties, 1_000n);
    await expectBooksToHold();
  });

  test('is canceled when its affiliate is suspended before it is handed over', async () => {
    const parties = await createParties(ledger, single);
    const { programId } = parties;
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    await vestDue(ledger, { now: soon(), limit: 10, programId });
    const { provider, total } = createPayer();
    await buildPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
    await updateAffiliate(ledger, { actor: 'test', id: parties.chain[0], changes: { status: 'suspended' } });
    await submitPayouts(ledger, { now: soon(), provider, programId });
    expect((await payoutsOf(parties)).map(({ state }) => state)).toEqual(['canceled']);
    expect(total()).toBe(0n);
    expect(await affiliateBalance(ledger, parties.chain[0])).toMatchObject({ availableMinor: 1_000n });
    await expectBooksToHold();
  });
});

test('a payout is canceled also when its affiliate is suspended in the moment of the hand-over', async () => {
  const parties = await createParties(ledger, single);
  const { programId, chain } = parties;
  await creditOrder(ledger, parties, { amountMinor: 10_000n });
  await vestDue(ledger, { now: soon(), limit: 10, programId });
  const { provider, total } = createPayer();
  await buildPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
  let run: Promise<unknown> | undefined;
  await ledger.begin(async (tx) => {
    await tx`update affiliates set status = 'suspended' where id = ${chain[0]}`;
    run = submitPayouts(ledger, { now: soon(), provider, programId });
    await waitFor(async () => (await waitingForLocks(db.owner)) > 0, {
      deadlineMs: 10_000,
      what: 'the run to meet the affiliate',
    });
  });
  await run;
  expect((await payoutsOf(parties)).map(({ state }) => state)).toEqual(['canceled']);
  expect(total()).toBe(0n);
  await expectBooksToHold();
});

test('a payout that a dead run left with the provider long ago is asked for, and not handed over again', async () => {
  const parties = await createParties(ledger, single);
  const { programId } = parties;
  await creditOrder(ledger, parties, { amountMinor: 10_000n });
  let calls = 0;
  const { provider, paid } = createPayer(() => {
    calls++;
    return 'paid';
  });
  // It dies between the provider's yes and ours.
  const dying: PayoutProvider = {
    ...provider,
    submit: async (batch) => {
      await provider.submit(batch);
      return await new Promise(() => undefined);
    },
  };
  void runPayouts(ledger, { actor: 'test', now: soon(), provider: dying, programId });
  await waitFor(() => paid.size > 0, { deadlineMs: 10_000, what: 'the provider to pay' });
  await db.owner`update payout_batches set claimed_until = now() where program_id = ${programId}`;
  // By now the provider has forgotten the key, and would pay again.
  const later = { now: new Date(Date.now() + 24 * 3_600_000), provider, programId, actor: 'test' };
  await runPayouts(ledger, later);
  await runPayouts(ledger, later);
  expect(calls).toBe(1);
  expect((await payoutsOf(parties)).map(({ state }) => state)).toEqual(['paid']);
  await expectCashToBe(parties, 1_000n);
  await expectBooksToHold();
});

describe('a payout without an answer', () => {
  test('that was paid is found paid, and nothing is paid again', async () => {
    const parties = await createParties(ledger, single);
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    let isFirst = true;
    const { provider, paid } = createPayer(() => {
      const answer = isFirst ? 'no answer' : 'paid';
      isFirst = false;
      return answer;
    });
    const options = { now: soon(), provider, programId: parties.programId, actor: 'test' };
    expect(await runPayouts(ledger, options)).toMatchObject({ unknown: 1 });
    expect(await reconcilePayouts(ledger, options)).toEqual({ asked: 1, resubmitted: 0, unknown: 0 });
    expect((await payoutsOf(parties)).map(({ state }) => state)).toEqual(['paid']);
    await runPayouts(ledger, options);
    expect(paid.size).toBe(1);
    await expectCashToBe(parties, 1_000n);
    await expectBooksToHold();
  });

  test('that never arrived stays with a person when its affiliate was suspended meanwhile', async () => {
    const parties = await createParties(ledger, single);
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    let isAway = true;
    const { provider, paid } = createPayer(() => (isAway ? 'nothing' : 'paid'));
    const options = { now: soon(), provider, programId: parties.programId, actor: 'test' };
    await runPayouts(ledger, options);
    isAway = false;
    await updateAffiliate(ledger, { actor: 'test', id: parties.chain[0], changes: { status: 'suspended' } });
    expect(await reconcilePayouts(ledger, options)).toEqual({ asked: 1, resubmitted: 0, unknown: 1 });
    expect(paid.size).toBe(0);
    await expectBooksToHold();
  });

  test('that never arrived is handed over again under its own key, and after a day left to a person', async () => {
    const parties = await createParties(ledger, single);
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    let isAway = true;
    const { provider, paid } = createPayer(() => (isAway ? 'nothing' : 'paid'));
    const options = { now: soon(), provider, programId: parties.programId, actor: 'test' };
    await runPayouts(ledger, options);
    const tomorrow = { ...options, now: new Date(Date.now() + 24 * 3_600_000) };
    expect(await reconcilePayouts(ledger, tomorrow)).toEqual({ asked: 1, resubmitted: 0, unknown: 1 });
    isAway = false;
    expect(await reconcilePayouts(ledger, options)).toEqual({ asked: 1, resubmitted: 1, unknown: 0 });
    const [payout] = await payoutsOf(parties);
    expect(payout?.state).toBe('paid');
    expect([...paid.keys()]).toEqual([payout?.providerKey]);
    await expectCashToBe(parties, 1_000n);
  });
});

test('24 runs at once over 60 affiliates pay each of them once, while orders are refunded and affiliates suspended', async () => {
  const parties = await createParties(ledger, single);
  const { programId } = parties;
  const ids: number[] = [];
  for (let i = 0; i < 60; i++) {
    const [row] = await db.owner<{ id: number }[]>`
      insert into affiliates (program_id, ref_code, name, email, status, change_xid)
      values (${programId}, ${`many${i}`}, 'many', 'many@example.com', 'active', pg_current_xact_id()) returning id`;
    ids.push(row?.id ?? 0);
    await givePayoutMethod(ledger, row?.id ?? 0);
  }
  await db.owner`
    insert into links (code, program_id, campaign_id, affiliate_id, landing_url, change_xid)
    select 'many' || id, program_id, ${parties.campaignId}, id, 'https://shop.example/', pg_current_xact_id()
    from affiliates where id = any(${ids}::integer[])`;
  for (const id of ids) {
    const [link] = await ledger<{ id: number }[]>`select id from links where affiliate_id = ${id}`;
    const own: TestParties = { ...parties, chain: [id, 0, 0], linkId: link?.id ?? 0 };
    for (let i = 0; i < 2; i++)
      await creditOrder(ledger, own, { amountMinor: 5_000n, orderId: `${id}-${i}` });
  }
  const { provider, total } = createPayer();
  const run = () => runPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
  const others = [
    ...ids.slice(0, 10).map((id) => refund(parties, `${id}-0`, 5_000n)),
    ...ids
      .slice(10, 15)
      .map((id) => updateAffiliate(ledger, { actor: 'test', id, changes: { status: 'suspended' } })),
  ];
  await Promise.all([...Array.from({ length: 24 }, run), ...others]);
  await run();
  const payouts = await payoutsOf(parties);
  const paid = payouts
    .filter(({ state }) => state === 'paid')
    .reduce((sum, payout) => sum + payout.amountMinor, 0n);
  expect(total()).toBe(paid);
  await expectCashToBe(parties, paid);
  // In any order of events: an affiliate has at most what its orders earned, and all of it without a refund or a
  // suspension.
  const balances = await Promise.all(ids.map((id) => affiliateBalance(ledger, id)));
  expect(balances.slice(15).map((balance) => balance?.paidMinor)).toEqual(Array(45).fill(1_000n));
  expect(balances.every((balance) => (balance?.paidMinor ?? 0n) <= 1_000n)).toBe(true);
  await expectBooksToHold();
});

test('a weekly payout waits for the next week', async () => {
  const parties = await createParties(ledger, { ...single, payoutSchedule: 'weekly' });
  const { programId } = parties;
  const { provider } = createPayer();
  for (const orderId of ['first', 'second']) {
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId });
    await runPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
  }
  expect(await payoutsOf(parties)).toHaveLength(1);
  await runPayouts(ledger, {
    actor: 'test',
    now: new Date(Date.now() + 7 * 86_400_000),
    provider,
    programId,
  });
  expect(await payoutsOf(parties)).toHaveLength(2);
});

test('debt is given up when it is older than the program says, and only then', async () => {
  const parties = await createParties(ledger, single);
  const { programId, chain } = parties;
  await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'paid' });
  const { provider } = createPayer();
  await runPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
  await refund(parties, 'paid', 4_000n);
  const inDays = (days: number) => ({ now: new Date(Date.now() + days * 86_400_000), programId });
  expect(await writeOffDebt(ledger, inDays(179))).toEqual({ affiliates: 0, amountMinor: 0n });
  expect(await writeOffDebt(ledger, inDays(181))).toEqual({ affiliates: 1, amountMinor: 400n });
  expect(await writeOffDebt(ledger, inDays(181))).toEqual({ affiliates: 0, amountMinor: 0n });
  expect(await affiliateBalance(ledger, chain[0])).toMatchObject({ paidMinor: 1_000n, debtMinor: 0n });
  await expectBooksToHold();
});

test('a deduction makes no debt older', async () => {
  const parties = await createParties(ledger, single);
  const { programId, chain } = parties;
  await ledger`update programs set debt_write_off_days = 180 where id = ${programId}`;
  await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'order' });
  await vestDue(ledger, { now: soon(), limit: 10, programId });
  await runPayouts(ledger, { actor: 'test', now: soon(), provider: createPayer().provider, programId });
  await refund(parties, 'order', 4_000n);
  const deduction = { programId, affiliateId: chain[0], currency: 'EUR', kind: 'deduction' } as const;
  await inTransaction(ledger, (tx) =>
    adjustBalance(tx, { ...deduction, amountMinor: 300n, note: 'x', actor: 'test' }),
  );
  const inDays = (days: number) => ({ now: new Date(Date.now() + days * 86_400_000), programId });
  expect(await writeOffDebt(ledger, inDays(179))).toEqual({ affiliates: 0, amountMinor: 0n });
  expect(await writeOffDebt(ledger, inDays(181))).toEqual({ affiliates: 1, amountMinor: 400n });
  await expectBooksToHold();
});

test('debt is not given up while there are earnings it can be taken from', async () => {
  const parties = await createParties(ledger, { ...single, payoutMinMinor: 500n });
  const { programId, chain } = parties;
  const { provider, total } = createPayer();
  await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'paid' });
  await runPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
  await refund(parties, 'paid', 10_000n);
  // 3.00 available, 2.00 in the hold, 10.00 owed: only 5.00 are beyond reach.
  await creditOrder(ledger, parties, { amountMinor: 3_000n });
  await vestDue(ledger, { now: soon(), limit: 10, programId });
  await creditOrder(ledger, parties, { amountMinor: 2_000n });
  const now = new Date(Date.now() + 181 * 86_400_000);
  expect(await writeOffDebt(ledger, { now, programId })).toEqual({ affiliates: 1, amountMinor: 500n });
  await runPayouts(ledger, { actor: 'test', now, provider, programId });
  expect(total()).toBe(1_000n);
  expect(await affiliateBalance(ledger, chain[0])).toMatchObject({ availableMinor: 500n, debtMinor: -500n });
  await creditOrder(ledger, parties, { amountMinor: 6_000n });
  await runPayouts(ledger, { actor: 'test', now, provider, programId });
  expect(await affiliateBalance(ledger, chain[0])).toMatchObject({ paidMinor: 1_600n, debtMinor: 0n });
  await expectBooksToHold();
});

describe('debt that a merge handed over', () => {
  const inDays = (days: number) => new Date(Date.now() + days * 86_400_000);

  /** 10.00 were paid to the old one and refunded, before or after the merge; its successor owes them. */
  async function merged(when: 'before' | 'after') {
    const parties = await createParties(ledger, single);
    const { programId, chain } = parties;
    const [old, kept] = chain;
    const { provider, total } = createPayer();
    const run = () => runPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
    const earn = (amountMinor: bigint) =>
      creditOrder(ledger, { ...parties, chain: [kept, old, chain[2]] }, { amountMinor });
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'paid' });
    await run();
    if (when === 'before') await refund(parties, 'paid', 10_000n);
    // A merge puts the account of its successor on hold.
    await ledger`update programs set payout_method_hold_days = 0 where id = ${programId}`;
    const into = { programId, affiliateId: old, intoAffiliateId: kept, note: 'one', actor: 'test' };
    await inTransaction(ledger, (tx) => mergeAffiliates(tx, into));
    if (when === 'after') await refund(parties, 'paid', 10_000n);
    await run();
    const owed = async () => {
      const balances = await Promise.all([old, kept].map((id) => affiliateBalance(ledger, id)));
      return balances.map((balance) => (balance ? balance.debtMinor + balance.adjustmentsMinor : 0n));
    };
    expect(await owed()).toEqual([0n, -1_000n]);
    const giveUp = (days: number) => writeOffDebt(ledger, { now: inDays(days), programId });
    return { ...parties, kept, run, earn, owed, giveUp, total };
  }

  test.each(['before', 'after'] as const)(
    'is given up when it is as old as debt of its own: refunded %s',
    async (when) => {
      const { owed, giveUp, earn, run, total } = await merged(when);
      expect(await giveUp(179)).toEqual({ affiliates: 0, amountMinor: 0n });
      expect(await giveUp(181)).toEqual({ affiliates: 1, amountMinor: 1_000n });
      expect(await giveUp(181)).toEqual({ affiliates: 0, amountMinor: 0n });
      expect(await giveUp(182)).toEqual({ affiliates: 0, amountMinor: 0n });
      expect(await owed()).toEqual([0n, 0n]);
      await expectBooksToHold();
      await earn(5_000n);
      await run();
      expect(total()).toBe(1_500n);
      await expectBooksToHold();
    },
  );

  test('is not given up as far as its successor has earned it, or paid it', async () => {
    const { owed, giveUp, earn, run, total } = await merged('before');
    // 3.00 available, 2.00 in the hold, 10.00 owed.
    await earn(3_000n);
    await run();
    await earn(2_000n);
    expect(await giveUp(181)).toEqual({ affiliates: 1, amountMinor: 500n });
    await earn(1_000n);
    await run();
    expect(await owed()).toEqual([0n, 0n]);
    expect(total()).toBe(1_100n);
    expect(await giveUp(182)).toEqual({ affiliates: 0, amountMinor: 0n });
    await expectBooksToHold();
  });

  test('counts by its age beside debt of the successor, which is younger', async () => {
    const { programId, kept, giveUp, earn, run, owed } = await merged('before');
    const id = await earn(20_000n);
    await run();
    const [order] = await ledger<{ orderId: string }[]>`select order_id from conversions where id = ${id}`;
    await inTransaction(ledger, (tx) =>
      recordRefund(tx, {
        programId,
        orderId: order?.orderId ?? '',
        refundRef: 'r',
        amountMinor: 5_000n,
        actor: 'test',
      }),
    );
    expect(await owed()).toEqual([0n, -500n]);
    // What was handed over was netted, so what is left is of the successor's own refund.
    expect(await giveUp(179)).toEqual({ affiliates: 0, amountMinor: 0n });
    expect(await giveUp(181)).toEqual({ affiliates: 1, amountMinor: 500n });
    expect(await affiliateBalance(ledger, kept)).toMatchObject({ debtMinor: 0n, adjustmentsMinor: 0n });
    expect(await owed()).toEqual([0n, 0n]);
    await expectBooksToHold();
  });
});

describe('debt that was given up comes back with the money', () => {
  const later = () => new Date(Date.now() + 181 * 86_400_000);

  test('when the bank returns the payout of a refunded order', async () => {
    const parties = await createParties(ledger, single);
    const { programId, chain } = parties;
    const { provider, total } = createPayer();
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: 'kept' });
    await creditOrder(ledger, parties, { amountMinor: 5_000n, orderId: 'refunded' });
    await runPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
    await refund(parties, 'refunded', 5_000n);
    expect(await writeOffDebt(ledger, { now: later(), programId })).toEqual({
      affiliates: 1,
      amountMinor: 500n,
    });
    await sendBack(parties, 0);
    expect(await affiliateBalance(ledger, chain[0])).toMatchObject({
      availableMinor: 1_500n,
      debtMinor: -500n,
      paidMinor: 0n,
    });
    await expectBooksToHold();
    await runPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
    // The first payment came back: 10.00 is all that is left of both.
    expect(total() - 1_500n).toBe(1_000n);
    expect(await affiliateBalance(ledger, chain[0])).toMatchObject({ paidMinor: 1_000n, debtMinor: 0n });
    await expectCashToBe(parties, 1_000n);
    await expectBooksToHold();
  });

  test('and only what was given up, not what a later payout has netted', async () => {
    const parties = await createParties(ledger, single);
    const { programId, chain } = parties;
    const { provider } = createPayer();
    const pay = () => runPayouts(ledger, { actor: 'test', now: soon(), provider, programId });
    for (const orderId of ['given up', 'netted']) {
      await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId });
      await pay();
    }
    await refund(parties, 'given up', 10_000n);
    await writeOffDebt(ledger, { now: later(), programId });
    await refund(parties, 'netted', 10_000n);
    await creditOrder(ledger, parties, { amountMinor: 30_000n });
    await pay();
    // What was netted is owed no more: with its payout back, it is the affiliate's again.
    await sendBack(parties, 1);
    expect(await affiliateBalance(ledger, chain[0])).toMatchObject({ availableMinor: 1_000n, debtMinor: 0n });
    // The netting undone, its debt is there again, and no affiliate has more than it earned.
    await sendBack(parties, 2);
    expect(await affiliateBalance(ledger, chain[0])).toMatchObject({
      availableMinor: 4_000n,
      debtMinor: -1_000n,
      paidMinor: 1_000n,
    });
    await sendBack(parties, 0);
    expect(await affiliateBalance(ledger, chain[0])).toMatchObject({
      availableMinor: 5_000n,
      debtMinor: -2_000n,
      paidMinor: 0n,
    });
    await expectBooksToHold();
    await pay();
    await expectCashToBe(parties, 3_000n);
    await expectBooksToHold();
  });

  async function sendBack(parties: TestParties, index: number): Promise<void> {
    const payoutId = (await payoutsOf(parties))[index]?.id ?? 0n;
    const request = { payoutId, now: new Date(), actor: 'test', failure: 'account closed' };
    const { outcome } = await inTransaction(ledger, (tx) => returnPayout(tx, request));
    expect(outcome).toBe('done');
  }
});

test('a bonus above the largest payment is paid in parts, and each part comes back to where it was', async () => {
  const parties = await createParties(ledger, single);
  const { programId, chain } = parties;
  const { provider, total } = createPayer();
  const limited = { ...provider, limits: { ...BANK_LIMITS, largest: new Map([['EUR', '60.00']]) } };
  const bonus = { programId, affiliateId: chain[0], kind: 'bonus', currency: 'EUR', note: 'x' } as const;
  await inTransaction(ledger, (tx) => adjustBalance(tx, { ...bonus, amountMinor: 6_001n, actor: 'test' }));
  const run = () => runPayouts(ledger, { now: soon(), provider: limited, programId, actor: 'test' });
  expect(await run()).toMatchObject({ built: 1 });
  expect(await affiliateBalance(ledger, chain[0])).toMatchObject({
    availableMinor: 0n,
    adjustmentsMinor: 1n,
  });
  expect(await run()).toMatchObject({ built: 1 });
  const [first, second] = await payoutsOf(parties);
  expect([first?.amountMinor, second?.amountMinor]).toEqual([6_000n, 1n]);
  const back = { payoutId: first?.id ?? 0n, now: new Date(), actor: 'test', failure: 'closed' };
  const { outcome } = await inTransaction(ledger, (tx) => returnPayout(tx, back));
  expect(outcome).toBe('done');
  expect(await affiliateBalance(ledger, chain[0])).toMatchObject({
    availableMinor: 0n,
    adjustmentsMinor: 6_000n,
  });
  expect(total()).toBe(6_001n);
  await expectBooksToHold();
});
