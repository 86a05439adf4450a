import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import { MAX_URL_LENGTH } from '../../core/links/macros.ts';
import { isRateBps, MAX_RATE_BPS } from '../../core/money/rates.ts';
import { formatAmount, parseAmount } from '../../core/money.ts';
import { hiddenCharacter, plainText } from '../../core/text/plain-text.ts';
import { MAX_NAME_LENGTH } from '../../core/text-limits.ts';
import { MAX_PAGE_ROWS, type Page, type PageRequest } from '../../ledger/postgres/page.ts';
import { type BigintIdKind, bigintId, formatId, type IntegerIdKind, integerId } from './ids.ts';

/** The pieces that the routes' schemas are made of: text, money, times, pages. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what must be refused
const CONTROL_OR_DAMAGED = /[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffd]/;

/**
 * Text of 1 to `max` characters that means the same wherever it is shown: no control characters, also none that turn
 * the direction of writing (Unicode TR 36, 3.1), no broken UTF-8.
 */
export function text(max: number) {
  return z
    .string()
    .min(1, 'must not be empty')
    .max(max, `must not exceed ${max} characters`)
    .refine(
      (value) => !CONTROL_OR_DAMAGED.test(value) && value.isWellFormed(),
      'must not contain control characters or damaged UTF-8',
    );
}

/** {@link text} of several lines, which end with `\n` alone. */
export function lines(max: number) {
  return z
    .string()
    .overwrite((value) => value.replace(/\r\n?/g, '\n').trim())
    .min(1, 'must not be empty')
    .max(max, `must not exceed ${max} characters`)
    .refine(
      (value) => !CONTROL_OR_DAMAGED.test(value.replaceAll('\n', '')) && value.isWellFormed(),
      'must not contain control characters or damaged UTF-8',
    );
}

/**
 * An id or an address of 1 to `max` characters, as everybody else who names the same thing writes it: see
 * {@link plainText}.
 */
export function plain(max: number) {
  return z
    .string()
    .overwrite(plainText)
    .min(1, 'must not be empty')
    .max(max, `must not exceed ${max} characters`)
    .superRefine((value, context) => {
      const hidden = hiddenCharacter(value);
      if (hidden !== undefined)
        context.addIssue({ code: 'custom', message: `must not contain the hidden character ${hidden}` });
    });
}

/** A name that people read. */
export const nameText = text(MAX_NAME_LENGTH);

/** A URL; the ledger checks what is in it. */
export const urlText = text(MAX_URL_LENGTH);

/** A higher number of clicks a day is no cap. */
const MAX_CLICK_CAP = 1_000_000_000;

/** Names of parameters that redirects pass on. */
export const passParameters = z.array(z.string()).meta({
  description:
    'Parameters of the address of a link that its redirect passes on to the landing page, whose own win; ["*"]: all.',
});

/** A cap of clicks in a body: null removes it. */
export const clickCap = z
  .int()
  .min(1)
  .max(MAX_CLICK_CAP)
  .nullable()
  .exactOptional()
  .meta({ description: 'Valid clicks of a UTC day after which visitors go to the fallback; null: none.' });

/** Longest text that is still read as an amount: the digits of a bigint and a point. */
const MAX_AMOUNT_LENGTH = 40;

/** An amount before its currency is known; {@link toMinor} reads it. */
export const amountText = z
  .string({
    error: (issue) =>
      typeof issue.input === 'number'
        ? 'must be text such as "12.34": a JSON number is a float, and floats are not money'
        : undefined,
  })
  .max(MAX_AMOUNT_LENGTH, 'is too long for an amount')
  .trim()
  .meta({
    examples: ['12.34'],
    description: 'Decimal text with at most the digits of the currency; zeros behind them say nothing.',
  });

export const currencyText = z
  .string()
  .trim()
  .toUpperCase()
  .max(3, 'must be an ISO 4217 code such as "EUR"')
  .meta({ examples: ['EUR'], description: 'ISO 4217 code, in any case of letters.' });

/** Reads an amount into minor units and reports what is wrong as an issue of the schema, by its field. */
export function toMinor(
  input: { amount: string; currency: string },
  context: z.RefinementCtx,
  path: readonly string[] = [],
): bigint {
  try {
    return parseAmount(input.amount, input.currency);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    context.addIssue({ code: 'custom', path: [...path, error.field], message: error.reason });
    return z.NEVER;
  }
}

/** Money inside: minor units and a currency. */
export interface Money {
  readonly amountMinor: bigint;
  readonly currency: string;
}

/** `{ amount: "12.34", currency: "EUR" }` in a body, read into minor units. */
export const moneyInput = z
  .strictObject({ amount: amountText, currency: currencyText })
  .transform((value, context): Money => {
    return { amountMinor: toMinor(value, context), currency: value.currency };
  });

/** A rate of terms. */
export const rateBps = z
  .number()
  .min(0)
  .max(MAX_RATE_BPS)
  .refine(isRateBps, 'must have at most two decimals: hundredths of a percent, such as 712.5')
  .meta({ multipleOf: 0.01 });

/** Longer promises are a mistake of a digit. */
const MAX_TERMS_DAYS = 365;
export const holdDays = z.int().min(0).max(MAX_TERMS_DAYS);
/** Days between a click and an order. */
export const cookieDays = z.int().min(1).max(MAX_TERMS_DAYS);

