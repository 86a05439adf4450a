import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createParties,
  creditOrder,
  freshLedger,
  givePayoutMethod,
  TEST_SECRET_BOX,
  type TestLedger,
} from '../../../test/support/ledger.ts';
import { auditLedger } from '../../audit/audit.ts';
import { affiliateBalance } from '../../audit/counts.ts';
import type { Database } from '../../postgres/db.ts';
import { applyPaymentResults } from '../results.ts';
import { runPayouts } from '../run.ts';
import { createPayPalCsvProvider } from './paypal-csv.ts';

/** The files that people upload to PayPal, as PayPal takes them. */

let db: TestLedger;
let ledger: Database;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'afflux-files-'));
  db = await freshLedger({ max: 4 });
  ledger = db.ledger;
});
afterAll(async () => {
  await db.close();
  await rm(folder, { recursive: true });
});

/** A run by PayPal of one affiliate, who has earned 10 % of an order. */
async function pay(currency: string, amountMinor: bigint, email: string | null = 'ann@example.com') {
  const parties = await createParties(ledger, { levelRatesBps: [] }, currency);
  const { programId, chain } = parties;
  const [affiliateId] = chain;
  if (email !== null) await givePayoutMethod(ledger, affiliateId, { kind: 'paypal', email });
  await creditOrder(ledger, parties, { amountMinor, currency });
  const own = join(folder, String(programId));
  const provider = createPayPalCsvProvider({ folder: own });
  const now = new Date(Date.now() + 1_000);
  const options = { now, provider, programId, secretBox: TEST_SECRET_BOX, actor: 'test' };
  const run = await runPayouts(ledger, options);
  const files = await readdir(own).catch(() => []);
  const texts = await Promise.all(files.map((file) => readFile(join(own, file), 'utf8')));
  const balance = await affiliateBalance(ledger, affiliateId);
  expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
  return { run, payout: run.payouts[0], text: texts.join(''), balance, provider, programId };
}

test.each([
  ['HUF', 1_523_370n, '1523', 37n],
  ['TWD', 1_523_370n, '1523', 37n],
  ['JPY', 15_230n, '1523', 0n],
  ['EUR', 1_523_370n, '1523.37', 0n],
])('%s has the digits that PayPal takes', async (currency, orderMinor, amount, restMinor) => {
  const { payout, text, balance } = await pay(currency, orderMinor);
  expect(text).toBe(`"ann@example.com","${amount}","${currency}","${payout?.providerKey}","Commission"\r\n`);
  expect(payout?.providerKey).toMatch(/^[a-z0-9-]{30}$/);
  expect(balance).toMatchObject({ availableMinor: restMinor });
});

test.each(['KWD', 'MGA'])('PayPal has no %s: no payment is in the file', async (currency) => {
  const { run, text } = await pay(currency, 1_523_373n);
  expect([text, run.leftOut.map(({ reason }) => reason)]).toEqual(['', ['currency_not_supported']]);
});

test('a payment of more than 20,000 dollars is left out', async () => {
  const { run, text } = await pay('USD', 20_000_010n);
  expect([text, run.leftOut.map(({ reason }) => reason)]).toEqual(['', ['above_maximum']]);
});

test('an affiliate with a bank account is not paid to the address it signs in with', async () => {
  const { run, text } = await pay('EUR', 10_000n, null);
  expect([text, run.leftOut.map(({ reason }) => reason)]).toEqual(['', ['method_does_not_fit_provider']]);
});

test('an address is written as it is, whatever it begins with', async () => {
  expect((await pay('EUR', 10_000n, '-ann@example.com')).text).toMatch(/^"-ann@example\.com",/);
});

test('a key of an earlier version is cut to what PayPal takes, and its result is found', async () => {
  const { payout, provider, programId } = await pay('EUR', 10_000n);
  const long = `pay_${'0123456789abcdef'.repeat(2)}`;
  await db.owner`update payouts set provider_key = ${long} where id = ${payout?.id ?? 0n}`;
  const order = {
    providerKey: long,
    payoutId: 1n,
    affiliateId: 1,
    affiliateName: 'Ann',
    affiliateEmail: 'login@example.com',
    payoutAccount: 'ann@example.com',
    accountHolder: null,
    currency: 'EUR',
    amountMinor: 1_000n,
  };
  const batch = { batchKey: 'old', createdAt: new Date(0), handedOverAt: new Date(0), orders: [order] };
  await provider.submit(batch);
  const text = await readFile(join(folder, String(programId), '1970-01-01-old.csv'), 'utf8');
  expect(text).toContain(`"${long.slice(0, 30)}"`);
  expect(await provider.lookUp?.([order])).toEqual(new Map([[long, { outcome: 'accepted' }]]));
  const applied = await applyPaymentResults(ledger, {
    results: [{ providerKey: long.slice(0, 30), status: 'paid', accountRefused: true }],
    programId,
    now: new Date(),
    actor: 'test',
    dryRun: false,
    secretBox: TEST_SECRET_BOX,
  });
  expect(applied).toMatchObject([{ payoutId: payout?.id, outcome: 'recorded' }]);
});
