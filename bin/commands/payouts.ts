import { join } from 'node:path';
import { OperatingError } from '../../core/errors.ts';
import { verifyPlatformKeys } from '../../core/keys/platform-keys.ts';
import { formatAmount } from '../../core/money.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { previewRun } from '../../ledger/payouts/build.ts';
import type { LeftOut } from '../../ledger/payouts/left-out.ts';
import { refuseDestination } from '../../ledger/payouts/methods.ts';
import {
  type ClosedPayout,
  listPayouts,
  markPayoutPaid,
  type Payout,
  returnPayout,
} from '../../ledger/payouts/payouts.ts';
import { createPayoutProvider } from '../../ledger/payouts/providers/index.ts';
import { runPayouts } from '../../ledger/payouts/run.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import { MAX_PAGE_ROWS } from '../../ledger/postgres/page.ts';
import { listPrograms } from '../../ledger/programs/programs.ts';
import { readConfig } from '../environment.ts';
import { parseBigintId } from '../ids.ts';
import { withLedger } from '../stores.ts';
import { renderTable } from '../table.ts';

const NAME = 'afflux-payouts';
const ACTOR = 'command line';

/** `afflux payouts preview`: what a run would pay now, and why others with money get none. */
export async function showPreview(): Promise<void> {
  const provider = createPayoutProvider(readConfig());
  await withLedger(NAME, async (ledger) => {
    const { rows } = await listPrograms(ledger, { limit: MAX_PAGE_ROWS });
    const paid: string[][] = [];
    const leftOut: LeftOut[] = [];
    for (const { id: programId } of rows) {
      const options = { now: new Date(), provider, programId };
      const preview = await previewRun(ledger, options);
      leftOut.push(...preview.leftOut);
      for (const { affiliateId, amountMinor, currency, destinationHint } of preview.payouts) {
        const amount = `${formatAmount(amountMinor, currency)} ${currency}`;
        paid.push([`affiliate aff_${affiliateId}`, amount, destinationHint ?? 'no account']);
      }
    }
    const waiting = leftOut.map(({ affiliateId, availableMinor, currency, reason, heldUntil }) => [
      `affiliate aff_${affiliateId}`,
      `${formatAmount(availableMinor, currency)} ${currency}`,
      heldUntil === null ? reason : `${reason} until ${heldUntil.toISOString()}`,
    ]);
    process.stdout.write(`${renderTable(paid)}\n${paid.length} payouts would be made.\n`);
    if (waiting.length > 0) {
      process.stdout.write(
        `${renderTable(waiting)}\n${waiting.length} affiliates would get no payout of their available money.\n`,
      );
    }
  });
}

/** `afflux payouts run`: vests what is due, builds the payouts that are due, hands them to the provider. */
export async function runPayoutsNow(): Promise<void> {
  const config = readConfig();
  await withLedger(NAME, async (ledger) => {
    await verifyPlatformKeys(ledger, [{ kind: 'data', keys: config.dataKeys }]);
    const run = await runPayouts(ledger, {
      now: new Date(),
      actor: ACTOR,
      provider: createPayoutProvider(config),
      secretBox: createSecretBox(config.dataKeys),
    });
    const isFile = config.payoutProvider !== 'stripe';
    process.stdout.write(`${describePayouts(run.payouts)}
${run.vested} commissions vested; ${run.built} payouts built, ${run.awaitingApproval} of them awaiting approval, ${run.submitted} submitted, ${run.failed} failed, ${run.unknown} unknown; ${run.reconciled.asked} earlier ones reconciled, ${run.reconciled.unknown} of them still unknown; ${run.leftOut.length} affiliates with money left out (afflux payouts preview names the reasons); debt of ${run.debtorsWrittenOff} affiliates written off.
${isFile && run.submitted > 0 ? `The file is in ${join(config.home, 'payouts')}. Once the money has arrived: afflux payouts mark-paid --all\n` : ''}`);
    if (run.stopped !== null) {
      throw new OperatingError(
        'payout_provider_refused',
        `the run has stopped, its other payouts wait: ${run.stopped}`,
      );
    }
  });
}

/** `afflux payouts return`: records that the money of paid payouts came back. */
export async function returnPayouts(ids: readonly string[], options: { reason: string }): Promise<void> {
  const secretBox = createSecretBox(readConfig().dataKeys);
  await withLedger(NAME, async (ledger) => {
    const returned: Payout[] = [];
    for (const payoutId of ids.map((id) => parseBigintId('payout', id))) {
      const request = { payoutId, now: new Date(), actor: ACTOR, failure: options.reason, secretBox };
      const closed = await inTransaction(ledger, async (tx) => {
        const done = await returnPayout(tx, request);
        if (done.outcome === 'done') await refuseDestination(tx, request);
        return done;
      });
      returned.push(donePayout(payoutId, closed));
    }
    process.stdout.write(`${describePayouts(returned)}\n${returned.length} payouts returned.\n`);
  });
}

function donePayout(payoutId: bigint, closed: ClosedPayout): Payout {
  if (closed.outcome === 'done') return closed.payout;
  if (closed.outcome === 'not_found') {
    throw new OperatingError('not_found', `there is no payout pay_${payoutId}`);
  }
  throw new OperatingError('wrong_state', `payout pay_${payoutId} is ${closed.state}`);
}

/** `afflux payouts mark-paid`: records that the money of these submitted payouts, or of all of them, has arrived. */
export async function markPayoutsPaid(ids: readonly string[], options: { all: boolean }): Promise<void> {
  if (options.all === ids.length > 0) {
    throw new OperatingError('usage', 'name payout ids (pay_1 pay_2 …), or --all for every submitted one');
  }
  await withLedger(NAME, async (ledger) => {
    const wanted = options.all ? await submittedIds(ledger) : ids.map((id) => parseBigintId('payout', id));
    const paid: Payout[] = [];
    for (const payoutId of wanted) {
      const request = { payoutId, now: new Date(), actor: ACTOR };
      paid.push(donePayout(payoutId, await inTransaction(ledger, (tx) => markPayoutPaid(tx, request))));
    }
    process.stdout.write(`${describePayouts(paid)}\n${paid.length} payouts marked paid.\n`);
  });
}

async function submittedIds(ledger: Database): Promise<bigint[]> {
  const ids: bigint[] = [];
  let after: bigint | undefined;
  do {
    const page = await listPayouts(ledger, { limit: MAX_PAGE_ROWS, after, state: 'submitted' });
    ids.push(...page.rows.map((payout) => payout.id));
    after = page.next ?? undefined;
  } while (after !== undefined);
  return ids;
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
