import { expect, test } from 'vitest';
import { MAX_IMPORT_ROWS, readCsv } from './imports.ts';

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
    expect(readCsv(csv)).rejects.toThrow(`must not exceed ${MAX_IMPORT_ROWS} rows`),
  );
  // 50,000 rows of two bytes are 12 pieces, and the 6 MB behind them are not parsed.
  expect(turns).toBeGreaterThanOrEqual(10);
  expect(turns).toBeLessThan(100);
});

test('rows are read whole over the pieces in which a file is parsed', async () => {
  const rows = Array.from({ length: 20_000 }, (_, i) => `"name, ${i}\n second line",${i}`);
  const read = await readCsv(`\ufeffname,number\n${rows.join('\n')}\n\n`);
  expect(read).toHaveLength(rows.length);
  expect(read[19_999]).toEqual({ name: 'name, 19999\n second line', number: '19999' });
});

test.each([
  ['', 'has no rows'],
  ['a,b\n', 'has no rows'],
  ['a,b\n1\n', 'is not CSV'],
  ['a,b\n"1,2\n', 'is not CSV'],
  [`a\n${'x'.repeat(200_000)}\n`, 'is not CSV'],
])('%j is refused', async (csv, message) => {
  await expect(readCsv(csv)).rejects.toThrow(message);
});
