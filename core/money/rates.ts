import { Decimal } from 'decimal.js';
import { InputError } from '../errors.ts';
import { currencyExponent } from '../money.ts';

/**
 * Rates: those of terms, percentages of VAT, exchange rates. They are read here, multiplied here, and what they come
 * to is rounded here, half to even: the one rounding of the platform. Amounts stay `bigint` minor units (core/money.ts).
 *
 * 120 digits hold every product of amounts and rates exactly. A quotient is rounded twice, to 120 digits and then to
 * minor units; that is the same as once, because a quotient by a divisor of d digits that is no half is further than
 * 10⁻ᵈ from one.
 */
const Exact = Decimal.clone({ precision: 120, rounding: Decimal.ROUND_HALF_EVEN });

/** An exact decimal. */
export type Rate = Decimal;

const exact = (value: bigint | number): Rate => new Exact(String(value));

function roundHalfEven(value: Rate): bigint {
  return BigInt(value.toDecimalPlaces(0, Decimal.ROUND_HALF_EVEN).toFixed(0));
}

/**
 * Reads an exchange rate such as "1.0843": at most 12 digits before the point and 12 behind it, above zero.
 * @throws InputError naming `rate`.
 */
export function parseExchangeRate(text: string): Rate {
  const rate = /^\d{1,12}(?:\.\d{1,12})?$/.test(text) ? new Exact(text) : undefined;
  if (rate && !rate.isZero()) return rate;
  throw new InputError('rate', 'must be a plain decimal above zero such as "1.0843"');
}

/** Reads a percentage such as "19" or "7.1250": 0 to 100, at most four decimals. @throws InputError naming `field`. */
export function parsePercent(text: string, field: string): Rate {
  const percent = /^\d{1,3}(?:\.\d{1,4})?$/.test(text) ? new Exact(text) : undefined;
  if (percent?.lessThanOrEqualTo(100)) return percent;
  throw new InputError(field, 'must be a percentage from 0 to 100 with up to four decimals, such as "19.5"');
}

/** `value × numerator ÷ denominator`, rounded half to even. `denominator` must be positive. */
export function mulDivHalfEven(value: bigint, numerator: bigint, denominator: bigint): bigint {
  if (denominator <= 0n) throw new RangeError('denominator must be positive');
  return roundHalfEven(exact(value).times(exact(numerator)).div(exact(denominator)));
}

/**
 * Cuts an amount into parts in proportion to weights that are not negative: each part is the difference of two roundings
 * (half to even) of the running sum, so that the parts add up to the amount. Nothing is cut where the weights are nothing:
 * then the first part is all of it.
 */
export function allocate(amountMinor: bigint, weights: readonly bigint[]): bigint[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0n);
  if (total === 0n) return weights.map((_, i) => (i === 0 ? amountMinor : 0n));
  let reached = 0n;
  let before = 0n;
  return weights.map((weight) => {
    reached += weight;
    const upTo = mulDivHalfEven(amountMinor, reached, total);
    const part = upTo - before;
    before = upTo;
    return part;
  });
}

/**
 * Rates of terms are basis points with at most two decimals, so percentages with four: 10 % is 1,000, 7.125 % is 712.5,
 * 0.0125 % is 1.25. As a number each is the double next to its decimal, and is multiplied as whole hundredths.
 */
export const MAX_RATE_BPS = 10_000;
const HUNDREDTHS_PER_BPS = 100;
const HUNDREDTHS_PER_ONE = 1_000_000n;

/** Exact: up to {@link MAX_RATE_BPS} a double is less than 10⁻⁹ beside its decimal, which the rounding takes away. */
function hundredthsOf(rateBps: number): number {
  return Math.round(rateBps * HUNDREDTHS_PER_BPS);
}

/** Whether a number is a rate of terms: from 0 to {@link MAX_RATE_BPS}, the double next to a decimal of two digits. */
export function isRateBps(value: number): boolean {
  // A quotient of whole numbers is the double next to it.
  return value >= 0 && value <= MAX_RATE_BPS && hundredthsOf(value) / HUNDREDTHS_PER_BPS === value;
}

/** An amount times a rate in basis points, exact: products are summed before {@link roundShare} rounds them once. */
export function shareOf(amountMinor: bigint, rateBps: number): bigint {
  return amountMinor * BigInt(hundredthsOf(rateBps));
}

/** The minor units of a sum of {@link shareOf}, rounded half to even. */
export function roundShare(share: bigint): bigint {
  return mulDivHalfEven(share, 1n, HUNDREDTHS_PER_ONE);
}

/** A share of an amount by a rate in basis points, rounded half to even. */
export function applyRateBps(amountMinor: bigint, rateBps: number): bigint {
  return roundShare(shareOf(amountMinor, rateBps));
}

/** 1250 basis points as "12.5", 712.5 as "7.125". */
export function percentOf(rateBps: number): string {
  return exact(hundredthsOf(rateBps)).div(10_000).toFixed();
}

/**
 * An amount in another currency, rounded once: multiplied by the rates of `times` and divided by those of `per`, which are
 * of whole units.
 */
export function convertMinor(
  amountMinor: bigint,
  { from, to, times, per }: { from: string; to: string; times: readonly Rate[]; per: readonly Rate[] },
): bigint {
  const product = (rates: readonly Rate[]) => rates.reduce((all, rate) => all.times(rate), exact(1));
  // As text, because the float 10 ** -4 is not exact.
  const units = new Exact(`1e${(currencyExponent(to) ?? 0) - (currencyExponent(from) ?? 0)}`);
  return roundHalfEven(exact(amountMinor).times(product(times)).times(units).div(product(per)));
}

/** The tax within an amount that includes it. */
export function taxWithin(grossMinor: bigint, percent: Rate): bigint {
  return roundHalfEven(exact(grossMinor).times(percent).div(percent.plus(100)));
}
