import { createHash } from 'node:crypto';
import { assert, OperatingError } from '../../core/errors.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { handOverMerged } from '../books/balance-adjustments.ts';
import { vestProgram } from '../books/commissions.ts';
import { firstOwed, readOwed } from '../books/debt.ts';
import { postJournals } from '../books/journals.ts';
import { lockProgramBalances } from '../books/program-lock.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { destinations } from './destinations.ts';
import { findLeftOut, type LeftOut, type RunScope } from './left-out.ts';
import { buildJournal, PAYOUT_COLUMNS, type Payout, type PayoutPart } from './payouts.ts';
import { type CurrencyLimits, limitsIn } from './provider.ts';

/** Affiliates looked at in one transaction, and payouts handed over in one batch. */
const PAYOUT_BATCH_SIZE = 500;

interface StartOptions extends RunScope {
  /** Who starts the run, as the audit log names them. */
  readonly actor: string;
}

/** What a run leaves to itself for a while: no other run hands these batches over. */
export interface BatchClaim {
  readonly runId: bigint;
  readonly until: Date;
}

export interface BuiltPayouts {
  /** Null: nothing was due. */
  readonly runId: bigint | null;
  /** Commissions whose hold had ended. */
  readonly vested: number;
  readonly built: number;
  /** They wait for a second person: see approvals.ts. */
  readonly awaitsApproval: boolean;
  readonly leftOut: readonly LeftOut[];
  /** Null: without `claimSeconds`, or nothing is to be handed over. */
  readonly claim: BatchClaim | null;
}

/**
 * Makes available whatever is due, then one payout for every active affiliate of the program whose available money less
 * its debt reaches its payout minimum, whose schedule allows one now and whose destination can be paid:
 * `awaiting_approval` where the program asks for a second person, else `created`. All in one transaction, so that a run
 * is what its preview showed, or nothing. With `claimSeconds` other runs leave the payouts to the caller for so long.
 * @throws OperatingError `preview_changed` when that is not what `preview` is the hash of.
 */
export async function buildPayouts(
  ledger: Database,
  options: StartOptions & { preview?: string | undefined; claimSeconds?: number | undefined },
): Promise<BuiltPayouts> {
  const { preview, now, provider, programId, affiliateId, actor, claimSeconds } = options;
  return await inTransaction(ledger, async (tx) => {
    const { runId, vested, payouts, awaitsApproval, leftOut } = await buildAll(tx, options);
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
          ...(affiliateId !== undefined && { affiliate_id: `aff_${affiliateId}` }),
          provider: provider.name,
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
    const claim =
      claimSeconds === undefined || runId === null || awaitsApproval
        ? null
        : await claimBatches(tx, runId, claimSeconds);
    return { runId, vested, built: payouts.length, awaitsApproval, leftOut, claim };
  });
}

/** By the database's clock, because the claims of several runs are compared with each other. */
async function claimBatches(tx: DatabaseTransaction, runId: bigint, seconds: number): Promise<BatchClaim> {
  const [claim] = await tx<[{ until: Date }]>`
    update payout_batches set
      claimed_until = date_trunc('milliseconds', statement_timestamp() + make_interval(secs => ${seconds}))
    where run_id = ${runId} returning claimed_until as until`;
  return { runId, until: claim.until };
}

/** A payout that would be made now. */
export type PayoutPreview = Pick<
  Payout,
  'affiliateId' | 'currency' | 'amountMinor' | 'destinationKind' | 'destinationHint' | 'methodVersion'
>;

export interface RunPreview {
  /** See {@link hashPreview}: a run that is given it makes these payouts, or none. */
  readonly hash: string;
  readonly payouts: readonly PayoutPreview[];
  readonly leftOut: readonly LeftOut[];
}

/**
 * What {@link buildPayouts} would make, and why everybody else with money would get none: it is made, and rolled back,
 * so that no second rule can say otherwise, and nothing is written.
 */
