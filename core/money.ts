import { InputError } from './errors.ts';

/**
 * Money is an integer number of minor units (`bigint`) beside an ISO 4217 currency code.
 * There is no float in this file, and there must not be one in any caller.
 */

/** Exponents of the ISO 4217 currencies whose minor unit is not 1/100 (source: ISO 4217 list one, maintained by SIX). */
export const UNUSUAL_EXPONENTS: ReadonlyMap<string, number> = new Map([
  ...withExponent(0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'),
  ...withExponent(3, 'BHD IQD JOD KWD LYD OMR TND'),
  ...withExponent(4, 'CLF UYW'),
]);

function withExponent(exponent: number, currencies: string): [string, number][] {
  return currencies.split(' ').map((currency) => [currency, exponent]);
}

/** The other active ISO 4217 currencies of countries; all have an exponent of 2. */
const TWO_DIGIT_CURRENCIES = new Set(
  `AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY
  COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS
  INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR
  MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD
  SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UZS VED VES WST XCD XCG YER ZAR ZMW ZWG`.split(
    /\s+/,
  ),
);

/** Largest amount accepted from outside, in minor units: a million of them still sum below Postgres bigint. */
export const MAX_AMOUNT_MINOR = 1_000_000_000_000n;

/** Number of decimal digits of a currency's minor unit (0, 2, 3 or 4), or undefined for an unknown code. */
export function currencyExponent(currency: string): number | undefined {
  return UNUSUAL_EXPONENTS.get(currency) ?? (TWO_DIGIT_CURRENCIES.has(currency) ? 2 : undefined);
}

function knownExponent(currency: string): number {
  const exponent = currencyExponent(currency);
  if (exponent === undefined) {
    throw new InputError('currency', `${JSON.stringify(currency)} is not an active ISO 4217 currency code`);
  }
  return exponent;
}

/** Returns the code itself when it is an active ISO 4217 currency, else throws an InputError for `currency`. */
export function parseCurrency(text: string): string {
  knownExponent(text);
  return text;
}

/**
 * Reads a decimal amount such as "12.34" into minor units.
 * Only plain decimals are money: no sign, exponent, separator or digit beyond the currency's minor unit.
 * @throws InputError naming `field`.
 */
export function parseAmount(text: string, currency: string, field = 'amount'): bigint {
  const exponent = knownExponent(currency);
  const match = /^(\d{1,15})(?:\.(\d{1,9}))?$/.exec(text);
  const whole = match?.[1];
  if (whole === undefined) {
    throw new InputError(field, 'must be a plain decimal number such as "12.34"');
  }
  const fraction = match?.[2] ?? '';
  if (fraction.length > exponent) {
    throw new InputError(
      field,
      `${currency} has ${exponent} decimal digits, this amount has ${fraction.length}`,
    );
  }
  const minor = BigInt(whole + fraction.padEnd(exponent, '0'));
  if (minor > MAX_AMOUNT_MINOR) {
    throw new InputError(field, `must not exceed ${formatAmount(MAX_AMOUNT_MINOR, currency)}`);
  }
  return minor;
}

/** Writes minor units as a decimal with exactly the currency's digits: `formatAmount(-5n, 'EUR')` is "-0.05". */
export function formatAmount(amountMinor: bigint, currency: string): string {
  const exponent = knownExponent(currency);
  const sign = amountMinor < 0n ? '-' : '';
  const digits = (amountMinor < 0n ? -amountMinor : amountMinor).toString().padStart(exponent + 1, '0');
  if (exponent === 0) return sign + digits;
  return `${sign}${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`;
}

/**
 * `value × numerator ÷ denominator`, rounded half to even: the one rounding of the platform.
 * Exact for any size, because it never leaves the integers. `denominator` must be positive.
 */
export function mulDivHalfEven(value: bigint, numerator: bigint, denominator: bigint): bigint {
  if (denominator <= 0n) throw new RangeError('denominator must be positive');
  const product = value * numerator;
  const negative = product < 0n;
  const magnitude = negative ? -product : product;
  let quotient = magnitude / denominator;
  const twiceRest = 2n * (magnitude % denominator);
  if (twiceRest > denominator || (twiceRest === denominator && quotient % 2n === 1n)) quotient += 1n;
  return negative ? -quotient : quotient;
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

/** Basis points in one whole: a rate of 10 % is 1,000 bps. */
const BPS_PER_ONE = 10_000n;

/** A share of an amount by a rate in basis points, rounded half to even. */
export function applyRateBps(amountMinor: bigint, rateBps: number): bigint {
  return mulDivHalfEven(amountMinor, BigInt(rateBps), BPS_PER_ONE);
}

/** An exact ratio; the denominator is positive. */
export interface Ratio {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/**
 * Reads an exchange rate such as "1.0843" exactly: at most 12 digits before the point and 12 behind it, above zero.
 * @throws InputError naming `rate`.
 */
export function parseRate(text: string): Ratio {
  const match = /^(\d{1,12})(?:\.(\d{1,12}))?$/.exec(text);
  const fraction = match?.[2] ?? '';
  const numerator = match ? BigInt(`${match[1]}${fraction}`) : 0n;
  if (numerator > 0n) return { numerator, denominator: 10n ** BigInt(fraction.length) };
  throw new InputError('rate', 'must be a plain decimal above zero such as "1.0843"');
}

/** An amount in another currency: one whole unit of `from` is worth `numerator ÷ denominator` whole units of `to`. */
export function convertMinor(
  amountMinor: bigint,
  { from, to, numerator, denominator }: Ratio & { readonly from: string; readonly to: string },
): bigint {
  const [fromUnit, toUnit] = [from, to].map((currency) => 10n ** BigInt(knownExponent(currency))) as [
    bigint,
    bigint,
  ];
  return mulDivHalfEven(amountMinor, numerator * toUnit, denominator * fromUnit);
}
