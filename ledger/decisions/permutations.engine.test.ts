import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createParties,
  decisionFor,
  freshLedger,
  recordDecision,
  type TestLedger,
  type TestParties,
} from '../../test/support/ledger.ts';
import { vestDue } from '../books/commissions.ts';
import { findConversionByOrder, recordConversion } from '../conversions/conversions.ts';
import { listPayouts, markPayoutPaid } from '../payouts/payouts.ts';
import { answerAll } from '../payouts/provider.ts';
import { BANK_LIMITS } from '../payouts/providers/bank-csv.ts';
import { runPayouts } from '../payouts/run.ts';
import { type Database, inTransaction } from '../postgres/db.ts';
import { recordRefund } from './refunds.ts';
import { approveConversion } from './reviews.ts';

/** Pairs of orderings in one run, more by AFFLUX_TEST_HISTORIES. */
const RUNS = Math.ceil(Number(process.env.AFFLUX_TEST_HISTORIES ?? 300) / 10);
const SEED = Number(process.env.AFFLUX_TEST_SEED ?? Date.now() % 2 ** 31);
/** Shortening a counterexample may take long: after the limit the shortest so far is reported. */
const LIMIT_MS = 20_000 + RUNS * 1_000;
const RUN = { numRuns: RUNS, seed: SEED, interruptAfterTimeLimit: LIMIT_MS, markInterruptAsFailure: true };
const TIMEOUT = { timeout: 2 * LIMIT_MS };

let db: TestLedger;
let ledger: Database;
beforeAll(async () => {
  db = await freshLedger({ max: 4 });
  ledger = db.ledger;
});
afterAll(async () => await db.close());

/** What befalls one order: reported once, decided once, refunded by several references. */
interface Fate {
  readonly amountMinor: bigint;
  readonly inReview: boolean;
  /** In thousandths of the order, together at most all of it. */
  readonly refunds: readonly number[];
}
type Step = { readonly order: number; readonly kind: 'report' | 'decide' | 'approve' } | Refund;
interface Refund {
  readonly order: number;
  readonly kind: 'refund';
  readonly ref: number;
}

const anyFate: fc.Arbitrary<Fate> = fc.record({
  amountMinor: fc.bigInt({ min: 1n, max: 50_000n }),
  inReview: fc.boolean(),
  refunds: fc.array(fc.integer({ min: 1, max: 333 }), { maxLength: 3 }),
});

function stepsOf({ inReview, refunds }: Fate, order: number): Step[] {
  return [
    { order, kind: 'report' },
    { order, kind: 'decide' },
    ...(inReview ? [{ order, kind: 'approve' } as const] : []),
    ...refunds.map((_, ref) => ({ order, kind: 'refund', ref }) as const),
  ];
}

/** Carries a step out; false when it came before what it refers to: its sender gets an error and sends it again. */
async function carryOut(parties: TestParties, fates: readonly Fate[], step: Step): Promise<boolean> {
  const { programId } = parties;
  const fate = fates[step.order];
  const orderId = String(step.order);
  if (!fate) return true;
  if (step.kind === 'report') {
    const { amountMinor } = fate;
    await recordConversion(ledger, { programId, orderId, amountMinor, currency: 'EUR', source: 'api' });
    return true;
  }
  const conversion = await findConversionByOrder(ledger, { programId, orderId });
  if (!conversion) return false;
  return await inTransaction(ledger, async (tx) => {
    if (step.kind === 'refund') {
      const amountMinor = (fate.amountMinor * BigInt(fate.refunds[step.ref] ?? 0)) / 1_000n;
      const refund = { programId, orderId, refundRef: String(step.ref), amountMinor, actor: 'shop' };
      if (amountMinor > 0n) await recordRefund(tx, refund);
      return true;
    }
    if (step.kind === 'approve') {
      await approveConversion(tx, { conversionId: conversion.id, reviewer: 'ann', note: '' });
      return conversion.decidedAt !== null;
    }
    const credit = fate.inReview
      ? ({ outcome: 'review', reason: 'instant_conversion' } as const)
      : ({ outcome: 'attributed', reason: null } as const);
    await recordDecision(tx, decisionFor(parties, conversion.id, credit));
    return true;
  });
}

/** Every step once more until all are heard, as senders do. */
async function carryOutAll(
  parties: TestParties,
  fates: readonly Fate[],
  steps: readonly Step[],
): Promise<void> {
  let left = steps;
  while (left.length > 0) {
    const again: Step[] = [];
    for (const step of left) if (!(await carryOut(parties, fates, step))) again.push(step);
    left = again;
  }
}