export async function previewRun(ledger: Database, options: RunScope): Promise<RunPreview> {
  const rolledBack = new Error('a preview leaves nothing');
  let preview: RunPreview | undefined;
  await inTransaction(ledger, async (tx) => {
    const { payouts, leftOut } = await buildAll(tx, { ...options, actor: 'preview' });
    preview = { hash: hashPreview(options, payouts), payouts, leftOut };
    throw rolledBack;
  }).catch((error: unknown) => {
    if (error !== rolledBack) throw error;
  });
  assert(preview, 'what would be paid is known before it is rolled back');
  return preview;
}

/**
 * SHA-256, in hexadecimal, of a preview: the program, the provider, the moment and the affiliate of a run for one, then
 * a line for each affiliate by id, with its currency, its minor units and where they go. It can be computed again from
 * the payouts of a run.
 */
export function hashPreview(
  { now, provider, programId, affiliateId }: RunScope,
  payouts: readonly PayoutPreview[],
): string {
  const only = affiliateId === undefined ? '' : ` aff_${affiliateId}`;
  const hash = createHash('sha256').update(`prg_${programId} ${provider.name} ${now.toISOString()}${only}\n`);
  for (const { affiliateId: id, currency, amountMinor, destinationKind, methodVersion } of payouts) {
    hash.update(`aff_${id} ${currency} ${amountMinor} ${destinationKind} ${methodVersion}\n`);
  }
  return hash.digest('hex');
}

interface StartedRun {
  /** Null before the first batch that has payouts. */
  readonly runId: bigint | null;
  readonly awaitsApproval: boolean;
}

interface BuiltRun extends StartedRun {
  readonly vested: number;
  readonly payouts: readonly Payout[];
  readonly leftOut: readonly LeftOut[];
}

async function buildAll(tx: DatabaseTransaction, options: StartOptions): Promise<BuiltRun> {
  // One builder a program at a time, and no vesting beside it, which would leave out what it is about to add.
  await lockProgramBalances(tx, options.programId);
  const vested = await vestProgram(tx, options);
  await handOverMerged(tx, options);
  const [program] = await tx<{ currency: string; awaitsApproval: boolean }[]>`
    select currency, payouts_need_approval as awaits_approval from programs
    where id = ${options.programId} for share`;
  const awaitsApproval = program?.awaitsApproval ?? false;
  const limits = program && limitsIn(options.provider.limits, program.currency);
  const payouts: Payout[] = [];
  let runId: bigint | null = null;
  const candidates = limits ? await findCandidates(tx, options) : [];
  for (let from = 0; limits && from < candidates.length; from += PAYOUT_BATCH_SIZE) {
    const batch = candidates.slice(from, from + PAYOUT_BATCH_SIZE);
    const built: BuiltBatch = await buildBatch(tx, batch, { ...options, limits, runId, awaitsApproval });
    runId = built.runId;
    payouts.push(...built.payouts);
  }
  const paid = payouts.map(({ affiliateId }) => affiliateId);
  return { runId, vested, awaitsApproval, payouts, leftOut: await findLeftOut(tx, options, paid) };
}

interface BatchOptions extends StartOptions, StartedRun {
  readonly limits: CurrencyLimits;
}

interface BuiltBatch {
  readonly runId: bigint | null;
  readonly payouts: readonly Payout[];
}

/** Affiliates that may be paid, and their commissions that can be, both locked. */
interface Payable {
  readonly affiliateIds: readonly number[];
  readonly commissions: readonly {
    readonly commissionId: bigint;
    readonly affiliateId: number;
    readonly amountMinor: bigint;
  }[];
}

/** Payouts of some who may be due. */
async function buildBatch(
  tx: DatabaseTransaction,
  candidates: readonly number[],
  options: BatchOptions,
): Promise<BuiltBatch> {
  const payable = await lockPayable(tx, candidates, options);
  const due = await findDue(tx, options, payable);
  const payouts = await insertPayouts(tx, options, due);
  const runId = options.runId ?? (await runOf(tx, payouts));
  if (payouts.length > 0) {
    const parts = await partsToMove(tx, due);
    await tx`
      update commissions c set state = 'in_payout' from payout_items i
      where i.commission_id = c.id and i.payout_id = any(${payouts.map(({ id }) => id)}::bigint[])`;
    await postJournals(
      tx,
      payouts.map((payout) => buildJournal(payout, parts.get(payout.affiliateId) ?? [])),
    );
  }
  return { runId, payouts };
}

