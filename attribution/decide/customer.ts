import type { Conversion } from '../../ledger/conversions/conversions.ts';
import type { CustomerKind } from '../../ledger/programs/special-rates.ts';
import type { Winner } from './choose.ts';

/** Who bought, as far as the rates of terms ask for it. */
export interface Customer {
  /** Null: not known. */
  readonly kind: CustomerKind | null;
  /** Who says so: the subscription that the order continues, the shop, or the orders in the books. */
  readonly by: 'subscription' | 'shop' | 'books' | null;
  /** The customer's earlier order that was found in the books. */
  readonly earlierOrder: string | null;
}

/** An order with what credits it. */
export interface Buying {
  readonly conversion: Pick<
    Conversion,
    'id' | 'programId' | 'eventName' | 'customerId' | 'customerEmailHash' | 'customerStatus' | 'occurredAt'
  >;
  readonly winner: Pick<Winner, 'source' | 'terms'>;
}

/** Whether only the books can tell: the shop has not, and the terms ask. An order without a customer has none to look for. */
export function needsBooks({ conversion, winner }: Buying): boolean {
  const { customerId, customerEmailHash, customerStatus } = conversion;
  const { customerRates } = winner.terms;
  if (winner.source === 'recurring' || customerStatus !== null) return false;
  if (customerId === null && customerEmailHash === null) return false;
  return customerRates.new !== undefined || customerRates.returning !== undefined;
}

/** What the order says without the books. */
export function kindByItself({ conversion: { customerStatus }, winner }: Buying): Customer {
  if (winner.source === 'recurring') return { kind: 'renewal', by: 'subscription', earlierOrder: null };
  return { kind: customerStatus, by: customerStatus === null ? null : 'shop', earlierOrder: null };
}