/** Money in an answer. */
export const moneyText = z
  .object({ amount: z.string(), currency: z.string() })
  .meta({ id: 'Money', examples: [{ amount: '12.34', currency: 'EUR' }] });

export function formatMoney(amountMinor: bigint, currency: string): z.output<typeof moneyText> {
  return { amount: formatAmount(amountMinor, currency), currency };
}

/** Orders and terms from before this are mistakes in somebody's clock or date format. */
const EARLIEST_MS = Date.UTC(2000, 0, 1);
/** PostgreSQL and ClickHouse both hold times up to here. */
const LATEST_MS = Date.UTC(2200, 0, 1);

/** A time in a request: ISO 8601 with a zone, read into a Date. */
export const time = z.iso
  .datetime({
    offset: true,
    error: 'must be an ISO 8601 time with a zone, such as "2026-11-22T09:30:00Z"',
    // The following checks read a Date.
    abort: true,
  })
  .transform((value) => new Date(value))
  .refine(
    (value) => value.getTime() >= EARLIEST_MS && value.getTime() < LATEST_MS,
    'must be between the years 2000 and 2200',
  );

/** A time in an answer: ISO 8601 in UTC. */
export const timeText = z.string().meta({ format: 'date-time' });

export function formatTime(at: Date): string {
  return at.toISOString();
}

export function formatOptionalTime(at: Date | null): string | null {
  return at === null ? null : at.toISOString();
}

/** Rows of a page when the caller does not say. */
const DEFAULT_PAGE_ROWS = 100;

/** A query parameter of a number in digits alone (`1e2`, `+1` and `0x1` are refused); the document calls it an integer. */
export function wholeNumber({ min, max }: { min: number; max: number }) {
  return z
    .string()
    .transform((value, context): number => {
      const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
      if (number >= min && number <= max) return number;
      context.addIssue({ code: 'custom', message: `must be a whole number from ${min} to ${max}` });
      return z.NEVER;
    })
    .meta({ type: 'integer', minimum: min, maximum: max });
}

/** {@link wholeNumber} with a default. */
export function wholeNumberOr(fallback: number, range: { min: number; max: number }) {
  return wholeNumber(range).default(fallback).meta({ default: fallback });
}

/** A query parameter that is `true` or `false`; the document calls it a boolean. */
export function booleanParameter({ fallback }: { fallback: boolean }) {
  return z
    .string()
    .transform((value, context): boolean => {
      if (value === 'true' || value === 'false') return value === 'true';
      context.addIssue({ code: 'custom', message: 'must be true or false' });
      return z.NEVER;
    })
    .default(fallback)
    .meta({ type: 'boolean', default: fallback });
}

/** The query of a route that others call by URLs of their own making, or of links that people follow: more may stand in it. */
export const anyParameters = z.looseObject({});

/** A file that is no text, as the answer or as one of its forms. CSV is text: generated clients give it as a string. */
export function fileBytes(description = 'The file.') {
  return z.string().meta({ format: 'binary', description });
}

/** The query parameter for the number of rows. */
export function rowLimit({ max, fallback }: { max: number; fallback: number }) {
  return wholeNumberOr(fallback, { min: 1, max }).meta({ description: 'Rows at the most.' });
}

const limit = rowLimit({ max: MAX_PAGE_ROWS, fallback: DEFAULT_PAGE_ROWS });

/** Cursors are opaque, so that a list can change its order without breaking anybody. */
function encodeCursor(id: string): string {
  return Buffer.from(id).toString('base64url');
}

function cursor<Id>(schema: z.ZodType<Id, string>) {
  return z
    .string()
    .transform((value, context): Id => {
      const id = schema.safeParse(Buffer.from(value, 'base64url').toString('latin1'));
      if (id.success) return id.data;
      context.addIssue({ code: 'custom', message: 'must be the next_cursor of a previous page' });
      return z.NEVER;
    })
    .optional()
    .meta({ description: 'next_cursor of the page before.' });
}

/** The query parameters of a list in the order of an `integer` identity. */
export function pageQuery(kind: IntegerIdKind) {
  return { limit, cursor: cursor(integerId(kind)) };
}

/** The query parameters of a list in the order of a `bigint` identity. */
export function bigintPageQuery(kind: BigintIdKind) {
  return { limit, cursor: cursor(bigintId(kind)) };
}

export function pageRequest<Id>(query: { limit: number; cursor?: Id | undefined }): PageRequest<Id> {
  return { limit: query.limit, after: query.cursor };
}

/** A page in an answer. */
export function pageOf<Row extends z.ZodType>(row: Row) {
  return z.object({
    data: z.array(row),
    next_cursor: z.string().nullable().meta({ description: 'Pass it as cursor; null on the last page.' }),
  });
}

export function formatPage<Row, Id extends number | bigint, Out>(
  kind: IntegerIdKind | BigintIdKind,
  page: Page<Row, Id>,
  format: (row: Row) => Out,
): { data: Out[]; next_cursor: string | null } {
  return {
    data: page.rows.map(format),
    next_cursor: page.next === null ? null : encodeCursor(formatId(kind, page.next)),
  };
}
