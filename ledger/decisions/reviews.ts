import { appendAuditLog } from '../access/audit-log.ts';
import { lockCommissions, vestCommissions } from '../books/commissions.ts';
import type { ConversionState } from '../conversions/conversions.ts';
import type { DatabaseTransaction } from '../postgres/db.ts';
import { adjustCommissions, reverseRejected, writeChange } from './adjustments.ts';
import { countVolume } from './decisions.ts';
import { approveForShop } from './order-changes.ts';

export type ReviewOutcome =
  | { readonly outcome: 'done'; readonly state: ConversionState }
  | { readonly outcome: 'not_found' }
  /** The conversion is not in a state in which this can be done: nothing was changed. */
  | { readonly outcome: 'wrong_state'; readonly state: ConversionState };

/** Who decides, and why: both go to the audit log. */
export type ReviewRequest = {
  readonly conversionId: bigint;
  readonly reviewer: string;
} & (
  | { readonly note: string }
  /** With others: why is a note of the case alone, for it may be about other people than this order's. */
  | { readonly within: CaseDecisionRef }
);

/** A decision of a case, counted from 1. */
interface CaseDecisionRef {
  readonly caseId: number;
  readonly decision: number;
}

interface LockedConversion {
  readonly id: bigint;
  readonly programId: number;
  readonly currency: string;
  readonly amountMinor: bigint;
  readonly awaitsShop: boolean;
  readonly state: ConversionState;
}

async function lockConversion(tx: DatabaseTransaction, id: bigint): Promise<LockedConversion | undefined> {
  const [conversion] = await tx<LockedConversion[]>`
    select id, program_id, currency, amount_minor, awaits_shop, state from conversions
    where id = ${id} for no key update`;
  return conversion;
}

/**
 * A reviewer credits a conversion in review: its commissions leave the hold for the ordinary wait, and so do those of
 * later orders of its subscription that waited for this alone.
 */
export async function approveConversion(
  tx: DatabaseTransaction,
  request: ReviewRequest,
): Promise<ReviewOutcome> {
  const conversion = await lockConversion(tx, request.conversionId);
  if (!conversion) return { outcome: 'not_found' };
  if (conversion.state !== 'review') return { outcome: 'wrong_state', state: conversion.state };
  const renewals = await lockRenewals(tx, { firstId: conversion.id, onlyWaiting: true });
  for (const renewal of renewals) {
    await approve(tx, renewal);
    await concludeReview(tx, { ...request, conversionId: renewal.id }, 'conversion.approve');
  }
  await approve(tx, conversion);
  return await concludeReview(tx, request, 'conversion.approve');
}

/** A reviewer rejects a conversion in review and later orders of its subscription: their commissions are taken back. */
export async function rejectConversion(
  tx: DatabaseTransaction,
  request: ReviewRequest,
): Promise<ReviewOutcome> {
  const conversion = await lockConversion(tx, request.conversionId);
  if (!conversion) return { outcome: 'not_found' };
  if (conversion.state !== 'review') return { outcome: 'wrong_state', state: conversion.state };
  const renewals = await lockRenewals(tx, { firstId: conversion.id, onlyWaiting: false });
  for (const renewal of renewals) {
    await reject(tx, renewal);
    await concludeReview(tx, { ...request, conversionId: renewal.id }, 'conversion.reject');
  }
  await reject(tx, conversion);
  return await concludeReview(tx, request, 'conversion.reject');
}

/** Later orders of a subscription that are in review; `onlyWaiting`: for nothing but the review of the first one. */
async function lockRenewals(
  tx: DatabaseTransaction,
  { firstId, onlyWaiting }: { firstId: bigint; onlyWaiting: boolean },
): Promise<LockedConversion[]> {
  return await tx<LockedConversion[]>`
    select id, program_id, currency, amount_minor, awaits_shop, state from conversions
    where recurring_of = ${firstId} and state = 'review'
      and (not ${onlyWaiting}::boolean or reason = 'first_order_in_review')
    order by id for no key update`;
}

async function approve(tx: DatabaseTransaction, conversion: LockedConversion): Promise<void> {
  const { id, awaitsShop } = conversion;
  await tx`update conversions set reviewed_at = clock_timestamp() where id = ${id}`;
  const approved = await writeChange(tx, id);
  await countVolume(tx, conversion);
  await lockCommissions(tx, id);
  if (!awaitsShop) {
    await tx`update commissions set state = 'pending' where conversion_id = ${id} and state = 'held'`;
  }
  await adjustCommissions(tx, approved, `approval:${id}`);
}

async function reject(tx: DatabaseTransaction, conversion: LockedConversion): Promise<void> {
  await tx`
    update conversions set state = 'rejected', reason = 'rejected_by_reviewer' where id = ${conversion.id}`;
  await reverseRejected(tx, conversion);
}

async function concludeReview(
  tx: DatabaseTransaction,
  request: ReviewRequest,
  action: string,
): Promise<ReviewOutcome> {
  const { conversionId, reviewer } = request;
  const why =
    'note' in request
      ? { note: request.note }
      : { case: `cas_${request.within.caseId}`, decision: request.within.decision };
  const [row] = await tx<[{ state: ConversionState }]>`
    select state from conversions where id = ${conversionId}`;
  await appendAuditLog(tx, {
    actor: reviewer,
    action,
    subject: `cnv_${conversionId}`,
    before: { state: 'review' },
    after: { state: row.state, ...why },
  });
  return { outcome: 'done', state: row.state };
}

/**
 * The operator ends the wait of a credited conversion, also that for the shop: its commissions are available now.
 * Confirming again changes nothing.
 */
export async function confirmConversion(
  tx: DatabaseTransaction,
  request: { conversionId: bigint; actor: string; now: Date },
): Promise<ReviewOutcome> {
  const { conversionId, actor, now } = request;
  const conversion = await lockConversion(tx, conversionId);
  if (!conversion) return { outcome: 'not_found' };
  const { state } = conversion;
  if (state !== 'attributed' && state !== 'partially_refunded') return { outcome: 'wrong_state', state };
  if (conversion.awaitsShop) await approveForShop(tx, { conversionId, author: { actor } });
  const commissions = await lockCommissions(tx, conversionId);
  const pending = commissions.filter((commission) => commission.state === 'pending');
  if (pending.length === 0) return { outcome: 'done', state };
  await tx`update commissions set available_at = ${now} where id = any(${pending.map(({ id }) => id)}::bigint[])`;
  await vestCommissions(tx, pending);
  await appendAuditLog(tx, {
    actor,
    action: 'conversion.confirm',
    subject: `cnv_${conversionId}`,
    after: { available_at: now.toISOString() },
  });
  return { outcome: 'done', state };
}
