import { join } from 'node:path';
import { OperatingError } from '../core/errors.ts';
import { formatAmount } from '../core/money.ts';
import { connectLedger, inTransaction, type Ledger } from '../ledger/db.ts';
import { MAX_PAGE_ROWS } from '../ledger/page.ts';
import { createBankCsvProvider } from '../ledger/payout-provider.ts';
import { runPayouts } from '../ledger/payout-run.ts';
import { listPayouts, type Payout, settlePayout } from '../ledger/payouts.ts';
import { readConfig } from './environment.ts';
import { renderTable } from './table.ts';

const ACTOR = 'command line';

/** `afflux payouts run`: vests what is due, builds the payouts that are due, writes the bank's file. */
export async function runPayoutsNow(): Promise<void> {
  const config = readConfig();
  const folder = join(config.home, 'payouts');
  await withLedger(async (ledger) => {
    const run = await runPayouts(ledger, { now: new Date(), provider: createBankCsvProvider({ folder }) });
    process.stdout.write(`${describePayouts(run.payouts)}
${run.vested} commissions vested; ${run.built} payouts built, ${run.submitted} submitted, ${run.failed} failed, ${run.unknown} unknown.
${run.submitted > 0 ? `The bank's file is in ${folder}. Once the money has arrived: afflux payouts settle --all\n` : ''}`);
  });
}

/** `afflux payouts settle`: records that the money of these submitted payouts, or of all of them, has arrived. */
export async function settlePayouts(ids: readonly string[], options: { all: boolean }): Promise<void> {
  if (options.all === ids.length > 0) {
    throw new OperatingError('usage', 'name payout ids (pay_1 pay_2 …), or --all for every submitted one');
  }
  await withLedger(async (ledger) => {
    const wanted = options.all ? await submittedIds(ledger) : ids.map(parsePayoutId);
    const settled: Payout[] = [];
    for (const payoutId of wanted) {
      const closed = await inTransaction(ledger, (tx) =>
        settlePayout(tx, { payoutId, now: new Date(), actor: ACTOR }),
      );
      if (closed.outcome === 'done') settled.push(closed.payout);
      else if (closed.outcome === 'not_found') {
        throw new OperatingError('not_found', `there is no payout pay_${payoutId}`);
      } else throw new OperatingError('wrong_state', `payout pay_${payoutId} is ${closed.state}`);
    }
    process.stdout.write(`${describePayouts(settled)}\n${settled.length} payouts settled.\n`);
  });
}

async function withLedger(work: (ledger: Ledger) => Promise<void>): Promise<void> {
  const ledger = await connectLedger({ url: readConfig().databaseUrl, max: 2, name: 'afflux-payouts' });
  try {
    await work(ledger);
  } finally {
    await ledger.end();
  }
}

async function submittedIds(ledger: Ledger): Promise<bigint[]> {
  const ids: bigint[] = [];
  let after: bigint | undefined;
  do {
    const page = await listPayouts(ledger, { limit: MAX_PAGE_ROWS, after, state: 'submitted' });
    ids.push(...page.rows.map((payout) => payout.id));
    after = page.next ?? undefined;
  } while (after !== undefined);
  return ids;
}

function parsePayoutId(text: string): bigint {
  const digits = /^(?:pay_)?(\d{1,18})$/.exec(text)?.[1];
  if (digits === undefined) throw new OperatingError('usage', `${text} is not a payout id such as pay_12`);
  return BigInt(digits);
}

function describePayouts(payouts: readonly Payout[]): string {
  return renderTable(
    payouts.map((payout) => [
      `pay_${payout.id}`,
      `affiliate aff_${payout.affiliateId}`,
      `${formatAmount(payout.amountMinor, payout.currency)} ${payout.currency}`,
      payout.state,
    ]),
  );
}
