import { Decimal } from 'decimal.js';
import { InputError } from '../../core/errors.ts';
import { currencyExponent } from '../../core/money.ts';
import { DAY_MS } from '../../core/time.ts';

/** How the amounts and times of other systems are written, and what they are here. */

/** Digits enough for any sum of products of amounts: no rounding happens before the end. */
const Exact = Decimal.clone({ precision: 100, rounding: Decimal.ROUND_HALF_EVEN });

export const UNITS = ['major', 'minor', 'stripe'] as const;
export const DECIMAL_SIGNS = ['.', ','] as const;

/** How an amount is written. */
export interface AmountForm {
  /** `minor`: in the smallest unit of the currency; `stripe`: as Stripe counts it. Default: major. */
  readonly units?: (typeof UNITS)[number] | undefined;
  /** What separates the decimals; with a comma, points are separators of thousands. Default: a point. */
  readonly decimal?: (typeof DECIMAL_SIGNS)[number] | undefined;
  /** More digits than the currency has are rounded half to even, and not refused. */
  readonly round?: boolean | undefined;
  /** Whatever its sign. */
  readonly absolute?: boolean | undefined;
}

const PLAIN = /^[+-]?\d{1,20}(?:\.\d{1,20})?(?:[eE][+-]?\d{1,2})?$/;
/** Two digits behind a comma are decimals everywhere: groups of thousands have three. */
const SURELY_DECIMAL_COMMA = /^([+-]?\d{1,15}),(\d{1,2})$/;
/** Points in groups of three: in `5.5` it is a decimal sign, whatever the mapping says, and 55 would be another amount. */
const WITH_DECIMAL_COMMA = /^[+-]?(?:\d{1,3}(?:\.\d{3})+|\d{1,20})(?:,\d{1,20})?$/;

/** A number as it was sent. @throws InputError. */
export function readNumber(text: string, field: string, { decimal = '.' }: AmountForm = {}): Decimal {
  const spaceless = text.replace(/[\s\u00a0\u202f']/g, '');
  const isComma = decimal === ',';
  const plain = isComma
    ? spaceless.replaceAll('.', '').replace(',', '.')
    : spaceless.replace(SURELY_DECIMAL_COMMA, '$1.$2');
  if (!PLAIN.test(plain) || (isComma && !WITH_DECIMAL_COMMA.test(spaceless)))
    throw new InputError(field, `${JSON.stringify(text.slice(0, 40))} is not a number`);
  return new Exact(plain);
}

export const zero = (): Decimal => new Exact(0);

/**
 * Currencies that Stripe counts otherwise than ISO 4217 does: ISK and UGX in hundredths, MGA in whole (docs.stripe.com/currencies,
 * "Special cases" and "Zero-decimal currencies").
 */
const STRIPE_EXPONENTS: ReadonlyMap<string, number> = new Map([
  ['ISK', 2],
  ['UGX', 2],
  ['MGA', 0],
]);

/** The amount as decimal text of the currency, as orders are reported. @throws InputError. */
export function amountText(
  value: Decimal,
  { currency, field, form }: { currency: string; field: string; form: AmountForm },
): string {
  const exponent = currencyExponent(currency);
  if (exponent === undefined)
    throw new InputError('currency', `${JSON.stringify(currency)} is not an active ISO 4217 currency code`);
  const { units = 'major', round = false, absolute = false } = form;
  const shift =
    units === 'major' ? 0 : ((units === 'stripe' ? STRIPE_EXPONENTS.get(currency) : undefined) ?? exponent);
  const major = (absolute ? value.abs() : value).mul(new Exact(10).pow(-shift));
  if (!round && major.decimalPlaces() > exponent) {
    throw new InputError(
      field,
      `${currency} has ${exponent} decimal digits, and ${major.toString()} has more`,
    );
  }
  // Minus zero is zero.
  return major.toFixed(exponent).replace(/^-(?=[0.]*$)/, '');
}

const UNIX_SECONDS = /^\d{9,10}(?:\.\d{1,9})?$/;
const UNIX_MILLISECONDS = /^\d{12,13}$/;
const CLOCK = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:[.,]\d{1,9})?)?)? ?(Z|UTC|GMT|[+-]\d\d:?\d\d)?$/i;

/** A time as ISO 8601 in UTC: of text with a zone, without one in `zone`, or of Unix seconds or milliseconds. @throws InputError. */
export function timeText(text: string, { field, zone }: { field: string; zone: string | undefined }): string {
  if (UNIX_SECONDS.test(text)) return new Date(Math.trunc(Number(text) * 1_000)).toISOString();
  if (UNIX_MILLISECONDS.test(text)) return new Date(Number(text)).toISOString();
  const [, day, minutes = '00:00', seconds = ':00', offset] = CLOCK.exec(text) ?? [];
  const fault = new InputError(field, `${JSON.stringify(text.slice(0, 40))} is no time that is known here`);
  if (day === undefined) throw fault;
  const wall = `${day}T${minutes}${seconds.replace(',', '.')}`;
  const utcMs = Date.parse(`${wall}Z`);
  if (Number.isNaN(utcMs) || !new Date(utcMs).toISOString().startsWith(day)) throw fault;
  if (offset !== undefined) return new Date(utcMs - offsetMs(offset)).toISOString();
  if (zone === undefined)
    throw new InputError(field, 'has no zone: the mapping must name it, such as "zone": "UTC"');
  return new Date(inZone(utcMs, zone)).toISOString();
}

function offsetMs(offset: string): number {
  const [, sign, hours, minutes] = /^([+-])(\d\d):?(\d\d)$/.exec(offset) ?? [];
  if (sign === undefined) return 0;
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
}

/** The moment at which clocks of the zone show this; of an hour that comes twice the earlier one. */
function inZone(wallMs: number, zone: string): number {
  const shownAt = (ms: number): number => {
    const parts = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    }).formatToParts(ms);
    const part = (type: string) => Number(parts.find((one) => one.type === type)?.value);
    return Date.UTC(
      part('year'),
      part('month') - 1,
      part('day'),
      part('hour'),
      part('minute'),
      part('second'),
    );
  };
  const whole = Math.floor(wallMs / 1_000) * 1_000;
  const offsets = [-1, 1].map((days) => whole + days * DAY_MS).map((ms) => shownAt(ms) - ms);
  const candidates = offsets.map((offset) => whole - offset).toSorted((a, b) => a - b);
  // In an hour that is skipped no clock shows it: the offset before it holds.
  const moment = candidates.find((ms) => shownAt(ms) === whole) ?? whole - (offsets[0] ?? 0);
  return moment + (wallMs - whole);
}
