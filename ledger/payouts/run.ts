import type { SecretBox } from '../../core/secret-box.ts';
import { VEST_BATCH_SIZE, vestDue } from '../books/commissions.ts';
import { writeOffDebt } from '../books/debt.ts';
import type { Database } from '../postgres/db.ts';
import { buildPayouts } from './build.ts';
import type { Payout } from './payouts.ts';
import type { PayoutProvider } from './provider.ts';
import { type Reconciliation, reconcilePayouts, submitPayouts } from './submit.ts';

/** What a run did. */
export interface PayoutRun {
  /** Commissions whose hold had ended. */
  readonly vested: number;
  /** Payouts this run made. */
  readonly built: number;
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

/**
 * Vests what is due, reconciles payouts of earlier runs with unknown outcome, builds the payouts that are due, hands
 * them over, and writes off debt that is too old. Each commission is paid once, however often and in however many
 * processes at once this runs.
 */
export async function runPayouts(
  ledger: Database,
  options: {
    now: Date;
    provider: PayoutProvider;
    /** Opens the affiliates' accounts. */
    secretBox?: SecretBox | undefined;
    programId?: number | undefined;
  },
): Promise<PayoutRun> {
  const { now, provider, programId } = options;
  const { vested } = await vestDue(ledger, { now, limit: VEST_BATCH_SIZE, programId });
  const reconciled = await reconcilePayouts(ledger, options);
  const programs = await ledger<{ id: number }[]>`
    select id from programs where ${programId ?? null}::integer is null or id = ${programId ?? null} order by id`;
  let built = 0;
  for (const { id } of programs) {
    built += await buildPayouts(ledger, { now, provider: provider.name, programId: id });
  }
  const payouts = await submitPayouts(ledger, options);
  const { affiliates } = await writeOffDebt(ledger, { now, programId });
  const count = (...states: Payout['state'][]) =>
    payouts.filter(({ state }) => states.includes(state)).length;
  return {
    vested,
    built,
    submitted: count('submitted', 'paid', 'returned'),
    failed: count('failed'),
    unknown: count('unknown'),
    reconciled,
    debtorsWrittenOff: affiliates,
    payouts,
  };
}
