import { assert } from '../../core/errors.ts';
import { mulDivHalfEven } from '../../core/money/rates.ts';
import { bookedMinor, type Commission, type CommissionCause, lockCommissions } from '../books/commissions.ts';
import { takeBackWriteOffs } from '../books/debt.ts';
import {
  type AccountKind,
  appendLines,
  balancingEntry,
  type CommissionLine,
  type Entry,
  postJournals,
} from '../books/journals.ts';
import { type ConversionReason, type ConversionState, getConversion } from '../conversions/conversions.ts';
import type { StoredItem } from '../conversions/items.ts';
import { cancelPayout } from '../payouts/payouts.ts';
import type { DatabaseTransaction } from '../postgres/db.ts';
import { readAmounts } from './order-amounts.ts';
import { readRefundedItems } from './refund-items.ts';

/**
 * Brings the commissions of an order to what its present state makes of them: it takes back what they have beyond it,
 * and earns a further part of what they lack.
 */

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

/** A conversion as far as its commissions follow from it. */
export interface AdjustedConversion {
  readonly id: bigint;
  readonly programId: number;
  readonly currency: string;
  readonly amountMinor: bigint;
  readonly orderAmountMinor: bigint | null;
  readonly refundedMinor: bigint;
  readonly cancelledAt: Date | null;
  readonly awaitsShop: boolean;
  readonly state: ConversionState;
  readonly reason: ConversionReason | null;
  readonly reviewedAt: Date | null;
  readonly items: readonly StoredItem[] | null;
}

const ADJUSTED_COLUMNS = [
  'id',
  'programId',
  'currency',
  'amountMinor',
  'orderAmountMinor',
  'refundedMinor',
  'cancelledAt',
  'awaitsShop',
  'state',
  'reason',
  'reviewedAt',
  'items',
];

/** States with commissions; before a decision changes wait for it, after a rejection nothing is left. */
export const CREDITED: ReadonlySet<ConversionState> = new Set([
  'attributed',
  'partially_refunded',
  'refunded',
  'review',
]);

/** The state of a credited conversion by how much of it is left. One in review waits while anything is. */
function creditedState(conversion: AdjustedConversion): ConversionState {
  if (isVoid(conversion)) return 'refunded';
  if (awaitsReview(conversion)) return 'review';
  return conversion.refundedMinor === 0n ? 'attributed' : 'partially_refunded';
}

/** Whether a credited conversion was put in review and no reviewer has decided, also while nothing of it is left. */
export function awaitsReview({ reason, reviewedAt }: AdjustedConversion): boolean {
  return reason !== null && reviewedAt === null;
}

function isVoid({ amountMinor, refundedMinor, cancelledAt }: AdjustedConversion): boolean {
  return cancelledAt !== null || (refundedMinor > 0n && refundedMinor === amountMinor);
}

/**
 * What is left of `earnedMinor` by the share of the order that is: `earned − round(earned × refunded ÷ order)`. Because it
 * looks at sums alone, refunds in any parts and any order leave the same.
 */
function leftOf(earnedMinor: bigint, conversion: AdjustedConversion): bigint {
  if (isVoid(conversion)) return 0n;
  const { amountMinor, refundedMinor } = conversion;
  if (refundedMinor === 0n) return earnedMinor;
  return earnedMinor - mulDivHalfEven(earnedMinor, refundedMinor, amountMinor);
}

/**
 * What is left where refunds name items: of each item its share of what it earned is gone, of what is of no item the share
 * of the order that the items are; of the rest what else was taken off the rest of the order. By sums alone, too.
 */
