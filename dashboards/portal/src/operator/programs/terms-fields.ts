import type { Schemas } from '../../data/api.ts';
import { bpsOf, formatBps, formatMoney, percentOf, words } from '../../text/format.ts';
import {
  HAS_DECIMAL_COMMA,
  type NumberRules,
  readNumber,
  rulesOfAmount,
  twoReadings,
  writeNumber,
} from '../../text/numbers.ts';
import { t } from '../../text/t.ts';

/** The fields of terms as text: an empty one is not named, so that its value comes from wider terms. */

export type Terms = Schemas['Terms'];
export type Inherited = Schemas['InheritedTerms'];

/** Names none, where the wider terms have some. */
const NONE = 'none';

/** How a field is typed, read and shown. */
interface Field {
  readonly type: (value: never) => string;
  readonly read: (text: string, currency: string) => unknown;
  readonly show: (value: never) => string;
}

const field = <Name extends keyof Inherited>(
  _name: Name,
  how: {
    type: (value: Inherited[Name]) => string;
    read: (text: string, currency: string) => Inherited[Name];
    show: (value: Inherited[Name]) => string;
  },
): Field => how;

const days = { type: String, read: Number, show: (count: number) => t('common.days', { count }) };
const word = <Word extends string>() => ({
  type: (value: Word): string => value,
  read: (text: string) => text as Word,
  show: (value: Word) => words(value).toLowerCase(),
});
const money = {
  type: ({ amount }: Schemas['Money']) => amount,
  read: (amount: string, currency: string) => ({ amount, currency }),
  show: formatMoney,
};
const listed = <One>(
  separator: string,
  one: {
    type: (value: One) => string;
    read: (text: string, currency: string) => One;
    show: (value: One) => string;
  },
  split: RegExp,
) => ({
  type: (values: readonly One[]) => (values.length === 0 ? NONE : values.map(one.type).join(separator)),
  read: (text: string, currency: string) =>
    isNone(text)
      ? []
      : text
          .split(split)
          .filter((part) => part.trim() !== '')
          .map((part) => one.read(part, currency)),
  show: (values: readonly One[]) => values.map(one.show).join(', ') || NONE,
});

const TIER_LINE = /^\s*(.+?)\s*=\s*(.+?)\s*%?\s*$/;
const ITEM_LINE = /^\s*(sku|brand|category)\s+(.+?)\s*=\s*(.+?)\s*%?\s*$/i;
/** Within a list a rate is typed as the reader writes it. */
const listedRate = {
  type: (bps: number) => writeNumber(percentOf(bps)),
  read: (text: string) => bpsOf(plain(text)),
  show: formatBps,
};
const markOf = ({ sku, brand, category }: Terms['item_rates'][number]) =>
  sku !== undefined ? `sku ${sku}` : brand !== undefined ? `brand ${brand}` : `category ${category}`;

const FIELDS = {
  commission_type: field('commission_type', word()),
  rate_bps: field('rate_bps', { type: percentOf, read: bpsOf, show: formatBps }),
  fixed: field('fixed', money),
  // A comma may be a decimal sign: rates are separated by blanks, with or without one, or semicolons.
  level_rates_bps: field('level_rates_bps', listed('; ', listedRate, /\s*;\s*|,?\s+/)),
  fixed_within_order: field('fixed_within_order', {
    type: String,
    read: (text) => text === 'true',
    show: (value) => (value ? t('termsFields.at_most_the_order') : t('termsFields.whole')),
  }),
  tiers: field(
    'tiers',
    listed(
      '\n',
      {
        type: ({ from, rate_bps }) => `${writeNumber(from.amount)} = ${listedRate.type(rate_bps)}`,
        read: (line, currency) => {
          const [, amount = '', percent = ''] = TIER_LINE.exec(line) ?? [];
          return {
            from: { amount: plain(amount, rulesOfAmount(currency)), currency },
            rate_bps: listedRate.read(percent),
          };
        },
        show: ({ from, rate_bps }) =>
          t('common.rate_from', { rate: formatBps(rate_bps), amount: formatMoney(from) }),
      },
      /\n/,
    ),
  ),
  tier_mode: field('tier_mode', word()),
  recurring_months: field('recurring_months', {
    type: String,
    read: Number,
    show: (months) =>
      months === 0 ? t('termsFields.first_order_only') : t('termsFields.months', { count: months }),
  }),
  item_rates: field(
    'item_rates',
    listed(
      '\n',
      {
        type: (rate) => `${markOf(rate)} = ${listedRate.type(rate.rate_bps)}`,
        // Of a line that is none, which the form shows, the API takes nothing.
        read: (line) => {
          const [, mark = 'sku', name = '', percent = ''] = ITEM_LINE.exec(line) ?? [];
          return { [mark.toLowerCase()]: name, rate_bps: listedRate.read(percent) };
        },
        show: (rate) => t('common.rate_for', { rate: formatBps(rate.rate_bps), item: markOf(rate) }),
      },
      /\n/,
    ),
  ),
  hold_days: field('hold_days', days),
  cookie_days: field('cookie_days', days),
  attribution_model: field('attribution_model', word()),
  payout_min: field('payout_min', money),
  payout_schedule: field('payout_schedule', word()),
} as const;