async function runOf(tx: DatabaseTransaction, [payout]: readonly Payout[]): Promise<bigint | null> {
  if (!payout) return null;
  const [batch] = await tx<[{ runId: bigint }]>`
    select b.run_id from payouts p join payout_batches b on b.id = p.batch_id where p.id = ${payout.id}`;
  return batch.runId;
}

/** A condition: affiliate `f` may be paid. Who is terminated is paid by a run of its own. */
const mayBePaid = (tx: DatabaseTransaction, { affiliateId }: RunScope) => tx`
  (f.status = 'active' or (${affiliateId !== undefined} and f.status = 'terminated'))`;

/** Affiliates who may be due, by id: available money, no payout under way. */
async function findCandidates(tx: DatabaseTransaction, options: StartOptions): Promise<number[]> {
  const { programId, affiliateId = null } = options;
  const rows = await tx<{ affiliateId: number }[]>`
    select a.affiliate_id from accounts a join affiliates f on f.id = a.affiliate_id
    join accounts j on j.affiliate_id = a.affiliate_id and j.currency = a.currency and j.kind = 'adjustments'
    where a.program_id = ${programId} and a.kind = 'available' and a.balance_minor + j.balance_minor > 0
      and (${affiliateId}::integer is null or a.affiliate_id = ${affiliateId}) and ${mayBePaid(tx, options)}
      and not exists (
        select from payouts p where p.affiliate_id = a.affiliate_id and p.currency = a.currency
          and p.state in ('awaiting_approval', 'created', 'submitting', 'submitted', 'unknown')
      )
    order by a.affiliate_id`;
  return rows.map((row) => row.affiliateId);
}

/** Locks the available commissions of these affiliates, then the affiliates that may still be paid. */
async function lockPayable(
  tx: DatabaseTransaction,
  candidates: readonly number[],
  options: BatchOptions,
): Promise<Payable> {
  // A commission that a refund is working on is left for the next run.
  const commissions = await tx<Payable['commissions'][number][]>`
    select id as commission_id, affiliate_id, amount_minor - reversed_minor + clawback_minor as amount_minor
    from commissions where affiliate_id = any(${[...candidates]}::integer[]) and state = 'available'
      and available_at <= ${options.now}
    order by id for no key update skip locked`;
  // The lock: no affiliate is suspended, and no destination changed, between this check and the commit of its payout.
  const payable = await tx<{ id: number }[]>`
    select id from affiliates f where id = any(${[...candidates]}::integer[]) and ${mayBePaid(tx, options)}
    order by id for share`;
  const ids = new Set(payable.map(({ id }) => id));
  return {
    affiliateIds: [...ids],
    commissions: commissions.filter(({ affiliateId }) => ids.has(affiliateId)),
  };
}

/** A payout that is to be made, and what it consists of. */
interface Due {
  readonly affiliateId: number;
  readonly currency: string;
  readonly amountMinor: bigint;
  readonly items: readonly PayoutPart[];
}

/**
 * The payouts that reach their minimum. Of what an affiliate has, the oldest commissions are paid that the provider's
 * largest payment takes, in multiples of its unit.
 */
