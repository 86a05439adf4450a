import { inTransaction, type Ledger, type LedgerTransaction } from './db.ts';
import { postJournals } from './journals.ts';

/** Debt given up in one transaction. */
const BATCH_SIZE = 500;

/**
 * Gives up debt that is older than the program's `debt_write_off_days`: the affiliate owes nothing for it any more,
 * and the program's expense keeps what was paid. Payouts net the oldest debt first, so what is older than N days is
 * what exceeds the clawbacks of the last N days. What the affiliate has earned and was not paid yet will net its part,
 * which is never given up. Running it again on the same day changes nothing.
 */
export async function writeOffDebt(
  ledger: Ledger,
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
  tx: LedgerTransaction,
  options: { now: Date; programId: number; days: number; after: number },
): Promise<{ written: bigint[]; last: number | undefined }> {
  const { now, programId, days, after } = options;
  // Nothing but the building of payouts makes debt smaller, and it takes the same lock.
  await tx`select pg_advisory_xact_lock(hashtextextended('payouts.build', ${programId}))`;
  const debts = await tx<{ affiliateId: number; currency: string; oldMinor: bigint }[]>`
    select a.affiliate_id, a.currency, greatest(0, -a.balance_minor - e.earned_minor - coalesce((
      select sum(-l.amount_minor) from commission_lines l join commissions c on c.id = l.commission_id
      where l.kind = 'clawback' and c.affiliate_id = a.affiliate_id
        and l.created_at > ${now}::timestamptz - make_interval(days => ${days})
    ), 0))::bigint as old_minor
    from accounts a cross join lateral (
      select sum(balance_minor) as earned_minor from accounts
      where program_id = a.program_id and affiliate_id = a.affiliate_id and currency = a.currency
        and kind in ('pending', 'available')
    ) e
    where a.program_id = ${programId} and a.kind = 'debt' and a.balance_minor < 0 and a.affiliate_id > ${after}
    order by a.affiliate_id limit ${BATCH_SIZE}`;
  const old = debts.filter(({ oldMinor }) => oldMinor > 0n);
  const posted = await postJournals(
    tx,
    old.map(({ affiliateId, currency, oldMinor }) => ({
      key: keyOf(affiliateId, now),
      kind: 'debt_write_off',
      programId,
      currency,
      entries: [
        { affiliateId, account: 'debt', amountMinor: oldMinor },
        { affiliateId: null, account: 'commission_expense', amountMinor: -oldMinor },
      ],
    })),
  );
  const written = old.filter(({ affiliateId }) => posted.has(keyOf(affiliateId, now)));
  return {
    written: written.map(({ oldMinor }) => oldMinor),
    last: debts.length < BATCH_SIZE ? undefined : debts.at(-1)?.affiliateId,
  };
}

function keyOf(affiliateId: number, now: Date): string {
  return `write-off:${affiliateId}:${now.toISOString().slice(0, 10)}`;
}
