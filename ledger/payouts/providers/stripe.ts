import Stripe from 'stripe';
import { assert, OperatingError } from '../../../core/errors.ts';
import { currencyExponent } from '../../../core/money.ts';
import type { NoticeStatus } from '../notices.ts';
import type { PaymentAnswer, PaymentOrder, PayoutProvider, ProviderLimits } from '../provider.ts';

/**
 * Stripe Connect: one transfer to the affiliate's connected account per payout. The payout's key is Stripe's
 * idempotency key and the transfer group, so that a repeated call makes no second transfer, and a call whose answer
 * was lost can be looked up: https://docs.stripe.com/api/transfers, https://docs.stripe.com/api/idempotent_requests
 */

const TWO_DIGITS = `AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY
  COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG IDR ILS INR JMD KES KGS KHR KYD
  KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
  PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD SZL THB TJS TOP TRY TTD TZS UAH USD UYU UZS WST XCD XCG
  YER ZAR ZMW`;
/** Amounts count whole units. */
const ZERO_DECIMAL = 'BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF';
/** Amounts count hundredths, which have to be zero: ISK and UGX always, HUF and TWD where the money leaves for a bank. */
const WHOLE_IN_HUNDREDTHS = 'HUF ISK TWD UGX';
/** Amounts count thousandths, the last digit of which has to be zero. */
const THREE_DECIMAL = 'BHD JOD KWD OMR TND';

interface StripeCurrency {
  /** Digits of the amounts that it takes. */
  readonly digits: number;
  /** Digits of the unit in which its API counts them. */
  readonly apiDigits: number;
}

const inStripe = (codes: string, digits: number, apiDigits: number) =>
  codes.split(/\s+/).map((code): [string, StripeCurrency] => [code, { digits, apiDigits }]);

/** Presentment, zero-decimal and three-decimal currencies and the special cases: docs.stripe.com/currencies. */
const CURRENCIES = new Map([
  ...inStripe(TWO_DIGITS, 2, 2),
  ...inStripe(ZERO_DECIMAL, 0, 0),
  ...inStripe(WHOLE_IN_HUNDREDTHS, 0, 2),
  ...inStripe(THREE_DECIMAL, 2, 3),
]);

const STRIPE_LIMITS: ProviderLimits = {
  methodKind: 'stripe',
  digits: new Map([...CURRENCIES].map(([code, { digits }]) => [code, digits])),
  // Of an idempotency key (docs.stripe.com/api/idempotent_requests).
  referenceLength: 255,
};

/** Of one call, without Stripe's own retries. */
const TIMEOUT_MS = 20_000;
/** With the same idempotency key, so repeating is safe. */
const RETRIES = 2;
/** Transfers in flight: far below Stripe's 100 requests a second. */
const CONCURRENCY = 8;
/** Of one transfer, each after a run that the operator's own account has stopped; Stripe forgets a key after a day. */
const MAX_ATTEMPTS = 50;

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
    const destination = order.payoutAccount;
    if (destination === null) return { outcome: 'refused', reason: 'the payout has no Stripe account' };
    for (let attempt = 1; ; attempt++) {
      try {
        const made = await stripe.transfers.create(
          {
            amount: toStripeAmount(order),
            currency: order.currency.toLowerCase(),
            destination,
            transfer_group: order.providerKey,
          },
          { idempotencyKey: attempt === 1 ? order.providerKey : `${order.providerKey}-${attempt}` },
        );
        return answerOf(made);
      } catch (error) {
        // For a day Stripe repeats its answer to a key, also that the balance was too low. Such an answer is final and
        // without effect, so that another key cannot pay twice; the keys are tried in the same order each time.
        if (isOperatorFault(error) && isReplayed(error) && attempt < MAX_ATTEMPTS) continue;
        return refusalOf(error);
      }
    }
  }

  async function find(order: PaymentOrder): Promise<PaymentAnswer | undefined> {
    const { data } = await stripe.transfers.list({ transfer_group: order.providerKey, limit: 1 });
    const [made] = data.filter(({ transfer_group }) => transfer_group === order.providerKey);
    return made && answerOf(made);
  }

  return {
    name: 'stripe',
    limits: STRIPE_LIMITS,
    submit: ({ orders }) => answers(orders, transfer),
    lookUp: async (orders) => {
      try {
        return await answers(orders, find);
      } catch (cause) {
        if (!isOperatorFault(cause)) throw cause;
        throw new OperatingError('payout_provider_refused', `Stripe: ${cause.message}`, { cause });
      }
    },
  };
}

/** A transfer is in the account at once; one that was reversed came back. */
function answerOf({ reversed }: Stripe.Transfer): PaymentAnswer {
  return { outcome: reversed ? 'returned' : 'paid' };
}

/** Not the payee's: the key, its permissions, the platform's account or its balance (docs.stripe.com/error-codes). */
const OPERATOR_FAULTS: ReadonlySet<string | undefined> = new Set([
  'api_key_expired',
  'balance_insufficient',
  'insufficient_funds',
  'livemode_mismatch',
  'platform_account_required',
  'platform_api_key_expired',
  'secret_key_required',
  'testmode_charges_only',
  'tls_version_unsupported',
]);

function isOperatorFault(error: unknown): error is Stripe.errors.StripeError {
  return (
    error instanceof Stripe.errors.StripeAuthenticationError ||
    error instanceof Stripe.errors.StripePermissionError ||
    (error instanceof Stripe.errors.StripeInvalidRequestError && OPERATOR_FAULTS.has(error.code))
  );
}

/** Stripe marks an answer that it had stored (docs.stripe.com/api/idempotent_requests). */
function isReplayed({ headers }: Stripe.errors.StripeError): boolean {
  return headers?.['idempotent-replayed'] === 'true';
}

/** A request that Stripe refuses had no effect; undefined: the outcome is unknown. */
function refusalOf(error: unknown): PaymentAnswer | undefined {
  if (isOperatorFault(error)) return { outcome: 'stopped', reason: error.message };
  if (error instanceof Stripe.errors.StripeInvalidRequestError) {
    return { outcome: 'refused', reason: error.message };
  }
  return undefined;
}

/** The amount is a multiple of what Stripe takes: see `limitsIn`. */
function toStripeAmount({ amountMinor, currency }: PaymentOrder): number {
  const apiDigits = CURRENCIES.get(currency)?.apiDigits;
  const exponent = currencyExponent(currency);
  assert(apiDigits !== undefined && exponent !== undefined, `Stripe pays ${currency}`);
  return apiDigits >= exponent
    ? Number(amountMinor * 10n ** BigInt(apiDigits - exponent))
    : Number(amountMinor / 10n ** BigInt(exponent - apiDigits));
}

/** Asks for each order, a few at a time; orders without an answer are left out. After a stop none is asked any more. */
async function answers(
  orders: readonly PaymentOrder[],
  ask: (order: PaymentOrder) => Promise<PaymentAnswer | undefined>,
): Promise<Map<string, PaymentAnswer>> {
  const found = new Map<string, PaymentAnswer>();
  const rest = orders.values();
  let stop: PaymentAnswer | undefined;
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (const order of rest) {
        const answer = stop ?? (await ask(order));
        if (answer?.outcome === 'stopped') stop ??= answer;
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
