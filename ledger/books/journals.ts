import { assert } from '../../core/errors.ts';
import type { DatabaseTransaction } from '../postgres/db.ts';

/** Accounts of an affiliate, and of its program (`affiliateId` null), per currency. See migrations/0008_books.sql. */
export type AccountKind =
  | 'pending'
  | 'available'
  | 'in_transit'
  | 'paid'
  | 'debt'
  | 'adjustments'
  | 'commission_expense'
  | 'cash_clearing';

export type JournalKind =
  | 'earning'
  | 'vesting'
  | 'rejection'
  | 'refund'
  | 'restoration'
  | 'payout_build'
  | 'payout_paid'
  | 'payout_failure'
  | 'payout_cancellation'
  | 'payout_return'
  | 'debt_write_off'
  | 'bonus'
  | 'deduction'
  | 'forfeiture'
  | 'merge';

/** One movement on one account; positive amounts are what an affiliate gains. */
export interface Entry {
  readonly affiliateId: number | null;
  readonly account: AccountKind;
  readonly amountMinor: bigint;
  /** Which commission moved, where it is one. */
  readonly commissionId?: bigint | undefined;
}

/** What is posted together: at least two entries that sum to zero. */
export interface Journal {
  /** Names the event for ever: posting it again does nothing. */
  readonly key: string;
  readonly kind: JournalKind;
  readonly programId: number;
  readonly currency: string;
  readonly conversionId?: bigint | undefined;
  readonly payoutId?: bigint | undefined;
  readonly entries: readonly Entry[];
}

/** The entry on the program's side that makes the others sum to zero. */
export function balancingEntry(account: AccountKind, entries: readonly Entry[]): Entry {
  const sum = entries.reduce((total, { amountMinor }) => total + amountMinor, 0n);
  return { affiliateId: null, account, amountMinor: -sum };
}

/**
 * Posts journals with their entries, and with them the cached balances. Returns the id of each journal by key; a
 * journal posted before is left out.
 */
export async function postJournals(
  tx: DatabaseTransaction,
  journals: readonly Journal[],
): Promise<Map<string, bigint>> {
  if (journals.length === 0) return new Map();
  const headers = journals.map(({ key, kind, programId, conversionId, payoutId }) => ({
    key,
    kind,
    program_id: programId,
    conversion_id: conversionId?.toString() ?? null,
    payout_id: payoutId?.toString() ?? null,
  }));
  const posted = await tx<{ key: string; id: bigint }[]>`
    insert into journals (idempotency_key, kind, program_id, conversion_id, payout_id)
    select key, kind, program_id, conversion_id, payout_id
    from json_to_recordset(${tx.json(headers)}::json)
      as h (key text, kind text, program_id integer, conversion_id bigint, payout_id bigint)
    on conflict (idempotency_key) do nothing
    returning idempotency_key as key, id`;
  const ids = new Map(posted.map(({ key, id }) => [key, id]));
  const entries = journals.flatMap(({ key, programId, currency, entries }) => {
    const journalId = ids.get(key);
    if (journalId === undefined) return [];
    return entries
      .filter(({ amountMinor }) => amountMinor !== 0n)
      .map(({ affiliateId, account, amountMinor, commissionId }) => ({
        journal_id: journalId.toString(),
        program_id: programId,
        owner: affiliateId ?? 0,
        currency,
        account,
        amount_minor: amountMinor.toString(),
        commission_id: commissionId?.toString() ?? null,
      }));
  });
  if (entries.length === 0) return ids;
  const count = await tx`
    insert into entries (journal_id, account_id, currency, amount_minor, commission_id)
    select e.journal_id, a.id, a.currency, e.amount_minor, e.commission_id
    from json_to_recordset(${tx.json(entries)}::json) as e (
      journal_id bigint, program_id integer, owner integer, currency text, account text, amount_minor bigint,
      commission_id bigint
    )
    join accounts a on a.program_id = e.program_id and coalesce(a.affiliate_id, 0) = e.owner
      and a.currency = e.currency and a.kind = e.account`.affected();
  assert(count === entries.length, 'every account of a journal exists');
  return ids;
}

/** One line of a commission: what it earned, or what was taken back, in a journal that moved it. */
export interface CommissionLine {
  readonly commissionId: bigint;
  readonly journalId: bigint;
  readonly kind: 'earning' | 'reversal' | 'clawback';
  readonly amountMinor: bigint;
}

export async function appendLines(tx: DatabaseTransaction, lines: readonly CommissionLine[]): Promise<void> {
  if (lines.length === 0) return;
  const rows = lines.map(({ commissionId, journalId, kind, amountMinor }) => ({
    commission_id: commissionId.toString(),
    journal_id: journalId.toString(),
    kind,
    amount_minor: amountMinor.toString(),
  }));
  await tx`
    insert into commission_lines (commission_id, kind, amount_minor, journal_id)
    select commission_id, kind, amount_minor, journal_id
    from json_to_recordset(${tx.json(rows)}::json)
      as l (commission_id bigint, journal_id bigint, kind text, amount_minor bigint)`;
}
