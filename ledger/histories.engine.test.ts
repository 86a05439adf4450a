import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createParties,
  creditOrder,
  freshLedger,
  type TestLedger,
  type TestParties,
} from '../test/support/ledger.ts';
import { updateAffiliate } from './affiliates.ts';
import { auditLedger } from './audit.ts';
import { listCommissions, vestDue } from './commissions.ts';
import { findConversionByOrder, recordConversion } from './conversions.ts';
import { inTransaction, type Ledger } from './db.ts';
import { writeOffDebt } from './debt.ts';
import { buildPayouts } from './payout-build.ts';
import { answerAll, type PayoutProvider } from './payout-provider.ts';
import { runPayouts } from './payout-run.ts';
import { cancelPayout, failPayout, listPayouts, returnPayout, settlePayout } from './payouts.ts';
import { recordRefund } from './refunds.ts';
import { approveConversion, confirmConversion, rejectConversion } from './reviews.ts';

/** Histories in one run, more by AFFLUX_TEST_HISTORIES; each is a program of its own in one shared database. */
const HISTORIES = Number(process.env.AFFLUX_TEST_HISTORIES ?? 80);
/** A run is repeated by its seed. */
const SEED = Number(process.env.AFFLUX_TEST_SEED ?? Date.now() % 2 ** 31);
/** Few, so that the commands of a history meet on the same orders. */
const ORDERS = 6;
const actor = 'test';

let db: TestLedger;
let ledger: Ledger;
beforeAll(async () => {
  db = await freshLedger({ max: 6 });
  ledger = db.ledger;
});
afterAll(async () => await db.close());

const ANSWERS = ['accepted', 'accepted', 'paid', 'refused', 'silent'] as const;
type Answer = (typeof ANSWERS)[number];

const order = fc.integer({ min: 0, max: ORDERS - 1 });
const report = <Kind extends string>(kind: Kind) =>
  fc.record({ kind: fc.constant(kind), order, amountMinor: fc.bigInt({ min: 0n, max: 50_000n }) });
const anyCommand = fc.oneof(
  report('credit' as const),
  report('credit' as const),
  report('review' as const),
  report('credit and pay' as const),
  report('credit and pay' as const),
  report('credit and build' as const),
  report('record' as const),
  fc.record({
    kind: fc.constant('refund' as const),
    order,
    ref: fc.integer({ min: 0, max: 2 }),
    amountMinor: fc.bigInt({ min: 1n, max: 20_000n }),
  }),
  fc.record({ kind: fc.constant('refund all' as const), order }),
  fc.record({ kind: fc.constantFrom('approve' as const, 'reject' as const, 'confirm' as const), order }),
  fc.record({ kind: fc.constant('vest' as const), days: fc.integer({ min: 0, max: 4 }) }),
  fc.record({
    kind: fc.constant('pay' as const),
    answer: fc.constantFrom(...ANSWERS),
    twice: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom('cancel' as const, 'write off' as const) }),
  fc.record({
    kind: fc.constantFrom('settle' as const, 'settle' as const, 'fail' as const, 'return' as const),
  }),
  fc.record({
    kind: fc.constant('status' as const),
    member: fc.integer({ min: 0, max: 2 }),
    status: fc.constantFrom('active' as const, 'active' as const, 'suspended' as const),
  }),
);
type Command = typeof anyCommand extends fc.Arbitrary<infer T> ? T : never;

const anyTerms = fc.record({
  commissionType: fc.constant('hybrid' as const),
  rateBps: fc.integer({ min: 100, max: 3_000 }),
  fixedMinor: fc.bigInt({ min: 0n, max: 500n }),
  levelRatesBps: fc.array(fc.integer({ min: 0, max: 1_500 }), { maxLength: 3 }),
  holdDays: fc.integer({ min: 0, max: 1 }),
  payoutMinMinor: fc.bigInt({ min: 0n, max: 500n }),
});

function providerThat(answer: Answer): PayoutProvider {
  return {
    name: 'test',
    async submit(batch) {
      if (answer === 'silent') throw new Error('no answer');
      return answerAll(
        batch,
        answer === 'refused' ? { outcome: answer, reason: 'closed' } : { outcome: answer },
      );
    },
  };
}

