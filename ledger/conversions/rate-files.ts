import { CsvError, parse } from 'csv-parse/sync';
import { InputError, OperatingError } from '../../core/errors.ts';
import { currencyExponent } from '../../core/money.ts';
import { DAY_MS } from '../../core/time.ts';
import type { NewRate } from './rates.ts';

/** Files of exchange rates. */

const ECB = 'European Central Bank';
/** Over long holidays the bank is silent for up to five days; after a week the feed has stopped. */
const ECB_VALID_DAYS = 7;
const OWN_COLUMNS = ['base', 'quote', 'rate', 'source', 'valid_from'];

/**
 * Reads the European Central Bank's reference rates, one euro in other currencies (eurofxref.csv of a day and
 * eurofxref-hist.csv of all days, ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates), or a file
 * of one's own with the columns `base,quote,rate,source,valid_from[,valid_until]`.
 *
 * The bank publishes in the afternoon. Its rates are taken to be in force from the next day on, in UTC, so that what
 * an order comes to does not depend on when the file was loaded. Currencies that are no longer in use are left out.
 * @throws OperatingError `invalid_rates` naming the line.
 */
export function parseRateFile(text: string): NewRate[] {
  const [header = [], ...lines] = readCsv(text);
  if (header[0] === 'Date') return lines.flatMap((line, i) => atLine(i + 2, () => ecbRates(header, line)));
  const missing = OWN_COLUMNS.filter((column) => !header.includes(column));
  if (missing.length > 0) {
    throw new OperatingError(
      'invalid_rates',
      `line 1: neither the European Central Bank's header nor a column named ${missing.join(', ')}`,
    );
  }
  return lines.map((line, i) => atLine(i + 2, () => ownRate(header, line)));
}

function readCsv(text: string): string[][] {
  try {
    return parse(text, { bom: true, trim: true, skip_empty_lines: true });
  } catch (error) {
    if (error instanceof CsvError) throw new OperatingError('invalid_rates', error.message, { cause: error });
    throw error;
  }
}

function atLine<T>(line: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new OperatingError('invalid_rates', `line ${line}: ${error.message}`, { cause: error });
  }
}

function ecbRates(header: readonly string[], line: readonly string[]): NewRate[] {
  // "24 November 2026" in the file of a day, "2026-11-24" in the one of all days.
  const date = new Date(`${line[0]} UTC`);
  if (Number.isNaN(date.getTime())) throw new InputError('Date', `${JSON.stringify(line[0])} is not a date`);
  const validFrom = new Date(date.getTime() + DAY_MS);
  const validUntil = new Date(validFrom.getTime() + ECB_VALID_DAYS * DAY_MS);
  return header.flatMap((quote, i) => {
    const rate = line[i] ?? '';
    // A column of a currency that was not quoted that day; both files end their lines with a comma.
    if (i === 0 || rate === '' || rate === 'N/A' || currencyExponent(quote) === undefined) return [];
    return [{ base: 'EUR', quote, rate, source: ECB, validFrom, validUntil }];
  });
}

function ownRate(header: readonly string[], line: readonly string[]): NewRate {
  const cell = (column: string): string => line[header.indexOf(column)] ?? '';
  const validUntil = cell('valid_until');
  return {
    base: cell('base'),
    quote: cell('quote'),
    rate: cell('rate'),
    source: cell('source'),
    validFrom: readTime(cell('valid_from'), 'valid_from'),
    validUntil: validUntil === '' ? null : readTime(validUntil, 'valid_until'),
  };
}

function readTime(text: string, field: string): Date {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) {
    throw new InputError(field, 'must be a time such as 2026-11-01 or 2026-11-01T12:00:00Z');
  }
  return time;
}
