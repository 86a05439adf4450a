import { expect, test } from 'vitest';
import { renderTable } from './table.ts';

test('the sender of a dead letter cannot steer the terminal that lists it', { tags: ['attack'] }, () => {
  const table = renderTable([
    ['1', 'bad_headers\x1b]0;pwned\x07', 'x'],
    ['2', 'cut\r\n  3  all is well', 'y'],
  ]);
  expect(table).toBe('  1  bad_headers\\x1b]0;pwned\\x07  x\n  2  cut\\x0d\\x0a  3  all is well  y');
});
