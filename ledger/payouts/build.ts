import { firstOwed, readOwed } from '../books/debt.ts';
import { postJournals } from '../books/journals.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { buildJournal, PAYOUT_COLUMNS, type Payout, type PayoutItem, type PayoutPart } from './payouts.ts';

/** Affiliates looked at in one transaction, and payouts handed over in one batch. */
const PAYOUT_BATCH_SIZE = 500;

interface BuildOptions {
  readonly now: Date;
  /** The payout provider that will move the money. */
  readonly provider: string;
  readonly programId: number;
}

/**
 * Makes one payout, `created`, for every active affiliate of the program whose available money less its debt reaches
 * its payout minimum, and whose schedule allows one now. Returns how many.
 */
export async function buildPayouts(ledger: Database, options: BuildOptions): Promise<number> {
  let built = 0;
  let after = 0;
  for (;;) {
    const batch = await inTransaction(ledger, (tx) => buildBatch(tx, { ...options, after }));
    built += batch.payouts.length;
    if (batch.last === undefined) return built;
    after = batch.last;
  }
}

/** A payout that would be made now. */
export type PayoutPreview = Pick<Payout, 'affiliateId' | 'currency' | 'amountMinor'>;

/** What {@link buildPayouts} would make: it is made, and rolled back, so that no second rule can say otherwise. */
export async function previewPayouts(ledger: Database, options: BuildOptions): Promise<PayoutPreview[]> {
  const previews: PayoutPreview[] = [];
  let after = 0;
  for (;;) {
    let batch: BuiltBatch | undefined;
    const rolledBack = new Error('a preview leaves nothing');
    await inTransaction(ledger, async (tx) => {
      batch = await buildBatch(tx, { ...options, after });
      throw rolledBack;
    }).catch((error: unknown) => {
      if (error !== rolledBack) throw error;
    });
    if (!batch) return previews;
    previews.push(
      ...batch.payouts.map(({ affiliateId, currency, amountMinor }) => ({
        affiliateId,
        currency,
        amountMinor,
      })),
    );
    if (batch.last === undefined) return previews;
    after = batch.last;
  }
}

interface BuiltBatch {
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
  options: BuildOptions & { after: number },
): Promise<BuiltBatch> {
  // One builder a program at a time. The unique keys alone would keep the money right, by failing the second one.
  await tx`select pg_advisory_xact_lock(hashtextextended('payouts.build', ${options.programId}))`;
  const candidates = await findCandidates(tx, options);
  const last = candidates.at(-1);
  if (last === undefined) return { payouts: [] };
  const payable = await lockPayable(tx, candidates);
  const payouts = await insertPayouts(tx, options, payable);
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
  return { payouts, last: candidates.length < PAYOUT_BATCH_SIZE ? undefined : last };
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
          and p.state in ('created', 'submitting', 'submitted', 'unknown')
      )
    order by a.affiliate_id limit ${PAYOUT_BATCH_SIZE}`;
  return rows.map(({ affiliateId }) => affiliateId);
}

/** Locks the available commissions of these affiliates, then the affiliates that are still active. */
async function lockPayable(tx: DatabaseTransaction, affiliateIds: readonly number[]): Promise<Payable[]> {
  // A commission that a refund is working on is left for the next run.
  const payable = await tx<Payable[]>`
    select id as commission_id, affiliate_id, amount_minor - reversed_minor + clawback_minor as amount_minor
    from commissions where affiliate_id = any(${[...affiliateIds]}::integer[]) and state = 'available'
    order by id for no key update skip locked`;
  // The lock: no affiliate is suspended between this check and the commit of its payout.
  const active = await tx<{ id: number }[]>`
    select id from affiliates where id = any(${[...affiliateIds]}::integer[]) and status = 'active'
    order by id for share`;
  const ids = new Set(active.map(({ id }) => id));
  return payable.filter(({ affiliateId }) => ids.has(affiliateId));
}

/** Inserts the payouts that reach their minimum, with their items, in a batch of their own. */
async function insertPayouts(
  tx: DatabaseTransaction,
  { now, provider, programId }: BuildOptions,
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
      select owed.* from owed cross join lateral (
        select payout_min_minor, payout_schedule from terms
        where program_id = ${programId} and campaign_id is null and validity @> ${now}::timestamptz
          and (affiliate_id is null or affiliate_id = owed.affiliate_id)
        order by affiliate_id is null limit 1
      ) t
      where owed.amount_minor > 0 and owed.amount_minor >= t.payout_min_minor
        and (t.payout_schedule = 'daily' or not exists (
          select from payouts p where p.affiliate_id = owed.affiliate_id and p.state not in ('failed', 'canceled', 'returned')
            and p.created_at >= date_trunc(
              case t.payout_schedule when 'weekly' then 'week' else 'month' end, ${now}::timestamptz, 'UTC')
        ))
    ), batch as (
      insert into payout_batches (program_id, provider)
      select ${programId}, ${provider} from due limit 1
      returning id
    ), made as (
      insert into payouts (batch_id, program_id, affiliate_id, currency, amount_minor, provider)
      select batch.id, ${programId}, due.affiliate_id, due.currency, due.amount_minor, ${provider}
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
