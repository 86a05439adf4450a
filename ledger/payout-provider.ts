/** One payment to make. */
export interface PaymentOrder {
  /** Names the payment for ever: the provider must not pay two orders with one key. */
  readonly providerKey: string;
  readonly affiliateId: number;
  readonly affiliateName: string;
  readonly affiliateEmail: string;
  readonly currency: string;
  readonly amountMinor: bigint;
}

/** Payments that are handed over together. */
export interface PaymentBatch {
  readonly batchKey: string;
  readonly createdAt: Date;
  readonly orders: readonly PaymentOrder[];
}

export type Submission =
  | { readonly outcome: 'accepted' }
  /** Nothing of the batch was or will be paid. */
  | { readonly outcome: 'refused'; readonly reason: string };

/**
 * Whoever moves the money. `submit` must be idempotent by `batchKey`: after a crash the same batch comes again.
 * When it throws, nobody knows whether the payments were made; they become `unknown` until somebody looks.
 */
export interface PayoutProvider {
  readonly name: string;
  submit(batch: PaymentBatch): Promise<Submission>;
}

/** Writes each batch as `<folder>/<date>-<batch key>.csv` for the bank. */
export function createBankCsvProvider(_options: { folder: string }): PayoutProvider {
  throw new Error('not built yet');
}
