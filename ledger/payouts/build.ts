import { createHash } from 'node:crypto';
import { OperatingError } from '../../core/errors.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { firstOwed, readOwed } from '../books/debt.ts';
import { postJournals } from '../books/journals.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { destinations } from './destinations.ts';
import { buildJournal, PAYOUT_COLUMNS, type Payout, type PayoutItem, type PayoutPart } from './payouts.ts';

/** Affiliates looked at in one transaction, and payouts handed over in one batch. */
const PAYOUT_BATCH_SIZE = 500;

interface BuildOptions {
  /** Commissions available then are paid, to destinations whose hold has ended by then. */
  readonly now: Date;
  /** The payout provider that will move the money. */
  readonly provider: string;
  readonly programId: number;
  /** Who starts the run, as the audit log names them. */
  readonly actor: string;
}

export interface BuiltPayouts {
  /** Null: nothing was due. */
  readonly runId: bigint | null;
  readonly built: number;
  /** They wait for a second person: see approvals.ts. */
  readonly awaitsApproval: boolean;
}

/**
 * Makes one payout for every active affiliate of the program whose available money less its debt reaches its payout
 * minimum, whose schedule allows one now and whose destination is not on hold: `awaiting_approval` where the program
 * asks for a second person, else `created`. All in one transaction, so that a run is what its preview showed, or
 * nothing. @throws OperatingError `preview_changed` when that is not what `preview` is the hash of.
 */
export async function buildPayouts(
  ledger: Database,
  options: BuildOptions & { preview?: string | undefined },
): Promise<BuiltPayouts> {
  const { preview, now, provider, programId, actor } = options;
  return await inTransaction(ledger, async (tx) => {
    const { runId, payouts, awaitsApproval } = await buildAll(tx, options);
    const hash = hashPreview(options, payouts);
    if (preview !== undefined && preview !== hash) {
      throw new OperatingError('preview_changed', 'what would be paid has changed since the preview');
    }
    if (runId !== null) {
      await appendAuditLog(tx, {
        actor,
        action: 'payouts.run',
        subject: `run_${runId}`,
        after: {
          program_id: `prg_${programId}`,
          provider,
          as_of: now,
          preview: hash,
          confirmed: preview !== undefined,
          awaits_approval: awaitsApproval,
          payouts: payouts.length,
          amount_minor: payouts.reduce((sum, { amountMinor }) => sum + amountMinor, 0n).toString(),
          currency: payouts[0]?.currency,
        },
      });
    }
    return { runId, built: payouts.length, awaitsApproval };
  });
}

/** A payout that would be made now. */
export type PayoutPreview = Pick<
  Payout,
  | 'affiliateId'
  | 'currency'
  | 'amountMinor'
  | 'destinationKind'
  | 'destinationHint'
  | 'destinationEmail'
  | 'methodVersion'
>;

/** What {@link buildPayouts} would make: it is made, and rolled back, so that no second rule can say otherwise. */
export async function previewPayouts(
  ledger: Database,
  options: Omit<BuildOptions, 'actor'>,
): Promise<PayoutPreview[]> {
  let payouts: readonly Payout[] = [];
  const rolledBack = new Error('a preview leaves nothing');
  await inTransaction(ledger, async (tx) => {
    ({ payouts } = await buildAll(tx, { ...options, actor: 'preview' }));
    throw rolledBack;
  }).catch((error: unknown) => {
    if (error !== rolledBack) throw error;
  });
  return payouts.map(
    ({
      affiliateId,
      currency,
      amountMinor,
      destinationKind,
      destinationHint,
      destinationEmail,
      methodVersion,
    }) => ({
      affiliateId,
      currency,
      amountMinor,
      destinationKind,
      destinationHint,
      destinationEmail,
      methodVersion,
    }),
  );
}

/**
 * SHA-256, in hexadecimal, of a preview: the program, the provider and the moment, then a line for each affiliate by
 * id, with its currency, its minor units and where they go. It can be computed again from the payouts of a run.
 */
export function hashPreview(
  { now, provider, programId }: Omit<BuildOptions, 'actor'>,
  payouts: readonly PayoutPreview[],
): string {
  const hash = createHash('sha256').update(`prg_${programId} ${provider} ${now.toISOString()}\n`);
  for (const payout of payouts) {
    const { affiliateId, currency, amountMinor, destinationKind, methodVersion, destinationEmail } = payout;
    const destination = `${destinationKind ?? '-'} ${methodVersion ?? destinationEmail ?? '-'}`;
    hash.update(`aff_${affiliateId} ${currency} ${amountMinor} ${destination}\n`);
  }
  return hash.digest('hex');
}

interface StartedRun {
  /** Null before the first batch that has payouts. */
  readonly runId: bigint | null;
  readonly awaitsApproval: boolean;
}

