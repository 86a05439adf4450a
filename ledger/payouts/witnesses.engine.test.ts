import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSecretBox } from '../../core/secret-box.ts';
import { DAY_MS } from '../../core/time.ts';
import { waitFor } from '../../test/support/engines.ts';
import {
  createParties,
  creditOrder,
  decisionFor,
  freshLedger,
  recordDecision,
  type TestLedger,
  type TestParties,
  waitingForLocks,
} from '../../test/support/ledger.ts';
import { createApiKey } from '../access/api-keys.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { createUser } from '../access/users.ts';
import { auditLedger } from '../audit/audit.ts';
import { affiliateBalance } from '../audit/counts.ts';
import { eraseCustomer, findCustomer } from '../audit/erase.ts';
import { adjustBalance } from '../books/balance-adjustments.ts';
import { vestDue } from '../books/commissions.ts';
import { recordConversion } from '../conversions/conversions.ts';
import { type OrderEvent, recordReport } from '../decisions/order-reports.ts';
import { recordRefund } from '../decisions/refunds.ts';
import { approveConversion, confirmConversion } from '../decisions/reviews.ts';
import { type Database, inTransaction } from '../postgres/db.ts';
import { updateAffiliate } from '../programs/affiliates.ts';
import { updateProgram } from '../programs/programs.ts';
import { approvePayoutRun, getPayoutRun, listPayoutRuns, rejectPayoutRun } from './approvals.ts';
import { buildPayouts, previewRun } from './build.ts';
import { readDestination } from './destinations.ts';
import { mergeAffiliates } from './merges.ts';
import {
  accountOf,
  encryptPayoutDetails,
  hashAccount,
  type PayoutDetails,
  setPayoutMethod,
} from './methods.ts';
import { listPayouts, markPayoutPaid } from './payouts.ts';
import { answerAll, type PaymentOrder, type PayoutProvider } from './provider.ts';
import { BANK_LIMITS } from './providers/bank-csv.ts';
import { runPayouts } from './run.ts';
import { reconcilePayouts, submitPayouts } from './submit.ts';

/** Money needs a witness: destinations on hold, what a payout keeps of its own, previews that bind, second persons. */

const secretBox = createSecretBox([randomBytes(32)]);
const actor = 'key:1';
const HOLD_DAYS = 3;
const OWN: PayoutDetails = { kind: 'bank', holder: 'Ann', iban: 'DE89370400440532013000' };
const FOREIGN: PayoutDetails = { kind: 'bank', holder: 'Thief', iban: 'GB82WEST12345698765432' };

let db: TestLedger;
let ledger: Database;
beforeAll(async () => {
  db = await freshLedger({ max: 16 });
  ledger = db.ledger;
});
afterAll(async () => await db.close());

const soon = () => new Date(Date.now() + 1_000);
const afterHold = () => new Date(Date.now() + HOLD_DAYS * DAY_MS + 60_000);

/** Accepts everything; knows to which account. */
function createBank() {
  const orders: PaymentOrder[] = [];
  const provider: PayoutProvider = {
    name: 'bank_csv',
    limits: BANK_LIMITS,
    async submit(batch) {
      orders.push(...batch.orders);
      return answerAll(batch, { outcome: 'accepted' });
    },
  };
  return { provider, accounts: () => orders.map(({ payoutAccount }) => payoutAccount) };
}

async function setMethod(affiliateId: number, details: PayoutDetails, changedBy = actor): Promise<void> {
  await setPayoutMethod(ledger, {
    affiliateId,
    kind: details.kind,
    details: encryptPayoutDetails(secretBox, details),
    accountHash: hashAccount(accountOf(details)),
    hint: `… ${accountOf(details).slice(-4)}`,
    changedBy,
  });
}

