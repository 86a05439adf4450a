import { assert, InputError } from '../../core/errors.ts';
import { formatAmount, MAX_AMOUNT_MINOR } from '../../core/money.ts';
import { DAY_MS } from '../../core/time.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { computeCommissions } from '../books/commission-amounts.ts';
import { lockCommissions } from '../books/commissions.ts';
import type { Conversion } from '../conversions/conversions.ts';
import { exchangeBy } from '../conversions/rates.ts';
import type { DatabaseTransaction } from '../postgres/db.ts';
import { termsFor } from '../programs/special-rates.ts';
import { getTerms } from '../programs/terms.ts';
import {
  type AdjustedConversion,
  adjustCommissions,
  awaitsReview,
  CREDITED,
  earnParts,
  type NewPart,
  writeChange,
} from './adjustments.ts';
import { countVolume, readChains } from './decisions.ts';
import { earningLines } from './earning-lines.ts';
import { readAmounts, refundedInBooks } from './order-amounts.ts';
import type { Refund } from './refunds.ts';

/** Changes of an order beside refunds. The caller has locked its conversion. */

/** Who changes an order and, where a person does, why: both go to the audit log. */
export interface Author {
  readonly actor: string;
  readonly note?: string | undefined;
}

/** Each kind of change, by its action in the audit log; a reviewer's are `conversion.approve` and `.reject`. */
const ACTIONS = {
  approved: 'conversion.shop_approve',
  changed: 'conversion.change',
  cancelled: 'conversion.cancel',
  rejected: 'conversion.shop_reject',
  restored: 'conversion.restore',
  refund_restored: 'conversion.restore_refund',
} as const;

interface NewChange {
  readonly kind: keyof typeof ACTIONS;
  readonly raisedMinor?: bigint;
  readonly loweredMinor?: bigint;
  readonly refundId?: bigint;
}

/** Appends the change to the order's life and to the audit log; returns its key for journals. */
async function noteChange(
  tx: DatabaseTransaction,
  {
    conversionId,
    author: { actor, note },
    after,
  }: { conversionId: bigint; author: Author; after?: Record<string, string> | undefined },
  { kind, raisedMinor = 0n, loweredMinor = 0n, refundId }: NewChange,
): Promise<string> {
  const [{ id }] = await tx<[{ id: bigint }]>`
    insert into order_changes (conversion_id, kind, raised_minor, lowered_minor, refund_id)
    values (${conversionId}, ${kind}, ${raisedMinor}, ${loweredMinor}, ${refundId ?? null}) returning id`;
  const action = ACTIONS[kind];
  await appendAuditLog(tx, { actor, action, subject: `cnv_${conversionId}`, after: { ...after, note } });
  return `change:${id}`;
}

/** The shop has approved a pending order: its commissions wait for the end of their hold, unless a review holds them. */
export async function approveForShop(
  tx: DatabaseTransaction,
  { conversionId, author }: { conversionId: bigint; author: Author },
): Promise<void> {
  await noteChange(tx, { conversionId, author }, { kind: 'approved' });
  const [{ state }] = await tx<[Pick<Conversion, 'state'>]>`
    update conversions set awaits_shop = false where id = ${conversionId} returning state`;
  await lockCommissions(tx, conversionId);
  if (state === 'review') return;
  await tx`update commissions set state = 'pending' where conversion_id = ${conversionId} and state = 'held'`;
}

/** The order earns nothing, until it is restored. */
export async function cancelOrder(
  tx: DatabaseTransaction,
  { conversion, kind, author }: { conversion: Conversion; kind: 'cancelled' | 'rejected'; author: Author },
): Promise<void> {
  const { id: conversionId, amountMinor } = conversion;
  const key = await noteChange(tx, { conversionId, author }, { kind });
  const change = { cancelledAt: new Date(), refundedMinor: amountMinor };
  await adjustCommissions(tx, await writeChange(tx, conversionId, change), key);
}

/** The order is as it was before it was cancelled, or as it is without one of its refunds. */
export async function restoreOrder(
  tx: DatabaseTransaction,
  { conversion, refund, author }: { conversion: Conversion; refund?: Refund | undefined; author: Author },
): Promise<void> {
  const { id: conversionId } = conversion;
  const after = refund && { refund_ref: refund.refundRef };
  const key = await noteChange(
    tx,
    { conversionId, author, after },
    refund ? { kind: 'refund_restored', refundId: refund.id } : { kind: 'restored' },
  );
  const cancelledAt = refund ? conversion.cancelledAt : null;
  const refundedMinor =
    cancelledAt === null
      ? refundedInBooks(conversion, await readAmounts(tx, conversion))
      : conversion.amountMinor;
  await adjustCommissions(tx, await writeChange(tx, conversionId, { cancelledAt, refundedMinor }), key);
}

/**
 * The order comes to another total, refunds not taken off. What changes took off it before is given back first; beyond that
 * it is raised, and earns further parts by its own terms. @throws InputError naming `amount`.
 */
