import { expect, test } from 'vitest';
import { InputError } from '../../core/errors.ts';
import { amountReader, readCsv } from './csv.ts';

const MAX_ROWS = 50_000;
const read = (csv: string) => readCsv(csv, { maxRows: MAX_ROWS });

/** How often other work of the process gets its turn while this work is done. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let timer = setImmediate(function next() {
    turns++;
    timer = setImmediate(next);
  });
  await work();
  clearImmediate(timer);
  return turns;
}

test('a file of millions of short rows holds the server up: it is refused at the first row too many', {
  tags: ['attack'],
}, async () => {
  const csv = `a\n${'1\n'.repeat(3_000_000)}`;
  const turns = await turnsDuring(() =>
    expect(read(csv)).rejects.toThrow(`must not exceed ${MAX_ROWS} rows`),
  );
  // 50,000 rows of two bytes are 12 pieces, and the 6 MB behind them are not parsed.
  expect(turns).toBeGreaterThanOrEqual(10);
  expect(turns).toBeLessThan(100);
});

test('rows are read whole over the pieces in which a file is parsed', async () => {
  const rows = Array.from({ length: 20_000 }, (_, i) => `"name, ${i}\n second line",${i}`);
  const { rows: found } = await read(`\ufeffname,number\n${rows.join('\n')}\n\n`);
  expect(found).toHaveLength(rows.length);
  expect(found[19_999]).toEqual({
    line: 40_000,
    cells: { name: 'name, 19999\n second line', number: '19999' },
  });
});

test.each([
  ['', 'has no rows'],
  ['a,b\n', 'has no rows'],
  ['a,b\n,\n" ",\n', 'has no rows'],
  ['a,b\n"1,2\n', 'is not CSV'],
  [`a\n${'x'.repeat(200_000)}\n`, 'is not CSV'],
  ['amount,order_id,Amount\n1,2,3\n', 'has the column amount twice'],
  ['a"b,c\n1,2\n3,4\n', 'is not CSV with a header'],
])('%j is refused', async (csv, message) => {
  await expect(read(csv)).rejects.toThrow(message);
});

test.each([
  [',', 'Order ID,Amount\n1001,10.00\n'],
  [';', 'order_id;amount\r\n1001;10.00\r\n'],
  ['\t', 'ORDER_ID\tamount\n1001\t10.00\n'],
  ['|', 'order-id|amount\r1001|10.00\r'],
  [';', 'sep=;\norder_id;amount\n1001;10.00\n'],
  [';', '\ufeffsep=;\r\n"order_id" ; "amount"\r\n 1001 ; "10.00" \r\n'],
  [',', 'order_id,amount,\n1001,10.00,\n'],
])('cells are separated by %j', async (delimiter, csv) => {
  const file = await read(csv);
  expect(file.delimiter).toBe(delimiter);
  expect(file.rows.map(({ cells }) => cells)).toEqual([{ order_id: '1001', amount: '10.00' }]);
});

test('an empty cell between tabs stays a cell', async () => {
  expect((await read('a\tb\tc\n1\t\t3\n')).rows).toEqual([{ line: 2, cells: { a: '1', b: '', c: '3' } }]);
});

test('a row that is none is refused alone, by the line where it begins', async () => {
  const csv = ['a,b', '', '1,"two\r\nlines"', '1', '1,2,3', '', '1,x"y', '5,6'].join('\r\n');
  const { rows } = await read(csv);
  const outcomes = rows.map(({ line, cells }) => [
    line,
    cells instanceof InputError ? cells.message : 'read',
  ]);
  expect(outcomes).toEqual([
    [3, 'read'],
    [5, 'row: has 1 cells, the header has 2'],
    [6, 'row: has 3 cells, the header has 2'],
    [8, 'row: has a quote within a cell'],
    [9, 'read'],
  ]);
});

test('rows that a quote without an end has swallowed are refused, each by its line', async () => {
  for (const [before, line] of [
    ['a,b\n1,2\n', 3],
    ['sep=,\na,b\n\n1,2\n\n', 6],
  ] as const) {
    const { rows } = await read(`${before}3,"4\n5,6\n7,"8"\n9,10\n`);
    expect(rows.map((row) => [row.line, row.cells instanceof InputError])).toEqual([
      [line - (line === 3 ? 1 : 2), false],
      [line, true],
      [line + 1, true],
      [line + 2, true],
      [line + 3, false],
    ]);
  }
});

async function amounts(delimiter: string, column: readonly string[]): Promise<string[]> {
  const rows = column.map((amount) => `1${delimiter}"${amount}"`).join('\n');
  const file = await read(`id${delimiter}amount\n${rows}\n`);
  const readAmount = amountReader(file, 'amount');
  return column.map((amount) => {
    try {
      return readAmount(amount);
    } catch (error) {
      return error instanceof InputError ? error.reason.slice(0, 18) : String(error);
    }
  });
}

const TWO = 'has two readings: ';
const COMMA = 'has a comma: a dec';
const PLAIN = 'must be a plain de';

test.each<[string, readonly string[], readonly string[]]>([
  [';', ['10,00', '5'], ['10.00', '5']],
  [';', ['10.00', '5,5'], ['10.00', '5.5']],
  [';', ['1,000', '1.000'], [TWO, TWO]],
  [';', ['1,000', '12,50'], ['1.000', '12.50']],
  [';', ['1.000', '12.50'], ['1.000', '12.50']],
  [';', ['1.234,56', '1,234.56'], [PLAIN, PLAIN]],
  [',', ['10,00', '5,50'], ['10.00', '5.50']],
  [',', ['10,00', '5.50'], [COMMA, '5.50']],
  [',', ['1,000'], [COMMA]],
  [',', ['1.000', '120.0000'], ['1.000', '120.0000']],
  ['\t', ['10,00'], ['10.00']],
  ['\t', ['1.000', '1,000'], [TWO, COMMA]],
  ['|', ['1.000', '25'], [TWO, '25']],
  ['\t', ['1.000', '12.50'], ['1.000', '12.50']],
  [',', ['1e3', 'x', ''], ['1e3', 'x', '']],
])('amounts between %j: %j are %j', async (delimiter, column, expected) => {
  expect(await amounts(delimiter, column)).toEqual(expected);
});