function leftAfterItems(
  parts: readonly Commission[],
  earnedMinor: bigint,
  { grossMinor, takenMinor, items }: ItemRefunds,
): bigint {
  const first = parts.find(({ itemMinor }) => itemMinor !== null);
  const earnedBy = first?.itemMinor ?? [];
  const ofItems = earnedBy.reduce((sum, minor) => sum + minor, 0n);
  const refundedMinor = items.reduce((sum, item) => sum + item.refundedMinor, 0n);
  const openMinor = grossMinor - refundedMinor;
  if (openMinor === 0n) return 0n;
  const goneMinor = items.reduce(
    (sum, item) => sum + mulDivHalfEven(earnedBy[item.place] ?? 0n, item.refundedMinor, item.amountMinor),
    mulDivHalfEven((first?.amountMinor ?? 0n) - ofItems, refundedMinor, grossMinor),
  );
  const restMinor = earnedMinor - goneMinor;
  return restMinor - mulDivHalfEven(restMinor, takenMinor - refundedMinor, openMinor);
}

/** What changes of an order that is raised, refunded, cancelled or restored. */
type OrderChange = Partial<
  Pick<AdjustedConversion, 'amountMinor' | 'orderAmountMinor' | 'refundedMinor' | 'cancelledAt'>
>;

/** Writes a change of a conversion that the caller has locked, with the state that follows from it. */
export async function writeChange(
  tx: DatabaseTransaction,
  conversionId: bigint,
  change: OrderChange = {},
): Promise<AdjustedConversion> {
  const [before] = await tx<AdjustedConversion[]>`
    select ${tx(ADJUSTED_COLUMNS)} from conversions where id = ${conversionId}`;
  assert(before, `conversion ${conversionId} exists`);
  const changed = { ...before, ...change };
  const conversion = {
    ...changed,
    state: CREDITED.has(before.state) ? creditedState(changed) : before.state,
  };
  const { amountMinor, orderAmountMinor, refundedMinor, cancelledAt, state } = conversion;
  await tx`
    update conversions set amount_minor = ${amountMinor}, order_amount_minor = ${orderAmountMinor},
      refunded_minor = ${refundedMinor}, cancelled_at = ${cancelledAt}, state = ${state}
    where id = ${conversionId}`;
  return conversion;
}

/**
 * Brings the commissions of a conversion, which the caller has locked, to what its present state makes of them. `key` names
 * the event for the journals.
 */
export async function adjustCommissions(
  tx: DatabaseTransaction,
  conversion: AdjustedConversion,
  key: string,
): Promise<void> {
  if (!CREDITED.has(conversion.state)) return;
  const { id: conversionId } = conversion;
  let commissions = await lockCommissions(tx, conversionId);
  const ofItems = conversion.items === null ? undefined : await readItemRefunds(tx, conversionId);
  const lack = (parts: readonly Commission[]) => lackOf(parts, conversion, ofItems);
  if (levelsOf(commissions).some((parts) => lack(parts) < 0n)) {
    commissions = await lockOutOfPayouts(tx, conversionId, commissions);
  }
  const levels = levelsOf(commissions);
  const reversals = levels.flatMap((parts) => takeBack(parts, -lack(parts)));
  const { standing, paidWithRests } = splitByRests(reversals, await lockLeftBalances(tx, reversals));
  const posting = { kind: 'refund', conversion, emptied: 'reversed' } as const;
  await postReversals(tx, { ...posting, key: `refund:${key}`, reversals: standing });
  // A journal has one line of a commission.
  await postReversals(tx, { ...posting, key: `refund:${key}:rest`, reversals: paidWithRests });
  await restore(tx, { key, conversion, levels, lack });
}

/** What was taken off an order, and of which items, in minor units of its own currency. */
interface ItemRefunds {
  readonly grossMinor: bigint;
  readonly takenMinor: bigint;
  readonly items: readonly { place: number; amountMinor: bigint; refundedMinor: bigint }[];
}

/** Undefined: no refund names items. */
async function readItemRefunds(
  tx: DatabaseTransaction,
  conversionId: bigint,
): Promise<ItemRefunds | undefined> {
  const refunded = await readRefundedItems(tx, conversionId);
  if (refunded.size === 0) return undefined;
  const conversion = await getConversion(tx, conversionId);
  assert(conversion?.items, `conversion ${conversionId} has items`);
  const { grossMinor, loweredMinor, refundedMinor } = await readAmounts(tx, conversion);
  const items = [...refunded].map(([place, { amountMinor: minor }]) => ({
    place,
    amountMinor: conversion.items?.[place]?.amountMinor ?? 0n,
    refundedMinor: minor,
  }));
  return { grossMinor, takenMinor: loweredMinor + refundedMinor, items };
}

