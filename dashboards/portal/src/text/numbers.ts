import { currencyExponent } from '../../../../core/money.ts';
import { LOCALE } from './language.ts';
import { t } from './t.ts';

/** Numbers as readers type them, in the format of their locale, to and from the plain decimals of the API. */

/** A plain decimal such as `1234.5`, or why the text is none. */
export type ReadNumber =
  | { readonly value: string; readonly fault?: undefined }
  | { readonly value?: undefined; readonly fault: string };

export interface NumberRules {
  /** No decimals: a mark before three digits groups them. */
  readonly whole?: boolean;
  /** Most decimals; three digits behind a mark are thousands as well where fewer are allowed. */
  readonly decimals?: number;
}

/** Of an amount in a currency. */
export function rulesOfAmount(currency: string): NumberRules {
  return { decimals: currencyExponent(currency) ?? 0 };
}

/** How a locale writes numbers: its decimal mark, and its digits from 0 to 9. */
export interface NumberMarks {
  readonly decimal: string;
  readonly digits: string;
}

export function marksOf(locale: string | undefined): NumberMarks {
  const parts = new Intl.NumberFormat(locale).formatToParts(0.5);
  const digits = new Intl.NumberFormat(locale, { useGrouping: false }).format(9_876_543_210);
  return {
    decimal: parts.find(({ type }) => type === 'decimal')?.value ?? '.',
    digits: [...digits].toReversed().join(''),
  };
}

const MARKS = marksOf(LOCALE);

/** Blanks, apostrophes and the Arabic mark of thousands group digits; they are never decimal marks. */
const GROUPED = /^\d{1,3}(?:[\s'’٬]\d{3})+(?!\d)/;
const GROUP_MARKS = /[\s'’٬]/g;
/** Its one reading is the decimal mark, which is read like the point. */
const ARABIC_DECIMAL = '٫';
const THOUSANDS = /^[1-9]\d{0,2}$/;

/** The plain decimal of a typed text. What has two readings is refused, never guessed. */
export function readNumber(text: string, rules: NumberRules = {}, marks = MARKS): ReadNumber {
  const typed = [...text.trim()]
    .map((sign) => asciiOf(sign, marks))
    .join('')
    .replace(GROUPED, (digits) => digits.replaceAll(GROUP_MARKS, ''));
  if (!/^[\d.,]*\d$/.test(typed)) return notANumber();
  const [first = '', ...rest] = typed.split(/[.,]/);
  const [firstMark, ...otherMarks] = typed.replaceAll(/\d/g, '');
  const [fraction] = rest;
  if (fraction === undefined) return { value: typed };
  const lastMark = otherMarks.at(-1);
  if (lastMark !== undefined) {
    // Marks that repeat group; another one behind them is the decimal mark.
    const groups = lastMark === firstMark ? rest : rest.slice(0, -1);
    const isEven = otherMarks.slice(0, groups.length - 1).every((mark) => mark === firstMark);
    if (!isEven || !areGroups(first, groups)) return notANumber();
    return decimal([first, ...groups].join(''), rest[groups.length] ?? '', rules);
  }
  if (!areGroups(first, rest)) return decimal(first, fraction, rules);
  if (rules.whole) return { value: first + fraction };
  const mark = asciiOf(marks.decimal, marks);
  if (firstMark === mark && (rules.decimals ?? 3) >= 3) return decimal(first, fraction, rules);
  return twoReadings(first + fraction, `${first}${mark}${fraction.replace(/0+$/, '') || '0'}`);
}

/** Thousands, or the lakhs of India: the last group has three digits. */
function areGroups(first: string, groups: readonly string[]): boolean {
  const middle = groups.slice(0, -1).map(({ length }) => length);
  return (
    THOUSANDS.test(first) &&
    groups.at(-1)?.length === 3 &&
    new Set(middle).size <= 1 &&
    [2, 3].includes(middle[0] ?? 3)
  );
}

function asciiOf(sign: string, { digits }: NumberMarks): string {
  if (sign === ARABIC_DECIMAL) return '.';
  const place = [...digits].indexOf(sign);
  return place < 0 ? sign : String(place);
}

function decimal(whole: string, fraction: string, rules: NumberRules): ReadNumber {
  if (rules.whole && /[1-9]/.test(fraction)) return { fault: t('numbers.not_whole') };
  if (fraction === '' || rules.whole) return { value: whole === '' ? '0' : whole };
  return { value: `${whole === '' ? '0' : whole}.${fraction}` };
}

function notANumber(): ReadNumber {
  return { fault: t('numbers.not_a_number') };
}

export function twoReadings(first: string, second: string): ReadNumber & { fault: string } {
  return { fault: t('common.two_readings', { first, second }) };
}

/** A plain decimal as the reader types it. */
export function writeNumber(plain: string, { decimal: mark } = MARKS): string {
  return plain.replace('.', mark);
}

/** Whether a comma stands before decimals, so that it separates no numbers. */
export const HAS_DECIMAL_COMMA = MARKS.decimal === ',';
