import { assert } from '../../core/errors.ts';
import { mulDivHalfEven } from '../../core/money.ts';
import { bookedMinor, type Commission, lockCommissions } from '../books/commissions.ts';
import {
  type AccountKind,
  appendLines,
  balancingEntry,
  type CommissionLine,
  type Entry,
  postJournals,
} from '../books/journals.ts';
import type { ConversionState } from '../conversions/conversions.ts';
import { cancelPayout } from '../payouts/payouts.ts';
import type { DatabaseTransaction } from '../postgres/db.ts';

/** What is taken back from one commission, and whether it becomes debt because the money is on its way. */
interface Reversal {
  readonly commission: Commission;
  readonly amountMinor: bigint;
  readonly clawback: boolean;
}

/** Where a commission's money stands, by its state; from `in_payout` on it can only be owed back. */
const REVERSED_FROM: Readonly<Partial<Record<Commission['state'], AccountKind>>> = {
  pending: 'pending',
  held: 'pending',
  available: 'available',
  in_payout: 'debt',
  paid: 'debt',
};

interface RefundedConversion {
  readonly id: bigint;
  readonly programId: number;
  readonly currency: string;
  readonly amountMinor: bigint;
  readonly refundedMinor: bigint;
  readonly state: ConversionState;
}

/**
 * Takes back, from every commission of a credited conversion the caller has locked, the share of what was refunded so
 * far: `round(earned × refundedSoFar ÷ gross) − alreadyReversed`. Because the formula is cumulative, refunds in any parts
 * take back the same as one refund of their sum, and a full refund takes back everything.
 */
export async function reverseRefundedShare(tx: DatabaseTransaction, conversionId: bigint): Promise<void> {
  const [conversion] = await tx<RefundedConversion[]>`
    select id, program_id, currency, amount_minor, refunded_minor, state from conversions
    where id = ${conversionId}`;
  assert(conversion, `conversion ${conversionId} exists`);
  const { amountMinor: grossMinor, refundedMinor } = conversion;
  const commissions = await lockOutOfPayouts(tx, conversionId);
  const left = await lockLeftBalances(tx, commissions);
  const reversals: Reversal[] = [];
  const paidWithRests: Reversal[] = [];
  for (const commission of commissions) {
    const account = REVERSED_FROM[commission.state];
    const targetMinor = mulDivHalfEven(commission.amountMinor, refundedMinor, grossMinor);
    const amountMinor = targetMinor - commission.reversedMinor;
    if (account === undefined || amountMinor <= 0n) continue;
    const leftMinor =
      account === 'available' ? (left.get(commission.affiliateId) ?? amountMinor) : amountMinor;
    let takenMinor = amountMinor;
    if (leftMinor < amountMinor) takenMinor = leftMinor;
    if (takenMinor > 0n) {
      reversals.push({ commission, amountMinor: takenMinor, clawback: account === 'debt' });
    }
    if (takenMinor < amountMinor) {
      paidWithRests.push({ commission, amountMinor: amountMinor - takenMinor, clawback: true });
    }
  }
  const posting = { kind: 'refund', conversion, emptied: 'reversed' } as const;
  const key = `refund:${conversionId}:${refundedMinor}`;
  await postReversals(tx, { ...posting, key, reversals });
  // A journal has one line of a commission.
  await postReversals(tx, { ...posting, key: `${key}:rest`, reversals: paidWithRests });
}

/**
 * What is available to affiliates to whom payouts have left rests. When such a payout comes back after a later one has
 * taken up its rest, its commissions are available again and a part of them is paid: that part is owed. Refunds of one
 * affiliate wait for each other, or two would take the same money; nothing else lessens what is left to them.
 */
async function lockLeftBalances(
  tx: DatabaseTransaction,
  commissions: readonly Commission[],
): Promise<Map<number, bigint>> {
  const affiliateIds = commissions
    .filter(({ state }) => state === 'available')
    .map(({ affiliateId }) => affiliateId);
  if (affiliateIds.length === 0) return new Map();
  const withRests = await tx<{ affiliateId: number }[]>`
    select distinct p.affiliate_id from payouts p join payout_items i on i.payout_id = p.id
    where p.affiliate_id = any(${affiliateIds}::integer[]) and i.kind = 'rest' and i.live order by p.affiliate_id`;
  for (const { affiliateId } of withRests) {
    await tx`select pg_advisory_xact_lock(hashtextextended('refunds.rests', ${affiliateId}))`;
  }
  const rows = await tx<{ affiliateId: number; balanceMinor: bigint }[]>`
    select affiliate_id, balance_minor from accounts
    where kind = 'available' and affiliate_id = any(${withRests.map(({ affiliateId }) => affiliateId)}::integer[])`;
  return new Map(rows.map(({ affiliateId, balanceMinor }) => [affiliateId, balanceMinor]));
}

