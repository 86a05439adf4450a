import { randomUUID } from 'node:crypto';
import { createClient } from '@clickhouse/client';
import { expect, inject, test } from 'vitest';
import { freshClickHouseDatabase } from '../test/support/engines.ts';

const base = (): URL => new URL('/', inject('clickhouseUrl'));

test('hello', async () => {
  const db = await freshClickHouseDatabase();
  const client = createClient({ url: db.url });
  await client.command({ query: 'CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a' });
  await client.insert({
    table: 't',
    values: [
      { a: 1, s: 'x' },
      { a: 2, s: 'y' },
    ],
    format: 'JSONEachRow',
  });
  const result = await client.query({ query: 'SELECT * FROM t ORDER BY a', format: 'JSONEachRow' });
  expect(await result.json()).toEqual([
    { a: 1, s: 'x' },
    { a: 2, s: 'y' },
  ]);
  const json = await client.query({
    query: 'SELECT sum(number) s FROM numbers({n:UInt32})',
    query_params: { n: 10 },
  });
  expect((await json.json()).data).toEqual([{ s: 45 }]);
  const response = await fetch(`${base()}?query=${encodeURIComponent('SELECT 1')}&query_id=${randomUUID()}`);
  expect([response.status, await response.text()]).toEqual([200, '1\n']);
  await client.close();
  await db.drop();
});
