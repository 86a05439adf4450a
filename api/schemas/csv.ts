import { setImmediate as nextTurn } from 'node:timers/promises';
import { parse } from 'csv-parse';
import { errorText, InputError } from '../../core/errors.ts';

/**
 * CSV as shops, banks and spreadsheets write it. What has one reading is read; what has two is refused and named, a whole
 * file by `body`, one row by its line.
 */

/** A row, by the names of its columns, or why it is none. */
export interface CsvRow {
  /** Where it begins in the file, the first line being 1: blank lines and line breaks in quotes count. */
  readonly line: number;
  readonly cells: Readonly<Record<string, string>> | InputError;
}

export interface CsvFile {
  /** In lower case, with `_` for what is no letter or digit. */
  readonly columns: readonly string[];
  readonly rows: readonly CsvRow[];
  readonly delimiter: string;
}

/** What spreadsheets put between cells, by country. */
const DELIMITERS = [',', ';', '\t', '|'];
/** Excel says its delimiter in a first line such as `sep=;`. */
const SEP_LINE = /^sep=([,;\t|])\n/i;
/** A longer row is no row, but a quote that was not closed. */
const MAX_ROW_CHARACTERS = 100_000;
/** Characters that are parsed in one turn: of the shortest rows some milliseconds, in which the server does nothing else. */
const PARSED_AT_ONCE = 8 * 1024;

/** Faults that end with their line. */
const ROW_FAULTS: ReadonlySet<string> = new Set(['INVALID_OPENING_QUOTE', 'CSV_INVALID_CLOSING_QUOTE']);

/** What csv-parse answers with `info`. */
interface Parsed {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
}

/**
 * The rows of a CSV with a header, at most `maxRows`. Parsed piece by piece, so that other requests are answered
 * meanwhile, and no further than the limit. Rows without any text are left out. @throws InputError `body`.
 */
export async function readCsv(text: string, { maxRows }: { maxRows: number }): Promise<CsvFile> {
  // Line breaks of one kind, because those within quotes are counted as well.
  const csv = text.replace(/^\ufeff/, '').replaceAll(/\r\n?/g, '\n');
  const sep = SEP_LINE.exec(csv);
  const delimiter = sep?.[1] ?? delimiterOf(csv);
  const firstLine = sep ? 2 : 1;
  let columns: readonly string[] | undefined;
  let headerLine = 0;
  const rows: CsvRow[] = [];
  await parsePieces(csv.slice(sep?.[0].length ?? 0), delimiter, {
    onRecord({ record, info }) {
      const cells = record.map((cell) => cell.trim());
      const line = info.lines - breaksIn(record) + firstLine - 1;
      if (cells.every((cell) => cell === '')) return;
      if (columns) rows.push({ line, cells: namedCells(columns, cells) });
      else {
        columns = columnsOf(cells);
        headerLine = line;
      }
      if (rows.length > maxRows) throw new InputError('body', `must not exceed ${maxRows} rows`);
    },
    onFault(lines) {
      // A quote that is not closed takes the rows behind it with it: each is refused, so that none is lost unseen.
      for (const line of lines) {
        rows.push({ line: line + firstLine - 1, cells: new InputError('row', 'has a quote within a cell') });
      }
    },
  });
  // Faults are known before the rows of their piece.
  if (rows.some(({ line }) => line < headerLine)) throw new InputError('body', 'is not CSV with a header');
  if (!columns || rows.length === 0) throw new InputError('body', 'has no rows');
  return { columns, rows: rows.toSorted((a, b) => a.line - b.line), delimiter };
}

/** The delimiter that the header has; of several the most frequent. */
function delimiterOf(csv: string): string {
  const header = /^.*/.exec(csv.trimStart())?.[0].replace(/"[^"]*"/g, '') ?? '';
  const count = (delimiter: string) => header.split(delimiter).length;
  return DELIMITERS.reduce((best, next) => (count(next) > count(best) ? next : best));
}

