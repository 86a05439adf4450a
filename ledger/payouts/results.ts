import type { SecretBox } from '../../core/secret-box.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
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
}

export interface AppliedResult {
  /** Null when no payout has this key. */
  readonly payoutId: bigint | null;
  /** `amount_differs`: it was not what the payout was made for, so nothing was changed. */
  readonly outcome: NoticeOutcome | 'amount_differs';
  /** As it is then; null when no payout has this key. */
  readonly state: PayoutState | null;
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
    const key = result.providerKey.slice(0, CUT_KEY_LENGTH);
    byPayment.set(key, [...(byPayment.get(key) ?? []), result]);
  }
  const applied = new Map<PaymentResult, AppliedResult>();
  for (const ofPayment of byPayment.values()) {
    await inTransaction(ledger, async (tx) => {
      for (const result of ofPayment) applied.set(result, await applyResult(tx, { ...scope, result }));
      if (dryRun) throw new DryRun();
    }).catch((error: unknown) => {
      if (!(error instanceof DryRun)) throw error;
    });
  }
  return results.map((result) => applied.get(result) ?? NOT_FOUND);
}

const NOT_FOUND: AppliedResult = { payoutId: null, outcome: 'not_found', state: null };

async function applyResult(
  tx: DatabaseTransaction,
  options: ResultScope & { result: PaymentResult },
): Promise<AppliedResult> {
  const { result, now, actor, secretBox } = options;
  const { status, amountMinor, currency, accountRefused } = result;
  const payout = await findPayout(tx, options);
  if (!payout) return NOT_FOUND;
  const { id: payoutId, state } = payout;
  const differs =
    (amountMinor !== undefined && amountMinor !== payout.amountMinor) ||
    (currency !== undefined && currency !== payout.currency);
  if (differs) return { payoutId, outcome: 'amount_differs', state };
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
  const [after] = await tx<{ state: PayoutState }[]>`select state from payouts where id = ${payoutId}`;
  return { payoutId, outcome, state: after?.state ?? state };
}

/** The keys of a batch's payments that can still fail. `programId` undefined: of every program. */
export async function readBatchPayments(
  ledger: Database,
  { batchKey, programId = null }: { batchKey: string; programId?: number | null | undefined },
): Promise<string[]> {
  const payouts = await ledger<{ providerKey: string }[]>`
    select p.provider_key from payouts p join payout_batches b on b.id = p.batch_id
    where b.batch_key = ${batchKey} and (${programId}::integer is null or p.program_id = ${programId})
      and p.state in ('submitting', 'submitted', 'unknown', 'failed')
    order by p.id`;
  return payouts.map(({ providerKey }) => providerKey);
}

/** Keys of earlier versions have 36 characters, of which PayPal keeps so many. */
const CUT_KEY_LENGTH = 30;

interface FoundPayout {
  readonly id: bigint;
  readonly amountMinor: bigint;
  readonly currency: string;
  readonly state: PayoutState;
}

async function findPayout(
  tx: DatabaseTransaction,
  options: { result: PaymentResult; programId: number | undefined },
): Promise<FoundPayout | undefined> {
  const { providerKey } = options.result;
  const programId = options.programId ?? null;
  const [payout] = await tx<FoundPayout[]>`
    select id, amount_minor, currency, state from payouts
    where provider_key = ${providerKey} and (${programId}::integer is null or program_id = ${programId})`;
  if (payout || providerKey.length !== CUT_KEY_LENGTH) return payout;
  const cut = await tx<FoundPayout[]>`
    select id, amount_minor, currency, state from payouts
    where left(provider_key, ${CUT_KEY_LENGTH}) = ${providerKey}
      and (${programId}::integer is null or program_id = ${programId}) limit 2`;
  return cut.length === 1 ? cut[0] : undefined;
}
