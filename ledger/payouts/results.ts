import type { SecretBox } from '../../core/secret-box.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { type Booking, type Bookings, readBookings, recordBookings } from './bookings.ts';
import { applyNotice, type NoticeOutcome, type NoticeStatus } from './notices.ts';
import type { PayoutState } from './payouts.ts';

/** What a bank or PayPal says of one payment, as its result file has it. */
export interface PaymentResult {
  /** The payment's key, as the payout file had it. */
  readonly providerKey: string;
  readonly status: NoticeStatus;
  /** Of a payment that failed or came back: whether its account was the reason. */
  readonly accountRefused: boolean;
  /** What it says was paid; undefined where it does not say. */
  readonly amountMinor?: bigint | undefined;
  readonly currency?: string | undefined;
  /** Why not, in words for the affiliate as well; default: that it did not arrive. */
  readonly failure?: string | undefined;
  /** Why not, in its words. */
  readonly reason?: string | undefined;
  /** The booking on the payer's account that says so, where the file has bookings: a debit is paid, a credit returned. */
  readonly booking?: Booking | undefined;
}

export interface AppliedResult {
  /** Null when no payout has this key. */
  readonly payoutId: bigint | null;
  /** `amount_differs`: it was not what the payout was made for, so nothing was changed. */
  readonly outcome: NoticeOutcome | 'amount_differs';
  /** As it is then; null when no payout has this key. */
  readonly state: PayoutState | null;
  /** What a person has to know of it. */
  readonly detail: string | null;
}

class DryRun extends Error {}

interface ResultScope {
  /** Undefined: of every program. */
  readonly programId: number | undefined;
  readonly now: Date;
  readonly actor: string;
  readonly secretBox: SecretBox;
}

/**
 * Records what a result file says, and answers each result in its place. Saying it again changes nothing, so that a file
 * may be read twice, or half of it and then all. A dry run does the same and takes it back: what a file says of one payment
 * is one transaction, so that a later line of it meets what the earlier ones have done.
 */
export async function applyPaymentResults(
  ledger: Database,
  options: ResultScope & { results: readonly PaymentResult[]; dryRun: boolean },
): Promise<AppliedResult[]> {
  const { results, dryRun, ...scope } = options;
  const byPayment = new Map<string, PaymentResult[]>();
  for (const result of results) {
    const key = result.providerKey.slice(0, Math.min(...CUT_KEY_LENGTHS));
    byPayment.set(key, [...(byPayment.get(key) ?? []), result]);
  }
  const applied = new Map<PaymentResult, AppliedResult>();
  for (const ofPayment of byPayment.values()) {
    await inTransaction(ledger, async (tx) => {
      const payouts = await findPayouts(tx, { ...scope, results: ofPayment });
      const added = await recordAllBookings(tx, payouts);
      for (const result of ofPayment) {
        const payout = payouts.get(result);
        const answer = payout ? await applyResult(tx, { ...scope, result, payout, added }) : NOT_FOUND;
        applied.set(result, answer);
      }
      if (dryRun) throw new DryRun();
    }).catch((error: unknown) => {
      if (!(error instanceof DryRun)) throw error;
    });
  }
  return results.map((result) => applied.get(result) ?? NOT_FOUND);
}

const NOT_FOUND: AppliedResult = { payoutId: null, outcome: 'not_found', state: null, detail: null };

/** All that a file has booked of a payout counts before any of it decides: its entries are in no order of time. */
async function recordAllBookings(
  tx: DatabaseTransaction,
  payouts: ReadonlyMap<PaymentResult, FoundPayout>,
): Promise<ReadonlySet<Booking>> {
  const byPayout = new Map<bigint, Booking[]>();
  for (const [result, payout] of payouts) {
    const { booking } = result;
    if (booking && !differs(result, payout)) {
      byPayout.set(payout.id, [...(byPayout.get(payout.id) ?? []), booking]);
    }
  }
  const added = new Set<Booking>();
  // In one order, so that two files at once wait for each other instead of both.
  for (const [payoutId, bookings] of [...byPayout].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    for (const booking of await recordBookings(tx, { payoutId, bookings })) added.add(booking);
  }
  return added;
}

/** Paid, or about to be by a debit further on in the file. */
const STAYS_PAID: ReadonlySet<PayoutState> = new Set(['submitted', 'unknown', 'paid']);

function differs({ amountMinor, currency }: PaymentResult, payout: FoundPayout): boolean {
  return (
    (amountMinor !== undefined && amountMinor !== payout.amountMinor) ||
    (currency !== undefined && currency !== payout.currency)
  );
}

