import Stripe from 'stripe';
import { currencyExponent } from '../../../core/money.ts';
import type { NoticeStatus } from '../notices.ts';
import type { PaymentAnswer, PaymentOrder, PayoutProvider } from '../provider.ts';

/**
 * Stripe Connect: one transfer to the affiliate's connected account per payout. The payout's key is Stripe's
 * idempotency key and the transfer group, so that a repeated call makes no second transfer, and a call whose answer
 * was lost can be looked up: https://docs.stripe.com/api/transfers, https://docs.stripe.com/api/idempotent_requests
 */

/** Stripe counts these in hundredths although ISO 4217 gives them no minor unit (docs.stripe.com/currencies). */
const HUNDREDTHS_AT_STRIPE = new Set(['ISK', 'UGX']);
/** Three-digit currencies have to end in zero there. */
const LAST_DIGIT = 10n;
/** Of one call, without Stripe's own retries. */
const TIMEOUT_MS = 20_000;
/** With the same idempotency key, so repeating is safe. */
const RETRIES = 2;
/** Transfers in flight: far below Stripe's 100 requests a second. */
const CONCURRENCY = 8;

export function createStripeProvider(options: {
  secretKey: string;
  /** A server that speaks Stripe's API; default Stripe's own. */
  server?: { protocol: 'http' | 'https'; host: string; port: number } | undefined;
  timeoutMs?: number | undefined;
}): PayoutProvider {
  const { secretKey, server, timeoutMs = TIMEOUT_MS } = options;
  const stripe = new Stripe(secretKey, {
    maxNetworkRetries: RETRIES,
    timeout: timeoutMs,
    telemetry: false,
    ...server,
  });

  async function transfer(order: PaymentOrder): Promise<PaymentAnswer | undefined> {
    const amount = toStripeAmount(order);
    if (!order.payoutAccount?.startsWith('acct_')) {
      return { outcome: 'refused', reason: 'the affiliate has no Stripe account' };
    }
    if (amount === undefined) {
      return { outcome: 'refused', reason: `Stripe transfers no such amount of ${order.currency}` };
    }
    try {
      const made = await stripe.transfers.create(
        {
          amount,
          currency: order.currency.toLowerCase(),
          destination: order.payoutAccount,
          transfer_group: order.providerKey,
        },
        { idempotencyKey: order.providerKey },
      );
      return answerOf(made);
    } catch (error) {
      return refusalOf(error);
    }
  }

  async function find(order: PaymentOrder): Promise<PaymentAnswer | undefined> {
    const { data } = await stripe.transfers.list({ transfer_group: order.providerKey, limit: 1 });
    const [made] = data.filter(({ transfer_group }) => transfer_group === order.providerKey);
    return made && answerOf(made);
  }

  return {
    name: 'stripe',
    submit: ({ orders }) => answers(orders, transfer),
    lookUp: (orders) => answers(orders, find),
  };
}

/** A transfer is in the account at once; one that was reversed came back. */
function answerOf({ reversed }: Stripe.Transfer): PaymentAnswer {
  return { outcome: reversed ? 'returned' : 'paid' };
}

/** A request that Stripe refuses had no effect; undefined: the outcome is unknown. */
function refusalOf(error: unknown): PaymentAnswer | undefined {
  const refuses =
    error instanceof Stripe.errors.StripeInvalidRequestError ||
    error instanceof Stripe.errors.StripePermissionError ||
    error instanceof Stripe.errors.StripeAuthenticationError;
  return refuses ? { outcome: 'refused', reason: error.message } : undefined;
}

function toStripeAmount({ amountMinor, currency }: PaymentOrder): number | undefined {
  if (HUNDREDTHS_AT_STRIPE.has(currency)) return Number(amountMinor * 100n);
  const exponent = currencyExponent(currency) ?? 2;
  const fits = exponent < 3 || (exponent === 3 && amountMinor % LAST_DIGIT === 0n);
  return fits ? Number(amountMinor) : undefined;
}

/** Asks for each order, a few at a time; orders without an answer are left out. */
async function answers(
  orders: readonly PaymentOrder[],
  ask: (order: PaymentOrder) => Promise<PaymentAnswer | undefined>,
): Promise<Map<string, PaymentAnswer>> {
  const found = new Map<string, PaymentAnswer>();
  const rest = orders.values();
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (const order of rest) {
        const answer = await ask(order);
        if (answer) found.set(order.providerKey, answer);
      }
    }),
  );
  return found;
}

/**
 * What an event of Stripe's says of a payout (docs.stripe.com/api/events/types): `transfer.created` and
 * `transfer.updated` that it is paid, `transfer.reversed` that all of it came back. Undefined for any other event, and
 * for a reversal in part, which no payout knows: a person reverses the rest, or none.
 */
export function stripeNotice(
  event: Stripe.Event,
): { provider: string; providerKey: string; status: NoticeStatus } | undefined {
  if (!event.type.startsWith('transfer.')) return undefined;
  const { reversed, amount_reversed, transfer_group } = event.data.object as Stripe.Transfer;
  if (transfer_group === null || (amount_reversed > 0 && !reversed)) return undefined;
  return { provider: 'stripe', providerKey: transfer_group, status: reversed ? 'returned' : 'paid' };
}