async function parsePieces(
  csv: string,
  delimiter: string,
  take: { onRecord: (parsed: Parsed) => void; onFault: (lines: readonly number[]) => void },
): Promise<void> {
  let failure: Error | undefined;
  const parser = parse({
    delimiter,
    info: true,
    raw: true,
    relax_column_count: true,
    skip_empty_lines: true,
    // A tab is a blank as well: cells are trimmed here, and only quotes with blanks around them need the parser's help.
    trim: delimiter !== '\t',
    max_record_size: MAX_ROW_CHARACTERS,
    skip_records_with_error: true,
    on_skip: (error, raw) => {
      if (error && ROW_FAULTS.has(error.code)) take.onFault(linesOf(raw ?? '', Number(error.lines)));
      else failure ??= error;
      return undefined;
    },
  });
  parser.on('error', (error) => {
    failure = error;
  });
  const takeParsed = (): void => {
    for (let one = parser.read() as Parsed | null; one !== null; one = parser.read() as Parsed | null)
      take.onRecord(one);
    if (failure) throw new InputError('body', `is not CSV: ${errorText(failure)}`);
  };
  try {
    for (let at = 0; at < csv.length; at += PARSED_AT_ONCE) {
      parser.write(csv.slice(at, at + PARSED_AT_ONCE));
      takeParsed();
      await nextTurn();
    }
    parser.end();
    await nextTurn();
    takeParsed();
  } finally {
    parser.destroy();
  }
}

/** The lines of a row that is none, up to the one where that is seen; blank ones before it are not of it. */
function linesOf(raw: string, last: number): number[] {
  const count = raw.trimStart().split('\n').length;
  return Array.from({ length: count }, (_, i) => last - count + 1 + i);
}

function breaksIn(record: readonly string[]): number {
  return record.reduce((sum, cell) => sum + cell.split('\n').length - 1, 0);
}

function columnsOf(cells: readonly string[]): string[] {
  const columns = cells.map(columnName);
  const twice = columns.find((name, i) => name !== '' && columns.indexOf(name) !== i);
  if (twice !== undefined) throw new InputError('body', `has the column ${twice} twice`);
  return columns;
}

function columnName(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .replaceAll(/^_|_$/g, '');
}

/** Columns without a name are what is left of empty ones. */
function namedCells(columns: readonly string[], cells: readonly string[]): CsvRow['cells'] {
  if (cells.length !== columns.length)
    return new InputError('row', `has ${cells.length} cells, the header has ${columns.length}`);
  if (cells.some((cell, i) => cell !== '' && columns[i] === ''))
    return new InputError('row', 'has text in a column without a name');
  return Object.fromEntries(columns.flatMap((name, i) => (name === '' ? [] : [[name, cells[i] ?? '']])));
}

/** Digits with one sign between them, and how many stand behind it. */
const WITH_SIGN = /^-?\d+([.,])(\d+)$/;
/** Behind a sign that separates thousands. */
const THOUSAND_DIGITS = 3;

/**
 * Reads the decimal sign of the amounts in one column, and returns each with a point. A comma is one in a file with
 * semicolons, or where the whole column says so. `1,000` and `1.000` are a thousand to some and one to others: they are
 * refused unless another amount of the column says which, or commas separate the cells: who does so has a decimal point. What has a point already is left as it is, and so is what is no number.
 */
export function amountReader({ rows, delimiter }: CsvFile, column: string): (cell: string) => string {
  const amounts = rows.flatMap(({ cells }) => (cells instanceof InputError ? [] : [cells[column] ?? '']));
  const says = (sign: string) =>
    amounts.some((amount) => {
      const [, found, digits = ''] = WITH_SIGN.exec(amount) ?? [];
      return found === sign && digits.length !== THOUSAND_DIGITS;
    });
  const saysComma = says(',') && !amounts.some((amount) => amount.includes('.'));
  const saysPoint = says('.');
  return (amount) => {
    if (amount.includes('.') && amount.includes(','))
      throw new InputError(column, 'must be a plain decimal number, without separators of thousands');
    const [, sign, digits = ''] = WITH_SIGN.exec(amount) ?? [];
    if (sign === undefined) return amount;
    const isComma = sign === ',';
    if (isComma && !saysComma && delimiter !== ';')
      throw new InputError(column, 'has a comma: a decimal number has a point');
    const isClear = isComma ? saysComma : saysPoint || delimiter === ',';
    if (digits.length === THOUSAND_DIGITS && !isClear)
      throw new InputError(column, `has two readings: ${amount} may be with or without decimals`);
    return amount.replace(',', '.');
  };
}