async function buildAll(
  tx: DatabaseTransaction,
  options: BuildOptions,
): Promise<StartedRun & { payouts: readonly Payout[] }> {
  // One builder a program at a time. The unique keys alone would keep the money right, by failing the second one.
  await tx`select pg_advisory_xact_lock(hashtextextended('payouts.build', ${options.programId}))`;
  const [program] = await tx<{ awaitsApproval: boolean }[]>`
    select payouts_need_approval as awaits_approval from programs where id = ${options.programId} for share`;
  const awaitsApproval = program?.awaitsApproval ?? false;
  const payouts: Payout[] = [];
  let runId: bigint | null = null;
  let after = 0;
  for (;;) {
    const batch: BuiltBatch = await buildBatch(tx, { ...options, runId, awaitsApproval, after });
    runId = batch.runId;
    payouts.push(...batch.payouts);
    if (batch.last === undefined) return { runId, awaitsApproval, payouts };
    after = batch.last;
  }
}

interface BuiltBatch {
  readonly runId: bigint | null;
  readonly payouts: readonly Payout[];
  /** Where the next batch begins; undefined at the end. */
  readonly last?: number | undefined;
}

interface Payable {
  readonly commissionId: bigint;
  readonly affiliateId: number;
  readonly amountMinor: bigint;
}

/** Payouts of the next affiliates behind `after`. */
async function buildBatch(
  tx: DatabaseTransaction,
  options: BuildOptions & StartedRun & { after: number },
): Promise<BuiltBatch> {
  const candidates = await findCandidates(tx, options);
  const last = candidates.at(-1);
  if (last === undefined) return { runId: options.runId, payouts: [] };
  const payable = await lockPayable(tx, candidates, options.now);
  const payouts = await insertPayouts(tx, options, payable);
  const runId = options.runId ?? (await runOf(tx, payouts));
  if (payouts.length > 0) {
    const parts = await readBatchParts(tx, payouts);
    await tx`
      update commissions c set state = 'in_payout' from payout_items i
      where i.commission_id = c.id and i.payout_id = any(${payouts.map(({ id }) => id)}::bigint[])`;
    await postJournals(
      tx,
      payouts.map((payout) => buildJournal(payout, parts.get(payout.id) ?? [])),
    );
  }
  return { runId, payouts, last: candidates.length < PAYOUT_BATCH_SIZE ? undefined : last };
}

async function runOf(tx: DatabaseTransaction, [payout]: readonly Payout[]): Promise<bigint | null> {
  if (!payout) return null;
  const [batch] = await tx<[{ runId: bigint }]>`
    select b.run_id from payouts p join payout_batches b on b.id = p.batch_id where p.id = ${payout.id}`;
  return batch.runId;
}

/** Affiliates who may be due, by id: available money, no payout under way. */
async function findCandidates(
  tx: DatabaseTransaction,
  options: BuildOptions & { after: number },
): Promise<number[]> {
  const rows = await tx<{ affiliateId: number }[]>`
    select a.affiliate_id from accounts a join affiliates f on f.id = a.affiliate_id
    where a.program_id = ${options.programId} and a.kind = 'available' and a.balance_minor > 0
      and a.affiliate_id > ${options.after} and f.status = 'active'
      and not exists (
        select from payouts p where p.affiliate_id = a.affiliate_id and p.currency = a.currency
          and p.state in ('awaiting_approval', 'created', 'submitting', 'submitted', 'unknown')
      )
    order by a.affiliate_id limit ${PAYOUT_BATCH_SIZE}`;
  return rows.map(({ affiliateId }) => affiliateId);
}

/** Locks the available commissions of these affiliates, then the affiliates that are still active. */
async function lockPayable(
  tx: DatabaseTransaction,
  affiliateIds: readonly number[],
  now: Date,
): Promise<Payable[]> {
  // A commission that a refund is working on is left for the next run.
  const payable = await tx<Payable[]>`
    select id as commission_id, affiliate_id, amount_minor - reversed_minor + clawback_minor as amount_minor
    from commissions where affiliate_id = any(${[...affiliateIds]}::integer[]) and state = 'available'
      and available_at <= ${now}
    order by id for no key update skip locked`;
  // The lock: no affiliate is suspended, and no destination changed, between this check and the commit of its payout.
  const active = await tx<{ id: number }[]>`
    select id from affiliates where id = any(${[...affiliateIds]}::integer[]) and status = 'active'
    order by id for share`;
  const ids = new Set(active.map(({ id }) => id));
  return payable.filter(({ affiliateId }) => ids.has(affiliateId));
}

