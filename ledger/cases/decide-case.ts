import { InputError } from '../../core/errors.ts';
import { lockProgramBalances } from '../books/program-lock.ts';
import type { ConversionState } from '../conversions/conversions.ts';
import { approveConversion, rejectConversion } from '../decisions/reviews.ts';
import type { DatabaseTransaction } from '../postgres/db.ts';
import { lockRow } from '../postgres/lock.ts';
import { addCaseNote, type CaseState, countDecisions, getCase, setCaseState } from './cases.ts';

/** A decision about orders of a case, each by its name: what is added meanwhile is not decided unseen. */
export interface CaseDecision {
  readonly caseId: number;
  readonly reviewer: string;
  readonly note: string;
  readonly approve: readonly bigint[];
  readonly reject: readonly bigint[];
}

export type CaseOutcome =
  | {
      readonly outcome: 'done';
      readonly approved: readonly bigint[];
      readonly rejected: readonly bigint[];
      /** Not in review any more: decided, refunded or cancelled meanwhile. */
      readonly skipped: readonly { readonly conversionId: bigint; readonly state: ConversionState }[];
    }
  | { readonly outcome: 'not_found' }
  /** The case is not open: nothing was changed. */
  | { readonly outcome: 'wrong_state'; readonly state: CaseState }
  /** None of these orders is in review any more: nothing was changed. */
  | { readonly outcome: 'nothing_in_review' };

interface LockedOrder {
  readonly id: bigint;
  readonly state: ConversionState;
  readonly recurringOf: bigint | null;
}

/**
 * Decides orders of a case, each as its own review would be decided, in one transaction. The case is decided when none of its
 * orders is in review after that, and open as long as one is. @throws InputError naming approve or reject.
 */
export async function decideCase(tx: DatabaseTransaction, decision: CaseDecision): Promise<CaseOutcome> {
  const { caseId, reviewer, note } = decision;
  const before = await getCase(tx, caseId);
  if (!before) return { outcome: 'not_found' };
  // Before any order: a transaction that holds the balances of a program waits for no order.
  await lockProgramBalances(tx, before.programId);
  await lockRow(tx, 'cases', caseId);
  const found = await getCase(tx, caseId);
  if (found?.state !== 'open') return { outcome: 'wrong_state', state: found?.state ?? 'closed' };
  await requireOrders(tx, decision);
  const approve = new Set(decision.approve);
  const asked = new Set([...decision.approve, ...decision.reject]);
  const locked = await lockOrders(tx, [...asked]);
  const waiting = locked.filter(({ state }) => state === 'review');
  const toDecide = laterFirst(waiting.filter(({ id }) => asked.has(id)));
  if (toDecide.length === 0) return { outcome: 'nothing_in_review' };
  const within = { caseId, decision: (await countDecisions(tx, caseId)) + 1 };
  for (const { id } of toDecide) {
    const decide = approve.has(id) ? approveConversion : rejectConversion;
    await decide(tx, { conversionId: id, reviewer, within });
  }
  const { approved, rejected } = await markDecided(
    tx,
    caseId,
    waiting.map(({ id }) => id),
  );
  await addCaseNote(tx, {
    ...{ caseId, act: 'decision', author: reviewer, text: note },
    ...{ approved: approved.length, rejected: rejected.length },
  });
  const after = await getCase(tx, caseId);
  if (after?.inReview === 0) await setCaseState(tx, caseId, 'decided');
  const skipped = locked
    .filter(({ id, state }) => asked.has(id) && state !== 'review')
    .map(({ id, state }) => ({ conversionId: id, state }));
  return { outcome: 'done', approved, rejected, skipped };
}

async function requireOrders(
  tx: DatabaseTransaction,
  { caseId, approve, reject }: CaseDecision,
): Promise<void> {
  const rows = await tx<{ id: bigint }[]>`
    select conversion_id as id from case_orders where case_id = ${caseId} and removed_at is null`;
  const known = new Set(rows.map(({ id }) => id));
  for (const [field, ids] of Object.entries({ approve, reject })) {
    const unknown = ids.find((id) => !known.has(id));
    if (unknown !== undefined) throw new InputError(field, `cnv_${unknown} is not an order of this case`);
  }
  const both = reject.find((id) => approve.includes(id));
  if (both !== undefined) throw new InputError('reject', `cnv_${both} is also to be approved`);
}

/**
 * Everything that the decisions lock one by one, at once and in one order, so that two transactions wait for each other and
 * not in a circle: the orders with later ones of their subscriptions, then the volumes of their affiliates. What is left are
 * the accounts. A transaction that holds those of these affiliates waits for nothing that this one has, except one that
 * ends the hold of another order by hand: one of the two is then tried again.
 */
async function lockOrders(tx: DatabaseTransaction, ids: readonly bigint[]): Promise<LockedOrder[]> {
  const locked = await tx<LockedOrder[]>`
    select id, state, recurring_of from conversions
    where id = any(${[...ids]}::bigint[]) or id in (
      select id from conversions where recurring_of = any(${[...ids]}::bigint[]) and state = 'review')
    order by id for no key update`;
  await tx`
    select from affiliate_volumes
    where (affiliate_id, month) in (
      select affiliate_id, date_trunc('month', occurred_at at time zone 'UTC')::date from conversions
      where id = any(${locked.map(({ id }) => id)}::bigint[]))
    order by affiliate_id, month for no key update`;
  return locked;
}

/** Later orders of subscriptions first: decided with their first order, they would not be decided as it was asked for. */
function laterFirst(orders: readonly LockedOrder[]): LockedOrder[] {
  const isLater = ({ recurringOf }: LockedOrder) => recurringOf !== null;
  return [...orders.filter(isLater), ...orders.filter((order) => !isLater(order))];
}

/** Notes of the case's orders what became of them, also of those that were decided with their first order. */
async function markDecided(
  tx: DatabaseTransaction,
  caseId: number,
  ids: readonly bigint[],
): Promise<{ approved: bigint[]; rejected: bigint[] }> {
  const marked = await tx<{ id: bigint; decidedAs: 'approved' | 'rejected' }[]>`
    with marked as (
      update case_orders o set decided_as = case c.state when 'rejected' then 'rejected' else 'approved' end
      from conversions c
      where o.case_id = ${caseId} and o.removed_at is null and c.id = o.conversion_id
        and c.id = any(${[...ids]}::bigint[]) and c.state <> 'review'
      returning c.id, o.decided_as
    )
    select id, decided_as from marked order by id`;
  const as = (how: 'approved' | 'rejected') =>
    marked.filter(({ decidedAs }) => decidedAs === how).map(({ id }) => id);
  return { approved: as('approved'), rejected: as('rejected') };
}
