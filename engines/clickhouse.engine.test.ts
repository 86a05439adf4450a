import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { type ClickHouseClient, ClickHouseError, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askClickHouse, freshClickHouseDatabase, waitFor } from '../test/support/engines.ts';

let database: Awaited<ReturnType<typeof freshClickHouseDatabase>>;
let client: ClickHouseClient;

beforeAll(async () => {
  database = await freshClickHouseDatabase();
  client = createClient({ url: database.url });
  await client.command({
    query: `CREATE TABLE events (id UInt32, name String, at DateTime64(3, 'UTC') DEFAULT 0)
      ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100`,
  });
});
afterAll(async () => {
  await client.close();
  await database.drop();
});

/** A request as curl would send it. */
async function ask(
  parameters: Record<string, string>,
  init?: RequestInit,
): Promise<{ status: number; text: string; headers: Headers }> {
  const response = await askClickHouse(database.url, parameters, init);
  return { status: response.status, text: await response.text(), headers: response.headers };
}

async function post(body: string, parameters: Record<string, string> = {}): ReturnType<typeof ask> {
  return await ask(parameters, { method: 'POST', body });
}

describe('@clickhouse/client', () => {
  test('inserts JSON, and reads rows back in several formats', async () => {
    await client.command({ query: 'CREATE TABLE json_rows (id UInt32, name String) ENGINE = Memory' });
    const values = Array.from({ length: 1_000 }, (_, id) => ({ id, name: `n'${id}\t\n\\é😀` }));
    const { summary } = await client.insert({ table: 'json_rows', values, format: 'JSONEachRow' });
    expect(summary?.written_rows).toBe('1000');
    const query = 'SELECT * FROM json_rows ORDER BY id';
    const rows = await client.query({ query, format: 'JSONEachRow' });
    expect(await rows.json()).toEqual(values);
    const whole = await client.query({ query, format: 'JSON' });
    expect((await whole.json()).data).toEqual(values);
  });

  test('sends RowBinary through exec with a stream', async () => {
    await client.command({ query: 'CREATE TABLE binary_rows (a UInt8, b UInt16) ENGINE = Memory' });
    const { stream } = await client.exec({
      query: 'INSERT INTO binary_rows FORMAT RowBinary',
      values: Readable.from([Buffer.from([1, 10, 0, 2]), Buffer.from([0x0d, 0x0a])], { objectMode: false }),
    });
    stream.destroy();
    const rows = await client.query({ query: 'SELECT * FROM binary_rows ORDER BY a', format: 'JSONEachRow' });
    expect(await rows.json()).toEqual([
      { a: 1, b: 10 },
      { a: 2, b: 0x0a0d },
    ]);
  });

  test('binds parameters of every kind', async () => {
    const rows = await client.query({
      query:
        'SELECT {n:Int64} AS n, {s:String} AS s, {a:Array(String)} AS a, {d:DateTime64(3)} AS d, {z:Nullable(Int8)} AS z',
      query_params: {
        n: -5,
        s: "it's \\ \t\n{x}",
        a: ["a'b", 'c\\d'],
        d: new Date(1_700_000_000_123),
        z: null,
      },
      clickhouse_settings: { date_time_output_format: 'iso' },
      format: 'JSONEachRow',
    });
    expect(await rows.json()).toEqual([
      { n: -5, s: "it's \\ \t\n{x}", a: ["a'b", 'c\\d'], d: '2023-11-14T22:13:20.123Z', z: null },
    ]);
  });

  test('gets errors with their code and type', async () => {
    const failing = client.query({ query: 'SELECT * FROM no_such_table' });
    await expect(failing).rejects.toBeInstanceOf(ClickHouseError);
    await expect(failing).rejects.toMatchObject({ code: '60', type: 'UNKNOWN_TABLE' });
  });

  test('gets an error that comes in the middle of a result', async () => {
    const rows = await client.query({
      query: 'SELECT number, throwIf(number = 600000) FROM numbers(1000000)',
      format: 'JSONEachRow',
      clickhouse_settings: { max_threads: 1 },
    });
    let seen = 0;
    const reading = (async () => {
      for await (const chunk of rows.stream()) seen += chunk.length;
    })();
    await expect(reading).rejects.toMatchObject({ code: '395' });
    expect(seen).toBeGreaterThan(100_000);
  });

  test('can ask for compressed requests and answers', async () => {
    const compressing = createClient({ url: database.url, compression: { request: true, response: true } });
    await compressing.command({ query: 'CREATE TABLE packed (id UInt32, name String) ENGINE = Memory' });
    const values = Array.from({ length: 5_000 }, (_, id) => ({ id, name: 'x'.repeat(50) }));
    await compressing.insert({ table: 'packed', values, format: 'JSONEachRow' });
    const rows = await compressing.query({
      query: 'SELECT * FROM packed ORDER BY id',
      format: 'JSONEachRow',
    });
    expect(await rows.json()).toEqual(values);
    await compressing.close();
  });
});

