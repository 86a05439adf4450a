import Stripe from 'stripe';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { listPayouts } from '../../ledger/payouts/payouts.ts';
import { answerAll } from '../../ledger/payouts/provider.ts';
import { BANK_LIMITS } from '../../ledger/payouts/providers/bank-csv.ts';
import { runPayouts } from '../../ledger/payouts/run.ts';
import { startTestApi, type TestApi } from '../../test/support/api.ts';
import { createParties, creditOrder } from '../../test/support/ledger.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => await api.stop());

const PATH = '/v1/provider-notices/stripe';

/** A payout that Stripe has but whose answer says no more than that. */
async function submitted() {
  const { ledger } = api;
  const parties = await createParties(ledger, { levelRatesBps: [] });
  await creditOrder(ledger, parties, { amountMinor: 10_000n });
  await runPayouts(ledger, {
    actor: 'test',
    now: new Date(Date.now() + 1_000),
    programId: parties.programId,
    provider: {
      name: 'stripe',
      limits: BANK_LIMITS,
      submit: async (batch) => answerAll(batch, { outcome: 'accepted' }),
    },
  });
  const payout = async () => (await listPayouts(ledger, { programId: parties.programId, limit: 1 })).rows[0];
  return { payout, key: (await payout())?.providerKey ?? '' };
}

async function tell(type: string, transfer: object, secret = 'whsec_test', ageSeconds = 0) {
  const raw = JSON.stringify({ id: 'evt_1', object: 'event', type, data: { object: transfer } });
  const signature = Stripe.webhooks.generateTestHeaderString({
    payload: raw,
    secret,
    timestamp: Math.floor(Date.now() / 1_000) - ageSeconds,
  });
  const headers = { 'stripe-signature': signature, 'content-type': 'application/json' };
  const { status, body } = await api.call('POST', PATH, { raw, headers });
  return [status, body.outcome ?? body.code];
}

test('events that Stripe signed move the payout once, whatever their order', async () => {
  const { payout, key } = await submitted();
  const transfer = { transfer_group: key, reversed: false, amount_reversed: 0 };
  const reversed = { ...transfer, reversed: true, amount_reversed: 1_000 };
  expect(await tell('transfer.reversed', reversed)).toEqual([200, 'recorded']);
  expect(await tell('transfer.created', transfer)).toEqual([200, 'repeated']);
  expect(await tell('transfer.reversed', reversed)).toEqual([200, 'repeated']);
  expect((await payout())?.state).toBe('returned');
});

test('what is not about a payout, or only in part, is ignored', async () => {
  const { payout, key } = await submitted();
  expect(
    await tell('transfer.created', { transfer_group: null, reversed: false, amount_reversed: 0 }),
  ).toEqual([200, 'ignored']);
  expect(
    await tell('transfer.reversed', { transfer_group: key, reversed: false, amount_reversed: 1 }),
  ).toEqual([200, 'ignored']);
  expect(await tell('customer.created', {})).toEqual([200, 'ignored']);
  expect(
    await tell('transfer.created', { transfer_group: 'elsewhere', reversed: false, amount_reversed: 0 }),
  ).toEqual([200, 'not_found']);
  expect((await payout())?.state).toBe('submitted');
});

test('what Stripe did not sign, or long ago, is refused', async () => {
  const { payout, key } = await submitted();
  const transfer = { transfer_group: key, reversed: false, amount_reversed: 0 };
  expect(await tell('transfer.created', transfer, 'whsec_other')).toEqual([401, 'unauthorized']);
  expect(await tell('transfer.created', transfer, 'whsec_test', 600)).toEqual([401, 'unauthorized']);
  const unsigned = await api.call('POST', PATH, { json: { type: 'transfer.created' } });
  expect(unsigned.status).toBe(401);
  expect((await payout())?.state).toBe('submitted');
});