/** The commissions of a conversion by level; each level's parts are in their order. */
function levelsOf(commissions: readonly Commission[]): Commission[][] {
  const levels = new Map<number, Commission[]>();
  for (const commission of commissions) {
    const known = levels.get(commission.level);
    if (known) known.push(commission);
    else levels.set(commission.level, [commission]);
  }
  return [...levels.values()];
}

function sumOf(commissions: readonly Commission[], amountOf: (commission: Commission) => bigint): bigint {
  return commissions.reduce((sum, commission) => sum + amountOf(commission), 0n);
}

/** What a level lacks of what the conversion makes of it; below zero: what it has beyond that. */
function lackOf(
  parts: readonly Commission[],
  conversion: AdjustedConversion,
  ofItems: ItemRefunds | undefined,
): bigint {
  // What was restored had been earned before.
  const earned = sumOf(parts, ({ cause, amountMinor }) => (cause === 'restoration' ? 0n : amountMinor));
  const left =
    ofItems && !isVoid(conversion) ? leftAfterItems(parts, earned, ofItems) : leftOf(earned, conversion);
  return left - sumOf(parts, leftInPart);
}

function leftInPart({ amountMinor, reversedMinor }: Commission): bigint {
  return amountMinor - reversedMinor;
}

/** Takes back from the latest part first, and from those that are not paid before those that are. */
function takeBack(parts: readonly Commission[], amountMinor: bigint): Reversal[] {
  const takable = parts.filter(({ state }) => REVERSED_FROM[state] !== undefined).toReversed();
  const isPaid = ({ state }: Commission) => REVERSED_FROM[state] === 'debt';
  const reversals: Reversal[] = [];
  let toTakeMinor = amountMinor;
  for (const commission of [...takable.filter((part) => !isPaid(part)), ...takable.filter(isPaid)]) {
    let takenMinor = leftInPart(commission);
    if (takenMinor > toTakeMinor) takenMinor = toTakeMinor;
    if (takenMinor <= 0n) continue;
    reversals.push({ commission, amountMinor: takenMinor, clawback: isPaid(commission) });
    toTakeMinor -= takenMinor;
  }
  return reversals;
}

/**
 * What is available to affiliates to whom payouts have left rests. When such a payout comes back after a later one has
 * taken up its rest, its commissions are available again and a part of them is paid: that part is owed. Refunds of one
 * affiliate wait for each other, or two would take the same money; nothing else lessens what is left to them.
 */
