import { connect, type Socket } from 'node:net';
import { createClient } from '@clickhouse/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { askClickHouse, freshClickHouseDatabase, waitFor } from '../test/support/engines.ts';

let database: Awaited<ReturnType<typeof freshClickHouseDatabase>>;

beforeAll(async () => {
  database = await freshClickHouseDatabase();
});
afterAll(async () => {
  await database.drop();
});

async function send(
  query: string,
  body: string | Buffer = '',
  parameters: Record<string, string> = {},
): Promise<{ status: number; text: string; written: string | undefined }> {
  const all = { ...(query !== '' && { query }), ...parameters };
  const response = await askClickHouse(database.url, all, { method: 'POST', body });
  const summary = JSON.parse(response.headers.get('x-clickhouse-summary') ?? '{}');
  return { status: response.status, text: await response.text(), written: summary.written_rows };
}

async function table(name: string, settings = ''): Promise<void> {
  const made = await send(
    `CREATE TABLE ${name} (a UInt32, s String) ENGINE = MergeTree ORDER BY a ${settings}`,
  );
  expect(made).toMatchObject({ status: 200 });
}

async function rowsOf(name: string): Promise<string> {
  return (await send(`SELECT * FROM ${name} ORDER BY a, s FORMAT CSV`)).text;
}

test.each([
  ['given', "INSERT INTO # VALUES (1,'x'),(2,'(FORMAT')", ''],
  ['columns', 'INSERT INTO # (s, a) FORMAT CSV', '"x",1\n"(FORMAT",2\n'],
  [
    'settings',
    'INSERT INTO # SETTINGS max_insert_threads = 1 FORMAT JSONEachRow',
    '{"a":1,"s":"x"}{"a":2,"s":"(FORMAT"}',
  ],
  ['in_body', '', "INSERT INTO # VALUES (1, 'x'), (2, '(FORMAT')"],
  ['data_in_body', '', 'INSERT INTO #\n-- a comment\nFORMAT TSV\n1\tx\n2\t(FORMAT\n'],
  ['split', 'INSERT INTO # FORMAT', 'TSV\n1\tx\n2\t(FORMAT\n'],
  ['table_word', 'INSERT INTO TABLE `#` (*) VALUES', "(1, 'x') (2, '(FORMAT')"],
  ['selected', "INSERT INTO # SELECT number + 1, ['x', '(FORMAT'][number + 1] FROM numbers(2)", ''],
  [
    'with',
    "WITH 1 AS one, (SELECT 2) AS two INSERT INTO # SELECT one, 'x' UNION ALL SELECT 2, '(FORMAT'",
    '',
  ],
  [
    'read_as',
    "INSERT INTO # SELECT n + 1, t FROM input('n UInt8, t String') ORDER BY n FORMAT CSV",
    '1,"(FORMAT"\n0,"x"\n',
  ],
  ['parameters', "INSERT INTO # SELECT {n:UInt32}, 'x' UNION ALL SELECT 2, {s:String}", ''],
])('inserts: %s', async (name, query, body) => {
  await table(name);
  const inserted = await send(query.replace('#', name), body.replace('#', name), {
    param_n: '1',
    param_s: '(FORMAT',
  });
  expect(inserted).toMatchObject({ status: 200, text: '' });
  expect(await rowsOf(name)).toBe('1,"x"\n2,"(FORMAT"\n');
});

test('takes every byte of RowBinary, in the URL query or behind it', async () => {
  await table('bytes');
  const row = Buffer.concat([
    Buffer.from([7, 0, 0, 0, 0x80, 0x02]),
    Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  ]);
  const inserted = await send('INSERT INTO bytes FORMAT RowBinary', Buffer.concat([row, row]));
  expect(inserted).toMatchObject({ status: 200, written: '2' });
  expect(
    await send('', Buffer.concat([Buffer.from('INSERT INTO bytes FORMAT RowBinary\n'), row])),
  ).toMatchObject({
    status: 200,
  });
  expect((await send('SELECT a, hex(s), count() FROM bytes GROUP BY a, s')).text).toBe(
    `7\t${row.subarray(6).toString('hex').toUpperCase()}\t3\n`,
  );
});