async function carryOut(parties: TestParties, command: Command): Promise<void> {
  const { programId } = parties;
  const orderId = 'order' in command ? String(command.order) : '';
  const known = await findConversionByOrder(ledger, { programId, orderId });
  switch (command.kind) {
    case 'credit':
    case 'review': {
      const decision =
        command.kind === 'review' ? ({ outcome: 'review', reason: 'instant_conversion' } as const) : {};
      await creditOrder(ledger, parties, { ...decision, orderId, amountMinor: command.amountMinor });
      return;
    }
    case 'credit and pay': {
      await carryOut(parties, { ...command, kind: 'credit' });
      await carryOut(parties, { kind: 'confirm', order: command.order });
      await carryOut(parties, { kind: 'pay', answer: 'accepted', twice: false });
      await carryOut(parties, { kind: 'settle' });
      return;
    }
    case 'record': {
      const { amountMinor } = command;
      await recordConversion(ledger, { programId, orderId, amountMinor, currency: 'EUR', source: 'api' });
      return;
    }
    case 'refund':
    case 'refund all': {
      const leftMinor = known ? known.amountMinor - known.refundedMinor : 0n;
      const amountMinor = command.kind === 'refund' ? command.amountMinor : leftMinor;
      if (!known || amountMinor > leftMinor || amountMinor === 0n) return;
      const refundRef = command.kind === 'refund' ? `r${command.ref}` : `all ${leftMinor}`;
      await inTransaction(ledger, (tx) =>
        recordRefund(tx, { programId, orderId, refundRef, amountMinor, actor }),
      );
      return;
    }
    case 'approve':
    case 'reject':
    case 'confirm': {
      if (!known) return;
      const conversionId = known.id;
      const act = { approve: approveConversion, reject: rejectConversion, confirm: confirmConversion };
      const request = { conversionId, reviewer: actor, note: '', actor, now: new Date() };
      await inTransaction(ledger, (tx) => act[command.kind](tx, request));
      return;
    }
    case 'vest':
      await vestDue(ledger, { now: daysAhead(command.days), limit: 2, programId });
      return;
    case 'pay': {
      const pay = () =>
        runPayouts(ledger, { now: daysAhead(0), provider: providerThat(command.answer), programId });
      await Promise.all(command.twice ? [pay(), pay()] : [pay()]);
      return;
    }
    case 'credit and build':
      await carryOut(parties, { ...command, kind: 'credit' });
      await carryOut(parties, { kind: 'confirm', order: command.order });
      await buildPayouts(ledger, { now: daysAhead(0), provider: 'test', programId });
      return;
    case 'write off':
      await writeOffDebt(ledger, { now: daysAhead(400), programId });
      return;
    case 'cancel':
    case 'return':
    case 'settle':
    case 'fail': {
      const close = { settle: settlePayout, fail: failPayout, return: returnPayout, cancel: cancelPayout }[
        command.kind
      ];
      for (const { id } of (await listPayouts(ledger, { programId, limit: 3 })).rows) {
        const request = { payoutId: id, now: new Date(), actor, failure: 'test' };
        await inTransaction(ledger, (tx) => close(tx, request));
      }
      return;
    }
    case 'status': {
      const id = parties.chain[command.member] ?? 0;
      await updateAffiliate(ledger, { id, changes: { status: command.status } });
    }
  }
}

function daysAhead(days: number): Date {
  return new Date(Date.now() + 1_000 + days * 86_400_000);
}

/** Whatever happened: of a wholly refunded order every commission is wholly reversed. */
async function expectFullRefundsToReverseAll(programId: number): Promise<void> {
  const { rows } = await listCommissions(ledger, { programId, limit: 100 });
  for (const commission of rows) {
    const [order] = await ledger<{ refunded: boolean }[]>`
      select refunded_minor = amount_minor as refunded from conversions where id = ${commission.conversionId}`;
    const kept = commission.amountMinor - commission.reversedMinor;
    expect(order?.refunded === true && kept > 0n).toBe(false);
  }
}

test('whatever happens, in whatever order, the books hold', { timeout: 4 * 3_600_000 }, async () => {
  process.stdout.write(`${HISTORIES} histories, AFFLUX_TEST_SEED=${SEED}\n`);
  await fc.assert(
    fc.asyncProperty(
      anyTerms,
      fc.array(anyCommand, { minLength: 10, maxLength: 30, size: 'max' }),
      // Debt is seldom open when one of the commands gives it up; at the end of a history it often is.
      fc.boolean(),
      async (terms, commands, endsWithWriteOff) => {
        const parties = await createParties(ledger, terms);
        for (const command of commands) await carryOut(parties, command);
        if (endsWithWriteOff) await carryOut(parties, { kind: 'write off' });
        expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
        await expectFullRefundsToReverseAll(parties.programId);
      },
    ),
    { numRuns: HISTORIES, seed: SEED },
  );
  // Histories that never pay, or never take back what was paid, would prove little.
  const [met] = await ledger<[Record<string, bigint>]>`
    select (select count(*) from payouts where state = 'paid') as paid,
      (select count(*) from commission_lines where kind = 'clawback') as clawbacks,
      (select count(*) from payout_items where kind = 'debt') as netted,
      (select count(*) from payouts where state = 'failed') as failed,
      (select count(*) from payouts where state = 'canceled') as canceled,
      (select count(*) from payouts where state = 'returned') as returned,
      (select count(*) from journals where kind = 'debt_write_off') as written_off`;
  expect(Object.entries(met).filter(([, count]) => count === 0n)).toEqual([]);
});

test('the audit finds what is off', async () => {
  const damaged = await freshLedger({ max: 1 });
  const off = async () => (await auditLedger(damaged.ledger)).filter(({ ok }) => !ok).map(({ name }) => name);
  try {
    const parties = await createParties(damaged.ledger);
    await creditOrder(damaged.ledger, parties, { amountMinor: 10_000n });
    expect(await off()).toEqual([]);
    // As someone would who switches the triggers off.
    await damaged.owner`set session_replication_role = replica`;
    await damaged.owner`update conversions set refunded_minor = 1`;
    expect(await off()).toEqual(['refunds_agree']);
    await damaged.owner`update commissions set reversed_minor = 1 where level = 1`;
    expect(await off()).toEqual(['commissions_agree', 'refunds_agree']);
    await damaged.owner`update accounts set balance_minor = 1 where kind = 'paid' and affiliate_id = ${parties.chain[0]}`;
    expect(await off()).toEqual(
      expect.arrayContaining(['balances_agree', 'earned_is_somewhere', 'programs_mirror_affiliates']),
    );
    await damaged.owner`delete from entries where id = (select max(id) from entries)`;
    expect(await off()).toEqual(expect.arrayContaining(['journals_balance', 'books_sum_to_zero']));
  } finally {
    await damaged.close();
  }
});
