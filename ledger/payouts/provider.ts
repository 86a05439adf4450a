/** One payment to make. */
export interface PaymentOrder {
  /** Names the payment for ever: the provider must not pay two orders with one key. */
  readonly providerKey: string;
  readonly affiliateId: number;
  readonly affiliateName: string;
  readonly affiliateEmail: string;
  /** An IBAN, a PayPal address, a Stripe account, as it was when the payout was built; null: none. */
  readonly payoutAccount: string | null;
  readonly currency: string;
  readonly amountMinor: bigint;
}

/** Payments that are handed over together. */
export interface PaymentBatch {
  readonly batchKey: string;
  readonly createdAt: Date;
  readonly orders: readonly PaymentOrder[];
}

/** What a provider says of one payment. */
export type PaymentAnswer =
  /** It has the order and will pay it. */
  | { readonly outcome: 'accepted' }
  | { readonly outcome: 'paid' }
  /** It was not paid and never will be. */
  | { readonly outcome: 'refused'; readonly reason: string }
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
  submit(batch: PaymentBatch): Promise<Submission>;
  /** What it knows of orders it was given; it never received those that are missing. Undefined: it cannot be asked. */
  lookUp?(orders: readonly PaymentOrder[]): Promise<Submission>;
}

/** The same answer for every order of a batch. */
export function answerAll(batch: PaymentBatch, answer: PaymentAnswer): Submission {
  return new Map(batch.orders.map(({ providerKey }) => [providerKey, answer]));
}
