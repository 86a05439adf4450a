import type { DatabaseTransaction } from '../postgres/db.ts';

/**
 * What a bank has booked of a payout. A bank books a debit twice by mistake and gives one of the two back, often in a later
 * file: that credit is no return of the payout, which looks the same without the bookings.
 */
export interface Bookings {
  readonly debits: number;
  readonly credits: number;
  /** The reference of the first debit; undefined where there is none. */
  readonly firstDebit: string | undefined;
}

/** One booking: `reference` is the same in every file that has it. */
export interface Booking {
  readonly direction: 'debit' | 'credit';
  readonly reference: string;
}

/**
 * Records bookings of a payout, each once, and gives those that are new by their references. What is booked of the payout
 * is locked until the transaction ends: of two files at once the second sees what the first has recorded.
 */
export async function recordBookings(
  tx: DatabaseTransaction,
  { payoutId, bookings }: { payoutId: bigint; bookings: readonly Booking[] },
): Promise<Set<Booking>> {
  await tx`select pg_advisory_xact_lock(hashtextextended('payouts.bookings', ${payoutId}))`;
  const added = new Set<Booking>();
  for (const booking of bookings) {
    const { direction, reference } = booking;
    const inserted = await tx`
      insert into payout_bookings (payout_id, direction, reference) values (${payoutId}, ${direction}, ${reference})
      on conflict do nothing`.affected();
    if (inserted > 0) added.add(booking);
  }
  return added;
}

export async function readBookings(tx: DatabaseTransaction, payoutId: bigint): Promise<Bookings> {
  const rows = await tx<Booking[]>`
    select direction, reference from payout_bookings where payout_id = ${payoutId} order by id`;
  const debits = rows.filter(({ direction }) => direction === 'debit');
  return {
    debits: debits.length,
    credits: rows.length - debits.length,
    firstDebit: debits[0]?.reference,
  };
}
