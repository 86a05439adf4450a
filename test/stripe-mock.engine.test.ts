import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../engines/engine.ts';
import type { PaymentBatch, PayoutProvider } from '../ledger/payouts/provider.ts';
import { createStripeProvider } from '../ledger/payouts/providers/stripe.ts';
import { waitFor } from './support/engines.ts';
import { findStripeMock } from './support/programs.ts';

/**
 * Stripe's own mock, which knows the whole of its API and refuses what does not fit it. It keeps nothing: what repeats
 * and what gets lost is in ledger/payout-stripe.engine.test.ts.
 */
const binary = findStripeMock();

let mock: ChildProcess;
let port: number;
beforeAll(async () => {
  if (binary === undefined) return;
  port = await freePort();
  mock = spawn(binary, ['-http-addr', `127.0.0.1:${port}`], { stdio: 'ignore' });
  await waitFor(
    async () =>
      await fetch(`http://127.0.0.1:${port}/v1/charges`).then(
        () => true,
        () => false,
      ),
    { deadlineMs: 20_000, what: 'stripe-mock' },
  );
});
afterAll(() => void mock?.kill('SIGKILL'));

function provider(secretKey = 'sk_test_123'): PayoutProvider {
  return createStripeProvider({ secretKey, server: { protocol: 'http', host: '127.0.0.1', port } });
}

function batchOf(changes: Partial<PaymentBatch['orders'][number]> = {}): PaymentBatch {
  const order = {
    providerKey: 'payout-1',
    payoutId: 1n,
    affiliateId: 1,
    affiliateName: 'Ann',
    affiliateEmail: 'ann@example.com',
    payoutAccount: 'acct_1',
    accountHolder: null,
    currency: 'EUR',
    amountMinor: 1_000n,
    ...changes,
  };
  return { batchKey: 'batch-1', createdAt: new Date(), handedOverAt: new Date(), orders: [order] };
}

describe.skipIf(binary === undefined)('stripe-mock', () => {
  test.each([
    ['EUR', 1_000n],
    ['JPY', 1_000n],
    ['ISK', 1_000n],
    ['KWD', 1_230n],
    ['MGA', 1_200n],
  ])('takes a transfer of %s', async (currency, amountMinor) => {
    const answers = await provider().submit(batchOf({ currency, amountMinor }));
    expect(answers.get('payout-1')).toEqual({ outcome: 'paid' });
  });

  test('understands the question what became of a payout, and knows none of ours', async () => {
    expect(await provider().lookUp?.(batchOf().orders)).toEqual(new Map());
  });

  test('refuses a key that is none: nothing was paid', async () => {
    const answers = await provider('nonsense').submit(batchOf());
    expect(answers.get('payout-1')).toMatchObject({ outcome: 'stopped' });
  });
});