export async function changeTotal(
  tx: DatabaseTransaction,
  { conversion, totalMinor, author }: { conversion: Conversion; totalMinor: bigint; author: Author },
): Promise<'raised' | 'lowered' | 'unchanged'> {
  const { id: conversionId } = conversion;
  const amounts = await readAmounts(tx, conversion);
  const { currency, grossMinor, loweredMinor } = amounts;
  const beforeMinor = grossMinor - loweredMinor;
  if (totalMinor === beforeMinor) return 'unchanged';
  if (totalMinor < amounts.refundedMinor) {
    const refunded = formatAmount(amounts.refundedMinor, currency);
    throw new InputError('amount', `must not be less than what was refunded of the order, ${refunded}`);
  }
  if (totalMinor > MAX_AMOUNT_MINOR) {
    throw new InputError('amount', `must not exceed ${formatAmount(MAX_AMOUNT_MINOR, currency)}`);
  }
  const raisedMinor = totalMinor > grossMinor ? totalMinor - grossMinor : 0n;
  const changedLowering = grossMinor + raisedMinor - totalMinor - loweredMinor;
  const raised = raisedMinor === 0n ? {} : await raisedAmounts(tx, conversion, grossMinor + raisedMinor);
  const key = await noteChange(
    tx,
    {
      conversionId,
      author,
      after: { amount: formatAmount(totalMinor, currency), before: formatAmount(beforeMinor, currency) },
    },
    { kind: 'changed', raisedMinor, loweredMinor: changedLowering },
  );
  const changed = { ...conversion, ...raised };
  const refundedMinor =
    conversion.cancelledAt === null
      ? refundedInBooks(changed, await readAmounts(tx, changed))
      : changed.amountMinor;
  const written = await writeChange(tx, conversionId, { ...raised, refundedMinor });
  if (raisedMinor > 0n) await earnRaise(tx, { before: conversion, conversion: written, key });
  await adjustCommissions(tx, written, key);
  return totalMinor > beforeMinor ? 'raised' : 'lowered';
}

/** A raised order in the currency it was reported in and, by its own rates, in its program's. */
async function raisedAmounts(
  tx: DatabaseTransaction,
  { currency: to, orderCurrency: from, rateId, crossRateId }: Conversion,
  grossMinor: bigint,
): Promise<Pick<Conversion, 'amountMinor' | 'orderAmountMinor'>> {
  if (from === null || rateId === null) return { amountMinor: grossMinor, orderAmountMinor: null };
  const amountMinor = await exchangeBy(tx, { amountMinor: grossMinor, from, to, rateId, crossRateId });
  return { amountMinor, orderAmountMinor: grossMinor };
}

/**
 * Earns what an order that was raised earns more by its terms: at the levels that earn by it, and at those above that would
 * have earned by an order of this size. The hold of these parts begins now.
 */
async function earnRaise(
  tx: DatabaseTransaction,
  options: { before: Conversion; conversion: AdjustedConversion; key: string },
): Promise<void> {
  const { before, conversion, key } = options;
  const { affiliateId, termsId } = before;
  if (!CREDITED.has(conversion.state) || affiliateId === null || termsId === null) return;
  const [terms] = await getTerms(tx, [termsId]);
  assert(terms, `terms ${termsId} exist`);
  const commissions = await lockCommissions(tx, before.id);
  const earning = new Map(commissions.map((commission) => [commission.level, commission.affiliateId]));
  const chains = await readChains(tx, {
    affiliateIds: [affiliateId],
    levels: 1 + terms.levelRatesBps.length,
  });
  const members = (chains.get(affiliateId) ?? []).filter(({ level }) => !earning.has(level));
  const others = members.filter((member) => ![...earning.values()].includes(member.affiliateId));
  const known = [...earning].map(([level, id]) => ({ affiliateId: id, level, active: true }));
  const chain = [...known, ...others].toSorted((a, b) => a.level - b.level);
  const volumeBeforeMinor =
    commissions.find(({ volumeBeforeMinor: volume }) => volume !== null)?.volumeBeforeMinor ?? undefined;
  const earnedBy = (amountMinor: bigint) =>
    new Map(
      computeCommissions({
        lines: earningLines({ ...before, amountMinor }, terms),
        terms: termsFor(terms, before.customerKind),
        chain,
        volumeBeforeMinor,
      }).map((earned) => [earned.level, earned.amountMinor]),
    );
  const [earlier, now] = [earnedBy(before.amountMinor), earnedBy(conversion.amountMinor)];
  const availableAt = new Date(Date.now() + terms.holdDays * DAY_MS);
  const parts = chain.flatMap(({ affiliateId: earner, level }): NewPart[] => {
    const amountMinor = (now.get(level) ?? 0n) - (earlier.get(level) ?? 0n);
    const part = 1 + commissions.filter((commission) => commission.level === level).length;
    return amountMinor > 0n ? [{ affiliateId: earner, level, part, termsId, amountMinor, availableAt }] : [];
  });
  // Before any account is locked, as decisions do it.
  if (!awaitsReview(conversion)) {
    await countVolume(tx, { id: before.id, amountMinor: conversion.amountMinor - before.amountMinor });
  }
  await earnParts(tx, { key: `raise:${key}`, cause: 'raise', conversion, parts });
}
