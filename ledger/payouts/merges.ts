import { InputError, OperatingError } from '../../core/errors.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { handOverBalance } from '../books/balance-adjustments.ts';
import { lockProgramBalances } from '../books/program-lock.ts';
import type { DatabaseTransaction } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';
import type { AffiliateStatus } from '../programs/affiliates.ts';

/** What a merge has moved. */
export interface Merge {
  readonly links: number;
  readonly recruits: number;
  /** What the merged affiliate had available, less what it owed; minor units. */
  readonly handedOverMinor: bigint;
}

/**
 * @throws OperatingError `wrong_state` when one of the affiliate's payouts is open: its end would decide where its money is.
 * The caller has the lock of the program's balances, in which payouts are built.
 */
export async function requireNoOpenPayout(tx: DatabaseTransaction, affiliateId: number): Promise<void> {
  const [open] = await tx<{ id: bigint; state: string }[]>`
    select id, state from payouts
    where affiliate_id = ${affiliateId} and state in ('awaiting_approval', 'created', 'submitting', 'submitted', 'unknown')`;
  if (!open) return;
  throw new OperatingError(
    'wrong_state',
    `its payout pay_${open.id} is ${open.state}: it must be closed first`,
  );
}

/** Of what was forfeited, refunds leave an affiliate below zero. That is not claimed, and a successor would owe it. */
async function requireNothingForfeited(tx: DatabaseTransaction, affiliateId: number): Promise<void> {
  const [forfeited] = await tx`
    select from adjustments where affiliate_id = ${affiliateId} and kind = 'forfeiture' limit 1`;
  if (forfeited) throw new OperatingError('wrong_state', 'the affiliate has forfeited what it had');
}

/**
 * Lets one affiliate take the place of another of its program, which ends as terminated and points to it: the links, the
 * coupons, the recruits, what it has or owes, and from now on the orders of its clicks and its customers. What was decided stays as it
 * is, with the commissions of then: what becomes of them is handed over too, when it is vested.
 * @throws InputError `into_affiliate_id`; OperatingError `wrong_state`.
 */
export async function mergeAffiliates(
  tx: DatabaseTransaction,
  options: { programId: number; affiliateId: number; intoAffiliateId: number; note: string; actor: string },
): Promise<Merge> {
  const { programId, affiliateId, intoAffiliateId, note, actor } = options;
  await lockProgramBalances(tx, programId);
  const rows = await tx<Member[]>`
    select id, status, parent_id, merged_into, erased_at from affiliates
    where program_id = ${programId} and id = any(${[affiliateId, intoAffiliateId]}::integer[])
    order by id for no key update`;
  const from = rows.find(({ id }) => id === affiliateId);
  const into = rows.find(({ id }) => id === intoAffiliateId);
  if (affiliateId === intoAffiliateId || into?.status !== 'active')
    throw new InputError('into_affiliate_id', 'must be another active affiliate of the program');
  if (!from || from.mergedInto !== null || from.erasedAt !== null)
    throw new OperatingError('wrong_state', 'the affiliate was merged or erased already');
  await requireNoOpenPayout(tx, affiliateId);
  await requireNothingForfeited(tx, affiliateId);
  const recruits = await moveRecruits(tx, from, into);
  const links = await tx`
    update links set affiliate_id = ${into.id} where affiliate_id = ${from.id}`.affected();
  const coupons = await tx`
    update coupons set affiliate_id = ${into.id}
    where affiliate_id = ${from.id} and withdrawn_at is null`.affected();
  await tx`
    update affiliates set status = 'terminated', merged_into = ${into.id}, merged_at = clock_timestamp(),
      merge_number = 1 + coalesce((select max(merge_number) from affiliates where program_id = ${programId}), 0)
    where id = ${from.id}`;
  const handedOverMinor = await handOverBalance(tx, {
    programId,
    affiliateId,
    toAffiliateId: intoAffiliateId,
    note,
    actor,
  });
  await appendAuditLog(tx, {
    actor,
    action: 'affiliate.merge',
    subject: `aff_${affiliateId}`,
    before: { status: from.status },
    after: {
      merged_into: `aff_${intoAffiliateId}`,
      links,
      coupons,
      recruits,
      handed_over_minor: handedOverMinor.toString(),
      note,
    },
  });
  return { links, recruits, handedOverMinor };
}

interface Member {
  readonly id: number;
  readonly status: AffiliateStatus;
  readonly parentId: number | null;
  readonly mergedInto: number | null;
  readonly erasedAt: Date | null;
}

/** The recruits get the successor as their parent; the one that leads down to the successor, the parent of the old one. */
async function moveRecruits(tx: DatabaseTransaction, from: Member, into: Member): Promise<number> {
  const above = tx`
    with recursive up (id) as (
      select ${into.id}::integer
      union all
      select a.parent_id from up join affiliates a on a.id = up.id where a.parent_id is not null
    )
    select id from up`;
  const onTheWay = await tx`
    update affiliates set parent_id = ${from.parentId}::integer
    where parent_id = ${from.id} and id in (${above})`.affected();
  // The successor may stand deeper in the tree than is left below.
  const others = await answeringInput(
    tx`update affiliates set parent_id = ${into.id} where parent_id = ${from.id}`.affected(),
  );
  return onTheWay + others;
}
