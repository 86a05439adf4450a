import { type Database, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { handOverMerged } from './balance-adjustments.ts';
import { balancingEntry, type Entry, type Journal, postJournals } from './journals.ts';
import { lockProgramBalances } from './program-lock.ts';

/**
 * Debt is owed commission by commission: every entry on a debt account names the one that was paid and then refunded,
 * whether it is taken back, netted by a payout, or given up.
 */
export interface Owed {
  readonly affiliateId: number;
  readonly commissionId: bigint;
  /** Above zero. */
  readonly amountMinor: bigint;
  /** Its place among all debt, by when it arose. */
  readonly since: bigint;
}

/** What affiliates owe, the oldest debt of each first. `whereMoneyLeft`: without what is theirs again, unpaid. */
export async function readOwed(
  tx: DatabaseTransaction,
  options: { affiliateIds: readonly number[]; whereMoneyLeft: boolean },
): Promise<Map<number, Owed[]>> {
  const { affiliateIds, whereMoneyLeft } = options;
  const rows = await tx<Owed[]>`
    select a.affiliate_id, e.commission_id, -sum(e.amount_minor)::bigint as amount_minor,
      min(e.id) as since
    from accounts a join entries e on e.account_id = a.id join commissions c on c.id = e.commission_id
    where a.kind = 'debt' and a.affiliate_id = any(${[...affiliateIds]}::integer[])
      and (not ${whereMoneyLeft}::boolean or c.state in ('in_payout', 'paid'))
    group by a.affiliate_id, e.commission_id having sum(e.amount_minor) < 0
    order by a.affiliate_id, min(e.id)`;
  const owed = new Map<number, Owed[]>();
  for (const one of rows) {
    const known = owed.get(one.affiliateId);
    if (known) known.push(one);
    else owed.set(one.affiliateId, [one]);
  }
  return owed;
}

/** The first of what is owed, up to an amount. */
export function firstOwed(owed: readonly Owed[], upToMinor: bigint): Owed[] {
  const first: Owed[] = [];
  let leftMinor = upToMinor;
  for (const one of owed) {
    if (leftMinor <= one.amountMinor) {
      if (leftMinor > 0n) first.push({ ...one, amountMinor: leftMinor });
      return first;
    }
    first.push(one);
    leftMinor -= one.amountMinor;
  }
  return first;
}

/** Debt given up in one transaction. */
const BATCH_SIZE = 500;

/**
 * Gives up debt that is older than the program's `debt_write_off_days`: the affiliate owes nothing for it any more,
 * and the program's expense keeps what was paid. Payouts net the oldest debt first, so what is older than N days is
 * what exceeds the clawbacks of the last N days. What the affiliate has earned and was not paid yet will net its part,
 * which is never given up; a deduction that is more than that is no debt that grows old. Debt that a
 * merge has handed over stays in the books, with its age, where it arose: what is given up there is handed over in turn. If the money
 * comes back after all, so does the debt: {@link takeBackWriteOffs}. Running it again on the same day changes nothing.
 */
export async function writeOffDebt(
  ledger: Database,
  options: { now: Date; programId?: number | undefined },
): Promise<{ affiliates: number; amountMinor: bigint }> {
  const { now, programId = null } = options;
  const programs = await ledger<{ id: number; days: number }[]>`
    select id, debt_write_off_days as days from programs
    where debt_write_off_days is not null and (${programId}::integer is null or id = ${programId}) order by id`;
  let affiliates = 0;
  let amountMinor = 0n;
  for (const { id, days } of programs) {
    let after: number | undefined = 0;
    while (after !== undefined) {
      const from: number = after;
      const batch = await inTransaction(ledger, (tx) =>
        writeOffBatch(tx, { now, programId: id, days, after: from }),
      );
      affiliates += batch.written.length;
      amountMinor += batch.written.reduce((sum, written) => sum + written, 0n);
      after = batch.last;
    }
  }
  return { affiliates, amountMinor };
}

async function writeOffBatch(
  tx: DatabaseTransaction,
  options: { now: Date; programId: number; days: number; after: number },
): Promise<{ written: bigint[]; last: number | undefined }> {
  const { now, programId } = options;
  // Nothing but the building of payouts makes debt smaller, and it takes the same lock.
  await lockProgramBalances(tx, programId);
  const actor = 'write-off';
  await handOverMerged(tx, { programId, actor });
  const { debtors, last } = await readDebtors(tx, options);
  const old = debtors.filter(({ oldMinor }) => oldMinor > 0n);
  const affiliateIds = old.flatMap((debtor) => debtor.affiliateIds);
  // No payout of these is returned between this look and the commit.
  await tx`
    select from commissions where affiliate_id = any(${affiliateIds}::integer[]) and clawback_minor > 0
    order by id for no key update`;
  const owed = await readOwed(tx, { affiliateIds, whereMoneyLeft: true });
  const given = old.map((debtor) => ({
    ...debtor,
    entries: firstOwed(openOf(debtor, owed), debtor.oldMinor).map(givenUp),
  }));
  const posted = await postJournals(
    tx,
    given
      .filter(({ entries }) => entries.length > 0)
      .map(({ affiliateId, currency, entries }) => ({
        key: keyOf(affiliateId, now),
        kind: 'debt_write_off',
        programId,
        currency,
        entries: [...entries, balancingEntry('commission_expense', entries)],
      })),
  );
  const written = given.filter(({ affiliateId }) => posted.has(keyOf(affiliateId, now)));
  if (written.length > 0) await handOverMerged(tx, { programId, actor });
  return {
    written: written.map(({ entries }) => entries.reduce((sum, { amountMinor }) => sum + amountMinor, 0n)),
    last,
  };
}

/** An affiliate with those that were merged into it, and what of their debt is too old. */
interface Debtor {
  readonly affiliateId: number;
  /** Its own, too. */
  readonly affiliateIds: readonly number[];
  readonly currency: string;
  readonly oldMinor: bigint;
  /** What it has still to pay of debt that was handed over to it. */
  readonly handedMinor: bigint;
}

/** What a debtor still owes, the oldest first. Of what was handed over its payouts have netted the oldest. */
function openOf(
  { affiliateId, affiliateIds, handedMinor }: Debtor,
  owed: ReadonlyMap<number, Owed[]>,
): Owed[] {
  const byAge = (a: Owed, b: Owed) => Number(a.since - b.since);
  const ofOthers = affiliateIds.filter((id) => id !== affiliateId).flatMap((id) => owed.get(id) ?? []);
  const handed = firstOwed(ofOthers.toSorted(byAge).toReversed(), handedMinor);
  return [...handed, ...(owed.get(affiliateId) ?? [])].toSorted(byAge);
}

/** Debtors of the next {@link BATCH_SIZE} accounts with debt; `last`: of the last account, undefined where there are no more. */
async function readDebtors(
  tx: DatabaseTransaction,
  options: { now: Date; programId: number; days: number; after: number },
): Promise<{ debtors: Debtor[]; last: number | undefined }> {
  const { now, programId, days, after } = options;
  const accounts = await tx<{ affiliateId: number }[]>`
    select affiliate_id from accounts
    where program_id = ${programId} and kind = 'debt' and balance_minor < 0 and affiliate_id > ${after}
    order by affiliate_id limit ${BATCH_SIZE}`;
  const ids = accounts.map(({ affiliateId }) => affiliateId);
  const debtors = await tx<Debtor[]>`
    with recursive up (id, merged_into) as (
      select id, merged_into from affiliates where id = any(${ids}::integer[])
      union
      select f.id, f.merged_into from up u join affiliates f on f.id = u.merged_into
    ), members (debtor_id, id) as (
      select id, id from up where merged_into is null
      union all
      select m.debtor_id, f.id from members m join affiliates f on f.merged_into = m.id
    ), balances as (
      select m.debtor_id as affiliate_id, array_agg(distinct m.id) as affiliate_ids, a.currency,
        coalesce(sum(-a.balance_minor) filter (where a.kind = 'debt' and m.id = m.debtor_id), 0) as own_minor,
        coalesce(sum(a.balance_minor) filter (where a.kind = 'adjustments' and m.id = m.debtor_id), 0) as adjusted_minor,
        -- What the others have in the hold follows, the rest was handed over.
        coalesce(sum(a.balance_minor) filter (
          where a.kind = 'pending' or (a.kind = 'available' and m.id = m.debtor_id)), 0) as earned_minor
      from members m join accounts a on a.affiliate_id = m.id group by m.debtor_id, a.currency
    ), debtors as (
      select b.*, (
        -- Payouts take the oldest adjustments first: what is open are the newest, and of these deductions are no debt.
        select coalesce(sum(least(minor, greatest(0, -b.adjusted_minor - newer_minor))) filter (where kind = 'merge'), 0)
        from (
          select kind, -amount_minor as minor, coalesce(sum(-amount_minor) over (
            order by id desc rows between unbounded preceding and 1 preceding), 0) as newer_minor
          from adjustments where affiliate_id = b.affiliate_id and amount_minor < 0
        ) negative
      ) as handed_minor
      from balances b
    )
    select affiliate_id, affiliate_ids, currency, handed_minor::bigint,
      greatest(0, handed_minor + own_minor - greatest(0, earned_minor + adjusted_minor + handed_minor) - coalesce((
        select sum(-l.amount_minor) from commission_lines l join commissions c on c.id = l.commission_id
        where l.kind = 'clawback' and c.affiliate_id = any (d.affiliate_ids)
          and l.created_at > ${now}::timestamptz - make_interval(days => ${days})
      ), 0))::bigint as old_minor
    from debtors d order by affiliate_id`;
  return { debtors, last: accounts.length < BATCH_SIZE ? undefined : ids.at(-1) };
}

function givenUp({ affiliateId, commissionId, amountMinor }: Omit<Owed, 'since'>): Entry {
  return { affiliateId, account: 'debt', amountMinor, commissionId };
}

function keyOf(affiliateId: number, now: Date): string {
  return `write-off:${affiliateId}:${now.toISOString().slice(0, 10)}`;
}

/**
 * Debt of these commissions that was given up is owed again, at most `upToMinor` of each affiliate's: the money of their
 * payout has not left or came back, or their order was restored and is going to earn what was forgiven. The caller has
 * locked the commissions.
 */
export async function takeBackWriteOffs(
  tx: DatabaseTransaction,
  options: Pick<Journal, 'key' | 'programId' | 'currency' | 'conversionId' | 'payoutId'> & {
    readonly commissionIds: readonly bigint[];
    readonly upToMinor?: bigint;
  },
): Promise<void> {
  const { commissionIds, upToMinor, ...journal } = options;
  const written = await tx<Owed[]>`
    select a.affiliate_id, e.commission_id, sum(e.amount_minor)::bigint as amount_minor, min(e.id) as since
    from entries e join journals j on j.id = e.journal_id join accounts a on a.id = e.account_id
    where e.commission_id = any(${commissionIds}::bigint[]) and j.kind = 'debt_write_off'
    group by a.affiliate_id, e.commission_id having sum(e.amount_minor) > 0
    order by e.commission_id`;
  if (written.length === 0) return;
  const again = upToMinor === undefined ? written : firstOwed(written, upToMinor);
  const entries = again.map((one) => givenUp({ ...one, amountMinor: -one.amountMinor }));
  await postJournals(tx, [
    {
      ...journal,
      kind: 'debt_write_off',
      entries: [...entries, balancingEntry('commission_expense', entries)],
    },
  ]);
}
