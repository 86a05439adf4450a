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
      /** Payouts that are not part of it, because who approves has a hand in them; the next run builds them again. */
      readonly leftOut: readonly bigint[];
    }
  | { readonly outcome: 'not_found' }
  | { readonly outcome: 'wrong_state'; readonly state: PayoutRunState }
  /** Who started the run, or made the key that did, may not approve it. */
  | { readonly outcome: 'same_person' };

/**
 * Approves a run: its payouts are handed over next. Of two people one alone moves no money: not who started the run,
 * nor who set where a payout goes or has made it what it is, each also behind the keys they have made.
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
  const own = await ownPayouts(tx, runId, userId);
  for (const [payoutId, failure] of own) await cancelPayout(tx, { payoutId, now, actor, failure });
  const leftOut = [...own.keys()];
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
  for (const payoutId of waiting) await cancelPayout(tx, { payoutId, now, actor, failure: reason });
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

async function readWaiting(tx: DatabaseTransaction, runId: bigint): Promise<bigint[]> {
  const rows = await tx<{ id: bigint }[]>`
    select p.id from payouts p join payout_batches b on b.id = p.batch_id
    where b.run_id = ${runId} and p.state = 'awaiting_approval' order by p.id`;
  return rows.map(({ id }) => id);
}

/** Why a payout is canceled, by what its approver did. */
const OWN_FAULTS = {
  destination: 'its approver had set where it goes',
  adjustment: 'its approver had given the affiliate a bonus',
  merge: 'its approver had merged another affiliate into this one',
  credit: 'its approver had credited an order in it, by hand or by an import',
  review: 'its approver had approved an order in it that was in review',
  confirmation: 'its approver had ended the wait of an order in it',
  raise: 'its approver had raised an order in it',
  restoration: 'its approver had restored an order in it, or taken back a refund of it',
  first_order:
    'its approver had credited or approved the first order of a customer, which a later order in it continues',
  erasure: 'its approver had erased the customer of an order in it, and with that its evidence',
} as const;
type OwnFault = keyof typeof OWN_FAULTS;

/** What somebody does so that an order earns, by action of the audit log; `reaches`: the later orders of its customer as well. */
const ORDER_ACTS: readonly { action: string; did: OwnFault; reaches: boolean }[] = [
  { action: 'conversion.attribute', did: 'credit', reaches: true },
  { action: 'conversion.approve', did: 'review', reaches: true },
  { action: 'conversion.confirm', did: 'confirmation', reaches: false },
  { action: 'conversion.shop_approve', did: 'confirmation', reaches: false },
  { action: 'conversion.change', did: 'raise', reaches: false },
  { action: 'conversion.restore', did: 'restoration', reaches: false },
  { action: 'conversion.restore_refund', did: 'restoration', reaches: false },
  { action: 'customer.erase', did: 'erasure', reaches: true },
];

interface Hand {
  /** Of the payout. */
  readonly id: bigint;
  readonly actor: string;
  readonly did: OwnFault;
}

/** By id the payouts of a run that a user has made what they are, with the reason. */
async function ownPayouts(
  tx: DatabaseTransaction,
  runId: bigint,
  userId: number,
): Promise<Map<bigint, string>> {
  const hands = [...(await handsInPayouts(tx, runId)), ...(await handsInOrders(tx, runId))];
  const actors = new Set(hands.map(({ actor }) => actor));
  const own = new Set<string>();
  for (const actor of actors) if ((await userBehind(tx, actor)) === userId) own.add(actor);
  return new Map(hands.flatMap(({ id, actor, did }) => (own.has(actor) ? [[id, OWN_FAULTS[did]]] : [])));
}