async function applyResult(
  tx: DatabaseTransaction,
  options: ResultScope & { result: PaymentResult; payout: FoundPayout; added: ReadonlySet<Booking> },
): Promise<AppliedResult> {
  const { result, payout, now, actor, secretBox, added } = options;
  const { status, accountRefused, booking } = result;
  const { id: payoutId } = payout;
  const before = await stateOf(tx, payoutId);
  if (differs(result, payout)) return { payoutId, outcome: 'amount_differs', state: before, detail: null };
  const bookings = booking && (await readBookings(tx, payoutId));
  if (booking?.direction === 'credit' && bookings && bookings.credits < bookings.debits) {
    if (before === 'returned') {
      return { payoutId, outcome: 'contradicts', state: before, detail: twicePaid(bookings) };
    }
    if (STAYS_PAID.has(before)) {
      const detail = `one of ${bookings.debits} debits was given back: the payment stays paid`;
      return { payoutId, outcome: added.has(booking) ? 'recorded' : 'repeated', state: before, detail };
    }
  }
  const outcome = await applyNotice(tx, {
    payoutId,
    status,
    now,
    actor,
    failure: result.failure ?? `${status}, as the result file says`,
    providerFailure: result.reason,
    accountRefused,
    secretBox,
  });
  const state = await stateOf(tx, payoutId);
  const contradiction = booking && bookings && unexplained(booking, bookings, state);
  return contradiction
    ? { payoutId, outcome: 'contradicts', state, detail: contradiction }
    : { payoutId, outcome, state, detail: null };
}

/** What a person has to ask the bank about a further debit; undefined: nothing. A return that was recorded by other means is a credit. */
function unexplained(booking: Booking, bookings: Bookings, state: PayoutState): string | undefined {
  const { debits, credits, firstDebit } = bookings;
  if (booking.direction !== 'debit' || booking.reference === firstDebit) return undefined;
  if (state === 'returned') return debits > Math.max(credits, 1) ? twicePaid(bookings) : undefined;
  return debits - credits > 1
    ? `the bank has debited it ${debits} times and given back ${credits}: it was to be paid once`
    : undefined;
}

function twicePaid({ debits, credits }: Bookings): string {
  return `the bank has debited it ${debits} times and given back ${credits}, but here it has come back: it may be paid twice`;
}

/** Which of these payments can still fail. `programId` undefined: of every program. */
export async function readOpenPayments(
  ledger: Database,
  { keys, programId = null }: { keys: readonly string[]; programId?: number | null | undefined },
): Promise<string[]> {
  const payouts = await ledger<{ providerKey: string }[]>`
    select provider_key from payouts
    where provider_key = any(${[...keys]}) and (${programId}::integer is null or program_id = ${programId})
      and state in ('submitting', 'submitted', 'unknown', 'failed')
    order by id`;
  return payouts.map(({ providerKey }) => providerKey);
}

/** Keys of earlier versions have 36 characters, of which PayPal keeps 30, and a bank's file 35. */
const CUT_KEY_LENGTHS = [30, 35];

interface FoundPayout {
  readonly id: bigint;
  readonly amountMinor: bigint;
  readonly currency: string;
}

async function findPayouts(
  tx: DatabaseTransaction,
  { results, programId = null }: { results: readonly PaymentResult[]; programId: number | undefined | null },
): Promise<Map<PaymentResult, FoundPayout>> {
  const found = new Map<PaymentResult, FoundPayout>();
  for (const result of results) {
    const payout = await findPayout(tx, { providerKey: result.providerKey, programId });
    if (payout) found.set(result, payout);
  }
  return found;
}

async function findPayout(
  tx: DatabaseTransaction,
  { providerKey, programId }: { providerKey: string; programId: number | null },
): Promise<FoundPayout | undefined> {
  const [payout] = await tx<FoundPayout[]>`
    select id, amount_minor, currency from payouts
    where provider_key = ${providerKey} and (${programId}::integer is null or program_id = ${programId})`;
  if (payout || !CUT_KEY_LENGTHS.includes(providerKey.length)) return payout;
  const cut = await tx<FoundPayout[]>`
    select id, amount_minor, currency from payouts
    where left(provider_key, ${providerKey.length}) = ${providerKey}
      and (${programId}::integer is null or program_id = ${programId}) limit 2`;
  return cut.length === 1 ? cut[0] : undefined;
}

async function stateOf(tx: DatabaseTransaction, payoutId: bigint): Promise<PayoutState> {
  const [{ state }] = await tx<[{ state: PayoutState }]>`select state from payouts where id = ${payoutId}`;
  return state;
}
