import type { Vault } from '../core/vault.ts';
import { VEST_BATCH_SIZE, vestDue } from './commissions.ts';
import type { Ledger } from './db.ts';
import { writeOffDebt } from './debt.ts';
import type { PayoutProvider } from './payout-provider.ts';
import { runPayouts } from './payout-run.ts';
import { reconcilePayouts } from './payout-submit.ts';
import type { Task } from './tasks.ts';

/** What is done with money by the clock: vesting, asking for unknown payouts, and the daily run. */
export function payoutTasks(options: {
  ledger: Ledger;
  provider: PayoutProvider;
  vault: Vault;
  /** UTC; null: payouts are run by hand only. */
  payoutHour: number | null;
}): Task[] {
  const { ledger, provider, vault, payoutHour } = options;
  return [
    {
      name: 'vesting',
      run: async (now) => await vestDue(ledger, { now, limit: VEST_BATCH_SIZE }),
    },
    {
      name: 'reconciliation',
      run: async (now) => ({ ...(await reconcilePayouts(ledger, { now, provider, vault })) }),
    },
    {
      name: 'payouts',
      mayBegin: (now) => payoutHour !== null && now.getUTCHours() >= payoutHour,
      run: async (now) => {
        const { payouts, ...run } = await runPayouts(ledger, { now, provider, vault });
        const { affiliates } = await writeOffDebt(ledger, { now });
        return { ...run, debtorsForgiven: affiliates };
      },
    },
  ];
}
