import { InputError } from '../../core/errors.ts';
import { MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { checkText } from '../postgres/input-faults.ts';

/** Rates of terms instead of their own: by who bought, and by what was bought. */

/** Who bought: renewal is a later order of a subscription, and neither new nor returning. */
export const CUSTOMER_KINDS = ['new', 'returning', 'renewal'] as const;
export type CustomerKind = (typeof CUSTOMER_KINDS)[number];

/** What is not named is that of the terms. */
export interface CustomerRate {
  readonly rateBps?: number | undefined;
  readonly fixedMinor?: bigint | undefined;
}
export type CustomerRates = { readonly [Kind in CustomerKind]?: CustomerRate };

/** What distinguishes items, the most specific first. */
export const ITEM_MARKS = ['sku', 'brand', 'category'] as const;
export type ItemMark = (typeof ITEM_MARKS)[number];

/** The rate of items with this mark; 0 excludes them: no affiliate earns by them. */
export type ItemRate = {
  readonly by: ItemMark;
  readonly name: string;
  readonly rateBps: number;
};

/** They are read with the terms of every order that is decided. */
export const MAX_ITEM_RATES = 500;

/** @throws InputError naming `customer_rates` or `item_rates`. */
export function checkSpecialRates(
  type: 'percent' | 'fixed' | 'hybrid',
  { customerRates, itemRates }: { customerRates: CustomerRates; itemRates: readonly ItemRate[] },
): void {
  for (const [kind, { rateBps, fixedMinor }] of Object.entries(customerRates)) {
    const field = `customer_rates.${kind}`;
    if (rateBps === undefined && fixedMinor === undefined)
      throw new InputError(field, 'names no rate and no amount');
    if (type === 'percent' && fixedMinor !== undefined) {
      throw new InputError(`${field}.fixed`, 'is not of percentages: the commission type is percent');
    }
    if (type === 'fixed' && rateBps !== undefined) {
      throw new InputError(`${field}.rate_bps`, 'is not of fixed commissions: the commission type is fixed');
    }
  }
  if (itemRates.length > MAX_ITEM_RATES) {
    throw new InputError('item_rates', `must not exceed ${MAX_ITEM_RATES}`);
  }
  const seen = new Set<string>();
  for (const [i, { by, name, rateBps }] of itemRates.entries()) {
    checkText(name, `item_rates.${i}.${by}`, MAX_REFERENCE_LENGTH);
    const key = `${by} ${name}`;
    if (seen.has(key)) throw new InputError(`item_rates.${i}.${by}`, 'has a rate already');
    seen.add(key);
    if (type === 'fixed' && rateBps > 0) {
      throw new InputError(
        `item_rates.${i}.rate_bps`,
        'must be 0 where the commission is fixed: items are excluded',
      );
    }
  }
}

/** Terms as far as they differ by who bought. */
interface RatedTerms {
  readonly rateBps: number;
  readonly fixedMinor: bigint;
  readonly tiers: readonly unknown[];
  readonly customerRates: CustomerRates;
}

/** The terms with the rate and the fixed amount for who bought. Tiers are of the terms' own rate. */
export function termsFor<T extends RatedTerms>(terms: T, kind: CustomerKind | null): T {
  const special = kind === null ? undefined : terms.customerRates[kind];
  if (!special) return terms;
  const { rateBps, fixedMinor = terms.fixedMinor } = special;
  return { ...terms, fixedMinor, ...(rateBps !== undefined && { rateBps, tiers: [] }) };
}

/** Whether the terms credit no affiliate for an order of this kind of customer: its rate and its amount are nothing. */
export function isExcluded(terms: RatedTerms, kind: CustomerKind | null): boolean {
  if (kind === null || !terms.customerRates[kind]) return false;
  const { rateBps, fixedMinor, tiers } = termsFor(terms, kind);
  return rateBps === 0 && fixedMinor === 0n && tiers.length === 0;
}

/** As JSON keeps them: amounts are text. */
export interface StoredCustomerRates {
  readonly [kind: string]: { readonly rateBps?: number; readonly fixedMinor?: string };
}

export function storedCustomerRates(rates: CustomerRates): StoredCustomerRates {
  return Object.fromEntries(
    Object.entries(rates).map(([kind, { rateBps, fixedMinor }]) => [
      kind,
      {
        ...(rateBps !== undefined && { rateBps }),
        ...(fixedMinor !== undefined && { fixedMinor: fixedMinor.toString() }),
      },
    ]),
  );
}

export function customerRatesFromStored(stored: StoredCustomerRates): CustomerRates {
  return Object.fromEntries(
    Object.entries(stored).map(([kind, { rateBps, fixedMinor }]) => [
      kind,
      { rateBps, fixedMinor: fixedMinor === undefined ? undefined : BigInt(fixedMinor) },
    ]),
  );
}
