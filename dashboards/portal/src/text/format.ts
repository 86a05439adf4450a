import { formatAmount } from '../../../../core/money.ts';
import { DAY_S, HOUR_S } from '../../../../core/time.ts';
import type { Money } from '../data/api.ts';
import { LOCALE } from './language.ts';
import { nameOf, t } from './t.ts';

/** Formats of figures, money and times in the browser's language and time zone. */

export const TIME_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const whole = new Intl.NumberFormat(LOCALE);
const compact = new Intl.NumberFormat(LOCALE, { notation: 'compact', maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(LOCALE, { style: 'percent', maximumFractionDigits: 2 });
/** Rates of terms have so many decimals. */
const rate = new Intl.NumberFormat(LOCALE, { style: 'percent', maximumFractionDigits: 4 });
const change = new Intl.NumberFormat(LOCALE, {
  style: 'percent',
  maximumFractionDigits: 0,
  signDisplay: 'exceptZero',
});
const dayAndTime = new Intl.DateTimeFormat(LOCALE, {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});
const day = new Intl.DateTimeFormat(LOCALE, { day: 'numeric', month: 'short', year: 'numeric' });
const month = new Intl.DateTimeFormat(LOCALE, { month: 'short', year: 'numeric' });
const shortDay = new Intl.DateTimeFormat(LOCALE, { day: 'numeric', month: 'short' });
const clock = new Intl.DateTimeFormat(LOCALE, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
  timeZoneName: 'short',
});
const exact = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'full', timeStyle: 'long' });

const weekday = new Intl.DateTimeFormat(LOCALE, { weekday: 'long', timeZone: 'UTC' });

/** Of 1, Monday, to 7. */
export function weekdayName(number: number): string {
  // The first of January 2024 was a Monday.
  return weekday.format(Date.UTC(2024, 0, number));
}

/** The short name of the zone that times are shown in, such as CET. */
export const ZONE_NAME =
  clock.formatToParts(new Date()).find(({ type }) => type === 'timeZoneName')?.value ?? TIME_ZONE;

const currencies = new Map<string, Intl.NumberFormat>();

function currencyFormat(currency: string): Intl.NumberFormat {
  let format = currencies.get(currency);
  if (!format) {
    format = new Intl.NumberFormat(LOCALE, { style: 'currency', currency });
    currencies.set(currency, format);
  }
  return format;
}

export function formatCount(count: number | string): string {
  return whole.format(Number(count));
}

export function formatCompact(count: number): string {
  return Math.abs(count) < 100_000 ? whole.format(count) : compact.format(count);
}

/** A dash where there is nothing to divide by. */
export function formatShare(value: number | undefined): string {
  return value === undefined ? '–' : share.format(value);
}

/** "7.125" percent as 712.5 basis points, exactly: the text is scaled, no float is. NaN for what is no plain decimal. */
export function bpsOf(percent: string): number {
  return Number(`${percent}e2`);
}

/** The reverse of {@link bpsOf}: four decimals of a percent at most, without what a float adds. */
export function percentOf(bps: number): string {
  return String(Number((bps / 100).toFixed(4)));
}

export function formatBps(bps: number): string {
  return rate.format(bps / 10_000);
}

/** Money as its currency writes it. The text goes to Intl as text, so no float comes between. */
export function formatMoney({ amount, currency }: Money): string {
  return currencyFormat(currency).format(amount as unknown as number);
}

export function formatMinor(minor: number, currency: string): string {
  return formatMoney(moneyOfMinor(minor, currency));
}

/** Averages are fractions of a minor unit and are shown rounded. */
export function moneyOfMinor(minor: number, currency: string): Money {
  return { amount: formatAmount(BigInt(Math.round(minor)), currency), currency };
}

export function isZero({ amount }: Money): boolean {
  return Number(amount) === 0;
}

export function formatTime(at: string): string {
  return dayAndTime.format(new Date(at));
}

export function formatDay(at: string | number): string {
  return day.format(new Date(at));
}

/** A day of a calendar, such as `2026-11-24`: the same in every zone. */
export function formatCalendarDay(name: string): string {
  return day.format(new Date(`${name}T00:00`));
}

/** `2026-11` as "Nov 2026". */
export function formatMonth(name: string): string {
  return month.format(new Date(`${name}-01T00:00`));
}

export function formatShortDay(at: string | number): string {
  return shortDay.format(new Date(at));
}

export function formatClock(at: string | number): string {
  return clock.format(new Date(at));
}

export function formatExact(at: string): string {
  return `${exact.format(new Date(at))} (${at})`;
}

/** +12 % against the value before, or nothing to compare with. */
export function formatChange(now: number, before: number): string | undefined {
  if (before === 0) return undefined;
  return change.format((now - before) / Math.abs(before));
}

/** 95 s, 14 min, 3 h, 2 days. */
export function formatDuration(seconds: number): string {
  if (seconds < 120) return t('format.seconds', { count: Math.round(seconds) });
  if (seconds < 7_200) return t('format.minutes', { count: Math.round(seconds / 60) });
  if (seconds < 172_800) return t('format.hours', { count: Math.round(seconds / HOUR_S) });
  return t('common.days', { count: Math.round(seconds / DAY_S) });
}

const PROVIDERS: Readonly<Record<string, string>> = {
  bank_csv: t('format.bank_file'),
  sepa_xml: t('format.sepa_file'),
  paypal_csv: t('format.paypal_file'),
  stripe: t('common.stripe'),
};

/** Display name of a payout provider. */
export function providerName(provider: string): string {
  return PROVIDERS[provider] ?? words(provider);
}

/** {@link providerName} within a sentence. */
export function byProvider(provider: string): string {
  return providerName(provider).toLowerCase();
}

/** Where a value of terms comes from that they do not name. */
export function originText(origin: string | undefined): string {
  return origin === 'default' ? t('format.by_default') : t('format.from_terms', { version: origin ?? '' });
}

/** The name of a code, such as `partially_refunded`; one that has none, such as a program's own event, as people write it. */
export function words(name: string): string {
  const known = nameOf(name.replaceAll(' ', '_'));
  if (known !== undefined) return known;
  const text = name.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** In the format of `<input type="datetime-local">`. */
export function localTime(at: string | null): string {
  if (at === null) return '';
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