async function findDue(tx: DatabaseTransaction, options: BatchOptions, payable: Payable): Promise<Due[]> {
  const { now, programId, affiliateId = null, limits } = options;
  const isForOne = affiliateId !== null;
  const given = payable.commissions.map((commission) => ({
    commission_id: commission.commissionId.toString(),
    affiliate_id: commission.affiliateId,
    amount_minor: commission.amountMinor.toString(),
  }));
  const rows = await tx<(Omit<Due, 'items'> & FoundParts)[]>`
    with commissions_of as (
      select * from jsonb_to_recordset(${tx.json(given)}::jsonb)
        as r (commission_id bigint, affiliate_id integer, amount_minor bigint)
    ), carried as (
      select a.affiliate_id, a.currency, a.balance_minor as debt_minor, j.balance_minor as adjustment_minor,
        a.balance_minor + j.balance_minor + coalesce((
        select -sum(i.amount_minor) from payout_items i join payouts p on p.id = i.payout_id
        where i.kind = 'rest' and i.live and p.affiliate_id = a.affiliate_id and p.currency = a.currency
      ), 0) as carried_minor
      from accounts a
      join accounts j on j.affiliate_id = a.affiliate_id and j.currency = a.currency and j.kind = 'adjustments'
      where a.affiliate_id = any(${[...payable.affiliateIds]}::integer[]) and a.kind = 'debt'
    ), summed as (
      select r.*, c.carried_minor + sum(r.amount_minor) over (
        partition by r.affiliate_id order by r.commission_id
      ) as sum_minor
      from commissions_of r join carried c on c.affiliate_id = r.affiliate_id
    ), payable as (
      select affiliate_id, sum(amount_minor) as minor,
        jsonb_agg(jsonb_build_array(commission_id::text, amount_minor::text) order by commission_id) as commissions
      from summed where sum_minor <= coalesce(${limits.largestMinor}::bigint, sum_minor)
      group by affiliate_id
    ), owed as (
      select c.*, c.carried_minor + coalesce(p.minor, 0) as payable_minor,
        c.carried_minor + coalesce(w.minor, 0) as whole_minor, coalesce(p.minor, 0) as commissions_minor,
        coalesce(p.commissions, '[]') as commissions
      from carried c
      left join payable p on p.affiliate_id = c.affiliate_id
      left join (select affiliate_id, sum(amount_minor) as minor from commissions_of group by affiliate_id) w
        on w.affiliate_id = c.affiliate_id
    ), due as (
      select owed.*, (trunc(least(owed.payable_minor, ${limits.largestMinor}::bigint) / ${limits.unitMinor}::bigint)
          * ${limits.unitMinor}::bigint)::bigint as amount_minor
      from owed join ${destinations(tx, options)} d on d.affiliate_id = owed.affiliate_id
      cross join lateral (
        select payout_min_minor, payout_schedule from terms
        where program_id = ${programId} and campaign_id is null and event_name is null and validity @> ${now}::timestamptz
          and (affiliate_id is null or affiliate_id = owed.affiliate_id)
        order by affiliate_id is null limit 1
      ) t
      where owed.payable_minor >= ${limits.unitMinor}::bigint
        and (${isForOne} or owed.whole_minor >= t.payout_min_minor)
        and d.blocked is null
        and (${isForOne} or t.payout_schedule = 'daily' or not exists (
          select from payouts p where p.affiliate_id = owed.affiliate_id and p.state not in ('failed', 'canceled', 'returned')
            and p.created_at >= date_trunc(
              case t.payout_schedule when 'weekly' then 'week' else 'month' end, ${now}::timestamptz, 'UTC')
        ))
    )
    select affiliate_id, currency, amount_minor, commissions, debt_minor,
      -- What of adjustments is not paid stays one, and is no rest: if the payout comes back, so do they, not to what is available.
      (adjustment_minor - least(
        greatest(commissions_minor + debt_minor + adjustment_minor - amount_minor, 0), greatest(adjustment_minor, 0)
      ))::bigint as adjusted_minor
    from due order by affiliate_id`;
  return rows.map(({ commissions, debtMinor, adjustedMinor, ...due }) => ({
    ...due,
    items: itemsOf(due.amountMinor, { commissions, debtMinor, adjustedMinor }),
  }));
}

/** What a payout pays and nets, as it is found: ids and amounts of its commissions as text. */
interface FoundParts {
  readonly commissions: readonly (readonly [id: string, amountMinor: string])[];
  readonly debtMinor: bigint;
  readonly adjustedMinor: bigint;
}

function itemsOf(payoutMinor: bigint, { commissions, debtMinor, adjustedMinor }: FoundParts): PayoutPart[] {
  const paid = commissions.map(([id, amount]) => ({
    kind: 'commission' as const,
    commissionId: BigInt(id),
    amountMinor: BigInt(amount),
  }));
  const restMinor = paid.reduce(
    (rest, one) => rest - one.amountMinor,
    payoutMinor - debtMinor - adjustedMinor,
  );
  const others = [
    { kind: 'debt' as const, commissionId: null, amountMinor: debtMinor },
    { kind: 'adjustment' as const, commissionId: null, amountMinor: adjustedMinor },
    { kind: 'rest' as const, commissionId: null, amountMinor: restMinor },
  ];
  return [...paid, ...others.filter(({ amountMinor }) => amountMinor !== 0n)];
}

