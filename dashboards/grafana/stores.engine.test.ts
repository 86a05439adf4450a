import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INVALID_CLICK_FLAGS } from '../../core/clicks/click-record.ts';
import { currencyExponent, UNUSUAL_EXPONENTS } from '../../core/money.ts';
import { createAsker } from '../../test/support/grafana/answers.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { freshWarehouse } from '../../test/support/warehouse.ts';
import { ANALYST_READS } from '../../warehouse/analysts/reads.ts';
import { INVALID_FLAGS } from './boards/fraud.ts';
import { generatedFiles } from './files.ts';
import { major } from './sql.ts';

/** What the dashboards and the two stores must agree on. */

let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

beforeAll(async () => {
  [books, warehouse] = await Promise.all([freshLedger({ max: 2 }), freshWarehouse()]);
});
afterAll(async () => {
  await Promise.all([books?.close(), warehouse?.drop()]);
});

describe('what Grafana may read', () => {
  const GRAFANA_VIEWS = [
    'audit_checks',
    'balances',
    'commissions',
    'movements',
    'orders',
    'payout_methods',
    'payouts',
    'payouts_open',
    'postback_calls',
    'webhooks',
  ].map((name) => `grafana_${name}`);

  test('in the ledger is its views and nothing else', async () => {
    const readable = await books.owner<{ name: string }[]>`
      select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind in ('r', 'v', 'm', 'p')
        and has_table_privilege('afflux_grafana', c.oid, 'select') order by 1`;
    expect(readable.map(({ name }) => name)).toEqual(GRAFANA_VIEWS);
    const writable = await books.owner<{ name: string }[]>`
      select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind in ('r', 'v', 'm', 'p')
        and has_table_privilege('afflux_grafana', c.oid, 'insert, update, delete, truncate')`;
    expect(writable).toEqual([]);
  });

  test('in ClickHouse is what analysts read', () => {
    const text = [...generatedFiles().values()].join('\n').replaceAll('\\n', '\n');
    const tables = [...text.matchAll(/(?<!epoch )\b(?:FROM|LEFT JOIN) ([a-z_]+)\b(?!\()/g)]
      .map(([, name]) => name ?? '')
      .filter((name) => !GRAFANA_VIEWS.includes(name));
    expect(new Set(tables).size).toBeGreaterThan(5);
    const readable: readonly string[] = ANALYST_READS.tables;
    expect([...new Set(tables)].filter((table) => !readable.includes(table))).toEqual([]);
  });
});

test('amounts are shown in units of their currency by both stores as core/money.ts says', async () => {
  const currencies = [...UNUSUAL_EXPONENTS.keys(), 'EUR', 'USD'];
  const list = currencies.map((code) => `'${code}'`).join(', ');
  const expected = currencies.map((code) => [code, 12_345 / 10 ** (currencyExponent(code) ?? Number.NaN)]);
  const { rows } = await createAsker({ books, warehouse }).clickhouse(
    `SELECT currency, ${major('12345')} AS amount FROM (SELECT arrayJoin([${list}]) AS currency)`,
  );
  expect(rows).toEqual(expected);
  const booked = await books.owner<{ currency: string; amount: number }[]>`
    select currency, in_major_units(12345, currency)::float8 as amount from unnest(${currencies}::text[]) as currency`;
  expect(booked.map(({ currency, amount }) => [currency, amount])).toEqual(expected);
});

test('clicks are invalid here by the bits by which they are invalid everywhere', () => {
  expect(INVALID_FLAGS).toBe(INVALID_CLICK_FLAGS);
});
