import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createSecretBox } from '../../../core/secret-box.ts';
import {
  createParties,
  creditOrder,
  freshLedger,
  givePayoutMethod,
  type TestLedger,
} from '../../../test/support/ledger.ts';
import { auditLedger } from '../../audit/audit.ts';
import { affiliateBalance } from '../../audit/counts.ts';
import type { Database } from '../../postgres/db.ts';
import { listPayouts } from '../payouts.ts';
import { runPayouts } from '../run.ts';
import { reconcilePayouts } from '../submit.ts';
import { createStripeProvider } from './stripe.ts';

/**
 * Stripe's side as a local HTTP server with the part of its API that is used, and with its faults on demand: it keeps
 * transfers by idempotency key, as Stripe does, and can lose its answer, refuse, or fail before or after it has paid.
 */
type Fault =
  | 'none'
  | 'lost answer'
  | 'reset before'
  | '500 before'
  | 'refused'
  | 'too many'
  | 'expired key'
  | 'no permission'
  | 'no balance';
const stripe = {
  fault: 'none' as Fault,
  byKey: new Map<string, object>(),
  /** Keys whose first answer was that the balance is too low: repeated as it was, whatever the balance is by then. */
  tooLow: new Set<string>(),
  calls: 0,
};

const secretBox = createSecretBox([randomBytes(32)]);
let server: Server;
let db: TestLedger;
let ledger: Database;