export type FieldName = keyof typeof FIELDS;
export type Fields = Readonly<Record<FieldName, string>>;
export const FIELD_NAMES = Object.keys(FIELDS) as FieldName[];

/** What a version of terms names; all empty without one. */
export function namedFields(terms: Terms | undefined): Fields {
  const entries = FIELD_NAMES.map((name) => {
    const isNamed = terms !== undefined && terms.origins[name] === 'named';
    return [name, isNamed ? FIELDS[name].type(terms[name] as never) : ''];
  });
  return Object.fromEntries(entries) as Fields;
}

/** The fields that are filled in, as the API takes them. `without`: those that the form does not show. */
export function bodyOf(
  fields: Fields,
  currency: string,
  without: ReadonlySet<FieldName>,
): Partial<Pick<Terms, FieldName>> {
  const named = FIELD_NAMES.filter((name) => fields[name].trim() !== '' && !without.has(name));
  return Object.fromEntries(named.map((name) => [name, FIELDS[name].read(fields[name].trim(), currency)]));
}

export function showField(name: FieldName, inherited: Inherited): string {
  return FIELDS[name].show(inherited[name] as never);
}

/** Fields that say nothing of a type of commission, or of terms for one event. */
export function hiddenFields(type: Terms['commission_type'], event: string): ReadonlySet<FieldName> {
  const ofRates: FieldName[] = type === 'fixed' ? ['rate_bps', 'tiers', 'tier_mode'] : [];
  const ofAmounts: FieldName[] = type === 'percent' ? ['fixed', 'fixed_within_order'] : [];
  // Payouts are of all events together.
  const ofPayouts: FieldName[] = event === '' ? [] : ['payout_min', 'payout_schedule'];
  return new Set([...ofRates, ...ofAmounts, ...ofPayouts]);
}

type Numbers = readonly { readonly text: string; readonly rules?: NumberRules }[];

/** The numbers of a line, by the marks of the list; undefined for what is no such line. */
const NUMBERS: Partial<Record<FieldName, (line: string, currency: string) => Numbers | undefined>> = {
  tiers: (line, currency) => {
    const [, amount, rate] = TIER_LINE.exec(line) ?? [];
    if (amount === undefined || rate === undefined) return undefined;
    return [{ text: amount, rules: rulesOfAmount(currency) }, { text: rate }];
  },
  item_rates: (line) =>
    ITEM_LINE.exec(line)
      ?.slice(3)
      .map((text) => ({ text })),
};

/** What is wrong with a list as it is typed: its first line that is no rate, or levels that have two readings. */
export function listFault(name: FieldName, text: string, currency: string): string | undefined {
  if (isNone(text)) return undefined;
  const only = text.trim();
  if (name === 'level_rates_bps' && !HAS_DECIMAL_COMMA && /^\d+,\d+$/.test(only)) {
    return twoReadings(only.replace(',', '.'), only.replace(',', '; ')).fault;
  }
  const numbersOf = NUMBERS[name];
  const lines = numbersOf ? text.split('\n').filter((line) => line.trim() !== '') : [];
  for (const line of lines) {
    const numbers = numbersOf?.(line, currency);
    if (!numbers) return t('termsFields.not_a_rate', { line: line.trim() });
    const fault = numbers
      .map((number) => readNumber(number.text, number.rules).fault)
      .find((one) => one !== undefined);
    if (fault !== undefined) return `${line.trim()}: ${fault}`;
  }
  return undefined;
}

/** The plain decimal of a number in a list; empty for what is none, which the API refuses. */
function plain(text: string, rules?: NumberRules): string {
  return readNumber(text, rules).value ?? '';
}

function isNone(text: string): boolean {
  return text.trim().toLowerCase() === NONE;
}