async function runAndMarkPaid(programId: number): Promise<void> {
  const now = new Date(Date.now() + 1_000);
  const provider = {
    name: 'test',
    limits: BANK_LIMITS,
    submit: async (batch: Parameters<typeof answerAll>[0]) => answerAll(batch, { outcome: 'accepted' }),
  };
  await runPayouts(ledger, { actor: 'test', now, provider, programId });
  const { rows } = await listPayouts(ledger, { programId, state: 'submitted', limit: 10 });
  for (const { id: payoutId } of rows) {
    await inTransaction(ledger, (tx) => markPayoutPaid(tx, { payoutId, now, actor: 'test' }));
  }
}

/** Balances by level and kind. */
async function balancesOf({ programId, chain }: TestParties): Promise<Record<string, bigint>> {
  const rows = await ledger<{ affiliateId: number | null; kind: string; balanceMinor: bigint }[]>`
    select affiliate_id, kind, balance_minor from accounts where program_id = ${programId}`;
  return Object.fromEntries(
    rows.map(({ affiliateId, kind, balanceMinor }) => [
      `${affiliateId === null ? 'program' : chain.indexOf(affiliateId) + 1} ${kind}`,
      balanceMinor,
    ]),
  );
}

/** What each affiliate has in all, debt taken off, wherever it stands. */
function worthOf(balances: Record<string, bigint>): bigint[] {
  return [1, 2, 3].map((level) =>
    Object.entries(balances)
      .filter(([name]) => name.startsWith(`${level} `))
      .reduce((sum, [, balance]) => sum + balance, 0n),
  );
}

/** Orders with what befalls them, and an order of delivery in which everything comes once, twice or three times. */
const anyDelivery = fc.array(anyFate, { minLength: 1, maxLength: 4 }).chain((fates) => {
  const steps = fates.flatMap(stepsOf);
  return fc.record({
    fates: fc.constant(fates),
    delivered: fc.shuffledSubarray([...steps, ...steps, ...steps], { minLength: steps.length }),
  });
});
/** Basis points with two decimals. */
const anyRate = (min: number, max: number) =>
  fc.integer({ min: min * 100, max: max * 100 }).map((hundredths) => hundredths / 100);
const anyTerms = fc.record({
  commissionType: fc.constant('hybrid' as const),
  rateBps: anyRate(100, 3_000),
  fixedMinor: fc.bigInt({ min: 0n, max: 500n }),
  levelRatesBps: fc.array(anyRate(0, 1_500), { minLength: 2, maxLength: 2 }),
});

test('commands in any order, and any of them again, give the same balances', TIMEOUT, async () => {
  process.stdout.write(`AFFLUX_TEST_SEED=${SEED}\n`);
  await fc.assert(
    fc.asyncProperty(anyTerms, anyDelivery, async (terms, { fates, delivered }) => {
      const steps = fates.flatMap(stepsOf);
      const [straight, shuffled] = [await createParties(ledger, terms), await createParties(ledger, terms)];
      await carryOutAll(straight, fates, steps);
      await carryOutAll(shuffled, fates, [...delivered, ...steps]);
      expect(await balancesOf(shuffled)).toEqual(await balancesOf(straight));
      for (const { programId } of [straight, shuffled]) {
        await vestDue(ledger, { now: new Date(Date.now() + 1_000), limit: 100, programId });
      }
      expect(await balancesOf(shuffled)).toEqual(await balancesOf(straight));
    }),
    RUN,
  );
});

test(
  'payouts at any moment between them move money between accounts, and no affiliate has more or less',
  TIMEOUT,
  async () => {
    await fc.assert(
      fc.asyncProperty(
        anyTerms,
        anyDelivery,
        fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 3 }),
        async (terms, { fates, delivered }, payoutsAt) => {
          const steps = fates.flatMap(stepsOf);
          const [straight, paid] = [await createParties(ledger, terms), await createParties(ledger, terms)];
          await carryOutAll(straight, fates, steps);
          for (const [i, step] of delivered.entries()) {
            await carryOut(paid, fates, step);
            if (payoutsAt.includes(i)) await runAndMarkPaid(paid.programId);
          }
          await carryOutAll(paid, fates, steps);
          expect(worthOf(await balancesOf(paid))).toEqual(worthOf(await balancesOf(straight)));
        },
      ),
      RUN,
    );
  },
);