/**
 * Locks the commissions of a conversion. Those in a payout that is not submitted yet are taken out of it: the
 * payout is canceled, and the next run builds it again without what is taken back. Its other commissions are locked
 * out of their order, so that two such refunds may meet in a deadlock: one of them is then tried again.
 */
async function lockOutOfPayouts(tx: DatabaseTransaction, conversionId: bigint): Promise<Commission[]> {
  const commissions = await lockCommissions(tx, conversionId);
  const inPayout = commissions.filter(({ state }) => state === 'in_payout').map(({ id }) => id);
  if (inPayout.length === 0) return commissions;
  const open = await tx<{ id: bigint }[]>`
    select distinct p.id from payout_items i join payouts p on p.id = i.payout_id
    where i.commission_id = any(${inPayout}::bigint[]) and i.live and p.state in ('awaiting_approval', 'created')
    order by p.id`;
  for (const { id: payoutId } of open) {
    await cancelPayout(tx, {
      payoutId,
      now: new Date(),
      actor: 'refund',
      failure: 'an order in it was refunded',
    });
  }
  return open.length === 0 ? commissions : await lockCommissions(tx, conversionId);
}

/** The state of a credited conversion by how much of it was refunded. */
export function stateAfterRefunds(
  conversion: Pick<RefundedConversion, 'state' | 'amountMinor' | 'refundedMinor'>,
): ConversionState {
  const { state, amountMinor, refundedMinor } = conversion;
  if (refundedMinor === 0n) return state;
  if (refundedMinor === amountMinor) return 'refunded';
  // A conversion in review keeps waiting for its reviewer while anything of the order is left.
  return state === 'review' ? 'review' : 'partially_refunded';
}

/** Catches up with the refunds that came before a conversion, locked by the caller, was credited. */
export async function applyEarlierRefunds(
  tx: DatabaseTransaction,
  conversion: Pick<RefundedConversion, 'id' | 'state' | 'amountMinor' | 'refundedMinor'>,
): Promise<void> {
  if (conversion.refundedMinor === 0n) return;
  await tx`update conversions set state = ${stateAfterRefunds(conversion)} where id = ${conversion.id}`;
  await reverseRefundedShare(tx, conversion.id);
}

/** Takes back all that is left of a conversion's held commissions. The caller has locked the conversion. */
export async function reverseRejected(
  tx: DatabaseTransaction,
  conversion: { readonly id: bigint; readonly programId: number; readonly currency: string },
): Promise<void> {
  const commissions = await lockCommissions(tx, conversion.id);
  const reversals = commissions
    .filter(({ state }) => state === 'held' || state === 'pending')
    .map((commission) => ({ commission, amountMinor: bookedMinor(commission), clawback: false }));
  await postReversals(tx, {
    key: `reject:${conversion.id}`,
    kind: 'rejection',
    conversion,
    reversals,
    emptied: 'rejected',
  });
}

async function postReversals(
  tx: DatabaseTransaction,
  options: {
    key: string;
    kind: 'refund' | 'rejection';
    conversion: { readonly id: bigint; readonly programId: number; readonly currency: string };
    reversals: readonly Reversal[];
    /** The state of a commission of which nothing is left. */
    emptied: 'reversed' | 'rejected';
  },
): Promise<void> {
  const { key, kind, conversion, reversals, emptied } = options;
  if (reversals.length === 0) return;
  const taken = reversals.map(reversalEntry);
  const posted = await postJournals(tx, [
    {
      key,
      kind,
      programId: conversion.programId,
      currency: conversion.currency,
      conversionId: conversion.id,
      entries: [...taken, balancingEntry('commission_expense', taken)],
    },
  ]);
  const journalId = posted.get(key);
  assert(journalId !== undefined, `${key} is posted once`);
  await appendLines(
    tx,
    reversals.map((reversal) => reversalLine(reversal, journalId)),
  );
  for (const reversal of reversals) await writeReversal(tx, reversal, emptied);
}

function reversalEntry({ commission, amountMinor, clawback }: Reversal): Entry {
  const { id, affiliateId, state } = commission;
  const account = clawback ? 'debt' : REVERSED_FROM[state];
  assert(account, `something can be taken back from a commission that is ${state}`);
  return { affiliateId, account, amountMinor: -amountMinor, commissionId: id };
}

function reversalLine({ commission, amountMinor, clawback }: Reversal, journalId: bigint): CommissionLine {
  return {
    commissionId: commission.id,
    journalId,
    kind: clawback ? 'clawback' : 'reversal',
    amountMinor: -amountMinor,
  };
}

async function writeReversal(
  tx: DatabaseTransaction,
  { commission, amountMinor, clawback }: Reversal,
  emptied: 'reversed' | 'rejected',
): Promise<void> {
  const isEmpty = !clawback && amountMinor === bookedMinor(commission);
  await tx`
    update commissions set
      reversed_minor = reversed_minor + ${amountMinor},
      clawback_minor = clawback_minor + ${clawback ? amountMinor : 0n},
      state = ${isEmpty ? emptied : commission.state}
    where id = ${commission.id}`;
}