async function lockLeftBalances(
  tx: DatabaseTransaction,
  reversals: readonly Reversal[],
): Promise<Map<number, bigint>> {
  const affiliateIds = reversals
    .filter(({ commission }) => commission.state === 'available')
    .map(({ commission }) => commission.affiliateId);
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

/** Sets apart what of available commissions a payout has paid as another one's rest: it is owed. */
function splitByRests(
  reversals: readonly Reversal[],
  leftBalances: ReadonlyMap<number, bigint>,
): { standing: Reversal[]; paidWithRests: Reversal[] } {
  const left = new Map(leftBalances);
  const standing: Reversal[] = [];
  const paidWithRests: Reversal[] = [];
  for (const reversal of reversals) {
    const { commission, amountMinor } = reversal;
    const leftMinor = commission.state === 'available' ? left.get(commission.affiliateId) : undefined;
    const takenMinor = leftMinor !== undefined && leftMinor < amountMinor ? leftMinor : amountMinor;
    if (leftMinor !== undefined) left.set(commission.affiliateId, leftMinor - takenMinor);
    if (takenMinor > 0n) standing.push({ ...reversal, amountMinor: takenMinor });
    if (takenMinor < amountMinor) {
      paidWithRests.push({ commission, amountMinor: amountMinor - takenMinor, clawback: true });
    }
  }
  return { standing, paidWithRests };
}

/**
 * Takes the commissions of a conversion that the caller has locked out of payouts that are not submitted yet: the payout
 * is canceled, and the next run builds it again without what is taken back. Its other commissions are locked out of their
 * order, so that two such refunds may meet in a deadlock: one of them is then tried again.
 */
async function lockOutOfPayouts(
  tx: DatabaseTransaction,
  conversionId: bigint,
  commissions: Commission[],
): Promise<Commission[]> {
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

/** Earns again what levels lack. What was forgiven of their debt is owed again, or they would have it twice. */
async function restore(
  tx: DatabaseTransaction,
  options: {
    key: string;
    conversion: AdjustedConversion;
    levels: readonly Commission[][];
    lack: (parts: readonly Commission[]) => bigint;
  },
): Promise<void> {
  const { key, conversion, levels, lack } = options;
  const { id: conversionId, programId, currency } = conversion;
  const parts: NewPart[] = [];
  for (const level of levels) {
    const amountMinor = lack(level);
    const [first] = level;
    if (amountMinor <= 0n || !first) continue;
    parts.push({ ...first, part: level.length + 1, amountMinor });
    const commissionIds = level.filter(({ clawbackMinor }) => clawbackMinor > 0n).map(({ id }) => id);
    await takeBackWriteOffs(tx, {
      key: `restore:${key}:${first.level}:owed-again`,
      programId,
      currency,
      conversionId,
      commissionIds,
      upToMinor: amountMinor,
    });
  }
  await earnParts(tx, { key: `restore:${key}`, cause: 'restoration', conversion, parts });
}

/** A further part of what a level earns. */
export type NewPart = Pick<
  Commission,
  'affiliateId' | 'level' | 'part' | 'termsId' | 'amountMinor' | 'availableAt'
>;

/** Inserts further parts of a credited conversion's commissions, held as the conversion is, and posts them. */
export async function earnParts(
  tx: DatabaseTransaction,
  options: {
    key: string;
    cause: Exclude<CommissionCause, 'order'>;
    conversion: AdjustedConversion;
    parts: readonly NewPart[];
  },
): Promise<void> {
  const { key, cause, conversion, parts } = options;
  const { id: conversionId, programId, currency } = conversion;
  const state = conversion.awaitsShop || awaitsReview(conversion) ? 'held' : 'pending';
  if (parts.length === 0) return;
  const rows = parts.map(({ affiliateId, level, part, termsId, amountMinor, availableAt }) => ({
    affiliate_id: affiliateId,
    level,
    part,
    terms_id: termsId,
    amount_minor: amountMinor.toString(),
    available_at: availableAt.toISOString(),
  }));
  const earned = await tx<Pick<Commission, 'id' | 'affiliateId' | 'amountMinor'>[]>`
    insert into commissions (conversion_id, program_id, currency, cause, state, affiliate_id, level, part, terms_id,
      amount_minor, available_at)
    select ${conversionId}, ${programId}, ${currency}, ${cause}, ${state}, r.*
    from json_to_recordset(${tx.json(rows)}::json) as r (
      affiliate_id integer, level integer, part smallint, terms_id integer, amount_minor bigint, available_at timestamptz
    )
    order by level
    returning id, affiliate_id, amount_minor`;
  const entries = earned.map(
    ({ id, affiliateId, amountMinor }): Entry => ({
      affiliateId,
      account: 'pending',
      amountMinor,
      commissionId: id,
    }),
  );
  const posted = await postJournals(tx, [
    {
      key,
      kind: cause === 'raise' ? 'earning' : 'restoration',
      programId,
      currency,
      conversionId,
      entries: [...entries, balancingEntry('commission_expense', entries)],
    },
  ]);
  const journalId = posted.get(key);
  assert(journalId !== undefined, `${key} is posted once`);
  await appendLines(
    tx,
    earned.map(({ id, amountMinor }) => ({ commissionId: id, kind: 'earning', amountMinor, journalId })),
  );
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
