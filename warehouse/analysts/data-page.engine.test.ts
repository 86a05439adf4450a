import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshWarehouse } from '../../test/support/warehouse.ts';
import { DICTIONARIES, RELATIONS } from './columns.ts';
import { missingTexts, renderDataPage } from './data-page.ts';
import { ANALYST_READS } from './reads.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
beforeAll(async () => {
  warehouse = await freshWarehouse();
});
afterAll(async () => {
  await warehouse?.drop();
});

test('every relation and column that an analyst may read has a text, and no other', async () => {
  expect(await missingTexts(warehouse)).toEqual([]);
  expect(Object.keys(RELATIONS).sort()).toEqual([...ANALYST_READS.tables, ...ANALYST_READS.views].sort());
  expect(Object.keys(DICTIONARIES).sort()).toEqual([...ANALYST_READS.dictionaries].sort());
});

test('docs/data.md is the page of this schema', async () => {
  await expect(await renderDataPage(warehouse)).toMatchFileSnapshot('../../docs/data.md');
});