beforeAll(async () => {
  server = createServer((request, response) => {
    void readBody(request).then((body) => {
      stripe.calls++;
      const answer = (status: number, value: object) => {
        response.statusCode = status;
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify(value));
      };
      const url = new URL(request.url ?? '/', 'http://stripe.local');
      if (request.method === 'GET') {
        const group = url.searchParams.get('transfer_group');
        const data = [...stripe.byKey.values()].filter(
          (made) => Reflect.get(made, 'transfer_group') === group,
        );
        return answer(200, { object: 'list', data, has_more: false, url: '/v1/transfers' });
      }
      if (stripe.fault === 'reset before') return request.socket.destroy();
      if (stripe.fault === '500 before')
        return answer(500, { error: { type: 'api_error', message: 'oops' } });
      if (stripe.fault === 'too many')
        return answer(429, { error: { type: 'invalid_request_error', message: 'slow' } });
      if (stripe.fault === 'refused') {
        return answer(400, {
          error: {
            type: 'invalid_request_error',
            code: 'resource_missing',
            param: 'destination',
            message: "No such destination: 'acct_gone'",
          },
        });
      }
      if (stripe.fault === 'expired key') {
        return answer(401, {
          error: {
            type: 'invalid_request_error',
            code: 'api_key_expired',
            message: 'Expired API Key provided: sk_live_****1234',
          },
        });
      }
      if (stripe.fault === 'no permission') {
        return answer(403, { error: { type: 'invalid_request_error', message: 'The key cannot transfer' } });
      }
      const tooLow = {
        error: {
          type: 'invalid_request_error',
          code: 'balance_insufficient',
          message: 'Insufficient funds in your Stripe balance',
        },
      };
      if (stripe.tooLow.has(String(request.headers['idempotency-key']))) {
        response.setHeader('idempotent-replayed', 'true');
        return answer(400, tooLow);
      }
      if (stripe.fault === 'no balance') {
        stripe.tooLow.add(String(request.headers['idempotency-key']));
        return answer(400, tooLow);
      }
      const key = String(request.headers['idempotency-key']);
      const made = stripe.byKey.get(key) ?? {
        id: `tr_${stripe.byKey.size + 1}`,
        object: 'transfer',
        amount: Number(body.get('amount')),
        currency: body.get('currency'),
        destination: body.get('destination'),
        transfer_group: body.get('transfer_group'),
        reversed: false,
      };
      stripe.byKey.set(key, made);
      if (stripe.fault === 'lost answer') return request.socket.destroy();
      return answer(200, made);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  db = await freshLedger({ max: 4 });
  ledger = db.ledger;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await db.close();
});
beforeEach(() => {
  stripe.fault = 'none';
  stripe.byKey.clear();
  stripe.tooLow.clear();
});

async function readBody(request: IncomingMessage): Promise<URLSearchParams> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return new URLSearchParams(Buffer.concat(parts).toString());
}

async function payee(account = 'acct_1', currency = 'EUR', amountMinor = 10_000n) {
  const { port } = server.address() as AddressInfo;
  const parties = await createParties(ledger, { levelRatesBps: [] }, currency);
  await givePayoutMethod(ledger, parties.chain[0], { kind: 'stripe', account }, secretBox);
  await creditOrder(ledger, parties, { amountMinor, currency });
  const provider = createStripeProvider({
    secretKey: 'sk_test_local',
    server: { protocol: 'http', host: '127.0.0.1', port },
    timeoutMs: 2_000,
  });
  const { programId } = parties;
  const options = { now: new Date(Date.now() + 1_000), provider, secretBox, programId, actor: 'test' };
  const payouts = async () => (await listPayouts(ledger, { programId: parties.programId, limit: 10 })).rows;
  return { options, payouts, affiliateId: parties.chain[0] };
}

test('a transfer to the affiliate’s account pays at once, under the payout’s key', async () => {
  const { options, payouts } = await payee();
  await runPayouts(ledger, options);
  const [payout] = await payouts();
  expect(payout?.state).toBe('paid');
  expect([...stripe.byKey]).toEqual([
    [
      payout?.providerKey,
      expect.objectContaining({
        amount: 1_000,
        currency: 'eur',
        destination: 'acct_1',
        transfer_group: payout?.providerKey,
      }),
    ],
  ]);
});

test('what is refused is available again, and not sent to the account a second time', async () => {
  const { options, payouts } = await payee('acct_gone');
  stripe.fault = 'refused';
  expect(await runPayouts(ledger, options)).toMatchObject({ failed: 1, stopped: null });
  expect(await payouts()).toMatchObject([
    {
      state: 'failed',
      failure: 'the payment was refused',
      providerFailure: "No such destination: 'acct_gone'",
    },
  ]);
  const { calls } = stripe;
  expect(await runPayouts(ledger, options)).toMatchObject({
    built: 0,
    leftOut: [{ reason: 'method_refused' }],
  });
  expect([stripe.byKey.size, stripe.calls]).toEqual([0, calls]);
});

test.each<[Fault, string]>([
  ['expired key', 'Expired API Key provided: sk_live_****1234'],
  ['no permission', 'The key cannot transfer'],
  ['no balance', 'Insufficient funds in your Stripe balance'],
])('"%s" stops the run, touches no payout, and the next run pays each once', async (fault, words) => {
  const { options, payouts } = await payee();
  stripe.fault = fault;
  // Twice, because Stripe repeats for a day what it answered to a key.
  for (const built of [1, 0]) {
    expect(await runPayouts(ledger, options)).toMatchObject({
      built,
      submitted: 0,
      failed: 0,
      unknown: 0,
      payouts: [],
      stopped: words,
    });
    expect(await payouts()).toMatchObject([{ state: 'created', failure: null, providerFailure: null }]);
  }
  expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
  stripe.fault = 'none';
  expect(await runPayouts(ledger, options)).toMatchObject({ built: 0, submitted: 1, stopped: null });
  expect((await payouts()).map(({ state }) => state)).toEqual(['paid']);
  expect(stripe.byKey.size).toBe(1);
  expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('a lost answer after the balance was too low is found, and not paid under a further key', async () => {
  const { options, payouts } = await payee();
  stripe.fault = 'no balance';
  await runPayouts(ledger, options);
  stripe.fault = 'lost answer';
  expect(await runPayouts(ledger, options)).toMatchObject({ unknown: 1 });
  stripe.fault = 'none';
  expect(await reconcilePayouts(ledger, options)).toEqual({ asked: 1, resubmitted: 0, unknown: 0 });
  expect((await payouts()).map(({ state }) => state)).toEqual(['paid']);
  expect(stripe.byKey.size).toBe(1);
});

/** 10 % of an order, in ISO's minor units; what is sent to Stripe; what is paid, and what stays available. */
test.each([
  ['MGA', 12_340n, 12, 1_200n, 34n],
  ['JPY', 12_340n, 1_234, 1_234n, 0n],
  ['ISK', 12_340n, 123_400, 1_234n, 0n],
  ['UGX', 12_340n, 123_400, 1_234n, 0n],
  ['HUF', 12_340n, 1_200, 1_200n, 34n],
  ['TWD', 12_340n, 1_200, 1_200n, 34n],
  ['KWD', 12_340n, 1_230, 1_230n, 4n],
  ['TND', 12_340n, 1_230, 1_230n, 4n],
  ['USD', 12_340n, 1_234, 1_234n, 0n],
])(
  '%s is sent in the unit that Stripe counts',
  async (currency, orderMinor, amount, paidMinor, restMinor) => {
    const { options, payouts, affiliateId } = await payee('acct_1', currency, orderMinor);
    await runPayouts(ledger, options);
    expect(await payouts()).toMatchObject([{ state: 'paid', amountMinor: paidMinor }]);
    expect([...stripe.byKey.values()]).toMatchObject([{ amount, currency: currency.toLowerCase() }]);
    expect(await affiliateBalance(ledger, affiliateId)).toMatchObject({
      availableMinor: restMinor,
      paidMinor,
    });
    expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
  },
);

test.each(['IQD', 'CLF'])('%s, which Stripe does not pay, is left out', async (currency) => {
  const { options } = await payee('acct_1', currency);
  expect(await runPayouts(ledger, options)).toMatchObject({
    built: 0,
    leftOut: [{ reason: 'currency_not_supported' }],
  });
  expect(stripe.byKey.size).toBe(0);
});

test('an affiliate with a bank account is left out', async () => {
  const { options, affiliateId } = await payee();
  await givePayoutMethod(ledger, affiliateId, undefined, secretBox);
  expect(await runPayouts(ledger, options)).toMatchObject({
    built: 0,
    leftOut: [{ reason: 'method_does_not_fit_provider' }],
  });
});

test.each<Fault>(['lost answer', 'reset before', '500 before', 'too many'])(
  'after "%s" the outcome is unknown until Stripe is asked; the payout is paid once',
  async (fault) => {
    const { options, payouts } = await payee();
    stripe.fault = fault;
    expect(await runPayouts(ledger, options)).toMatchObject({ unknown: 1 });
    expect((await payouts()).map(({ state }) => state)).toEqual(['unknown']);
    stripe.fault = 'none';
    const wasPaid = fault === 'lost answer';
    expect(await reconcilePayouts(ledger, options)).toEqual({
      asked: 1,
      resubmitted: wasPaid ? 0 : 1,
      unknown: 0,
    });
    const [payout] = await payouts();
    expect(payout?.state).toBe('paid');
    expect([...stripe.byKey.keys()]).toEqual([payout?.providerKey]);
    expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
  },
);
