import { currencyExponent, parseAmount } from '../../core/money.ts';
import type { PayoutMethodKind } from './methods.ts';

/**
 * What a provider can pay, as data: preview, build and hand-over decide by it. Sources stand beside each provider's.
 */
export interface ProviderLimits {
  /** The kind of payout method whose accounts it pays to. */
  readonly methodKind: PayoutMethodKind;
  /** Decimal digits that it takes, by the currencies that it pays; undefined: every currency, as ISO 4217 has it. */
  readonly digits?: ReadonlyMap<string, number> | undefined;
  /** Its largest payments by currency, such as "20000.00", where it has a limit. */
  readonly largest?: ReadonlyMap<string, string> | undefined;
  /** Characters of a payment's reference. */
  readonly referenceLength: number;
}

/** The limits in one currency, in its minor units. */
export interface CurrencyLimits {
  /** Amounts are multiples of it; what is left stays available. */
  readonly unitMinor: bigint;
  /** Null: none is known. */
  readonly largestMinor: bigint | null;
}

/** Undefined: the provider does not pay this currency. */
export function limitsIn(limits: ProviderLimits, currency: string): CurrencyLimits | undefined {
  const exponent = currencyExponent(currency) ?? 0;
  const digits = limits.digits ? limits.digits.get(currency) : exponent;
  if (digits === undefined) return undefined;
  const largest = limits.largest?.get(currency);
  return {
    unitMinor: 10n ** BigInt(Math.max(0, exponent - digits)),
    largestMinor: largest === undefined ? null : parseAmount(largest, currency),
  };
}

/** One payment to make. */
export interface PaymentOrder {
  /** Names the payment for ever: the provider must not pay two orders with one key. */
  readonly providerKey: string;
  /** Its number, by which an affiliate knows it. */
  readonly payoutId: bigint;
  readonly affiliateId: number;
  readonly affiliateName: string;
  readonly affiliateEmail: string;
  /** An IBAN, a PayPal address, a Stripe account, as it was when the payout was built; null: it was not decrypted. */
  readonly payoutAccount: string | null;
  /** Whose bank account it is, as its affiliate named them; null for other accounts. */
  readonly accountHolder: string | null;
  readonly currency: string;
  readonly amountMinor: bigint;
}

/** Payments that are handed over together. */
export interface PaymentBatch {
  readonly batchKey: string;
  readonly createdAt: Date;
  readonly handedOverAt: Date;
  readonly orders: readonly PaymentOrder[];
}

/** What a provider says of one payment. */
export type PaymentAnswer =
  /** It has the order and will pay it. */
  | { readonly outcome: 'accepted' }
  | { readonly outcome: 'paid' }
  /** It was not paid to this account and never will be: no payouts go there until it changes. `reason`: its words. */
  | { readonly outcome: 'refused'; readonly reason: string }
  /**
   * It was not paid for a fault of the operator's: the key, the permissions, or the balance. It waits for another run,
   * and this one stops. `reason`: the provider's words.
   */
  | { readonly outcome: 'stopped'; readonly reason: string }
  /** It was paid and came back. */
  | { readonly outcome: 'returned' };

/** Answers by the orders' keys; the outcome of an order without an answer is unknown. */
export type Submission = ReadonlyMap<string, PaymentAnswer>;

/**
 * The service that moves the money. `submit` must be idempotent by the orders' keys: after a crash the same orders come
 * again. When it throws, the outcome of all of them is unknown; they stay `unknown` until their reconciliation.
 */
export interface PayoutProvider {
  readonly name: string;
  readonly limits: ProviderLimits;
  submit(batch: PaymentBatch): Promise<Submission>;
  /**
   * What it knows of orders it was given; it never received those that are missing. Undefined: it cannot be asked.
   * @throws OperatingError `payout_provider_refused` for a fault of the operator's.
   */
  lookUp?(orders: readonly PaymentOrder[]): Promise<Submission>;
}

/** The same answer for every order of a batch. */
export function answerAll(batch: PaymentBatch, answer: PaymentAnswer): Submission {
  return new Map(batch.orders.map(({ providerKey }) => [providerKey, answer]));
}
