import type { SecretBox } from '../../core/secret-box.ts';
import { writeOffDebt } from '../books/debt.ts';
import type { Database } from '../postgres/db.ts';
import { type BatchClaim, buildPayouts } from './build.ts';
import type { LeftOut } from './left-out.ts';
import type { Payout } from './payouts.ts';
import type { PayoutProvider } from './provider.ts';
import { CLAIM_SECONDS, type Reconciliation, reconcilePayouts, submitPayouts } from './submit.ts';

/** What a run did. */
export interface PayoutRunResult {
  /** Commissions whose hold had ended. */
  readonly vested: number;
  /** Payouts this run made. */
  readonly built: number;
  /** Of those, the ones that wait for a second person. */
  readonly awaitingApproval: number;
  /** Payouts this run handed over, also those an earlier run had made, by the provider's answer. */
  readonly submitted: number;
  readonly failed: number;
  readonly unknown: number;
  /** Of earlier runs. */
  readonly reconciled: Reconciliation;
  /** Affiliates whose debt was older than their program keeps it. */
  readonly debtorsWrittenOff: number;
  /** The payouts handed over, as they are now. */
  readonly payouts: readonly Payout[];
  /** Who has money and got no payout, and why. */
  readonly leftOut: readonly LeftOut[];
  /** Why the provider refuses to work for the operator, in its words; null: it does not. See `SubmittedPayouts`. */
  readonly stopped: string | null;
}

/** The preview that a run was confirmed with. */
export interface ConfirmedPreview {
  readonly programId: number;
  /** Of a run for one affiliate. */
  readonly affiliateId?: number | undefined;
  /** The moment it was made for: the run pays what was due then. */
  readonly asOf: Date;
  /** See `hashPreview`. */
  readonly hash: string;
}

/**
 * Reconciles payouts of earlier runs with unknown outcome, vests what is due, builds the payouts that are due, hands
 * them over, and writes off debt that is too old. Each commission is paid once, however often and in however many
 * processes at once this runs: of runs that overlap one pays all that is due. With `preview` it is a run of that program,
 * which pays what the preview showed or builds nothing.
 * @throws OperatingError `preview_changed`; `payout_provider_refused` when reconciliation is refused: nothing is built.
 */
export async function runPayouts(
  ledger: Database,
  options: {
    now: Date;
    provider: PayoutProvider;
    /** Who starts it, as the audit log names them. */
    actor: string;
    /** Decrypts the accounts of the payouts. */
    secretBox?: SecretBox | undefined;
    /** Default: every program. */
    programId?: number | undefined;
    preview?: ConfirmedPreview | undefined;
  },
): Promise<PayoutRunResult> {
  const { now, provider, actor, preview } = options;
  const programId = preview?.programId ?? options.programId;
  const scope = { ...options, programId };
  const reconciled = await reconcilePayouts(ledger, scope);
  const programs = await ledger<{ id: number }[]>`
    select id from programs where ${programId ?? null}::integer is null or id = ${programId ?? null} order by id`;
  const claims: BatchClaim[] = [];
  const leftOut: LeftOut[] = [];
  const counts = { vested: 0, built: 0, awaitingApproval: 0 };
  for (const { id } of programs) {
    const made = await buildPayouts(ledger, {
      now: preview?.asOf ?? now,
      provider,
      programId: id,
      affiliateId: preview?.affiliateId,
      actor,
      preview: preview?.hash,
      claimSeconds: CLAIM_SECONDS,
    });
    if (made.claim) claims.push(made.claim);
    leftOut.push(...made.leftOut);
    counts.vested += made.vested;
    counts.built += made.built;
    if (made.awaitsApproval) counts.awaitingApproval += made.built;
  }
  const { payouts, stopped } = await submitPayouts(ledger, { ...scope, claims });
  const { affiliates } = await writeOffDebt(ledger, { now, programId });
  const count = (...states: Payout['state'][]) =>
    payouts.filter(({ state }) => states.includes(state)).length;
  return {
    ...counts,
    submitted: count('submitted', 'paid', 'returned'),
    failed: count('failed'),
    unknown: count('unknown'),
    reconciled,
    debtorsWrittenOff: affiliates,
    payouts,
    leftOut,
    stopped,
  };
}