/**
 * Inserts payouts to the methods of now, with their items, in a batch of their own. They are given as data, not as a further step of the
 * statement that finds them: for its many steps the planner expects a single row, and joins them row by row.
 */
async function insertPayouts(
  tx: DatabaseTransaction,
  options: BatchOptions,
  due: readonly Due[],
): Promise<Payout[]> {
  const { provider, programId, affiliateId = null, actor, runId, awaitsApproval } = options;
  if (due.length === 0) return [];
  const rows = due.map((one) => ({
    affiliate_id: one.affiliateId,
    currency: one.currency,
    amount_minor: one.amountMinor.toString(),
  }));
  const items = due
    .flatMap(({ affiliateId: owner, items: parts }) => parts.map((part) => ({ owner, ...part })))
    .map(({ owner, kind, commissionId, amountMinor }, position) => ({
      position,
      affiliate_id: owner,
      kind,
      commission_id: commissionId?.toString() ?? null,
      amount_minor: amountMinor.toString(),
    }));
  // The client takes a list for column names only after a plain `select`: no `(select` may come before it.
  return await tx<Payout[]>`
    with due as (
      select * from jsonb_to_recordset(${tx.json(rows)}::jsonb) as d (affiliate_id integer, currency text, amount_minor bigint)
    ), run as (
      insert into payout_runs (program_id, affiliate_id, provider, state, started_by)
      select ${programId}, ${affiliateId}::integer, ${provider.name},
        ${awaitsApproval ? 'awaiting_approval' : 'confirmed'}, ${actor}
      where ${runId}::bigint is null
      returning id
    ), batch as (
      insert into payout_batches (program_id, provider, run_id)
      select ${programId}, ${provider.name}, coalesce(${runId}::bigint, (select id from run))
      returning id
    ), made as (
      insert into payouts (batch_id, program_id, affiliate_id, currency, amount_minor, provider, state, destination_kind,
        destination_details, destination_hint, method_version, destination_set_by)
      select batch.id, ${programId}, due.affiliate_id, due.currency, due.amount_minor, ${provider.name},
        ${awaitsApproval ? 'awaiting_approval' : 'created'}, m.kind, m.details, m.hint, m.version, m.changed_by
      from due join payout_methods m on m.affiliate_id = due.affiliate_id cross join batch order by due.affiliate_id
      returning *
    ), items as (
      insert into payout_items (payout_id, kind, commission_id, amount_minor)
      select made.id, i.kind, i.commission_id, i.amount_minor
      from jsonb_to_recordset(${tx.json(items)}::jsonb)
        as i (position integer, affiliate_id integer, kind text, commission_id bigint, amount_minor bigint)
      join made on made.affiliate_id = i.affiliate_id order by i.position
    )
    select ${tx(PAYOUT_COLUMNS)} from made order by id`;
}

/** What the journals of payouts move, by affiliate; the debt they net is that of their affiliates' oldest refunds. */
async function partsToMove(
  tx: DatabaseTransaction,
  due: readonly Due[],
): Promise<Map<number, readonly PayoutPart[]>> {
  const affiliateIds = due
    .filter(({ items }) => items.some(({ kind }) => kind === 'debt'))
    .map(({ affiliateId }) => affiliateId);
  // A refund in this moment only adds to what is owed.
  const owed =
    affiliateIds.length === 0 ? undefined : await readOwed(tx, { affiliateIds, whereMoneyLeft: false });
  const parts = ({ affiliateId, items }: Due) =>
    items.flatMap((item): readonly PayoutPart[] => {
      if (item.kind !== 'debt') return [item];
      const netted = firstOwed(owed?.get(affiliateId) ?? [], -item.amountMinor);
      return netted.map(({ commissionId, amountMinor }) => ({
        kind: 'debt',
        commissionId,
        amountMinor: -amountMinor,
      }));
    });
  return new Map(due.map((one) => [one.affiliateId, parts(one)]));
}
