import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createParties,
  creditOrder,
  freshLedger,
  TEST_SECRET_BOX,
  type TestLedger,
} from '../../test/support/ledger.ts';
import { auditLedger } from '../audit/audit.ts';
import { affiliateBalance } from '../audit/counts.ts';
import type { Database } from '../postgres/db.ts';
import { type NoticeOutcome, recordNotice } from './notices.ts';
import { getPayout, listPayouts, type PayoutState } from './payouts.ts';
import { answerAll, type PayoutProvider } from './provider.ts';
import { BANK_LIMITS } from './providers/bank-csv.ts';
import { runPayouts } from './run.ts';

let db: TestLedger;
let ledger: Database;
beforeAll(async () => {
  db = await freshLedger({ max: 8 });
  ledger = db.ledger;
});
afterAll(async () => await db.close());

type Status = 'paid' | 'failed' | 'returned';

/** A payout of 10.00 that the provider has, or of which it gave no answer, or that is being handed over. */
async function payoutThat(state: 'submitted' | 'unknown' | 'submitting') {
  const parties = await createParties(ledger, { levelRatesBps: [] });
  await creditOrder(ledger, parties, { amountMinor: 10_000n });
  let known: string | undefined;
  const tell = async (status: Status): Promise<NoticeOutcome> =>
    await recordNotice(ledger, {
      provider: 'teller',
      providerKey: known ?? '',
      status,
      now: new Date(),
      secretBox: TEST_SECRET_BOX,
    });
  let outcome: NoticeOutcome | undefined;
  const provider: PayoutProvider = {
    name: 'teller',
    limits: BANK_LIMITS,
    async submit(batch) {
      known = batch.orders[0]?.providerKey;
      if (state === 'submitting') outcome = await tell('returned');
      if (state === 'unknown') throw new Error('no answer');
      return answerAll(batch, { outcome: 'accepted' });
    },
  };
  await runPayouts(ledger, {
    actor: 'test',
    now: new Date(Date.now() + 1_000),
    provider,
    programId: parties.programId,
  });
  const [payout] = (await listPayouts(ledger, { programId: parties.programId, limit: 1 })).rows;
  const id = payout?.id ?? 0n;
  return {
    tell,
    duringSubmission: outcome,
    stateNow: async (): Promise<PayoutState | undefined> => (await getPayout(ledger, id))?.state,
    balance: async () => await affiliateBalance(ledger, parties.chain[0]),
  };
}

async function expectBooksToHold() {
  expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

/** What a provider may tell of each fate, and what becomes of the money. */
const FATES = {
  paid: { tells: ['paid'], availableMinor: 0n, paidMinor: 1_000n },
  returned: { tells: ['paid', 'returned'], availableMinor: 1_000n, paidMinor: 0n },
  failed: { tells: ['failed'], availableMinor: 1_000n, paidMinor: 0n },
} as const;

describe('what a provider tells by itself', () => {
  test('comes to the same, in whatever order, however often, at once or one after another', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('paid' as const, 'returned' as const, 'failed' as const),
        fc.constantFrom('submitted' as const, 'unknown' as const),
        fc.boolean(),
        fc.infiniteStream(fc.integer({ min: 0, max: 999 })),
        fc.integer({ min: 1, max: 3 }),
        async (fate, from, atOnce, draws, times) => {
          const { tells, availableMinor, paidMinor } = FATES[fate];
          const { tell, stateNow, balance } = await payoutThat(from);
          const notices = Array.from({ length: times }, () => tells)
            .flat()
            .map((status) => ({ status, place: draws.next().value }))
            .toSorted((a, b) => a.place - b.place);
          const outcomes: NoticeOutcome[] = [];
          if (atOnce) outcomes.push(...(await Promise.all(notices.map(({ status }) => tell(status)))));
          else for (const { status } of notices) outcomes.push(await tell(status));
          expect(await stateNow()).toBe(fate);
          expect(await balance()).toMatchObject({ availableMinor, paidMinor });
          expect(outcomes.filter((outcome) => outcome !== 'recorded' && outcome !== 'repeated')).toEqual([]);
        },
      ),
      { numRuns: 25 },
    );
    await expectBooksToHold();
  });

  test.each([
    [['failed', 'paid'], 'failed'],
    [['paid', 'failed'], 'paid'],
    [['returned', 'failed'], 'returned'],
  ] as const)('%j contradict each other: the first one stays', async (statuses, state) => {
    const { tell, stateNow } = await payoutThat('submitted');
    const [first, second] = statuses;
    expect([await tell(first), await tell(second)]).toEqual(['recorded', 'contradicts']);
    expect(await stateNow()).toBe(state);
    await expectBooksToHold();
  });

  test('while the payout is being handed over is too early, and later is not', async () => {
    const { duringSubmission, tell, stateNow } = await payoutThat('submitting');
    expect(duringSubmission).toBe('too_early');
    expect(await stateNow()).toBe('submitted');
    expect(await tell('returned')).toBe('recorded');
    expect(await stateNow()).toBe('returned');
  });

  test('of an unknown payment is not found', async () => {
    const notice = {
      provider: 'teller',
      status: 'paid',
      now: new Date(),
      secretBox: TEST_SECRET_BOX,
    } as const;
    expect(await recordNotice(ledger, { ...notice, providerKey: 'unknown' })).toBe('not_found');
  });
});
