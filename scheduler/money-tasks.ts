import type { SecretBox } from '../core/secret-box.ts';
import type { Telemetry } from '../core/telemetry/telemetry.ts';
import { VEST_BATCH_SIZE, vestDue } from '../ledger/books/commissions.ts';
import { issueStatements } from '../ledger/books/statement-documents.ts';
import type { PayoutProvider } from '../ledger/payouts/provider.ts';
import { runPayouts } from '../ledger/payouts/run.ts';
import { reconcilePayouts } from '../ledger/payouts/submit.ts';
import type { Database } from '../ledger/postgres/db.ts';
import type { Task } from '../ledger/postgres/tasks.ts';
import { tracePayouts } from './traces.ts';

/** Money's scheduled work: vesting, reconciliation of unknown payouts with their provider, monthly statements, and the daily payout run. */
export function moneyTasks(options: {
  ledger: Database;
  provider: PayoutProvider;
  secretBox: SecretBox;
  /** UTC; null: payouts are run by hand only. */
  payoutHour: number | null;
  telemetry: Telemetry;
}): Task[] {
  const { ledger, provider, secretBox, payoutHour, telemetry } = options;
  return [
    {
      name: 'vesting',
      run: async (now) => await vestDue(ledger, { now, limit: VEST_BATCH_SIZE }),
    },
    {
      name: 'reconciliation',
      run: async (now) => ({ ...(await reconcilePayouts(ledger, { now, provider, secretBox })) }),
    },
    {
      name: 'statements',
      run: async (now) => await issueStatements(ledger, { now }),
    },
    {
      name: 'payouts',
      mayBegin: (now) => payoutHour !== null && now.getUTCHours() >= payoutHour,
      run: async (now) => {
        const startedAtMs = performance.now();
        const { payouts, leftOut, ...run } = await runPayouts(ledger, {
          now,
          provider,
          secretBox,
          actor: 'scheduler',
        });
        await tracePayouts(telemetry, ledger, { payouts, tookMs: performance.now() - startedAtMs });
        return { ...run, leftOut: leftOut.length };
      },
    },
  ];
}