describe('plain HTTP', () => {
  test('answers /ping and /', async () => {
    const { origin } = new URL(database.url);
    expect(await (await fetch(new URL('/ping', origin))).text()).toBe('Ok.\n');
    expect((await ask({})).text).toBe('Ok.\n');
  });

  test('answers GET and POST with the headers of ClickHouse', async () => {
    const got = await ask({ query: 'SELECT number FROM numbers(3)', query_id: 'my-query 1' });
    expect(got).toMatchObject({ status: 200, text: '0\n1\n2\n' });
    expect(got.headers.get('x-clickhouse-query-id')).toBe('my-query 1');
    expect(got.headers.get('x-clickhouse-format')).toBe('TabSeparated');
    expect(got.headers.get('content-type')).toBe('text/tab-separated-values; charset=UTF-8');
    expect(JSON.parse(got.headers.get('x-clickhouse-summary') ?? '')).toMatchObject({ result_rows: '3' });
    expect((await post('SELECT 1 AS x FORMAT JSONEachRow')).text).toBe('{"x":1}\n');
    expect((await post('SELECT 2', { default_format: 'JSONCompactEachRow' })).text).toBe('[2]\n');
    expect((await post('AS x', { query: 'SELECT 3' })).text).toBe('3\n');
  });

  test.each([
    ['SELECT 1 -- the end', '1\n'],
    ['SELECT 1 /* FORMAT x */ ;  ', '1\n'],
    ['SELECT 1 AS format, 2 AS values', '1\t2\n'],
    ['(SELECT 1) UNION ALL (SELECT 1)', '1\n1\n'],
    ["SELECT 'a;b', `x` FROM (SELECT 2 AS `x`) FORMAT CSV", '"a;b",2\n'],
    ['SELECT 1 FORMAT JSONEachRow SETTINGS max_threads = 1', '{"1":1}\n'],
    ['WITH 5 AS n SELECT n', '5\n'],
    ['FROM numbers(1) SELECT number', '0\n'],
    ['EXISTS TABLE events', '1\n'],
    ["SELECT $h$it's; FORMAT$h$", "it\\'s; FORMAT\n"],
  ])('understands %s', async (query, text) => {
    expect(await post(query)).toMatchObject({ status: 200, text });
  });

  test('describes and shows', async () => {
    expect((await post('DESCRIBE TABLE events')).text).toMatch(/^id\tUInt32\t/);
    expect((await post('SHOW TABLES FORMAT JSONEachRow')).text).toContain('{"name":"events"}');
    expect((await post('SHOW CREATE TABLE events')).text).toContain('MergeTree');
    expect((await post('EXPLAIN SELECT 1')).text).toContain('SystemOne');
  });

  test.each([
    ['SELECT * FROM nope', 404, 60, 'UNKNOWN_TABLE'],
    ['SELECT nope', 404, 47, 'UNKNOWN_IDENTIFIER'],
    ['SELEC 1', 400, 62, 'SYNTAX_ERROR'],
    ['', 400, 62, 'SYNTAX_ERROR'],
    ['SELECT 1; SELECT 2', 400, 62, 'SYNTAX_ERROR'],
    ['SELECT 1 FORMAT Nope', 404, 73, 'UNKNOWN_FORMAT'],
    ["SELECT 1 INTO OUTFILE '/tmp/x'", 500, 344, 'SUPPORT_IS_DISABLED'],
    ["INSERT INTO events FROM INFILE '/etc/passwd' FORMAT CSV", 404, 78, 'UNKNOWN_TYPE_OF_QUERY'],
    ["SELECT toUInt8('x')", 400, 6, 'CANNOT_PARSE_TEXT'],
    ["INSERT INTO events (id) VALUES ('x')", 500, 344, 'SUPPORT_IS_DISABLED'],
    ['INSERT INTO events (id) VALUES (1 + 1)', 500, 344, 'SUPPORT_IS_DISABLED'],
    ['SELECT {missing:UInt8}', 400, 456, 'UNKNOWN_QUERY_PARAMETER'],
  ])('refuses %j with %i', async (query, status, code, type) => {
    const answer = await post(query);
    expect(answer).toMatchObject({ status, text: expect.stringContaining(`Code: ${code}. DB::Exception:`) });
    expect(answer.text).toContain(`(${type})`);
    expect(answer.text).not.toContain('/dev/shm');
    expect(answer.headers.get('x-clickhouse-exception-code')).toBe(String(code));
  });

  test('refuses an unknown database, setting and parameter name', async () => {
    expect(await post('SELECT 1', { database: 'nope' })).toMatchObject({ status: 404 });
    expect(await post('SELECT 1', { nope: '1' })).toMatchObject({ status: 404 });
    expect(await post('SELECT 1', { "a b'": '1' })).toMatchObject({ status: 404 });
  });

  test('lets GET read only', async () => {
    const written = await ask({ query: 'CREATE TABLE by_get (a Int8) ENGINE = Memory' });
    expect(written).toMatchObject({ status: 500, text: expect.stringContaining('(READONLY)') });
  });

  test('forgets settings, parameters, temporary tables and databases with the query', async () => {
    for (let i = 0; i < 20; i++) {
      await post('SELECT {p:String}', { param_p: 'x', max_threads: '1', readonly: '1' });
      await post('SET max_block_size = 7');
      await post('CREATE TEMPORARY TABLE kept (a Int8)');
      await post('USE system');
    }
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        post("SELECT getSetting('max_block_size') != 7, getSetting('readonly'), currentDatabase()"),
      ),
    );
    const own = new URL(database.url).pathname.slice(1);
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set([`1\t0\t${own}\n`]));
    expect(await post('SELECT {p:String}')).toMatchObject({ status: 400 });
    expect(await post('SELECT * FROM kept')).toMatchObject({ status: 404 });
  });

  test('keeps the parameters of parallel queries apart', async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        post('SELECT {n:UInt32} + sum(number) FROM numbers({m:UInt64})', {
          param_n: String(n),
          param_m: '1000',
        }),
      ),
    );
    expect(answers.map(({ text }) => Number(text))).toEqual(
      Array.from({ length: 200 }, (_, n) => n + 499_500),
    );
  });

  test('streams a large result with its real size, plain and compressed', async () => {
    const query = 'SELECT number, repeat(toString(number), 10) FROM numbers(500000) FORMAT RowBinary';
    const size = Number(
      (
        await post(
          query
            .replace('number, repeat', 'sum(8 + 1 + length(repeat')
            .replace(' FROM', ')) FROM')
            .replace('RowBinary', 'TSV'),
        )
      ).text,
    );
    const plain = await askClickHouse(database.url, { query });
    expect((await plain.arrayBuffer()).byteLength).toBe(size);
    const packed = await askClickHouse(
      database.url,
      { query, enable_http_compression: '1' },
      { headers: { 'Accept-Encoding': 'gzip' } },
    );
    expect(packed.headers.get('content-encoding')).toBe('gzip');
    expect((await packed.arrayBuffer()).byteLength).toBe(size);
  });

  test('with wait_end_of_query a late failure has its status, and a result its summary', async () => {
    const failing = 'SELECT number, throwIf(number = 600000) FROM numbers(1000000)';
    expect(await post(failing, { wait_end_of_query: '1' })).toMatchObject({ status: 500 });
    const whole = await post('SELECT number FROM numbers(1000000)', { wait_end_of_query: '1' });
    expect(whole.text.length).toBe(6_888_890);
    expect(JSON.parse(whole.headers.get('x-clickhouse-summary') ?? '')).toMatchObject({
      result_rows: '1000000',
    });
  });

  test('without it the failure is sent at the end, and the connection cut', async () => {
    const query = 'SELECT number, throwIf(number = 600000) FROM numbers(1000000)';
    const response = await askClickHouse(database.url, { query });
    expect(response.status).toBe(200);
    const tag = response.headers.get('x-clickhouse-exception-tag') ?? '';
    expect(tag).toHaveLength(16);
    let end = '';
    const reading = (async () => {
      for await (const chunk of response.body ?? [])
        end = (end + Buffer.from(chunk).toString()).slice(-2_000);
    })();
    await expect(reading).rejects.toThrow('terminated');
    expect(end).toContain(`\r\n__exception__\r\n${tag}\r\nCode: 395. DB::Exception:`);
  });

  test('ends the query of a client that has gone', async () => {
    const tag = `gone_${Date.now()}`;
    const gone = new AbortController();
    const query = `SELECT sum(sipHash64(number)) AS ${tag} FROM numbers(100000000000)`;
    const asking = askClickHouse(database.url, { query }, { signal: gone.signal });
    const running = async (): Promise<number> =>
      Number(
        (
          await post(
            `SELECT count() FROM system.processes WHERE query LIKE '%AS ${tag} %' AND query NOT LIKE '%processes%'`,
          )
        ).text,
      );
    await waitFor(async () => (await running()) === 1, { deadlineMs: 5_000, what: 'the query to run' });
    gone.abort();
    await expect(asking).rejects.toThrow('aborted');
    await waitFor(async () => (await running()) === 0, { deadlineMs: 5_000, what: 'the query to end' });
  });

  test('ends the query of a client that stops reading in the middle', async () => {
    const tag = `half_${Date.now()}`;
    const gone = new AbortController();
    const query = `SELECT number AS ${tag} FROM numbers(100000000000)`;
    const response = await askClickHouse(database.url, { query }, { signal: gone.signal });
    await response.body?.getReader().read();
    const running = async (): Promise<number> =>
      Number(
        (
          await post(
            `SELECT count() FROM system.processes WHERE query LIKE '%AS ${tag} %' AND query NOT LIKE '%processes%'`,
          )
        ).text,
      );
    expect(await running()).toBe(1);
    gone.abort();
    await waitFor(async () => (await running()) === 0, { deadlineMs: 5_000, what: 'the query to end' });
  });

  test('unpacks a compressed body', async () => {
    const body = Readable.from(['SELECT 42']).pipe(createGzip());
    const answer = await ask({}, {
      method: 'POST',
      body: Readable.toWeb(body) as ReadableStream,
      duplex: 'half',
      headers: { 'Content-Encoding': 'gzip' },
    } as RequestInit);
    expect(answer.text).toBe('42\n');
  });
});