/** Who set where payouts of a run go, and who gave their affiliates money without an order. */
async function handsInPayouts(tx: DatabaseTransaction, runId: bigint): Promise<Hand[]> {
  return await tx<Hand[]>`
    with recursive waiting as (
      select p.id, p.affiliate_id, p.created_at, p.destination_set_by, (
        -- Each payout takes up all adjustments there are.
        select max(o.created_at) from payouts o
        where o.affiliate_id = p.affiliate_id and o.id < p.id and o.state not in ('failed', 'canceled', 'returned')
      ) as previous_at
      from payouts p join payout_batches b on b.id = p.batch_id
      where b.run_id = ${runId} and p.state = 'awaiting_approval'
    ), gained as (
      select w.id, w.affiliate_id, a.kind, a.actor
      from waiting w join adjustments a on a.affiliate_id = w.affiliate_id
      where a.amount_minor > 0 and a.created_at < w.created_at and a.created_at > coalesce(w.previous_at, '-infinity')
    ), merged (id, affiliate_id) as (
      select distinct id, affiliate_id from gained where kind = 'merge'
      union
      select m.id, f.id from merged m join affiliates f on f.merged_into = m.affiliate_id
    )
    select id, destination_set_by as actor, 'destination' as did from waiting where destination_set_by is not null
    union
    select id, actor, 'adjustment' from gained where kind <> 'merge'
    union
    -- What follows a merge later is handed over with a run, whose actor is not who merged.
    select m.id, l.actor, 'merge'
    from merged m join audit_log l on l.subject = 'aff_' || m.affiliate_id and l.action = 'affiliate.merge'
    order by id`;
}

/**
 * Who made the orders in payouts of a run earn. By the audit log, and for imports, which have no entry for each order, by
 * the evidence; where that was erased, by the entry of the erasure. A shop's key or source that reports an order as approved
 * says what the shop has decided, which is no act of who made the key or the source.
 */
async function handsInOrders(tx: DatabaseTransaction, runId: bigint): Promise<Hand[]> {
  return await tx<Hand[]>`
    with orders as (
      select distinct p.id as payout_id, c.id, c.recurring_of
      from payouts p join payout_batches b on b.id = p.batch_id
      join payout_items i on i.payout_id = p.id and i.kind = 'commission'
      join commissions m on m.id = i.commission_id
      join conversions c on c.id = m.conversion_id
      where b.run_id = ${runId} and p.state = 'awaiting_approval'
    ), concerned (payout_id, id, is_first) as (
      select payout_id, id, false from orders
      union all
      select distinct payout_id, recurring_of, true from orders where recurring_of is not null
    )
    select k.payout_id as id, coalesce(c.evidence -> 'manual' ->> 'creditedBy', c.evidence ->> 'creditedBy') as actor,
      case when k.is_first then 'first_order' else 'credit' end as did
    from concerned k join conversions c on c.id = k.id
    where c.click_node is null and c.coupon_id is null and c.recurring_of is null
      and coalesce(c.evidence -> 'manual' ->> 'creditedBy', c.evidence ->> 'creditedBy') is not null
    union
    select k.payout_id, h.actor, case when k.is_first then 'first_order' else h.did end
    from json_to_recordset(${tx.json([...ORDER_ACTS])}::json) as a (action text, did text, reaches boolean)
    join concerned k on a.reaches or not k.is_first
    join audit_log l on l.subject = 'cnv_' || k.id and l.action = a.action
    cross join lateral (
      -- Behind a source stand those who know its address or its secret.
      select coalesce(s.actor, l.actor), a.did
      from (values (l.actor)) o (actor)
      left join audit_log s on o.actor like 'src\\_%' and s.subject = o.actor
        and s.action in ('source.create', 'source.rotate_secret')
      union all
      select l.after ->> 'credited_by', 'credit'
    ) h (actor, did)
    where h.actor is not null and case l.action
      when 'conversion.change' then (l.after ->> 'amount')::numeric > (l.after ->> 'before')::numeric
      when 'conversion.shop_approve' then l.actor not like 'src\\_%' and not exists (
        select from api_keys s where l.actor = 'key:' || s.id and s.role = 'advertiser')
      else true end
    order by id`;
}

async function decide(
  tx: DatabaseTransaction,
  { runId, state, now, actor }: { runId: bigint; state: PayoutRunState; now: Date; actor: string },
): Promise<void> {
  await tx`
    update payout_runs set state = ${state}, decided_at = ${now}, decided_by = ${actor} where id = ${runId}`;
}
