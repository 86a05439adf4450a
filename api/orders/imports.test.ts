import { expect, test } from 'vitest';
import { MAX_IMPORT_ROWS, readCsv } from './imports.ts';

/** Longest time for which nothing else ran while `work` did. */
async function longestPause(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  await work();
  clearInterval(timer);
  return Math.max(longest, performance.now() - last);
}

test('a file of millions of short rows holds the server up: it is refused at the first row too many', {
  tags: ['attack'],
}, async () => {
  const csv = `a\n${'1\n'.repeat(3_000_000)}`;
  const startedAt = performance.now();
  const pause = await longestPause(() =>
    expect(readCsv(csv)).rejects.toThrow(`must not exceed ${MAX_IMPORT_ROWS} rows`),
  );
  const took = performance.now() - startedAt;
  // A machine that does something else pauses as well; all in one piece it would be the whole of it.
  expect(pause).toBeLessThan(Math.max(100, took / 2));
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
