import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPayPalCsvProvider } from '../../ledger/payouts/providers/paypal-csv.ts';
import { runPayouts } from '../../ledger/payouts/run.ts';
import {
  createParties,
  creditOrder,
  freshLedger,
  givePayoutMethod,
  TEST_SECRET_BOX,
  type TestLedger,
} from '../../test/support/ledger.ts';
import { checkPaymentFiles } from './audit.ts';

/** What the audit says of files of payouts, by where it looks for them. */

let db: TestLedger;
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'afflux-files-'));
  db = await freshLedger({ max: 4 });
});
afterAll(async () => {
  await db?.close();
  await rm(root, { recursive: true });
});

test('it is green only where the files are', async () => {
  const folder = join(root, 'payouts');
  const at = async (paymentFolder: string) => await checkPaymentFiles({ ledger: db.ledger, paymentFolder });
  expect(await at(folder)).toMatchObject({ ok: true });
  // What is no folder, as one that may not be read.
  const unreadable = join(root, 'file');
  await writeFile(unreadable, '');
  expect(await at(unreadable)).toMatchObject({ ok: false, detail: expect.stringContaining('ENOTDIR') });

  const parties = await createParties(db.ledger, { levelRatesBps: [] });
  const { programId } = parties;
  await givePayoutMethod(db.ledger, parties.chain[0], { kind: 'paypal', email: 'ann@example.com' });
  await creditOrder(db.ledger, parties, { amountMinor: 10_000n });
  const provider = createPayPalCsvProvider({ folder });
  const run = await runPayouts(db.ledger, {
    ...{ now: new Date(Date.now() + 1_000), provider, programId },
    ...{ secretBox: TEST_SECRET_BOX, actor: 'test' },
  });
  expect(run.payouts).toHaveLength(1);
  expect(await at(folder)).toMatchObject({
    ok: true,
    detail: expect.stringContaining('all 1 payment files'),
  });
  // From another host, or with another AFFLUX_HOME.
  const elsewhere = join(root, 'elsewhere');
  const nothing = { ok: false, detail: expect.stringContaining(`none of them is in ${elsewhere}`) };
  expect(await at(elsewhere)).toMatchObject(nothing);
  await mkdir(elsewhere);
  expect(await at(elsewhere)).toMatchObject(nothing);

  // A payment must not be taken for one that was never handed over because its file cannot be read.
  const order = { providerKey: run.payouts[0]?.providerKey ?? '' } as never;
  expect((await provider.lookUp?.([order]))?.size).toBe(1);
  await rename(folder, join(root, 'kept'));
  await writeFile(folder, '');
  await expect(provider.lookUp?.([order])).rejects.toMatchObject({ code: 'payout_file_failed' });
});