/** An affiliate alone, with 10 EUR to be paid and an account whose hold has ended. */
async function payee(): Promise<TestParties & { affiliateId: number }> {
  const parties = await createParties(ledger, { levelRatesBps: [] });
  const { programId, chain } = parties;
  await updateProgram(ledger, { id: programId, changes: { payoutMethodHoldDays: 0 } });
  await setMethod(chain[0], OWN);
  await updateProgram(ledger, { id: programId, changes: { payoutMethodHoldDays: HOLD_DAYS } });
  await creditOrder(ledger, parties, { amountMinor: 10_000n });
  await vestDue(ledger, { now: soon(), limit: 100, programId });
  return { ...parties, affiliateId: chain[0] };
}

const payoutsOf = async ({ programId }: { programId: number }) =>
  (await listPayouts(ledger, { programId, limit: 100 })).rows.toSorted((a, b) => Number(a.id - b.id));

async function expectBooksToHold() {
  expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

describe('a thief with one credential who changes where the money goes', { tags: ['attack'] }, () => {
  test('is paid nothing before the hold has ended; the preview says until when', async () => {
    const { programId, affiliateId } = await payee();
    await setMethod(affiliateId, FOREIGN);
    const { provider, accounts } = createBank();
    const options = { provider, secretBox, programId, actor };
    const preview = await previewRun(ledger, { now: soon(), provider, programId });
    expect(preview).toMatchObject({ payouts: [], leftOut: [{ reason: 'destination_on_hold' }] });
    const until = preview.leftOut[0]?.heldUntil?.getTime() ?? 0;
    expect(Math.abs(until - Date.now() - HOLD_DAYS * DAY_MS)).toBeLessThan(60_000);
    expect(await runPayouts(ledger, { ...options, now: soon() })).toMatchObject({ built: 0 });
    expect(accounts()).toEqual([]);
    expect(await runPayouts(ledger, { ...options, now: afterHold() })).toMatchObject({ built: 1 });
    expect(accounts()).toEqual([accountOf(FOREIGN)]);
    await expectBooksToHold();
  });

  test('ends no hold by a shorter one of the program, and starts none with the same account', async () => {
    const { programId, affiliateId } = await payee();
    const read = () => readDestination(ledger, { affiliateId, provider: createBank().provider, now: soon() });
    await setMethod(affiliateId, OWN);
    expect(await read()).toMatchObject({ heldUntil: null });
    await setMethod(affiliateId, FOREIGN);
    const held = await read();
    expect(held.heldUntil).not.toBeNull();
    await updateProgram(ledger, { id: programId, changes: { payoutMethodHoldDays: 0 } });
    await setMethod(affiliateId, FOREIGN);
    expect(await read()).toEqual(held);
  });

  test('sets the first method of an affiliate: it is on hold as well', async () => {
    const parties = await createParties(ledger, { levelRatesBps: [] });
    await creditOrder(ledger, parties, { amountMinor: 10_000n });
    await setMethod(parties.chain[0], FOREIGN);
    const { provider, accounts } = createBank();
    const { programId } = parties;
    await runPayouts(ledger, { now: soon(), provider, secretBox, programId, actor });
    expect(accounts()).toEqual([]);
  });

  test('changes it between build and hand-over: nothing is handed over, and the hold begins', async () => {
    const { programId, affiliateId } = await payee();
    const { provider, accounts } = createBank();
    const options = { now: soon(), provider, secretBox, programId };
    await buildPayouts(ledger, { now: soon(), provider, programId, actor });
    await setMethod(affiliateId, FOREIGN);
    expect(await submitPayouts(ledger, options)).toEqual({ payouts: [], stopped: null });
    expect(await payoutsOf({ programId })).toMatchObject([
      { state: 'canceled', failure: 'the payout method was changed before it was handed over' },
    ]);
    expect(await runPayouts(ledger, { ...options, actor })).toMatchObject({ built: 0 });
    expect(accounts()).toEqual([]);
    expect(await affiliateBalance(ledger, affiliateId)).toMatchObject({ availableMinor: 1_000n });
    await expectBooksToHold();
  });

  test('changes it in the moment of the hand-over: the hand-over waits, and sees the change', async () => {
    const { programId, affiliateId } = await payee();
    const { provider, accounts } = createBank();
    await buildPayouts(ledger, { now: soon(), provider, programId, actor });
    let handOver: Promise<unknown> | undefined;
    await ledger.begin(async (tx) => {
      await tx`update payout_methods set account_hash = null where affiliate_id = ${affiliateId}`;
      handOver = submitPayouts(ledger, { now: soon(), provider, secretBox, programId });
      await waitFor(async () => (await waitingForLocks(db.owner)) > 0, {
        deadlineMs: 10_000,
        what: 'the hand-over to meet the affiliate',
      });
    });
    await handOver;
    expect(accounts()).toEqual([]);
    expect((await payoutsOf({ programId })).map(({ state }) => state)).toEqual(['canceled']);
  });

  test('and changes it back after the run: the payout says where it went, by which version', async () => {
    const { programId, affiliateId } = await payee();
    await setMethod(affiliateId, FOREIGN);
    const { provider, accounts } = createBank();
    await runPayouts(ledger, { now: afterHold(), provider, secretBox, programId, actor });
    await setMethod(affiliateId, OWN);
    expect(accounts()).toEqual([accountOf(FOREIGN)]);
    expect(await payoutsOf({ programId })).toMatchObject([
      { destinationKind: 'bank', destinationHint: '… 5432', methodVersion: 3 },
    ]);
  });

  test('changes it while the outcome is unknown: the payout is not submitted again, and never elsewhere', async () => {
    const { programId, affiliateId } = await payee();
    const asked: PaymentOrder[] = [];
    const silent: PayoutProvider = {
      name: 'bank_csv',
      limits: BANK_LIMITS,
      submit: () => Promise.reject(new Error('no answer')),
      lookUp: async (orders) => {
        asked.push(...orders);
        return new Map();
      },
    };
    const options = { now: soon(), provider: silent, secretBox, programId, actor };
    expect(await runPayouts(ledger, options)).toMatchObject({ unknown: 1 });
    await setMethod(affiliateId, FOREIGN);
    expect(await reconcilePayouts(ledger, options)).toMatchObject({ asked: 1, resubmitted: 0, unknown: 1 });
    expect(asked.map(({ payoutAccount }) => payoutAccount)).toEqual([accountOf(OWN)]);
  });
});

describe('a run is bound to the preview it was confirmed with', { tags: ['attack'] }, () => {
  test.each<[string, (parties: TestParties & { affiliateId: number }) => Promise<unknown>]>([
    ['the amount', (parties) => creditNow(parties)],
    ['the destination', ({ affiliateId }) => setMethod(affiliateId, FOREIGN)],
    [
      'the affiliates',
      ({ affiliateId }) =>
        updateAffiliate(ledger, { id: affiliateId, changes: { status: 'suspended' }, actor }),
    ],
  ])('%s is another now: it is refused, and builds nothing', async (_what, change) => {
    const parties = await payee();
    const { programId } = parties;
    await updateProgram(ledger, { id: programId, changes: { payoutMethodHoldDays: 0 } });
    const { provider, accounts } = createBank();
    const asOf = soon();
    const { hash } = await previewRun(ledger, { now: asOf, provider, programId });
    const preview = { programId, asOf, hash };
    await change(parties);
    const run = runPayouts(ledger, { now: soon(), provider, secretBox, actor, preview });
    await expect(run).rejects.toMatchObject({ code: 'preview_changed' });
    expect(await payoutsOf({ programId })).toEqual([]);
    expect(accounts()).toEqual([]);
    await expectBooksToHold();
  });

  /** As if its hold had ended before the preview, and it was found only now. */
  async function creditNow(parties: TestParties): Promise<void> {
    await creditOrder(ledger, parties, { amountMinor: 500n });
    await vestDue(ledger, { now: soon(), limit: 100, programId: parties.programId });
    await ledger`
      update commissions set available_at = '2026-01-01' where program_id = ${parties.programId} and amount_minor = 50`;
  }

  test('what vests after the preview is left for the next run', async () => {
    const parties = await payee();
    const { programId } = parties;
    const { provider } = createBank();
    const asOf = new Date();
    const { hash } = await previewRun(ledger, { now: asOf, provider, programId });
    await creditOrder(ledger, parties, { amountMinor: 500n });
    await vestDue(ledger, { now: soon(), limit: 100, programId });
    const preview = { programId, asOf, hash };
    expect(await runPayouts(ledger, { now: soon(), provider, secretBox, actor, preview })).toMatchObject({
      built: 1,
      payouts: [{ amountMinor: 1_000n }],
    });
  });

  test('the audit log has who started it, and the hash of what it was to pay', async () => {
    const { programId } = await payee();
    const { provider } = createBank();
    const asOf = soon();
    const { hash } = await previewRun(ledger, { now: asOf, provider, programId });
    await runPayouts(ledger, { now: soon(), provider, secretBox, programId, actor: 'scheduler' });
    const log = await ledger<{ actor: string; after: object; subject: string; programId: number }[]>`
      select actor, subject, after, program_id from audit_log where action = 'payouts.run' and program_id = ${programId}`;
    expect(log).toMatchObject([
      {
        actor: 'scheduler',
        subject: expect.stringMatching(/^run_\d+$/),
        after: { confirmed: false, payouts: 1, amount_minor: '1000', preview: expect.any(String) },
      },
    ]);
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('a program that asks for a second person', { tags: ['attack'] }, () => {
  let users = 0;
  async function user(): Promise<number> {
    const email = `user-${++users}@example.com`;
    return (
      await createUser(ledger, { email, name: 'u', role: 'finance', programId: null, affiliateId: null })
    ).id;
  }

  async function waitingRun(startedBy: string, methodSetBy = actor) {
    const parties = await payee();
    const { programId, affiliateId } = parties;
    await updateProgram(ledger, {
      id: programId,
      changes: { payoutsNeedApproval: true, payoutMethodHoldDays: 0 },
    });
    await setMethod(affiliateId, FOREIGN, methodSetBy);
    const bank = createBank();
    const options = { now: soon(), provider: bank.provider, secretBox, programId };
    const run = await runPayouts(ledger, { ...options, actor: startedBy });
    expect(run).toMatchObject({ built: 1, awaitingApproval: 1, submitted: 0 });
    const { rows } = await listPayoutRuns(ledger, { programId, state: 'awaiting_approval', limit: 10 });
    expect(rows).toMatchObject([{ startedBy, payouts: 1, amountMinor: 1_000n, currency: 'EUR' }]);
    const runId = rows[0]?.id ?? 0n;
    const approve = (userId: number) =>
      inTransaction(ledger, (tx) => approvePayoutRun(tx, { runId, userId, now: new Date() }));
    const handOver = async () => (await submitPayouts(ledger, options)).payouts;
    return { ...parties, affiliateId, runId, approve, handOver, accounts: bank.accounts };
  }

  test('hands nothing over before, and all of it after', async () => {
    const { approve, handOver, accounts, programId, runId } = await waitingRun('scheduler');
    expect(await handOver()).toEqual([]);
    expect(
      await runPayouts(ledger, { now: soon(), provider: createBank().provider, programId, actor }),
    ).toMatchObject({ built: 0, submitted: 0 });
    await expectBooksToHold();
    const second = await user();
    expect(await approve(second)).toEqual({ outcome: 'done', leftOut: [] });
    expect(await handOver()).toMatchObject([{ state: 'submitted' }]);
    expect(accounts()).toEqual([accountOf(FOREIGN)]);
    expect(await approve(second)).toEqual({ outcome: 'wrong_state', state: 'approved' });
    expect(await getPayoutRun(ledger, runId)).toMatchObject({
      state: 'approved',
      decidedBy: `user:${second}`,
    });
    await expectBooksToHold();
  });

  test('does not let who started it approve it, nor with a key of theirs, nor a key of that key', async () => {
    const alone = await user();
    const made = await createApiKey(ledger, { role: 'finance', name: 'k' });
    const next = await createApiKey(ledger, { role: 'finance', name: 'k' });
    const rotated = await createApiKey(ledger, { role: 'finance', name: 'k', replaces: next.apiKey.id });
    const log = (by: string, action: string, subject: number, id: number) =>
      appendAuditLog(ledger, { actor: by, action, subject: `key_${subject}`, after: { id: `key_${id}` } });
    await log(`user:${alone}`, 'api_key.create', made.apiKey.id, made.apiKey.id);
    await log(`key:${made.apiKey.id}`, 'api_key.create', next.apiKey.id, next.apiKey.id);
    await log(`key:${made.apiKey.id}`, 'api_key.rotate', next.apiKey.id, rotated.apiKey.id);
    for (const startedBy of [`user:${alone}`, `key:${made.apiKey.id}`, `key:${rotated.apiKey.id}`]) {
      const { approve, handOver } = await waitingRun(startedBy);
      expect([startedBy, await approve(alone)]).toEqual([startedBy, { outcome: 'same_person' }]);
      expect(await handOver()).toEqual([]);
      expect(await approve(await user())).toMatchObject({ outcome: 'done' });
    }
  });

  test('leaves out the payouts whose destination the approver has set', async () => {
    const setter = await user();
    const { approve, handOver, programId, affiliateId } = await waitingRun('scheduler', `user:${setter}`);
    const [payout] = await payoutsOf({ programId });
    expect(await approve(setter)).toEqual({ outcome: 'done', leftOut: [payout?.id] });
    expect(await handOver()).toEqual([]);
    expect(await payoutsOf({ programId })).toMatchObject([
      { state: 'canceled', failure: 'its approver had set where it goes' },
    ]);
    expect(await affiliateBalance(ledger, affiliateId)).toMatchObject({ availableMinor: 1_000n });
    await expectBooksToHold();
  });

  type Payee = TestParties & { affiliateId: number };

  const giveBonus = (by: string, { programId, affiliateId }: Payee) =>
    inTransaction(ledger, (tx) =>
      adjustBalance(tx, {
        ...{
          programId,
          affiliateId,
          currency: 'EUR',
          kind: 'bonus',
          amountMinor: 500n,
          note: 'x',
          actor: by,
        },
      }),
    );

  /** What the first has follows with the run, by the actor of that. */
  async function mergeRecruiters(by: string, parties: Payee): Promise<void> {
    const { programId, affiliateId } = parties;
    const [, parent, grandparent] = parties.chain;
    await creditOrder(
      ledger,
      { ...parties, chain: [grandparent, parent, affiliateId] },
      { amountMinor: 10_000n },
    );
    for (const [from, into] of [
      [grandparent, parent],
      [parent, affiliateId],
    ] as const) {
      await inTransaction(ledger, (tx) =>
        mergeAffiliates(tx, { programId, affiliateId: from, intoAffiliateId: into, note: 'x', actor: by }),
      );
    }
  }

  async function creditByHand(
    by: string,
    { programId, affiliateId, campaignId, termsId }: Payee,
  ): Promise<bigint> {
    const order = { programId, orderId: `by ${by}`, amountMinor: 10_000n, currency: 'EUR' };
    const { conversion } = await recordConversion(ledger, { ...order, source: 'api' });
    await inTransaction(ledger, (tx) =>
      recordDecision(tx, {
        conversionId: conversion.id,
        outcome: 'attributed',
        reason: null,
        evidence: { manual: { creditedBy: by } },
        termsId,
        click: { ts: Date.now(), node: null, seq: null, ip: null, linkId: null, campaignId, affiliateId },
        now: new Date(),
      }),
    );
    return conversion.id;
  }

  const actOn = <T>(work: Parameters<typeof inTransaction<T>>[1]) => inTransaction(ledger, work);
  const orderOf = (by: string) => `of ${by}`;

  async function approveReview(by: string, parties: Payee): Promise<bigint> {
    const order = { amountMinor: 10_000n, orderId: orderOf(by), reason: 'geo_mismatch' } as const;
    const conversionId = await creditOrder(ledger, parties, { ...order, outcome: 'review' });
    await actOn((tx) => approveConversion(tx, { conversionId, reviewer: by, note: 'x' }));
    return conversionId;
  }

  async function report(by: string, { programId }: Payee, event: OrderEvent): Promise<void> {
    const options = { programId, orderId: orderOf(by), order: undefined, event, actor: by };
    expect(await actOn((tx) => recordReport(tx, options))).toMatchObject({ outcome: 'accepted' });
  }

  async function raise(by: string, parties: Payee): Promise<void> {
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: orderOf(by) });
    await report(by, parties, { kind: 'changed', total: { amountMinor: 20_000n, currency: 'EUR' } });
  }

  /** By a source that somebody has made. */
  async function raiseBySource(by: string, parties: Payee): Promise<void> {
    const source = orderOf(by).length + 1_000;
    await ledger`
      insert into audit_log (actor, action, subject) values (${by}, 'source.create', ${`src_${source}`})`;
    await raise(`src_${source}`, parties);
  }

  async function restore(by: string, parties: Payee): Promise<void> {
    const { programId } = parties;
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: orderOf(by) });
    const cancelled = { kind: 'cancelled' } as const;
    const shop = { programId, orderId: orderOf(by), order: undefined, event: cancelled, actor: 'key:1' };
    await actOn((tx) => recordReport(tx, shop));
    await report(by, parties, { kind: 'restored' });
  }

  async function takeRefundBack(by: string, parties: Payee): Promise<void> {
    const { programId } = parties;
    await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: orderOf(by) });
    const refund = { programId, orderId: orderOf(by), refundRef: 'r', amountMinor: 400n, actor: 'key:1' };
    await actOn((tx) => recordRefund(tx, refund));
    await report(by, parties, { kind: 'restored', refundRef: 'r' });
  }

  async function endHold(by: string, parties: Payee): Promise<void> {
    const conversionId = await creditOrder(ledger, parties, { amountMinor: 10_000n });
    await actOn((tx) => confirmConversion(tx, { conversionId, actor: by, now: new Date() }));
  }

  /** A later order of the customer of one that earned nothing in the end. */
  async function renew(parties: Payee, firstId: bigint): Promise<bigint> {
    const [first] = await ledger<
      { orderId: string }[]
    >`select order_id from conversions where id = ${firstId}`;
    const { programId } = parties;
    const refund = { programId, orderId: first?.orderId ?? '', refundRef: 'all', actor: 'key:1' };
    await actOn((tx) => recordRefund(tx, refund));
    const order = { programId, orderId: `renews ${firstId}`, amountMinor: 10_000n, currency: 'EUR' };
    const { conversion } = await recordConversion(ledger, { ...order, source: 'api' });
    const given = { outcome: 'attributed', reason: null } as const;
    await actOn((tx) =>
      recordDecision(tx, { ...decisionFor(parties, conversion.id, given), recurringOf: firstId }),
    );
    return conversion.id;
  }

  const renewCredited = async (by: string, parties: Payee) =>
    void (await renew(parties, await creditByHand(by, parties)));
  const renewApproved = async (by: string, parties: Payee) =>
    void (await renew(parties, await approveReview(by, parties)));

  async function eraseTheCustomer(by: string, parties: Payee, conversionId: bigint): Promise<void> {
    const customerId = `customer ${conversionId}`;
    await db.owner`update conversions set customer_id = ${customerId} where id = ${conversionId}`;
    const customer = await findCustomer(ledger, { programId: parties.programId, named: customerId });
    expect(customer.conversionIds).toEqual([conversionId]);
    await actOn((tx) => eraseCustomer(tx, { customer, actor: by }));
  }

  const eraseEvidence = async (by: string, parties: Payee) =>
    await eraseTheCustomer(by, parties, await creditOrder(ledger, parties, { amountMinor: 10_000n }));
  /** Somebody else removes the evidence by which it is known. */
  const creditAndForget = async (by: string, parties: Payee) =>
    await eraseTheCustomer('key:1', parties, await creditByHand(by, parties));

  const CREDIT = 'its approver had credited an order in it, by hand or by an import';
  const RESTORATION = 'its approver had restored an order in it, or taken back a refund of it';
  const FIRST_ORDER =
    'its approver had credited or approved the first order of a customer, which a later order in it continues';
  test.for([
    ['a review', approveReview, 'its approver had approved an order in it that was in review'],
    ['a hold', endHold, 'its approver had ended the wait of an order in it'],
    ['a raise', raise, 'its approver had raised an order in it'],
    ['a raise by a source', raiseBySource, 'its approver had raised an order in it'],
    ['a restoration', restore, RESTORATION],
    ['a refund taken back', takeRefundBack, RESTORATION],
    ['a renewal of a credit', renewCredited, FIRST_ORDER],
    ['a renewal of a review', renewApproved, FIRST_ORDER],
    [
      'an erasure',
      eraseEvidence,
      'its approver had erased the customer of an order in it, and with that its evidence',
    ],
    ['a credit whose customer was erased', creditAndForget, CREDIT],
    ['a bonus', giveBonus, 'its approver had given the affiliate a bonus'],
    ['a merge', mergeRecruiters, 'its approver had merged another affiliate into this one'],
    ['a credit', creditByHand, CREDIT],
  ] as const)(
    'leaves out the payouts that the approver has made what they are: %s',
    async ([, act, failure]) => {
      const [alone, other] = [await user(), await user()];
      const parties = await payee();
      const { programId } = parties;
      await updateProgram(ledger, {
        id: programId,
        changes: { payoutsNeedApproval: true, payoutMethodHoldDays: 0 },
      });
      await act(`user:${alone}`, parties);
      const { provider } = createBank();
      const run = async () => {
        const options = { now: soon(), provider, secretBox, programId, actor: 'scheduler' };
        expect(await runPayouts(ledger, options)).toMatchObject({ built: 1 });
        const { rows } = await listPayoutRuns(ledger, { programId, state: 'awaiting_approval', limit: 9 });
        return rows[0]?.id ?? 0n;
      };
      const approve = (runId: bigint, userId: number) =>
        inTransaction(ledger, (tx) => approvePayoutRun(tx, { runId, userId, now: new Date() }));
      const first = await run();
      const [payout] = await payoutsOf({ programId });
      // What they do once it is built is not in it.
      await giveBonus(`user:${other}`, parties);
      expect(await approve(first, alone)).toEqual({ outcome: 'done', leftOut: [payout?.id] });
      expect(await payoutsOf({ programId })).toMatchObject([{ state: 'canceled', failure }]);
      const second = await run();
      const third = await user();
      expect(await approve(second, third)).toEqual({ outcome: 'done', leftOut: [] });
      const options = { now: soon(), provider, secretBox, programId };
      const submitted = (await submitPayouts(ledger, options)).payouts;
      expect(submitted).toMatchObject([{ state: 'submitted' }]);
      for (const { id } of submitted) {
        await inTransaction(ledger, (tx) => markPayoutPaid(tx, { payoutId: id, now: new Date(), actor }));
      }
      // What somebody else has approved once is behind them.
      await giveBonus(`user:${other}`, parties);
      expect(await approve(await run(), alone)).toEqual({ outcome: 'done', leftOut: [] });
      await expectBooksToHold();
    },
  );

  test('holds what a key reports against who made the key, but that a shop has approved its order', async () => {
    const approveBy = async (
      act: (by: string, parties: Payee) => Promise<unknown>,
      role: 'advertiser' | 'operator',
    ) => {
      const maker = await user();
      const parties = await payee();
      const { programId } = parties;
      const { apiKey } = await createApiKey(ledger, { role, name: 'k', programId });
      await appendAuditLog(ledger, {
        actor: `user:${maker}`,
        action: 'api_key.create',
        subject: `key_${apiKey.id}`,
      });
      const changes = { payoutsNeedApproval: true, payoutMethodHoldDays: 0 };
      await updateProgram(ledger, { id: programId, changes });
      await act(`key:${apiKey.id}`, parties);
      const { provider } = createBank();
      await runPayouts(ledger, { now: soon(), provider, secretBox, programId, actor: 'scheduler' });
      const { rows } = await listPayoutRuns(ledger, { programId, state: 'awaiting_approval', limit: 9 });
      const runId = rows[0]?.id ?? 0n;
      const approved = await actOn((tx) => approvePayoutRun(tx, { runId, userId: maker, now: new Date() }));
      return approved.outcome === 'done' ? approved.leftOut.length : approved.outcome;
    };
    async function approveOrder(by: string, parties: Payee): Promise<void> {
      const { programId } = parties;
      const order = { programId, orderId: orderOf(by), amountMinor: 10_000n, currency: 'EUR' };
      const pending = { ...order, source: 'api', awaitsShop: true } as const;
      const { conversion } = await recordConversion(ledger, pending);
      await actOn((tx) =>
        recordDecision(tx, decisionFor(parties, conversion.id, { outcome: 'attributed', reason: null })),
      );
      await report(by, parties, { kind: 'approved' });
    }
    expect(await approveBy(raise, 'advertiser')).toBe(1);
    expect(await approveBy(approveOrder, 'operator')).toBe(1);
    expect(await approveBy(approveOrder, 'advertiser')).toBe(0);
  });

  test('does not hold against anybody that they lowered an order', async () => {
    const lower = async (by: string, parties: Payee) => {
      await creditOrder(ledger, parties, { amountMinor: 10_000n, orderId: orderOf(by) });
      await report(by, parties, { kind: 'changed', total: { amountMinor: 9_000n, currency: 'EUR' } });
    };
    const parties = await payee();
    const { programId } = parties;
    await updateProgram(ledger, {
      id: programId,
      changes: { payoutsNeedApproval: true, payoutMethodHoldDays: 0 },
    });
    const alone = await user();
    await lower(`user:${alone}`, parties);
    const { provider } = createBank();
    await runPayouts(ledger, { now: soon(), provider, secretBox, programId, actor: 'scheduler' });
    const { rows } = await listPayoutRuns(ledger, { programId, state: 'awaiting_approval', limit: 9 });
    const approved = await actOn((tx) =>
      approvePayoutRun(tx, { runId: rows[0]?.id ?? 0n, userId: alone, now: new Date() }),
    );
    expect(approved).toEqual({ outcome: 'done', leftOut: [] });
  });

  test('has its money back when the run is rejected, and when an order in it is refunded', async () => {
    const { runId, programId, affiliateId, approve } = await waitingRun('scheduler');
    const reject = () =>
      inTransaction(ledger, (tx) =>
        rejectPayoutRun(tx, { runId, now: new Date(), actor, reason: 'an unknown account' }),
      );
    expect(await reject()).toMatchObject({ outcome: 'done' });
    expect(await reject()).toEqual({ outcome: 'wrong_state', state: 'rejected' });
    expect(await approve(await user())).toEqual({ outcome: 'wrong_state', state: 'rejected' });
    expect(await affiliateBalance(ledger, affiliateId)).toMatchObject({ availableMinor: 1_000n });
    const { provider } = createBank();
    const again = { now: soon(), provider, secretBox, programId, actor };
    expect(await runPayouts(ledger, again)).toMatchObject({ awaitingApproval: 1 });
    const [order] = await ledger<{ orderId: string }[]>`
      select order_id from conversions where program_id = ${programId}`;
    const refund = { programId, orderId: order?.orderId ?? '', refundRef: 'r', amountMinor: 10_000n, actor };
    await inTransaction(ledger, (tx) => recordRefund(tx, refund));
    expect((await payoutsOf({ programId })).map(({ state }) => state)).toEqual(['canceled', 'canceled']);
    await expectBooksToHold();
  });

  test('is obeyed by the database as well', async () => {
    const { programId, runId } = await waitingRun('user:1');
    await expect(
      ledger`update payouts set state = 'created' where program_id = ${programId}`,
    ).rejects.toMatchObject({ constraint: 'payouts_approved' });
    await expect(
      ledger`update payout_runs set state = 'approved', decided_at = now(), decided_by = 'user:1' where id = ${runId}`,
    ).rejects.toMatchObject({ constraint: 'payout_runs_second_person' });
    await expect(
      ledger`
        insert into payout_runs (program_id, provider, state, started_by) values (${programId}, 'x', 'confirmed', 'x')`,
    ).rejects.toMatchObject({ constraint: 'payout_runs_waits' });
  });
});
