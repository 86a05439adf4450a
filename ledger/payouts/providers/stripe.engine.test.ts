import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createSecretBox } from '../../../core/secret-box.ts';
import { createParties, creditOrder, freshLedger, type TestLedger } from '../../../test/support/ledger.ts';
import { auditLedger } from '../../audit/audit.ts';
import type { Database } from '../../postgres/db.ts';
import { updateProgram } from '../../programs/programs.ts';
import { encryptPayoutDetails, hashAccount, setPayoutMethod } from '../methods.ts';
import { listPayouts } from '../payouts.ts';
import { runPayouts } from '../run.ts';
import { reconcilePayouts } from '../submit.ts';
import { createStripeProvider } from './stripe.ts';

/**
 * Stripe's side as a local HTTP server with the part of its API that is used, and with its faults on demand: it keeps
 * transfers by idempotency key, as Stripe does, and can lose its answer, refuse, or fail before or after it has paid.
 */
type Fault = 'none' | 'lost answer' | 'reset before' | '500 before' | 'refused' | 'too many';
const stripe = { fault: 'none' as Fault, byKey: new Map<string, object>(), calls: 0 };

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
        return answer(400, { error: { type: 'invalid_request_error', message: 'No such destination' } });
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
});

async function readBody(request: IncomingMessage): Promise<URLSearchParams> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return new URLSearchParams(Buffer.concat(parts).toString());
}

async function payee(account: string | null = 'acct_1') {
  const { port } = server.address() as AddressInfo;
  const parties = await createParties(ledger, { levelRatesBps: [] });
  await updateProgram(ledger, { id: parties.programId, changes: { payoutMethodHoldDays: 0 } });
  if (account !== null) {
    const details = encryptPayoutDetails(secretBox, { kind: 'stripe', account });
    const accountHash = hashAccount(account);
    await setPayoutMethod(ledger, {
      affiliateId: parties.chain[0],
      kind: 'stripe',
      details,
      accountHash,
      hint: 'acct',
      changedBy: 'test',
    });
  }
  await creditOrder(ledger, parties, { amountMinor: 10_000n });
  const provider = createStripeProvider({
    secretKey: 'sk_test_local',
    server: { protocol: 'http', host: '127.0.0.1', port },
    timeoutMs: 2_000,
  });
  const { programId } = parties;
  const options = { now: new Date(Date.now() + 1_000), provider, secretBox, programId, actor: 'test' };
  const payouts = async () => (await listPayouts(ledger, { programId: parties.programId, limit: 10 })).rows;
  return { options, payouts };
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

test.each<[Fault, string | null]>([
  ['refused', 'acct_gone'],
  ['none', null],
])('what is refused is available again (%s, %s)', async (fault, account) => {
  const { options, payouts } = await payee(account);
  stripe.fault = fault;
  expect(await runPayouts(ledger, options)).toMatchObject({ failed: 1 });
  expect((await payouts()).map(({ state }) => state)).toEqual(['failed']);
  expect(stripe.byKey.size).toBe(0);
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