/** Inserts the payouts that reach their minimum, with their items, in a batch of their own. */
async function insertPayouts(
  tx: DatabaseTransaction,
  { now, provider, programId, actor, runId, awaitsApproval }: BuildOptions & StartedRun,
  payable: readonly Payable[],
): Promise<Payout[]> {
  const rows = payable.map(({ commissionId, affiliateId, amountMinor }) => ({
    commission_id: commissionId.toString(),
    affiliate_id: affiliateId,
    amount_minor: amountMinor.toString(),
  }));
  // The client takes a list for column names only after a plain `select`: no `(select` may come before it.
  return await tx<Payout[]>`
    with payable as (
      select * from jsonb_to_recordset(${tx.json(rows)}::jsonb)
        as r (commission_id bigint, affiliate_id integer, amount_minor bigint)
    ), owed as (
      select r.affiliate_id, a.currency, a.balance_minor as debt_minor,
        sum(r.amount_minor)::bigint + a.balance_minor as amount_minor
      from payable r join accounts a on a.affiliate_id = r.affiliate_id and a.kind = 'debt'
      group by r.affiliate_id, a.currency, a.balance_minor
    ), due as (
      select owed.*, d.kind, d.details, d.email, d.hint, d.method_version, d.set_by
      from owed join ${destinations(tx, provider)} d on d.affiliate_id = owed.affiliate_id
      cross join lateral (
        select payout_min_minor, payout_schedule from terms
        where program_id = ${programId} and campaign_id is null and validity @> ${now}::timestamptz
          and (affiliate_id is null or affiliate_id = owed.affiliate_id)
        order by affiliate_id is null limit 1
      ) t
      where owed.amount_minor > 0 and owed.amount_minor >= t.payout_min_minor
        and (d.held_until is null or d.held_until <= ${now})
        and (t.payout_schedule = 'daily' or not exists (
          select from payouts p where p.affiliate_id = owed.affiliate_id and p.state not in ('failed', 'canceled', 'returned')
            and p.created_at >= date_trunc(
              case t.payout_schedule when 'weekly' then 'week' else 'month' end, ${now}::timestamptz, 'UTC')
        ))
    ), run as (
      insert into payout_runs (program_id, provider, state, started_by)
      select ${programId}, ${provider}, ${awaitsApproval ? 'awaiting_approval' : 'confirmed'}, ${actor}
      from due where ${runId}::bigint is null limit 1
      returning id
    ), batch as (
      insert into payout_batches (program_id, provider, run_id)
      select ${programId}, ${provider}, coalesce(${runId}::bigint, (select id from run)) from due limit 1
      returning id
    ), made as (
      insert into payouts (batch_id, program_id, affiliate_id, currency, amount_minor, provider, state, destination_kind,
        destination_details, destination_email, destination_hint, method_version, destination_set_by)
      select batch.id, ${programId}, due.affiliate_id, due.currency, due.amount_minor, ${provider},
        ${awaitsApproval ? 'awaiting_approval' : 'created'}, due.kind, due.details, due.email, due.hint,
        due.method_version, due.set_by
      from due cross join batch order by due.affiliate_id
      returning *
    ), items as (
      insert into payout_items (payout_id, kind, commission_id, amount_minor)
      select made.id, 'commission', r.commission_id, r.amount_minor
      from made join payable r on r.affiliate_id = made.affiliate_id
      union all
      select made.id, 'debt', null, due.debt_minor
      from made join due on due.affiliate_id = made.affiliate_id where due.debt_minor < 0
    )
    select ${tx(PAYOUT_COLUMNS)} from made order by id`;
}

/** What the payouts just made consist of; the debt they net is that of their affiliates' oldest refunds. */
async function readBatchParts(
  tx: DatabaseTransaction,
  payouts: readonly Payout[],
): Promise<Map<bigint, PayoutPart[]>> {
  const items = await tx<Omit<PayoutItem, 'id'>[]>`
    select payout_id, kind, commission_id, amount_minor from payout_items
    where payout_id = any(${payouts.map(({ id }) => id)}::bigint[]) order by id`;
  const payoutsById = new Map(payouts.map((payout) => [payout.id, payout]));
  const debtorOf = ({ kind, payoutId }: (typeof items)[number]) =>
    kind === 'debt' ? payoutsById.get(payoutId)?.affiliateId : undefined;
  const affiliateIds = items.map(debtorOf).filter((id) => id !== undefined);
  // A refund in this moment only adds to what is owed.
  const owed =
    affiliateIds.length === 0 ? undefined : await readOwed(tx, { affiliateIds, whereMoneyLeft: false });
  const byPayout = new Map<bigint, PayoutPart[]>();
  for (const item of items) {
    const { payoutId, kind, commissionId, amountMinor } = item;
    const netted = firstOwed(owed?.get(debtorOf(item) ?? 0) ?? [], -amountMinor);
    const parts =
      commissionId === null
        ? netted.map((one) => ({ kind, commissionId: one.commissionId, amountMinor: -one.amountMinor }))
        : [{ kind, commissionId, amountMinor }];
    const known = byPayout.get(payoutId);
    if (known) known.push(...parts);
    else byPayout.set(payoutId, parts);
  }
  return byPayout;
}