test('takes a body of megabytes in chunks', async () => {
  await table('large');
  const client = createClient({ url: database.url });
  const row = Buffer.concat([Buffer.from([1, 0, 0, 0, 100]), Buffer.alloc(100, 'x')]);
  const { Readable } = await import('node:stream');
  const { stream } = await client.exec({
    query: 'INSERT INTO large FORMAT RowBinary',
    values: Readable.from(
      Array.from({ length: 200 }, () => Buffer.concat(Array(1_000).fill(row))),
      { objectMode: false },
    ),
  });
  stream.destroy();
  await client.close();
  expect((await send('SELECT count(), sum(length(s)) FROM large')).text).toBe('200000\t20000000\n');
});

async function openRequest(head: string): Promise<Socket> {
  const url = new URL(database.url);
  const socket = connect(Number(url.port), url.hostname);
  await new Promise((resolve) => socket.once('connect', resolve));
  const path = `/?database=${url.pathname.slice(1)}&query=${encodeURIComponent('INSERT INTO truncated FORMAT RowBinary')}`;
  const login = `X-ClickHouse-Key: ${url.password}`;
  socket.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\n${login}\r\n${head}\r\n\r\n`);
  return socket;
}

test.each([
  ['Content-Length', 'Content-Length: 24', Buffer.from([1, 0, 0, 0, 0, 2, 0, 0, 0, 0])],
  ['chunks', 'Transfer-Encoding: chunked', Buffer.from('5\r\n\x01\x00\x00\x00\x00\r\n', 'latin1')],
])('inserts nothing of a body cut short: %s', async (_name, head, part) => {
  await send('CREATE TABLE IF NOT EXISTS truncated (a UInt32, s String) ENGINE = MergeTree ORDER BY a');
  const socket = await openRequest(head);
  await new Promise((resolve) => socket.write(part, resolve));
  socket.end();
  socket.resume();
  await waitFor(() => socket.closed, { deadlineMs: 5_000, what: 'the connection to end' });
  expect(await rowsOf('truncated')).toBe('');
  // The same body is inserted when complete: only the cut kept it out.
  const whole = await send('INSERT INTO truncated FORMAT RowBinary', Buffer.from([9, 0, 0, 0, 0]));
  expect(whole).toMatchObject({ status: 200, written: '1' });
  await send('TRUNCATE TABLE truncated');
});

test('a bad row inserts nothing of its block', async () => {
  await table('bad');
  expect(await send('INSERT INTO bad FORMAT TSV', '1\tx\nno\ty\n')).toMatchObject({ status: 400 });
  expect(await rowsOf('bad')).toBe('');
});

test('a repeated deduplication token changes neither the table nor its materialized view', async () => {
  const window = 'SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1';
  await table('deduplicated', window);
  await send(`CREATE TABLE counts (a UInt32, n UInt64) ENGINE = SummingMergeTree ORDER BY a ${window}`);
  await send(
    'CREATE MATERIALIZED VIEW feed TO counts AS SELECT a, count() AS n FROM deduplicated GROUP BY a',
  );
  for (const token of ['0:1-2', '0:1-2', '0:3-4']) {
    const settings = {
      insert_deduplication_token: token,
      insert_deduplicate: '1',
      deduplicate_blocks_in_dependent_materialized_views: '1',
      async_insert: '0',
      wait_end_of_query: '1',
      max_insert_threads: '1',
    };
    expect(await send('INSERT INTO deduplicated FORMAT TSV', '1\tx\n2\ty\n', settings)).toMatchObject({
      status: 200,
    });
  }
  expect((await send('SELECT count() FROM deduplicated')).text).toBe('4\n');
  expect((await send('SELECT a, sum(n) FROM counts GROUP BY a ORDER BY a')).text).toBe('1\t2\n2\t2\n');
});

test('serves dictionaries over its own tables', async () => {
  const name = new URL(database.url).pathname.slice(1);
  await table('words');
  await send("INSERT INTO words VALUES (1, 'one'), (2, 'two')");
  const made = await send(
    `CREATE DICTIONARY dict (a UInt32, s String) PRIMARY KEY a SOURCE(CLICKHOUSE(TABLE 'words' DB '${name}')) LAYOUT(FLAT()) LIFETIME(0)`,
  );
  expect(made).toMatchObject({ status: 200, text: '' });
  expect((await send(`SELECT dictGet('${name}.dict', 's', toUInt64(2))`)).text).toBe('two\n');
});

test('inserts from many clients at once', async () => {
  await table('many');
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, n) => send('INSERT INTO many FORMAT TSV', `${n}\tx\n`)),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  expect((await send('SELECT count(), uniqExact(a) FROM many')).text).toBe('60\t60\n');
});
