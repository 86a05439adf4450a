import type { SecretBox } from '../../core/secret-box.ts';
import { VEST_BATCH_SIZE, vestDue } from '../books/commissions.ts';
import { writeOffDebt } from '../books/debt.ts';
import type { Database } from '../postgres/db.ts';
import { buildPayouts } from './build.ts';
import type { Payout } from './payouts.ts';
import type { PayoutProvider } from './provider.ts';
import { type Reconciliation, reconcilePayouts, submitPayouts } from './submit.ts';

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
  readonly payouts: Payout[];
}

/** The preview that a run was confirmed with. */
export interface ConfirmedPreview {
  readonly programId: number;
  /** The moment it was made for: the run pays what was due then. */
  readonly asOf: Date;
  /** See `hashPreview`. */
  readonly hash: string;
}

/**
 * Vests what is due, reconciles payouts of earlier runs with unknown outcome, builds the payouts that are due, hands
 * them over, and writes off debt that is too old. Each commission is paid once, however often and in however many
 * processes at once this runs. With `preview` it is a run of that program, which pays what the preview showed or builds
 * nothing. @throws OperatingError `preview_changed`.
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
  const { vested } = await vestDue(ledger, { now, limit: VEST_BATCH_SIZE, programId });
  const reconciled = await reconcilePayouts(ledger, scope);
  const programs = await ledger<{ id: number }[]>`
    select id from programs where ${programId ?? null}::integer is null or id = ${programId ?? null} order by id`;
  let built = 0;
  let awaitingApproval = 0;
  for (const { id } of programs) {
    const made = await buildPayouts(ledger, {
      now: preview?.asOf ?? now,
      provider: provider.name,
      programId: id,
      actor,
      preview: preview?.hash,
    });
    built += made.built;
    if (made.awaitsApproval) awaitingApproval += made.built;
  }
  const payouts = await submitPayouts(ledger, scope);
  const { affiliates } = await writeOffDebt(ledger, { now, programId });
  const count = (...states: Payout['state'][]) =>
    payouts.filter(({ state }) => states.includes(state)).length;
  return {
    vested,
    built,
    awaitingApproval,
    submitted: count('submitted', 'paid', 'returned'),
    failed: count('failed'),
    unknown: count('unknown'),
    reconciled,
    debtorsWrittenOff: affiliates,
    payouts,
  };
}
