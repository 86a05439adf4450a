import { appendAuditLog } from '../access/audit-log.ts';
import { userBehind } from '../access/persons.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';
import { cancelPayout } from './payouts.ts';

/** Runs, and the second person who approves or rejects them where the program asks for one. */

export const PAYOUT_RUN_STATES = [
  /** It needs no second person. */
  'confirmed',
  'awaiting_approval',
  'approved',
  'rejected',
] as const;
export type PayoutRunState = (typeof PAYOUT_RUN_STATES)[number];

/** The payouts of a program that were started together. */
export interface PayoutRun {
  readonly id: bigint;
  readonly programId: number;
  /** Of a run for one affiliate. */
  readonly affiliateId: number | null;
  readonly provider: string;
  readonly state: PayoutRunState;
  readonly startedAt: Date;
  /** As the audit log names them, such as `user:3` or `scheduler`. */
  readonly startedBy: string;
  /** When it was approved or rejected, and by whom. */
  readonly decidedAt: Date | null;
  readonly decidedBy: string | null;
  /** Without those that are canceled. */
  readonly payouts: number;
  readonly amountMinor: bigint;
  readonly currency: string;
}

const runs = (sql: DatabaseSql) => sql`
  select r.id, r.program_id, r.affiliate_id, r.provider, r.state, r.started_at, r.started_by, r.decided_at, r.decided_by,
    t.payouts, t.amount_minor, g.currency
  from payout_runs r join programs g on g.id = r.program_id
  cross join lateral (
    select count(*)::integer as payouts, coalesce(sum(p.amount_minor), 0)::bigint as amount_minor
    from payout_batches b join payouts p on p.batch_id = b.id
    where b.run_id = r.id and p.state <> 'canceled'
  ) t`;

export async function getPayoutRun(sql: DatabaseSql, id: bigint): Promise<PayoutRun | undefined> {
  const [run] = await sql<PayoutRun[]>`${runs(sql)} where r.id = ${id}`;
  return run;
}

/** Runs, the newest first. */
export async function listPayoutRuns(
  sql: DatabaseSql,
  request: PageRequest<bigint> & { programId?: number | undefined; state?: PayoutRunState | undefined },
): Promise<Page<PayoutRun, bigint>> {
  const { after = null, programId = null, state = null } = request;
  const rows = await sql<PayoutRun[]>`
    ${runs(sql)}
    where (${after}::bigint is null or r.id < ${after})
      and (${programId}::integer is null or r.program_id = ${programId})
      and (${state}::text is null or r.state = ${state})
    order by r.id desc limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

export type DecidedRun =
  | {
      readonly outcome: 'done';
      /** Payouts that are not part of it, because who approves had set where they go; the next run builds them again. */
      readonly leftOut: readonly bigint[];
    }
  | { readonly outcome: 'not_found' }
  | { readonly outcome: 'wrong_state'; readonly state: PayoutRunState }
  /** Who started the run, or made the key that did, may not approve it. */
  | { readonly outcome: 'same_person' };

/**
 * Approves a run: its payouts are handed over next. Of two people one alone moves no money: not who started the run,
 * nor who set where a payout goes, each also behind the keys they have made.
 */
export async function approvePayoutRun(
  tx: DatabaseTransaction,
  options: { runId: bigint; userId: number; now: Date },
): Promise<DecidedRun> {
  const { runId, userId, now } = options;
  const actor = `user:${userId}`;
  const run = await lockAwaiting(tx, runId);
  if ('outcome' in run) return run;
  if ((await userBehind(tx, run.startedBy)) === userId) return { outcome: 'same_person' };
  const waiting = await readWaiting(tx, runId);
  const ownSettings = new Set<string>();
  for (const setBy of new Set(waiting.map((payout) => payout.setBy))) {
    if (setBy !== null && (await userBehind(tx, setBy)) === userId) ownSettings.add(setBy);
  }
  const leftOut = waiting.filter(({ setBy }) => setBy !== null && ownSettings.has(setBy)).map(({ id }) => id);
  for (const payoutId of leftOut) {
    await cancelPayout(tx, { payoutId, now, actor, failure: 'its approver had set where it goes' });
  }
  await decide(tx, { runId, state: 'approved', now, actor });
  await tx`
    update payouts p set state = 'created' from payout_batches b
    where b.id = p.batch_id and b.run_id = ${runId} and p.state = 'awaiting_approval'`;
  await appendAuditLog(tx, {
    actor,
    action: 'payouts.approve',
    subject: `run_${runId}`,
    before: { started_by: run.startedBy },
    after: { approved: waiting.length - leftOut.length, left_out: leftOut.map((id) => `pay_${id}`) },
  });
  return { outcome: 'done', leftOut };
}

/** Rejects a run: its payouts are canceled, and their money is available again. Anybody who may start one may do it. */
export async function rejectPayoutRun(
  tx: DatabaseTransaction,
  options: { runId: bigint; now: Date; actor: string; reason: string },
): Promise<DecidedRun> {
  const { runId, now, actor, reason } = options;
  const run = await lockAwaiting(tx, runId);
  if ('outcome' in run) return run;
  const waiting = await readWaiting(tx, runId);
  for (const { id: payoutId } of waiting) await cancelPayout(tx, { payoutId, now, actor, failure: reason });
  await decide(tx, { runId, state: 'rejected', now, actor });
  await appendAuditLog(tx, {
    actor,
    action: 'payouts.reject',
    subject: `run_${runId}`,
    before: { started_by: run.startedBy },
    after: { rejected: waiting.length, reason },
  });
  return { outcome: 'done', leftOut: [] };
}

async function lockAwaiting(
  tx: DatabaseTransaction,
  runId: bigint,
): Promise<{ startedBy: string } | Exclude<DecidedRun, { outcome: 'done' }>> {
  const [run] = await tx<{ state: PayoutRunState; startedBy: string }[]>`
    select state, started_by from payout_runs where id = ${runId} for no key update`;
  if (!run) return { outcome: 'not_found' };
  return run.state === 'awaiting_approval' ? run : { outcome: 'wrong_state', state: run.state };
}

async function readWaiting(
  tx: DatabaseTransaction,
  runId: bigint,
): Promise<{ id: bigint; setBy: string | null }[]> {
  return await tx<{ id: bigint; setBy: string | null }[]>`
    select p.id, p.destination_set_by as set_by from payouts p join payout_batches b on b.id = p.batch_id
    where b.run_id = ${runId} and p.state = 'awaiting_approval' order by p.id`;
}

async function decide(
  tx: DatabaseTransaction,
  { runId, state, now, actor }: { runId: bigint; state: PayoutRunState; now: Date; actor: string },
): Promise<void> {
  await tx`
    update payout_runs set state = ${state}, decided_at = ${now}, decided_by = ${actor} where id = ${runId}`;
}
